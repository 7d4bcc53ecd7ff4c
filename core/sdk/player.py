"""Plays the story into one mock world and remembers how far it came.

A world is a function of (seed, beats with their times, extra beats), so the state file keeps only that: segments
(from which beat on which time and pace hold), rings and other extras, and which pushes are not yet acknowledged. A
restarted mock replays them in memory and then begins a new cycle; what was left of the old one happens at once.
"""

import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import Any

from core.sdk.cast import CALLERS, CAST, OFFICE_PHONE, ORGANIZATIONS
from core.sdk.simulator import Push, Simulator
from core.sdk.story import CYCLE, STRIDE, Beat, beats, guest, opening

_SLEPT = 30.0  # seconds without a tick after which the machine has slept: the story goes on from where it was


class Clock:
    """The mock's time of day in epoch ms: the machine's, unless set from outside. `rate` 0 stops it; `timer` gives
    seconds that pass."""

    def __init__(self, now_ms: int | None = None, rate: float = 1.0, *, timer: Callable[[], float] = monotonic) -> None:
        self.rate = rate
        self._timer = timer
        self._base = time() * 1000 if now_ms is None else float(now_ms)
        self._since = timer()

    def now(self) -> int:
        return int(self._base + (self._timer() - self._since) * 1000 * self.rate)

    def set(self, now_ms: int | None = None, rate: float | None = None) -> None:
        self._base = float(self.now() if now_ms is None else now_ms)
        self._since = self._timer()
        self.rate = self.rate if rate is None else rate


@dataclass(frozen=True, slots=True)
class Segment:
    """From beat `n` on: a beat happens at `time` (epoch ms) + (its offset - `at`) / pace; with pace 0 at `time`."""

    n: int
    time: int
    at: float
    pace: float

    def when(self, beat: Beat) -> int:
        return self.time if self.pace == 0 else self.time + int((beat.at - self.at) * 1000 / self.pace)


Queued = tuple[int, Push]  # a push with its number, which is the same in every replay


