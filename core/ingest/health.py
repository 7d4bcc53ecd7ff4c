"""What is wrong with a source, in one word, and what a person can do about it. Pure."""

from collections.abc import Iterable

from core.errors import ListingError, PermanentError, RateLimitedError, UnauthorizedError

STATES = ("unauthorized", "misconfigured", "down", "throttled")  # the first that is true of any part is shown
BUS_REMEDY = "look after the bus; deliveries are answered 503 and sent again by their sources"


def state_of(error: Exception) -> str:
    """One of STATES."""
    match error:
        case UnauthorizedError():
            return "unauthorized"
        case RateLimitedError():
            return "throttled"
        case PermanentError():
            return "misconfigured"
        case _:
            return "down"


def worst(errors: Iterable[Exception]) -> Exception | None:
    """The one that a person should hear of first."""
    return min(errors, key=lambda error: STATES.index(state_of(error)), default=None)


def remedy(name: str, error: Exception) -> str:
    """What a person can do about it; `name` is the connection's."""
    match error:
        case UnauthorizedError():
            return f"check the credentials and scopes of connections.{name}: hub check --live"
        case RateLimitedError():
            return "nothing to do: the hub waits as long as the source asks"
        case ListingError():
            return f"look into the source; if so much was deleted there: hub backfill {name} '{error.stream}' --accept"
        case PermanentError():
            return f"compare connections.{name} and its connector's README with the source's settings"
        case _:
            return "nothing to do: it is tried again until the source answers"
