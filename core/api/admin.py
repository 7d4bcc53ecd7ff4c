"""For the ops engineer and the CLI: dead letters, login links, a ring on demand. And for probes: health."""

from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from core.api.problem import Problem
from core.api.route import Call, Route, answer
from core.api.tokens import new_login
from core.api.watched import alive, figures, readiness
from core.errors import PermanentError
from core.sdk import from_ms
from core.store import DeadRow
from schemas.answers import (
    Alive,
    DeadLetter,
    DeadLetters,
    Handled,
    LoginLink,
    PurgeOrder,
    Purging,
    Ready,
    Ringing,
    RingOrder,
)
from schemas.entities import Shape
from schemas.personal import NONE

_LONGEST_PAYLOAD = 4_000


class DeadQuery(Shape):
    """Oldest first within what the store gives."""

    state: Annotated[Literal["open", "replayed", "discarded"], NONE] = Field("open", description="which letters")
    limit: Annotated[int, NONE] = Field(20, ge=1, le=100, description="letters per page")
    after: Annotated[str, NONE] = Field("", description="`next` of the page before")


async def _dead(call: Call) -> web.StreamResponse:
    query = call.query
    rows = await call.room.store.dead(query.state, query.limit + 1, query.after)
    page = rows[: query.limit]
    return answer(
        DeadLetters(
            letters=[_letter(row) for row in page], next=page[-1].id if page and len(rows) > query.limit else None
        )
    )


def _letter(row: DeadRow, longest: int | None = _LONGEST_PAYLOAD) -> DeadLetter:
    payload = row.payload.decode(errors="replace")[:longest]
    return DeadLetter.model_validate({**row._asdict(), "payload": payload, "at": from_ms(row.at)})


async def _one(call: Call) -> web.StreamResponse:
    return answer(_letter(await _known(call), None))


async def _replay(call: Call) -> web.StreamResponse:
    row = await _known(call)
    if call.room.replay is None:
        raise Problem(501, "this process cannot replay", "ask one that runs the role ingest")
    try:
        await call.room.replay(row.id)
    except PermanentError as error:
        raise Problem(409, str(error), "fix the cause and replay it again, or discard it") from error
    return answer(Handled(id=row.id, state="replayed"))


async def _discard(call: Call) -> web.StreamResponse:
    row = await _known(call)
    await call.room.store.set_dead([row.id], "discarded")
    return answer(Handled(id=row.id, state="discarded"))


async def _known(call: Call) -> DeadRow:
    row = await call.room.store.dead_letter(call.path["id"])
    if row is None:
        raise Problem(404, "there is no such dead letter", "GET /v1/dead lists them")
    return row


async def _purge(call: Call) -> web.StreamResponse:
    if call.room.purge is None:
        raise Problem(501, "this process cannot purge", "ask a hub that runs, or let none run")
    try:
        return answer(await call.room.purge(call.path["connection"], call.body))
    except PermanentError as error:
        raise Problem(409, str(error), "nothing was changed") from error


async def _login_link(call: Call) -> web.StreamResponse:
    once, expires = await new_login(call.room.store, call.room.now())
    url = f"{call.request.scheme}://{call.request.host}/login/{once}"
    return answer(LoginLink(url=url, expires=from_ms(expires) or ""))


async def _ring(call: Call) -> web.StreamResponse:
    if call.room.ring is None:
        why, remedy = call.room.silent
        raise Problem(404, f"nobody rings on demand here: {why}", remedy)
    try:
        ringing = await call.room.ring(call.body.phone)
    except LookupError:
        raise Problem(404, "nobody in the story has this phone", "leave it out: somebody will call") from None
    return answer(Ringing.model_validate(dict(ringing)))


async def _alive(_: Call) -> web.StreamResponse:
    return alive()


async def _ready(call: Call) -> web.StreamResponse:
    return await readiness(call.room.ready)


async def _metrics(call: Call) -> web.StreamResponse:
    return figures(call.room.metrics)


ROUTES = (
    Route("GET", "/v1/dead", _dead, DeadLetters, "Inputs that could not be handled, with the reason.",
          scope="admin", query=DeadQuery, problems=(400,)),
    Route("GET", "/v1/dead/{id}", _one, DeadLetter, "A dead letter with its whole payload.",
          scope="admin", problems=(404,)),
    Route("POST", "/v1/dead/{id}/replay", _replay, Handled, "Put a dead letter's input on its way again.",
          scope="admin", problems=(404, 409, 501)),
    Route("POST", "/v1/dead/{id}/discard", _discard, Handled, "Give a dead letter up.",
          scope="admin", problems=(404,)),
    Route("POST", "/v1/sources/{connection}/purge", _purge, Purging, "Take a connection out again, step by step.",
          scope="admin", body=PurgeOrder, problems=(400, 409, 501)),
    Route("POST", "/v1/login-links", _login_link, LoginLink, "A link that logs a browser in, once.", scope="admin"),
    Route("POST", "/v1/ring", _ring, Ringing, "Let a mocked customer call.",
          scope="admin", body=RingOrder, problems=(400, 404)),
    Route("GET", "/healthz", _alive, Alive, "The process answers.", scope=None),
    Route("GET", "/readyz", _ready, Ready, "Whether requests should be sent here.",
          scope=None, also={503: "Not now; the checks say why."}),
    Route("GET", "/metrics", _metrics, "text/plain", "Counters and histograms for Prometheus.", scope=None),
)  # fmt: skip
