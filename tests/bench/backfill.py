"""A backfill while live deliveries arrive: what it costs those, how fast it is, and what memory it takes."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from core.precedence import EXPECTED
from tests.bench import hubs
from tests.bench.rows import Report, out, percentile

RATE = 50  # events per second that come live
_WINDOW = 10.0  # seconds of one look at the latency
_REST = 3.0  # seconds until what was under way when the source fell silent is done
_LOOK, _SELDOM = 2.0, 10.0  # seconds between two looks at the progress; each counts all objects, many of them longer
_PARTS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95)  # of a whole backfill: how much is there when deliveries come again
_MARKS = (0.1, 0.25, 0.5, 0.75, 1.0)
_STREAM = "contacts"


@dataclass(slots=True)
class _Course:
    """What was seen of a backfill; times are seconds since it began."""

    count: int
    began: float = field(default_factory=time.perf_counter)
    seen: list[tuple[float, float]] = field(default_factory=list)  # time, objects
    silent: list[tuple[float, float]] = field(default_factory=list)  # from when to when the source said nothing
    memory: dict[float, float] = field(default_factory=dict)  # MB by the share that was fetched

    def now(self) -> float:
        return time.perf_counter() - self.began

    def share(self) -> float:
        return self.seen[-1][1] / self.count if self.seen else 0.0

    def rate(self, times: Sequence[tuple[float, float]]) -> float:
        """Objects per second from each beginning to its end, where the source was not silent."""
        objects = seconds = 0.0
        for begin, end in times:
            if len(part := [each for each in self.seen if begin <= each[0] <= end]) > 1:
                (since, first), (to, last) = part[0], part[-1]
                objects += last - first
                seconds += to - since - sum(max(0.0, min(to, b) - max(since, a)) for a, b in self.silent)
        return objects / seconds if seconds else 0.0


async def measure(
    data: Path, backends: str, where: str, existing: int, count: int, seconds: float, report: Report, *, whole: bool
) -> None:
    """Live deliveries for `seconds` during a backfill, or, with `whole`, during each of several parts of it, and in
    turns with that while the source is silent: a machine's speed changes from one minute to the next, so that nothing
    else can be compared. Whenever no deliveries come, the `count` objects come as fast as they can. `existing`
    customers are who writes.
    """
    async with hubs.running(data, backends) as hub:
        await _latency(hub, existing, hubs.WARM)
        before = hub.memory_mb()
    beside: list[float] = []
    alone: list[float] = []
    busy: list[tuple[float, float]] = []  # from when to when deliveries came
    quiet: list[tuple[float, float]] = []  # and from when to when none had come for a while
    async with _crowd(count) as crowd, hubs.running(data, backends, crowd.url) as hub:
        course = _Course(count)
        watching = asyncio.create_task(_watch(hub, course, _SELDOM if whole else _LOOK))
        for part in _PARTS if whole else _PARTS[:1]:
            while course.share() < part and not watching.done():
                await asyncio.sleep(1)
            if quiet:
                quiet[-1] = quiet[-1][0], course.now()
            await _latency(hub, existing, _WINDOW)  # what was under way when the first delivery came does not count
            began, here = course.now(), (len(beside), len(alone))
            while course.now() - began < seconds and not watching.done():
                beside += await _latency(hub, existing, _WINDOW)
                if watching.done():
                    break
                async with crowd.silent(course):
                    await _latency(hub, existing, _REST)
                    alone += await _latency(hub, existing, _WINDOW)
                await _latency(hub, existing, _REST)
                these = [each[first:] for each, first in zip((beside, alone), here, strict=True)]
                shown = [percentile(each, share) * 1000 for each in these for share in (0.5, 0.95)]
                told = "p50 {:.1f} ms, p95 {:.1f} ms so far, without {:.1f} and {:.1f}".format(*shown)
                out.print(f"  {course.now():6.0f} s, {course.share() * 100:.0f} %: {told}", end="\r")
            out.print()
            busy.append((began, course.now()))
            quiet.append((course.now() + EXPECTED + _LOOK, course.now()))
        await watching
    quiet[-1] = quiet[-1][0], course.seen[-1][0] - 2 * _LOOK
    what = f"webhook to feed, {RATE} events/s"
    for share in (0.5, 0.95):
        without = report.add(f"{what}, p{share * 100:.0f}", where, percentile(alone, share) * 1000, "ms")
        took = percentile(beside, share) * 1000
        report.add(f"{what}, during a backfill, p{share * 100:.0f}", where, took, "ms", against=without)
    report.add(f"backfill beside {RATE} live events/s", where, course.rate(busy), "objects/s")
    if rate := course.rate(quiet):  # else too little was left by then
        report.add("backfill alone", where, rate, "objects/s")
    report.add("memory before a backfill", where, before, "MB")
    for share, memory in course.memory.items():
        report.add(f"memory at {share * 100:.0f} % of a backfill", where, memory, "MB")
    report.add("size of the backfill", where, count, "objects")


async def _latency(hub: hubs.Hub, existing: int, seconds: float) -> list[float]:
    found = await hubs.client("latency", hub.webhook, hubs.SECRET, seconds, existing, RATE, hub.api, hub.token)
    if found["lost"]:
        raise RuntimeError(f"{found['lost']} deliveries were not seen on the feed")
    return list(found["seconds"])


async def _watch(hub: hubs.Hub, course: _Course, look: float) -> None:
    """Every `look` seconds, until all objects are in the store."""
    headers = {"Authorization": f"Bearer {hub.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        while 1.0 not in course.memory:
            await asyncio.sleep(look)
            async with session.get(f"{hub.api}/v1/sources") as answer:
                sources = await answer.json()
            crowd = next(source for source in sources["sources"] if source["connection"] == "crowd")
            now, objects = course.now(), crowd["objects"].get("person", 0)
            course.seen.append((now, objects))
            share, progress = objects / course.count, crowd["streams"].get(_STREAM, {}).get("progress") or {}
            for mark in (mark for mark in _MARKS if mark <= share and mark not in course.memory):
                course.memory[mark] = hub.memory_mb()
                out.print(f"  {now:6.0f} s: {share * 100:3.0f} %, {course.memory[mark]:.0f} MB, {progress}")


@dataclass(frozen=True, slots=True)
class _Crowd:
    """A source with many contacts."""

    url: str
    process: asyncio.subprocess.Process

    @asynccontextmanager
    async def silent(self, course: _Course) -> AsyncIterator[None]:
        """It answers nothing within the block."""
        since = course.now()
        self.process.send_signal(signal.SIGUSR1)
        yield
        self.process.send_signal(signal.SIGUSR2)
        course.silent.append((since, course.now()))


@asynccontextmanager
async def _crowd(count: int) -> AsyncIterator[_Crowd]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.crowd", str(count), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield _Crowd((await process.stdout.readline()).decode().strip(), process)
    finally:
        process.terminate()
        await process.wait()
