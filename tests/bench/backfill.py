"""A backfill while live deliveries arrive: what it costs those, how fast it is, and what memory it takes."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
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
_TURNS = 15  # windows beside a backfill for each one without, where it is fetched to its end
_MARKS = (0.1, 0.5, 1.0)
_STREAM = "contacts"


@dataclass(slots=True)
class _Course:
    """What was seen of a backfill; times are seconds since it began."""

    count: int
    began: float = field(default_factory=time.perf_counter)
    seen: list[tuple[float, float]] = field(default_factory=list)  # time, objects
    silent: list[tuple[float, float]] = field(default_factory=list)  # from when to when the source said nothing
    memory: dict[float, float] = field(default_factory=dict)  # MB by the share that was fetched
    left: tuple[float, float] | None = None  # when a tenth was fetched, and how long it would take by then

    def now(self) -> float:
        return time.perf_counter() - self.began

    def lasted(self, begin: float, end: float) -> float:
        """Seconds between two times in which the source was not silent."""
        return end - begin - sum(max(0.0, min(end, to) - max(begin, since)) for since, to in self.silent)

    def rate(self, begin: float, end: float) -> float:
        """Objects per second of these between two times."""
        part = [each for each in self.seen if begin <= each[0] <= end]
        return (part[-1][1] - part[0][1]) / self.lasted(part[0][0], part[-1][0]) if len(part) > 1 else 0.0


async def measure(
    data: Path, backends: str, where: str, existing: int, count: int, seconds: float, report: Report, *, whole: bool
) -> None:
    """Live deliveries for `seconds` during a backfill, or, with `whole`, to its end, and in turns with that while the
    source is silent: a machine's speed changes from one minute to the next, so that nothing else can be compared. Then
    deliveries stop, and the rest of the `count` objects comes as fast as it can. `existing` customers are who writes.
    """
    async with hubs.running(data, backends) as hub:
        await _latency(hub, existing, hubs.WARM)
        before = hub.memory_mb()
    beside: list[float] = []
    alone: list[float] = []
    async with _crowd(count) as crowd, hubs.running(data, backends, crowd.url) as hub:
        course = _Course(count)
        watching = asyncio.create_task(_watch(hub, course, _SELDOM if whole else _LOOK))
        await _latency(hub, existing, _WINDOW)  # what was under way when the first delivery came does not count
        settled = course.now()
        while (whole or course.now() - settled < seconds) and not watching.done():
            for _ in range(_TURNS if whole else 1):
                beside += await _latency(hub, existing, _WINDOW)
            if watching.done():
                break
            async with crowd.silent(course):
                await _latency(hub, existing, _REST)
                alone += await _latency(hub, existing, _WINDOW)
            await _latency(hub, existing, _REST)
            shown = [percentile(each, share) * 1000 for each in (beside, alone) for share in (0.5, 0.95)]
            told = "p50 {:.1f} ms, p95 {:.1f} ms so far, without {:.1f} and {:.1f}".format(*shown)
            out.print(f"  {course.now():6.0f} s: {told}", end="\r")
        stopped = course.now()
        await watching
    what = f"webhook to feed, {RATE} events/s"
    for share in (0.5, 0.95):
        quiet = report.add(f"{what}, p{share * 100:.0f}", where, percentile(alone, share) * 1000, "ms")
        took = percentile(beside, share) * 1000
        report.add(f"{what}, during a backfill, p{share * 100:.0f}", where, took, "ms", against=quiet)
    report.add(f"backfill beside {RATE} live events/s", where, course.rate(settled, stopped), "objects/s")
    ended = course.seen[-1][0]
    if rate := course.rate(stopped + EXPECTED + _LOOK, ended - 2 * _LOOK):  # else too little was left by then
        report.add("backfill alone", where, rate, "objects/s")
    if course.left and whole:  # else deliveries stopped in between, which nobody foresees
        at, told = course.left
        report.add("ETA of a backfill at 10 %, of the truth", where, told / course.lasted(at, ended), "times")
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
            if share >= _MARKS[0] and course.left is None and progress.get("seconds_left") is not None:
                course.left = now, progress["seconds_left"]


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
