"""Carries pushes to the hub as a source does: signed at each attempt, with a timeout, again and again while refused."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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


class Courier:
    """`log` keeps what was answered: {"n", "subject", "kind", "status", "forged", "attempt"}; a forged push is tried
    once. No answer at all (the hub is down) does not count as a refusal: attempts go on for ever, with pauses."""

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
    ) -> None:
        self.target = target
        self.log: deque[dict[str, Any]] = deque(maxlen=200_000)
        self.spilled = 0
        self.in_flight = 0
        self.heard = 0.0  # the loop's time: when a push was last taken
        self._session, self._sign, self._now, self._done = session, sign, now, done
        self._timeout, self._retries = aiohttp.ClientTimeout(total=timeout), retries
        self._heap: list[_Attempt] = []
        self._silences, self._quiet = 0, 0.0  # attempts without an answer in a row; until when nothing is tried
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._heap) + self.in_flight

    def put(self, queued: Sequence[Queued]) -> None:
        for number, push in queued:
            if not self.target:
                self._done(number)
            elif len(self) >= LIMIT:
                self.spilled += 1
                self._done(number)
            else:
                heapq.heappush(self._heap, _Attempt(_time(), number, push))
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
            due = max(self._heap[0].due, self._quiet) if self._heap else _time() + _LOOK
            if due <= _time():
                return heapq.heappop(self._heap)
            try:
                # Not `wait_for`: in Python 3.11 it swallows a cancellation that comes together with the wake-up.
                async with asyncio.timeout(min(due - _time(), _LOOK)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _try(self, attempt: _Attempt) -> None:
        push = attempt.push
        try:
            status = await self.send(push)
        except (aiohttp.ClientError, OSError, TimeoutError):
            status = 0
        self.log.append({"n": attempt.number, "subject": push.subject, "kind": push.kind, "status": status,
                         "forged": push.forged, "attempt": attempt.refusals})  # fmt: skip
        if not status:
            self._silences += 1
            self._quiet = _time() + WAITS[min(self._silences, len(WAITS)) - 1]
            heapq.heappush(self._heap, attempt)
            return
        self._silences, self._quiet = 0, 0.0
        if 200 <= status < 300:
            self.heard = _time()
        if 200 <= status < 300 or push.forged:
            self._done(attempt.number)
            return
        if attempt.refusals >= self._retries:
            self.spilled += 1
            self._done(attempt.number)
            return
        attempt.refusals += 1
        attempt.due = _time() + WAITS[min(attempt.refusals, len(WAITS)) - 1]
        heapq.heappush(self._heap, attempt)
        self._wake.set()


def _time() -> float:
    """Of the event loop, so that waits and the clock that measures them are the same."""
    return asyncio.get_running_loop().time()
