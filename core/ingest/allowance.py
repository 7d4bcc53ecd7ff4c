"""A limit that begins anew at a time of the clock, such as midnight, as far as the source tells how it stands. Pure.

The source's own count is all there is to go by: what this process has sent says nothing of what was sent before it
started, or of whether the day has ended since. So the reserve is kept whole, and where nothing is left and nobody says
until when, one request asks again every `LOOK_AGAIN` seconds.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from core.ingest.quota import LOOK, Meter, Purpose, room, usable
from core.sdk import RateHeaders

LOOK_AGAIN = 900.0  # seconds


@dataclass(slots=True)
class Allowance(Meter):
    """See Meter. Before the source tells anything its own count is taken."""

    headers: RateHeaders = field(default_factory=RateHeaders)
    policy: str = ""
    _heard: bool = False

    def told(self, remaining: int, at: float, *, limit: int | None, until: float | None) -> None:
        self.limit = max(remaining, limit or self.limit or 0)
        # What is told counts the request that is answered so, which flies until it lands.
        self._remaining, self._landed = remaining, -min(1, self.flying.total())
        self._until, self._heard = at + LOOK_AGAIN if until is None else until, True

    def refused(self, at: float, until: float | None) -> float:
        """The source says that nothing is left. Returns when to ask again, epoch seconds."""
        self.told(0, at, limit=None, until=until)
        return self._until

    def wait(self, purpose: Purpose, waiting: Collection[Purpose], reserve: float, at: float) -> float:
        if self.limit is None:
            return 0.0
        most, spent = usable(self.limit, reserve), self.window.spent(at) + self.flying
        if room(most, spent, self._spent(at), waiting, purpose):
            return 0.0
        if at < self._until:
            return self._until - at
        # What was told is old by now: one request asks how it stands.
        return LOOK if self.flying.total() else 0.0

    def left(self, reserve: float, at: float) -> int | None:
        return None if self.limit is None else max(0, usable(self.limit, reserve) - self._spent(at))

    def _spent(self, at: float) -> int:
        assert self.limit is not None
        if not self._heard:
            return (self.window.spent(at) + self.flying).total()
        return self.limit - self._remaining + self._landed + self.flying.total()
