"""What Intercom does about an address that refuses its webhooks. Pure: no I/O, no clock.

More than 1,000 errors in a row within a quarter of an hour: it pauses for as long. Errors for more than a week: a
private app's subscription is suspended, until somebody sets it live. An answer 429 slows it down; by how much is not
published.
"""

from collections import deque
from math import inf

ERRORS, WITHIN, PAUSE = 1_000, 900.0, 900.0
WEEK = 7 * 86_400.0
SLOWEST = 60.0


class Patience:
    """Of one subscription; all times in seconds."""

    def __init__(self) -> None:
        self._live()

    def _live(self) -> None:
        self._errors: deque[float] = deque(maxlen=ERRORS + 1)  # in a row
        self._since: float | None = None  # no webhook was taken since
        self._delay = 0.0

    def after(self, status: int, at: float) -> float:
        """For how long nothing is sent after this answer (0: there was none)."""
        if 200 <= status < 300:
            self._live()
            return 0.0
        if status == 429:  # asked to be slower: no error, and no attempt lost
            self._delay = min(2 * self._delay or 1.0, SLOWEST)
            return self._delay
        self._since = at if self._since is None else self._since
        if at - self._since > WEEK:
            self._live()
            return inf
        self._errors.append(at)
        if len(self._errors) <= ERRORS or at - self._errors[0] > WITHIN:
            return 0.0
        self._errors.clear()
        return PAUSE
