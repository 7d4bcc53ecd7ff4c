"""The hints of one connection that wait to be fetched: doubles collapsed, bounded, and none forgotten. Pure.

A read made within `settle` of a change may be older than the change, so what is fetched so soon is fetched once more.
"""

from dataclasses import dataclass, field, replace

from core.sdk import Hint

MOST_WAITING = 20_000
MISSING = "missing"  # the action of a hint by a listing that differs from what is known
_MOST_ACTIONS = 20  # of one object; a sender's words must not fill the memory


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object to fetch. `hints`: the newest of each action, for a merge tells other things than a change; the newest
    of all is the last. `offset`: the first message on the bus that this fetch makes done; `taken`: when the bus took
    the newest; `due`: not before (epoch ms); `again`: it was fetched once, too early to be sure. `tries`: failures of
    this object alone."""

    hints: tuple[Hint, ...]
    offset: int
    taken: int
    due: int = 0
    again: bool = False
    tries: int = 0

    @property
    def name(self) -> tuple[str, str]:
        return self.hints[-1].kind, self.hints[-1].id

    @property
    def listed(self) -> str | None:
        """The kind of the listing that named it; None where a webhook did."""
        return self.hints[-1].kind if self.hints[-1].action == MISSING else None


@dataclass(slots=True)
class Lane:
    """`behind`: from this offset on hints are left on the bus, because too many wait here already."""

    waiting: dict[tuple[str, str], Wanted] = field(default_factory=dict)
    flying: dict[tuple[str, str], Wanted] = field(default_factory=dict)
    behind: int | None = None
    most: int = MOST_WAITING

    @property
    def full(self) -> bool:
        return len(self.waiting) >= self.most

    def add(self, new: Wanted) -> None:
        """One more; of the same object's hints the newest of each action counts, and the oldest message is not done
        before."""
        old = self.waiting.get(new.name)
        if old is not None:
            hints = _newest((*old.hints, *new.hints))
            new = replace(new, hints=hints, offset=min(old.offset, new.offset), taken=max(old.taken, new.taken))
        self.waiting[new.name] = new

    def take(self, now: int, limit: int) -> list[Wanted]:
        """At most `limit` that are due, the first come first; they fly until `done` or `back`. What listings named
        comes last, and each kind by itself, so that all of a fetch has one origin."""
        due = [wanted for wanted in self.waiting.values() if wanted.due <= now and wanted.name not in self.flying]
        due = [wanted for wanted in due if wanted.listed is None] or due
        due = [wanted for wanted in due if wanted.listed == due[0].listed]
        for wanted in due[:limit]:
            self.flying[wanted.name] = self.waiting.pop(wanted.name)
        return due[:limit]

    def done(self, fetched: list[Wanted], started: int, settle: int) -> None:
        """They were read from `started` on (epoch ms)."""
        for wanted in fetched:
            del self.flying[wanted.name]
            if not wanted.again and started < wanted.taken + settle and wanted.name not in self.waiting:
                self.waiting[wanted.name] = replace(
                    wanted, due=min(started, wanted.taken) + settle, again=True, tries=0
                )

    def back(self, failed: list[Wanted], tries: int = 0) -> None:
        """They were not read."""
        for wanted in failed:
            del self.flying[wanted.name]
            self.add(replace(wanted, due=0, tries=wanted.tries + tries))

    def drop(self, given_up: Wanted) -> None:
        """It became a dead letter."""
        del self.flying[given_up.name]

    def next_due(self) -> int | None:
        """Epoch ms; None where nothing waits."""
        return min((wanted.due for name, wanted in self.waiting.items() if name not in self.flying), default=None)

    def undone(self) -> int | None:
        """The lowest offset that must not be committed; None where all is done."""
        offsets = [wanted.offset for wanted in (*self.waiting.values(), *self.flying.values())]
        if self.behind is not None:
            offsets.append(self.behind)
        return min(offsets, default=None)


def _newest(hints: tuple[Hint, ...]) -> tuple[Hint, ...]:
    """Of each action, in order of time; of what a listing lacks only where nothing else was told."""
    told = [hint for hint in hints if hint.action != MISSING] or hints
    latest = {hint.action: hint for hint in sorted(told, key=lambda hint: hint.at)}
    return tuple(sorted(latest.values(), key=lambda hint: hint.at)[-_MOST_ACTIONS:])
