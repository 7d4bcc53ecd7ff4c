"""An event loop whose time jumps to the next timer as soon as nothing else is to be done: an hour passes in a moment.

Real sockets of this process work as ever: what was sent over loopback is there before the next look. Only `loop.time()`
is simulated, and with it every sleep and every timeout; nothing may wait for a thread.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_STEP = 0.0005  # seconds that a step of work takes
_STUCK = 10.0  # real seconds without a timer and without a byte: somebody waits for what will never come


def simulated(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `work()` to its end in such a loop. To be called in a thread that runs no loop."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work())


class _Hasty(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        self.now += _STEP  # or nobody's time would come while somebody is always busy
        if found or timeout == 0:
            return found
        if timeout is None:
            return super().select(_STUCK)
        self.now += timeout
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._hasty = _Hasty()
        super().__init__(self._hasty)

    def time(self) -> float:
        return self._hasty.now