class Player:
    """One world and its place in the story. `due()` is called often; what it returns must be sent.

    Nothing here waits: times are compared with the clock when a method is called.
    """

    def __init__(
        self, world: Simulator, clock: Clock, pace: float, state: Path | None, cycle: int | None = None
    ) -> None:
        self.world, self.clock, self.pace = world, clock, pace
        self.rings = 0
        self.pending: set[int] = set()
        self._state, self._pushes = state, 0
        self._extras: list[list[Any]] = []  # [next n when it happened, epoch ms, kind, ref, data]
        self._planned: list[tuple[int, str, str, dict[str, Any]]] = []  # heap by epoch ms
        self._segments: list[Segment] = []
        self._ticked = monotonic()
        self._restored: list[Queued] = []
        saved = json.loads(state.read_bytes()) if state is not None and state.exists() else None
        if saved is not None and saved["seed"] == world.seed:
            self._restore(saved, cycle)
        else:
            self._begin()
            self._restored += self._new_cycle(cycle or 0)

    @property
    def n(self) -> int:
        """The number of the next beat."""
        return self._next.n

    def restored(self) -> Sequence[Queued]:
        """Pushes that an earlier run had not delivered, and those of the rest of its cycle; given out once."""
        found, self._restored = self._restored, []
        return found

    def due(self) -> Sequence[Queued]:
        """Plays what is due by now and saves the place before the pushes are handed out."""
        slept, self._ticked = monotonic() - self._ticked > _SLEPT, monotonic()
        now = self.clock.now()
        if slept:
            self._anchor(now, self._next.at)
        found: list[Queued] = []
        before = (self.n, len(self._extras))
        while self.pace > 0 and (when := self._segments[-1].when(self._next)) <= now:
            found += self._planned_until(when)
            found += self._play(when)
        found += self._planned_until(now)
        if before != (self.n, len(self._extras)):
            self.save()
        return found

    def step(self, count: int) -> Sequence[Queued]:
        """Plays `count` beats now, whatever the pace."""
        now = self.clock.now()
        self._segments.append(Segment(self.n, now, self._next.at, 0))
        found: list[Queued] = []
        at = self._next.at
        for _ in range(count):
            at = self._next.at
            found += self._play(now)
        self._anchor(now, at)
        self.save()
        return found

    def set_pace(self, pace: float) -> None:
        now, last = self.clock.now(), self._segments[-1]
        at = min(last.at + (now - last.time) / 1000 * last.pace, self._next.at)
        self.pace = pace
        self._anchor(now, at)
        self.save()

    def set_clock(self, now_ms: int | None, rate: float | None) -> None:
        """A clock that was set does not make the story jump: the next beat is as far away as before."""
        before, last = self.clock.now(), self._segments[-1]
        at = min(last.at + (before - last.time) / 1000 * last.pace, self._next.at)
        self.clock.set(now_ms, rate)
        self._anchor(self.clock.now(), at)
        self.save()

    def insert(self, kind: str, ref: str, data: dict[str, Any]) -> Sequence[Queued]:
        """Plays a beat that is not in the story, now."""
        found = self._extra(self.clock.now(), kind, ref, data)
        self.save()
        return found

    def touch(self, count: int) -> Sequence[Queued]:
        """The oldest objects of the opening change once more, so many of them: they move to the end of many lists."""
        now, found = self.clock.now(), list[Queued]()
        old = [beat for beat in opening(self.world.seed) if beat.vendor == self.world.name]
        for beat in [beat for beat in old if beat.kind.endswith((".upsert", ".open"))][:count]:
            again = (beat.kind, dict(beat.data))
            if beat.kind == "conversation.open":
                again = ("conversation.reply", {"by": "customer", "text": "One more thing."})
            found += self._extra(now, again[0], beat.ref, again[1])
        self.save()
        return found

    def ring(self, phone: str | None) -> tuple[dict[str, Any], Sequence[Queued]]:
        """A customer calls now: a staff member answers after 6 s, and after 25 s the call is over."""
        phone = phone or CAST[CALLERS[self.rings % len(CALLERS)]].phone
        ref, now = f"ring:{self.rings}", self.clock.now()
        self.rings += 1
        for wait, kind, data in ((6_000, "call.answer", {"by": "maya"}), (25_000, "call.end", {})):
            heapq.heappush(self._planned, (now + wait, kind, ref, data))
        pushes = self.insert("call.ring", ref, {"phone": phone, "direction": "inbound"})
        who = {"phone": phone, "name": name_of(phone, self.n // STRIDE), "call": pushes[0][1].subject if pushes else ""}
        return who, pushes

    def acknowledged(self, number: int) -> None:
        self.pending.discard(number)

    def save(self) -> None:
        """Written before a push goes out, so that a killed mock remembers what it may have said."""
        if self._state is None:
            return
        kept = {
            "seed": self.world.seed, "epoch": self._epoch, "n": self.n, "rings": self.rings,
            "pending": sorted(self.pending),
            "segments": [[part.n, part.time, part.at, part.pace] for part in self._segments],
            "extras": self._extras, "planned": self._planned,
        }  # fmt: skip
        self._state.parent.mkdir(parents=True, exist_ok=True)
        part = self._state.with_suffix(".part")
        part.write_text(json.dumps(kept))
        part.replace(self._state)

    def _begin(self) -> None:
        self._story: Iterator[Beat] = beats(self.world.seed)
        self._next = next(self._story)
        self._epoch = self.clock.now()
        self._segments = [Segment(self.n, self._epoch, self._next.cycle * CYCLE, self.pace)]
        self._open()

    def _open(self) -> None:
        for beat in opening(self.world.seed):
            if beat.vendor == self.world.name:
                self.world.apply(beat, self._epoch + int(beat.at * 1000))

    def _restore(self, saved: dict[str, Any], cycle: int | None) -> None:
        segments = [Segment(*part) for part in saved["segments"]]
        pending = set(saved["pending"])
        self._story = beats(self.world.seed, segments[0].n)
        self._next = next(self._story)
        self._epoch = saved["epoch"]
        self._open()
        extras = iter([*saved["extras"], None])
        extra, index = next(extras), 0
        while True:
            while extra is not None and extra[0] <= self.n:
                self._restored += self._extra(*extra[1:])
                extra = next(extras)
            if self.n >= saved["n"]:
                break
            while index + 1 < len(segments) and segments[index + 1].n <= self.n:
                index += 1
            self._restored += self._play(segments[index].when(self._next))
        self._restored = [queued for queued in self._restored if queued[0] in pending]
        self.pending = {number for number, _ in self._restored}
        self._segments, self.rings = segments, saved["rings"]
        self._planned = [(at, kind, ref, data) for at, kind, ref, data in saved["planned"]]
        self._restored += self._new_cycle(max(cycle or 0, -(-saved["n"] // STRIDE)))

    def _new_cycle(self, cycle: int) -> Sequence[Queued]:
        found: list[Queued] = []
        now = self.clock.now()
        if self.n % STRIDE or self.n // STRIDE < cycle:
            self._segments.append(Segment(self.n, now, self._next.at, 0))
        while self.n < cycle * STRIDE:
            found += self._play(now)
        self._anchor(now, self._next.cycle * CYCLE)
        self.save()
        return found

    def _anchor(self, now: int, at: float) -> None:
        self._segments = [part for part in self._segments if part.n < self.n]
        self._segments.append(Segment(self.n, now, at, self.pace))

    def _play(self, when: int) -> Sequence[Queued]:
        beat, self._next = self._next, next(self._story)
        return self._numbered(self.world.apply(beat, when)) if beat.vendor == self.world.name else []

    def _extra(self, when: int, kind: str, ref: str, data: dict[str, Any]) -> Sequence[Queued]:
        self._extras.append([self.n, when, kind, ref, data])
        return self._numbered(self.world.apply(Beat(self.n, kind, self.world.name, ref, 0, data), when))

    def _planned_until(self, now: int) -> Sequence[Queued]:
        found: list[Queued] = []
        while self._planned and self._planned[0][0] <= now:
            found += self._extra(*heapq.heappop(self._planned))
        return found

    def _numbered(self, pushes: Sequence[Push]) -> Sequence[Queued]:
        found = [(self._pushes + index, push) for index, push in enumerate(pushes)]
        self._pushes += len(found)
        self.pending.update(number for number, _ in found)
        return found


def name_of(phone: str, cycle: int) -> str:
    """Who is known by this number, as far as the story knows; empty for a stranger."""
    if phone == OFFICE_PHONE:
        return ORGANIZATIONS["bakery"].name
    for actor in CAST.values():
        if actor.phone == phone:
            return actor.name
    for number in range(cycle, max(cycle - 1000, 0), -1):
        if (who := guest(number)).phone == phone:
            return f"{who.given} {who.family}"
    return ""
