"""A backfill while live deliveries arrive: what it costs those, how fast it is, and what memory it takes."""

import asyncio
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
_LOOK = 2.0  # seconds between two looks at the progress
_MARKS = (0.1, 0.5, 1.0)
_STREAM = "contacts"


@dataclass(slots=True)
class _Course:
    """What was seen of a backfill; times are seconds since it began."""

    count: int
    seen: list[tuple[float, float]] = field(default_factory=list)  # time, objects
    memory: dict[float, float] = field(default_factory=dict)  # MB by the share that was fetched
    left: tuple[float, float] | None = None  # when a tenth was fetched, and how long it would take by then

    def rate(self, begin: float, end: float) -> float:
        """Objects per second between two times."""
        part = [each for each in self.seen if begin <= each[0] <= end]
        return (part[-1][1] - part[0][1]) / (part[-1][0] - part[0][0]) if len(part) > 1 else 0.0


async def measure(
    data: Path, backends: str, where: str, existing: int, count: int, seconds: float, report: Report, *, whole: bool
) -> None:
    """`seconds` of live deliveries alone, and twice as long during a backfill, or, with `whole`, to its end; then they
    stop, and the rest of the `count` objects comes as fast as it can. Then they come alone once more: a machine's speed
    changes within the hour. `existing` customers are who writes."""
    alone, before = await _alone(data, backends, existing, seconds)
    course = _Course(count)
    async with _crowd(count) as url, hubs.running(data, backends, url) as hub:
        watching = asyncio.create_task(_watch(hub, course))
        began = time.perf_counter()
        await _latency(hub, existing, _WINDOW)  # what was under way when the first delivery came does not count
        settled = time.perf_counter() - began
        beside: list[float] = []
        while (whole or time.perf_counter() - began - settled < 2 * seconds) and not watching.done():
            beside += await _latency(hub, existing, _WINDOW)
            p50, p95 = (percentile(beside, share) * 1000 for share in (0.5, 0.95))
            out.print(f"  {time.perf_counter() - began:6.0f} s: p50 {p50:.1f} ms, p95 {p95:.1f} ms so far", end="\r")
        stopped = time.perf_counter() - began
        await watching
    alone += (await _alone(data, backends, existing, seconds))[0]
    what = f"webhook to feed, {RATE} events/s"
    for share in (0.5, 0.95):
        quiet = report.add(f"{what}, p{share * 100:.0f}", where, percentile(alone, share) * 1000, "ms")
        took = percentile(beside, share) * 1000
        report.add(f"{what}, during a backfill, p{share * 100:.0f}", where, took, "ms", against=quiet)
    report.add(f"backfill beside {RATE} live events/s", where, course.rate(settled, stopped), "objects/s")
    ended = course.seen[-1][0]
    if rate := course.rate(stopped + EXPECTED + _LOOK, ended - 2 * _LOOK):  # else too little was left by then
        report.add("backfill alone", where, rate, "objects/s")
    if course.left:
        at, told = course.left
        report.add("ETA of a backfill at 10 %, of the truth", where, told / (ended - at), "times")
    report.add("memory before a backfill", where, before, "MB")
    for share, memory in course.memory.items():
        report.add(f"memory at {share * 100:.0f} % of a backfill", where, memory, "MB")
    report.add("size of the backfill", where, count, "objects")


async def _alone(data: Path, backends: str, existing: int, seconds: float) -> tuple[list[float], float]:
    """Without a backfill: how long deliveries took, and the hub's memory in MB."""
    async with hubs.running(data, backends) as hub:
        await _latency(hub, existing, hubs.WARM)
        return await _latency(hub, existing, seconds), hub.memory_mb()


async def _latency(hub: hubs.Hub, existing: int, seconds: float) -> list[float]:
    found = await hubs.client("latency", hub.webhook, hubs.SECRET, seconds, existing, RATE, hub.api, hub.token)
    if found["lost"]:
        raise RuntimeError(f"{found['lost']} deliveries were not seen on the feed")
    return list(found["seconds"])


async def _watch(hub: hubs.Hub, course: _Course) -> None:
    """Until all objects are in the store."""
    begin = time.perf_counter()
    headers = {"Authorization": f"Bearer {hub.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        while 1.0 not in course.memory:
            await asyncio.sleep(_LOOK)
            async with session.get(f"{hub.api}/v1/sources") as answer:
                sources = await answer.json()
            crowd = next(source for source in sources["sources"] if source["connection"] == "crowd")
            now, objects = time.perf_counter() - begin, crowd["objects"].get("person", 0)
            course.seen.append((now, objects))
            share, progress = objects / course.count, crowd["streams"].get(_STREAM, {}).get("progress") or {}
            for mark in (mark for mark in _MARKS if mark <= share and mark not in course.memory):
                course.memory[mark] = hub.memory_mb()
                out.print(f"  {now:6.0f} s: {share * 100:3.0f} %, {course.memory[mark]:.0f} MB, {progress}")
            if share >= _MARKS[0] and course.left is None and progress.get("seconds_left") is not None:
                course.left = now, progress["seconds_left"]


@asynccontextmanager
async def _crowd(count: int) -> AsyncIterator[str]:
    """The address of a source with so many contacts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.crowd", str(count), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()
