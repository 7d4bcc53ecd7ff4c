"""When to go on: after a failure, and only while process keeps up (live comes first)."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from core.bus import Bus
from core.deadletter import reason_of
from core.errors import PermanentError, TransientError, UnauthorizedError

Lag = Callable[[], Awaitable[int]]
T = TypeVar("T")

_ENDLESS = 10**9  # events


@dataclass(frozen=True, slots=True)
class Pace:
    """Waits in seconds. `most_lag`: events that process may lag behind while polls go on; `settle`: how long after a
    change an object may still read old (DESIGN: 2 s); `rest` and `longest_rest`: after what trying again can hardly
    help; `report`: between two looks at what has changed; `calm`: how long a source must have been broken to be swept
    when it is back, and between two such sweeps; `hints`: how long a sweep lets go first what webhooks have named, and
    what a first fetch brought."""

    most_lag: int = 5_000
    look: float = 1.0
    settle: float = 2.0
    first: float = 1.0
    longest: float = 60.0
    rest: float = 60.0
    longest_rest: float = 3600.0
    report: float = 1.0
    calm: float = 30.0
    hints: float = 60.0


class Backoff:
    """Longer and longer, with jitter, but never before the other side's own `retry_after`."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def after(self, error: Exception) -> float:
        """Seconds to wait now."""
        slow = not isinstance(error, TransientError)
        first = self._pace.rest if slow else self._pace.first
        longest = self._pace.longest_rest if slow else self._pace.longest
        wait = min(longest, first * 2.0 ** min(self._failures, 20)) * random.uniform(0.75, 1.25)  # noqa: S311
        self._failures += 1
        asked = error.retry_after if isinstance(error, TransientError) else None
        return max(wait, asked.total_seconds() if asked else 0.0)


def told(error: Exception) -> Exception:
    """What a failure of a connector means to the engine: a refusal (403) that the connector did not expect is a matter
    of credentials, and what is not one of our errors is a mistake in the connector."""
    match error:
        case PermanentError(status=403):
            return UnauthorizedError(str(error))
        case PermanentError() | TransientError():
            return error
        case _:
            return PermanentError(f"a mistake in the connector: {reason_of(error)}")


@asynccontextmanager
async def closing(items: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close a generator when its reader stops early, so that it lets go of what it holds."""
    try:
        yield items
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Repeat until the bus takes it: who polls or fetches can wait, who delivers cannot."""
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        wait=tenacity.wait_exponential_jitter(multiplier=0.2, max=5.0, jitter=0.2),
    )
    async for attempt in retrying:
        with attempt:
            return await work()
    raise AssertionError("it retries for ever")


def sparing(bus: Bus, lag: Lag) -> Lag:
    """`lag`, or endless where the bus has little room: what is left there is for deliveries."""

    async def spared() -> int:
        return _ENDLESS if bus.tight else await lag()

    return spared


async def live_first(lag: Lag, pace: Pace) -> None:
    """Return once process lags little enough. A lag that cannot be told counts as too much."""
    while True:
        try:
            if await lag() <= pace.most_lag:
                return
        except TransientError:
            pass
        await asyncio.sleep(pace.look)
