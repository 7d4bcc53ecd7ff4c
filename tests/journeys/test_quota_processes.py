"""Several processes of the hub ask one source that enforces its limit and tells nothing of it."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.hubs import until
from tests.limited import LIMIT, PER, Fast, Limited
from tests.source import serving

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
SECONDS = 12
LONG = 60  # of processes that are ended earlier


async def test_two_processes_share_a_limit_that_nobody_tells_them(kafka_servers: str, prefix: str) -> None:
    async with serving(Limited(Fast(1.0).now, limit=LIMIT, per=PER)) as source:
        asking = [await _started(kafka_servers, prefix, source.url, purpose) for purpose in ("sweep", "backfill")]
        for process in asking:
            assert process.stdout and await process.stdout.readline() == b"ready\n"
        said = await asyncio.gather(*(process.communicate(b"begin\n") for process in asking))
    assert [process.returncode for process in asking] == [0, 0]
    assert source.refused == 0
    assert source.least >= LIMIT * 0.2, "the reserve of the company's other tools"
    sweeps, backfills = (int(out) for out, _ in said)
    assert sweeps > backfills >= 2, "by purpose, whichever process it is, and nobody starves"
    assert sweeps + backfills > LIMIT, "it is a window's limit, not that of all time"


async def test_what_a_killed_process_held_comes_back_to_the_others(kafka_servers: str, prefix: str) -> None:
    async with serving(Limited(Fast(1.0).now, limit=LIMIT, per=PER)) as source:
        purposes = ("sweep", "backfill")
        asking = [await _started(kafka_servers, prefix, source.url, purpose, seconds=LONG) for purpose in purposes]
        for process in asking:
            assert process.stdout and await process.stdout.readline() == b"ready\n"
            assert process.stdin
            process.stdin.write(b"begin\n")
        had = source.by_purpose
        # Whichever begins first on a busy machine, the sweep has most of it as soon as a window has passed.
        await until(lambda: had.get("sweep", 0) > had.get("backfill", 0) > 0, "that the sweep had most", LONG / 2)
        greedy, other = asking
        before = had["backfill"]
        greedy.kill()
        await greedy.wait()
        await until(lambda: had["backfill"] - before > LIMIT / 2, "what was held", LONG / 2)
        other.terminate()
        await asyncio.gather(*(process.communicate() for process in asking))
    assert source.refused == 0 and source.least >= LIMIT * 0.2


async def _started(*arguments: str, seconds: int = SECONDS) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "tests.asker", *arguments, str(seconds)]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
