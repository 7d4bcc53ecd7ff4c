"""Every error that the hub raises on purpose. The class is the policy: what the caller should do next."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta


class HubError(Exception):
    """The root; caught only at the edge of the process."""


class ConfigError(HubError):
    """`hub.yaml` or the command line is wrong; the message says where and what to do. One line per mistake."""


class NoStoreError(ConfigError):
    """There is no store yet, and who only looks makes none."""


class SettingsError(ConfigError):
    """A connection's settings do not fit together. `mistakes`: (path within the connection, what is wrong)."""

    def __init__(self, mistakes: Sequence[tuple[tuple[str | int, ...], str]]) -> None:
        super().__init__("\n".join(f"{'.'.join(map(str, place))}: {why}" for place, why in mistakes))
        self.mistakes = tuple(mistakes)


class TransientError(HubError):
    """Try again later; not before `retry_after` if the other side named a time."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimitedError(TransientError):
    """The source asks us to slow down."""


class UnauthorizedError(TransientError):
    """The source refuses our credentials: a person must act, then it heals without restart."""


class PermanentError(HubError):
    """Trying again cannot help: dead-letter it. `status` and `headers` (lower-case names) where an answer caused it."""

    def __init__(self, message: str, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class SignatureError(PermanentError):
    """The delivery does not prove that it comes from the source: 401, nothing is kept. `code` says why in few words,
    always the same ones ("stale"): under it refusals are counted; the message may say more."""

    def __init__(self, message: str, *, code: str = "not proved") -> None:
        super().__init__(message)
        self.code = code


class AccountError(PermanentError):
    """The delivery is genuine and for another account than this connection's: refused, nothing is kept. `code` as in
    SignatureError."""

    def __init__(self, message: str, *, code: str = "other account") -> None:
        super().__init__(message)
        self.code = code


class RefusedError(PermanentError):
    """The delivery is genuine and cannot be taken as it is: its sender is told so with `status` (413, 415), nothing is
    kept. `code` as in SignatureError."""

    def __init__(self, message: str, *, status: int, code: str) -> None:
        super().__init__(message, status=status)
        self.code = code


class ListingError(PermanentError):
    """A source's listing lacks so much of what the hub knows that it is not believed. `stream`: the listing's name."""

    def __init__(self, message: str, stream: str) -> None:
        super().__init__(message)
        self.stream = stream


class NormalizeError(PermanentError):
    """The payload is not what we know."""


class GaveWay(HubError):
    """A transaction ended itself, because something else goes first; nothing of it has happened."""


class OffsetsMoved(HubError):
    """Another worker has applied this batch already; `stored` says where to go on: {(topic, partition): next}."""

    def __init__(self, stored: Mapping[tuple[str, int], int]) -> None:
        super().__init__("the store's offsets have moved")
        self.stored = dict(stored)


class StaleWorkerError(HubError):
    """The store was folded by a newer revision of the hub than this process runs: it must stop."""


def check_kind(stored: str, wanted: str | None, what: str, place: str, example: str) -> None:
    """Raise ConfigError where invented and real people would meet: `what` (a bus, a store) at this place of hub.yaml is
    marked as the one, the connections are the other. `example`: another place, with {} for a name."""
    if wanted is None or stored == wanted:
        return
    mocks = (
        "remove `mock: true` from every connection" if stored == "real" else "put `mock: true` under every connection"
    )
    another = example.format("demo" if wanted == "demo" else "live")
    raise ConfigError(
        f"{place} of hub.yaml names a {stored} {what}, but the connections are {wanted}: "
        f"name another place there (such as {another}), or {mocks}"
    )


@contextmanager
def translated(table: Mapping[type[Exception], type[HubError]]) -> Iterator[None]:
    """Turn a library's exceptions into ours; everything else passes."""
    try:
        yield
    except tuple(table) as error:
        ours = next(to for kind, to in table.items() if isinstance(error, kind))
        raise ours(f"{type(error).__name__}: {error}") from error
