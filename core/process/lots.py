"""How much of the past is taken at once: little while deliveries come, so that it is soon out of their way. Pure."""

LEAST, SOME, MOST = 4, 20, 2_000  # events of a lot; SOME: while deliveries come
BREATH = 2  # subjects or records that are computed at a time while deliveries may come
QUICK, LONG = 0.02, 0.25  # seconds that a lot may take, or some times as long as the quickest; LONG: where nobody waits
TIMES = 4  # so much longer than the quickest: a small lot costs nearly what a large one does
PAUSE = 12.0  # so much longer than the lot took is the pause after it, while deliveries come


class Lots:
    """`size` of the next one, in events."""

    def __init__(self) -> None:
        self.size = LEAST
        self._quickest = LONG

    def took(self, seconds: float, *, busy: bool) -> float:
        """A lot was committed in so much time. Answers for how long to pause now; `busy`: deliveries come."""
        self._quickest = min(seconds, self._quickest * 1.01)  # what was quick once may be so no more
        more = seconds < (max(QUICK, TIMES * self._quickest) if busy else LONG)
        size = self.size + max(1, self.size // 4) if more else max(LEAST, self.size * 3 // 4)
        self.size = min(size, SOME if busy else MOST)
        return seconds * PAUSE if busy else 0.0
