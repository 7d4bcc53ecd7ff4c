"""How many requests a mock lets through: windows as sources count them. Pure: no I/O, no clock."""

import math
from collections import deque


class Window:
    """So many requests in `per` seconds. A fixed window begins with a request and forgets all at its end; a rolling one
    forgets each request `per` after it came."""

    def __init__(self, per: float, *, rolling: bool = False) -> None:
        self.per, self.rolling = per, rolling
        self._came: deque[float] = deque()  # of a fixed window only the first
        self._count = 0

    def spend(self, limit: int, at: float) -> tuple[int, int]:
        """A request comes: how many more may (negative: this one is too many), and after how many seconds more may
        again. What is refused does not count."""
        while self._came and at - self._came[0] >= self.per:
            self._came.popleft()
            self._count = self._count - 1 if self.rolling else 0
        left = limit - self._count - 1
        if left >= 0:
            self._count += 1
            if self.rolling or not self._came:
                self._came.append(at)
        began = self._came[0] if self._came else at
        return left, max(1, math.ceil(began + self.per - at))
