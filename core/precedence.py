"""Deliveries go first: whoever handles the past asks here whether one is under way, and waits.

One per process. A delivery is under way from its first byte at the door until process has committed it (where process
runs elsewhere, until it is on the bus), and a moment longer, for those who read the feed.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

EXPECTED = 30.0  # seconds after a delivery for which more are expected
PATIENCE = 0.05  # seconds for which the past gives way at a time: where there is always a delivery, it goes on, too
CALM = 0.004  # seconds that a delivery may take from the bus to process, and from process to those who read the feed


class Precedence:
    """Times are those of the monotonic clock."""

    def __init__(self) -> None:
        self._count = 0
        self._came = self._gone = -EXPECTED
        self._nothing = asyncio.Event()  # is under way

    @contextmanager
    def delivery(self) -> Iterator[None]:
        """A delivery is at the door."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """Something that goes first is under way, until `leave`."""
        self._came = time.monotonic()
        self._count += 1
        self._nothing.clear()

    def leave(self) -> None:
        self._count -= 1
        self._gone = time.monotonic()
        if not self._count:
            self._nothing.set()

    @property
    def taken(self) -> bool:
        """Whether anything that goes first is under way."""
        return self._count > 0 or time.monotonic() - self._gone < CALM

    @property
    def expected(self) -> bool:
        """Whether deliveries are to be expected, because some came of late."""
        return time.monotonic() - self._came < EXPECTED

    async def free(self) -> None:
        """Until nothing that goes first is under way, or there is always something."""
        until = time.monotonic() + PATIENCE
        await asyncio.sleep(0)
        while self.taken and (left := until - time.monotonic()) > 0:
            # Told rather than looked for: each look would be in the way of what goes first.
            if self._count:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._nothing.wait()
            else:
                await asyncio.sleep(min(left, self._gone + CALM - time.monotonic()))
