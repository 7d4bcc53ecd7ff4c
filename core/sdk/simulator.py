"""What a contract mock must offer, and what it says: the simulator's protocol and its pushes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import orjson
from aiohttp import web

from core.sdk.story import Beat


@dataclass(frozen=True, slots=True)
class Push:
    """One webhook request that a source sends. `body` is what `Simulator.sign` turns into bytes; `forged`: sign it
    wrongly. `subject` and `kind` are for the log: the object's id, the source's name of the event. `attempt` is 0 the
    first time it is sent; `once`: the source never sends it again."""

    subject: str
    body: Any
    kind: str = ""
    forged: bool = False
    attempt: int = 0
    once: bool = False


class Simulator(Protocol):
    """One source's world with its API. `timeout` and `retries` are its webhooks', `limit` its requests a minute.

    It may say in `cannot_show`, a tuple, what its source's way of signing cannot tell: that a delivery was "tampered"
    with, or is "stale". Then nobody asks a connector to refuse such ones. In `schedule` it may say the source's own
    pauses (s) between two attempts at a webhook, which the mock keeps once it is told to.

    In `unlisted`, a tuple, it may name kinds of its truth that no list brings: webhooks alone tell of them, or the
    demo's settings leave them out. Then nobody asks a connector's polls for them.

    In `pause(status, attempt, at)` it may say for how many seconds of the mock's clock it then sends nothing at all:
    asked after each attempt (0: the first; `at`: epoch s; status 0: no answer) while the source's own pauses are kept.
    The attempt after which it pauses is none of the webhook's `retries`. `inf`: the webhook is switched off, which its
    world is told by the beat `webhook.off`. Where the source `forgives` (True), what waits is still tried, and the
    first that is taken switches it on again (`webhook.on`).

    Its limit may hold for `per` seconds instead, in a `rolling` window (True), and its 429 come without Retry-After
    (`tells_wait` False). `limit_of(request, limit)` may say that it is less for some requests.
    """

    @property
    def name(self) -> str:
        """The vendor in the story's beats."""
        ...

    @property
    def seed(self) -> int: ...

    @property
    def timeout(self) -> float: ...

    @property
    def retries(self) -> int: ...

    @property
    def limit(self) -> int: ...

    def apply(self, beat: Beat, now_ms: int) -> Sequence[Push]:
        """Changes the world as the beat says and returns the webhooks that go out; depends on its arguments alone.

        Only beats of this vendor come; unknown kinds change nothing. What the opening's beats return is dropped:
        backfills find it.
        """
        ...

    def routes(self) -> Sequence[web.RouteDef]: ...

    def authorized(self, request: web.Request) -> bool: ...

    def sign(self, push: Push, target: str, now: datetime) -> tuple[str, dict[str, str], bytes]:
        """The URL, headers and body of one attempt; `push.forged`: as somebody without the secret would."""
        ...

    def failure(self, status: int) -> Any:
        """The source's own JSON body for an error that the kit answers (401, 429, 500)."""
        ...

    def rate_headers(self, limit: int, remaining: int, reset_seconds: int, now_ms: int) -> Mapping[str, str]:
        """`now_ms` is the machine's time, whatever the mock's clock says: who is limited really waits."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Live objects by kind."""
        ...

    def truth(self) -> Mapping[str, Any]:
        """All live objects: {kind: {id: object}}; the kinds are those in the connector's keys."""
        ...


def answer(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON."""
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json", headers=headers)
