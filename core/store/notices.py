"""Who waits for commits, and waking them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager


class Bell:
    """Wakes all who listen. Rung between two looks it wakes once: what counts is that there is something new."""

    def __init__(self) -> None:
        self._listening: set[asyncio.Event] = set()

    def ring(self) -> None:
        for event in self._listening:
            event.set()

    @contextmanager
    def listening(self, timeout: float) -> Iterator["Ticks"]:
        event = asyncio.Event()
        event.set()  # look once at the start: a commit may have come before we listened
        self._listening.add(event)
        try:
            yield Ticks(event, timeout)
        finally:
            self._listening.discard(event)


class Ticks:
    """Ticks at once, after each ring, and `timeout` seconds after the last tick where nothing rang."""

    def __init__(self, event: asyncio.Event, timeout: float) -> None:
        self._event = event
        self._timeout = timeout

    async def __aiter__(self) -> AsyncIterator[None]:
        while True:
            try:
                async with asyncio.timeout(self._timeout):
                    await self._event.wait()
            except TimeoutError:
                pass
            self._event.clear()
            yield
