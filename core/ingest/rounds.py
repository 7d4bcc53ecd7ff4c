"""When to do again what is done for ever: on schedule, at once after a downtime, and ever later while it fails."""

import asyncio
from collections.abc import Awaitable, Callable

from core.ingest.pace import Backoff, told
from core.ingest.status import Stream
from core.ingest.tools import Tools


class Rounds:
    """Of one part of a connection, such as `poll people`; `shown` is what is told of it. `downtimes`: it is done at
    once when a downtime has ended."""

    def __init__(self, tools: Tools, name: str, part: str, shown: Stream, *, downtimes: bool = True) -> None:
        self._tools, self._name, self._part, self._shown = tools, name, part, shown
        self._wakes = tools.board[name].wakes if downtimes else set()
        self._wake = shown.wake

    async def run(
        self, load: Callable[[], Awaitable[float]], once: Callable[[], Awaitable[None]], every: float
    ) -> None:
        """`load` reads what was saved and answers how many seconds to wait for the first round; `every`: seconds from
        the end of one round to the next. What fails is told, and tried again."""
        board, backoff, loaded = self._tools.board, Backoff(self._tools.pace), False
        wakes = self._wakes
        wakes.add(self._wake)
        try:
            while True:
                try:
                    if not loaded:
                        await self._rest(await load())
                        loaded = True
                    self._wake.clear()
                    await once()
                except Exception as failure:
                    error = told(failure)
                    self._shown.error = str(error)
                    board.broke(self._name, self._part, error)
                    await self._rest(backoff.after(error))
                    continue
                self._shown.error = None
                wakes.discard(self._wake)  # its own recovery is no news to it: it has just been done
                board.healed(self._name, self._part)
                wakes.add(self._wake)
                backoff.reset()
                await self._rest(every)
        finally:
            wakes.discard(self._wake)

    async def _rest(self, seconds: float) -> None:
        """At most so long: a downtime that ended, or an order, wakes up, `calm` seconds after the last round at the
        earliest."""
        calm = min(seconds, self._tools.pace.calm)
        await asyncio.sleep(calm)
        try:
            async with asyncio.timeout(seconds - calm):
                await self._wake.wait()
        except TimeoutError:
            pass
