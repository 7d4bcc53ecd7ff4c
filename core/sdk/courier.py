"""Carries pushes to the hub as a source does: signed at each attempt, with a timeout, again and again while refused."""

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp

from core.sdk.player import Queued
from core.sdk.simulator import Push

WAITS = (0.3, 0.6, 1.2, 2.5, 5.0, 10.0)  # seconds between attempts; the last one repeats. Sources wait minutes.
LIMIT = 10_000  # pushes in the queue; what comes on top is left to the pull side
_LOOK = 0.5  # seconds after which a waiting worker looks again, whoever was woken
AT_ONCE = 4  # requests in flight, so that order is not kept, as with real sources

Sign = Callable[[Push, str, datetime], tuple[str, dict[str, str], bytes]]


@dataclass(order=True, slots=True)
class _Attempt:
    due: float
    number: int
    push: Push = field(compare=False)
    refusals: int = field(default=0, compare=False)
    delays: int = field(default=0, compare=False)  # refusals after which the source paused: no steps towards the last


class Courier:
    """`log` keeps what was answered: {"n", "subject", "kind", "status", "forged", "attempt"}; a forged push is tried
    once. No answer at all (the hub is down) does not count as a refusal: attempts go on for ever, with pauses.

    `keep` makes it as strict as the source: its own pauses, by the mock's clock, and no answer counts as a refusal;
    until then attempts are hurried. `pause`, as `Simulator` has it, is asked only then. Once it says that the webhook
    is off, what comes is dropped until `keep` is called again, and what waits, too, unless the source is one that
    `forgives`: there what waits goes on, and the first that is taken switches the webhook on. `switched` hears of both.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        target: str,
        sign: Sign,
        *,
        timeout: float,
        retries: int,
        now: Callable[[], int],
        done: Callable[[int], None],
        pause: Callable[[int, int, float], float] = lambda status, attempt, at: 0.0,
        forgives: bool = False,
        switched: Callable[[bool], None] = lambda on: None,
    ) -> None:
        self.target = target
        self.off = False  # whether the source has switched the webhook off
        self.log: deque[dict[str, Any]] = deque(maxlen=200_000)
        self.spilled = 0
        self.in_flight = 0
        self.heard = 0.0  # the loop's time: when a push was last taken
        self._session, self._sign, self._now, self._done = session, sign, now, done
        self._pause, self._forgives, self._switched = pause, forgives, switched
        self._timeout, self._retries = aiohttp.ClientTimeout(total=timeout), retries
        self._heap: list[_Attempt] = []
        self._silences, self._quiet = 0, 0.0  # attempts without an answer in a row; until when nothing is tried
        self._wake = asyncio.Event()
        self._schedule: tuple[float, ...] = ()
        self._rest = 0.0  # until then the source sends nothing, by the clock that its pauses go by

    def keep(self, schedule: Sequence[float]) -> None:
        """Seconds of the mock's clock between two attempts, the last one repeats; none: hurried. What waits is tried
        at once."""
        self._schedule, self._rest = tuple(schedule), 0.0
        self._switch(True)
        self._heap = [replace(attempt, due=self._time()) for attempt in self._heap]
        heapq.heapify(self._heap)
        self._wake.set()

    def resume(self) -> None:
        """Somebody has switched the webhook on again."""
        self.keep(self._schedule)

    def look(self) -> None:
        """Somebody has put the clock forward: more may be due."""
        self._wake.set()

    def __len__(self) -> int:
        return len(self._heap) + self.in_flight

    def put(self, queued: Sequence[Queued]) -> None:
        for number, push in queued:
            if not self.target:
                self._done(number)
            elif self.off or len(self) >= LIMIT:
                self.spilled += 1
                self._done(number)
            else:
                heapq.heappush(self._heap, _Attempt(self._time(), number, push))
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. What is then in flight counts as not delivered."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._carry())

    async def settled(self) -> None:
        """Returns once nothing waits or is in flight; for ever while the hub is down."""
        while len(self):  # noqa: ASYNC110  for tests, which can wait
            await asyncio.sleep(0.02)

    async def send(self, push: Push) -> int:
        """One attempt. Returns the status of the answer; raises aiohttp.ClientError, OSError and TimeoutError."""
        url, headers, body = self._sign(push, self.target, datetime.fromtimestamp(self._now() / 1000, UTC))
        async with self._session.post(
            url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
        ) as answer:
            await answer.read()
            return answer.status

    async def _carry(self) -> None:
        while True:
            attempt = await self._take()
            self.in_flight += 1
            try:
                await self._try(attempt)
            finally:
                self.in_flight -= 1

    async def _take(self) -> _Attempt:
        while True:
            self._wake.clear()
            due = self._heap[0].due - self._time() if self._heap else _LOOK
            wait = max(due, self._quiet - _loop_time(), self._rest - self._time())
            if wait <= 0:
                return heapq.heappop(self._heap)
            try:
                # Not `wait_for`: in Python 3.11 it swallows a cancellation that comes together with the wake-up.
                async with asyncio.timeout(min(wait, _LOOK)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _try(self, attempt: _Attempt) -> None:
        push = attempt.push
        try:
            status = await self.send(replace(push, attempt=attempt.refusals + attempt.delays))
        except (aiohttp.ClientError, OSError, TimeoutError):
            status = 0
        self.log.append({"n": attempt.number, "subject": push.subject, "kind": push.kind, "status": status,
                         "forged": push.forged, "attempt": attempt.refusals + attempt.delays})  # fmt: skip
        if not status and not self._schedule:
            self._silences += 1
            self._quiet = _loop_time() + WAITS[min(self._silences, len(WAITS)) - 1]
            heapq.heappush(self._heap, attempt)
            return
        self._silences, self._quiet = 0, 0.0
        if 200 <= status < 300:
            self.heard = _loop_time()
        strict = self._schedule and not push.forged
        pause = self._pause(status, attempt.refusals, self._time()) if strict else 0.0
        if 200 <= status < 300 or push.forged:
            self._done(attempt.number)
            if strict and self._forgives:
                self._switch(True)
        elif pause == math.inf:
            self._switch(False)
            self._spill(attempt)
            while self._heap and not self._forgives:
                self._spill(heapq.heappop(self._heap))
        else:
            self._refused(attempt, pause)

    def _refused(self, attempt: _Attempt, pause: float) -> None:
        if pause:
            self._rest = max(self._rest, self._time() + pause)
        dropped = attempt.push.once or (self.off and not self._forgives)
        if dropped or (not pause and attempt.refusals >= self._retries):
            self._spill(attempt)
            return
        if pause:
            attempt.delays += 1
            attempt.due = self._rest
        else:
            attempt.refusals += 1
            waits = self._schedule or WAITS
            attempt.due = self._time() + waits[min(attempt.refusals, len(waits)) - 1]
        heapq.heappush(self._heap, attempt)
        self._wake.set()

    def _switch(self, on: bool) -> None:
        if self.off == on:
            self.off = not on
            self._switched(on)

    def _spill(self, attempt: _Attempt) -> None:
        self.spilled += 1
        self._done(attempt.number)

    def _time(self) -> float:
        """Seconds, of the clock that the pauses go by."""
        return self._now() / 1000 if self._schedule else _loop_time()


def _loop_time() -> float:
    """Of the event loop, so that waits and the clock that measures them are the same."""
    return asyncio.get_running_loop().time()
