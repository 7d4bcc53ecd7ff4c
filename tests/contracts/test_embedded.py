"""What is special about the embedded bus: one file, one process, its disk, its retention."""

import asyncio
import os
import resource
import signal
import sqlite3
import stat
import sys
import textwrap
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from core.bus import Bus, Message
from core.bus.embedded import open_embedded
from core.bus.headers import pack, unpack
from core.bus.topics import Topic
from core.errors import ConfigError, PermanentError, TransientError
from tests.contracts.reading import SOON, collect, everything, messages, records
from tests.fixtures_bus import TOPICS

BRIEF = {"brief": Topic("brief", 1, timedelta(milliseconds=300), False, "for tests")}
PLENTY = 10**9


async def waited_for(bus: Bus, topic: str, begin: int) -> int:
    """The earliest offset, once it has reached `begin` or stopped moving for a while."""
    deadline = time.monotonic() + SOON
    while (found := (await bus.range(topic))[0][0]) < begin and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    assert (await bus.range(topic))[0][0] == found, "retention went on"
    return found


@pytest.mark.slow
async def test_retention_removes_what_is_old_where_nobody_reads(tmp_path: Path) -> None:
    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=BRIEF, upkeep_every=0.1) as bus:
        await bus.publish(messages(1200, "brief"))
        assert await waited_for(bus, "brief", 1200) == 1200
        assert await everything(bus, "brief") == []
        await bus.publish([Message("brief", "after", b"")])
    # Also an empty log remembers where it was.
    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=BRIEF, upkeep_every=0.1) as bus:
        assert await waited_for(bus, "brief", 1201) == 1201
    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=BRIEF) as bus:
        assert await bus.range("brief") == {0: (1201, 1201)}


async def test_what_retention_and_compaction_removed_is_gone_from_the_disk(tmp_path: Path) -> None:
    topics = {**BRIEF, "state": Topic("state", 1, None, True, "for tests")}
    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=topics, upkeep_every=0.1) as bus:
        await bus.publish([Message("brief", f"k{number}", b"a word that expires" * 50) for number in range(50)])
        await bus.publish([Message("state", "person", b"a word that is replaced" * 500)])
        await bus.publish([Message("state", "person", None)])
        assert await waited_for(bus, "brief", 50) == 50
        deadline = time.monotonic() + SOON
        while len(await everything(bus, "state")) > 1 and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"a word that" not in left


@pytest.mark.slow
async def test_retention_never_passes_the_slowest_group(tmp_path: Path) -> None:
    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=BRIEF, upkeep_every=0.1) as bus:
        async with bus.subscribe(["brief"], "swift") as swift, bus.subscribe(["brief"], "slow") as slow:
            await swift.next(1, 0)
            await slow.next(1, 0)
            await bus.publish(messages(100, "brief"))
            await swift.commit(await collect(swift, 100))
            await slow.commit(await collect(slow, 40, limit=40))
            assert await waited_for(bus, "brief", 40) == 40
            await slow.commit(await collect(slow, 60))
            assert await waited_for(bus, "brief", 100) == 100


async def test_a_group_that_reads_without_committing_holds_retention_back(tmp_path: Path) -> None:
    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=BRIEF, upkeep_every=0.1) as bus:
        async with bus.subscribe(["brief"], "g") as subscription:
            await subscription.next(1, 0)
            await bus.publish(messages(10, "brief"))
            await collect(subscription, 10)
            await asyncio.sleep(1.5)
            assert await bus.range("brief") == {0: (0, 10)}


@pytest.mark.slow
async def test_retention_follows_what_a_group_with_its_own_offsets_tells(tmp_path: Path) -> None:
    async def start(places: object) -> Mapping[tuple[str, int], int]:
        return {("brief", 0): 10}

    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=BRIEF, upkeep_every=0.1) as bus:
        await bus.publish(messages(30, "brief"))
        async with bus.subscribe(["brief"], "g", start=start) as subscription:
            assert len(records(await collect(subscription, 20))) == 20
            assert await waited_for(bus, "brief", 10) == 10
            await bus.forget("g", {("brief", 0): 25})
            assert await waited_for(bus, "brief", 25) == 25


async def test_check_rings_when_a_group_is_behind_by_half_of_the_retention(tmp_path: Path) -> None:
    topics = {"brief": Topic("brief", 1, timedelta(seconds=2), False, "for tests")}
    now = 1_000_000
    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=topics, clock=lambda: now) as bus:
        await bus.publish(messages(10, "brief"))
        await bus.forget("slow", {("brief", 0): 3})
        await bus.forget("swift", {("brief", 0): 10})
        assert await bus.check() == []
        now += 1001
        assert await bus.check() == [
            "group 'slow' is behind on 'brief' by more than half of its retention: start or repair what reads it"
        ]


async def test_a_clock_that_is_set_back_does_not_disturb_replay(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    now = 0
    async with open_embedded(path, disk_cap=PLENTY, topics=BRIEF, clock=lambda: now) as bus:
        for now in (1000, 3000, 2000):  # noqa: B007 - the clock reads it
            await bus.publish(messages(1, "brief"))
    now = 2500
    async with open_embedded(path, disk_cap=PLENTY, topics=BRIEF, clock=lambda: now) as bus:
        await bus.publish(messages(1, "brief"))
        now = 4000
        await bus.publish(messages(1, "brief"))
        assert [record.timestamp for record in await everything(bus, "brief")] == [1000, 3000, 3000, 3000, 4000]
        found = {moment: (await bus.at_time("brief", moment))[0] for moment in (1000, 1001, 3000, 3001, 4001)}
    assert found == {1000: 0, 1001: 1, 3000: 1, 3001: 4, 4001: 5}


async def test_at_its_disk_cap_the_bus_refuses_with_the_remedy_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    cap = 1_000_000
    topics = {"brief": Topic("brief", 1, timedelta(seconds=1), False, "for tests")}
    async with open_embedded(tmp_path / "bus.db", disk_cap=cap, topics=topics, upkeep_every=0.1) as bus:
        await bus.forget("slow", {("brief", 0): 0})
        taken = 0
        with pytest.raises(TransientError, match=r"bus.disk_cap in hub.yaml") as refused:
            for taken in range(1000):  # noqa: B007
                await bus.publish([Message("brief", "k", bytes(10_000))])
        assert refused.value.retry_after
        assert 60 < taken < 110
        assert "bus.disk_cap" in (await bus.check())[0]
        assert (await bus.range("brief"))[0] == (0, taken), "what was acknowledged must stay"
        await bus.forget("slow", {("brief", 0): taken})
        deadline = time.monotonic() + SOON
        while True:
            try:
                await bus.publish([Message("brief", "k", b"there is room")])
                break
            except TransientError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5 * cap


async def test_a_second_process_is_refused_by_name_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    async with open_embedded(path, disk_cap=PLENTY, topics=TOPICS):
        with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
            async with open_embedded(path, disk_cap=PLENTY, topics=TOPICS):
                pass
    async with open_embedded(path, disk_cap=PLENTY, topics=TOPICS):
        pass


async def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=TOPICS) as bus:
        await bus.publish(messages(1))
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


async def test_a_file_that_is_no_bus_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bus.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(ConfigError, match="cannot be opened as a bus"):
        async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=TOPICS):
            pass


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    async with open_embedded(path, disk_cap=PLENTY, topics=TOPICS):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(ConfigError, match="format 99"):
        async with open_embedded(path, disk_cap=PLENTY, topics=TOPICS):
            pass


async def test_a_topic_keeps_its_number_of_partitions(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    async with open_embedded(path, disk_cap=PLENTY, topics=TOPICS) as bus:
        await bus.publish(messages(20))
        before = await bus.range("plain")
    more = {**TOPICS, "plain": Topic("plain", 16, None, False, "for tests"), "new": Topic("new", 2, None, False, "")}
    async with open_embedded(path, disk_cap=PLENTY, topics=more) as bus:
        assert await bus.range("plain") == before
        assert await bus.range("new") == {0: (0, 0), 1: (0, 0)}


async def test_a_full_disk_is_an_error_that_passes(tmp_path: Path) -> None:
    """The system is told that no file may grow above 3 MB, which SQLite takes for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=BRIEF) as bus:
        taken = 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
        try:
            with pytest.raises(TransientError, match="look for free space"):
                for taken in range(1000):  # noqa: B007
                    await bus.publish([Message("brief", "k", bytes(10_000))])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (await bus.range("brief"))[0] == (0, taken)
        await bus.publish([Message("brief", "k", b"there is room")])
        assert [record.offset for record in await everything(bus, "brief")] == list(range(taken + 1))


async def test_concurrent_publishers_share_commits(tmp_path: Path) -> None:
    """400 publishes in a few commits: each alone would be a disk sync of its own."""
    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=TOPICS) as bus:
        wal = tmp_path / "bus.db-wal"
        await bus.publish(messages(1))
        before = wal.stat().st_size
        await asyncio.gather(*(bus.publish([Message("plain", f"{number}", b"")]) for number in range(400)))
        # Each commit writes at least the last pages of the log and of its index, 4 kB each.
        commits = (wal.stat().st_size - before) // (2 * 4096)
    assert commits < 100


@pytest.mark.slow
async def test_old_write_ahead_log_is_given_back(tmp_path: Path) -> None:
    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=TOPICS) as bus:
        for _ in range(12):
            await bus.publish([Message("plain", str(number), bytes(20_000)) for number in range(500)])
            await asyncio.sleep(0.2)
        deadline = time.monotonic() + SOON
        while (size := (tmp_path / "bus.db-wal").stat().st_size) > 80_000_000 and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        assert size <= 80_000_000
        assert len(await everything(bus, "plain")) == 6000


async def test_a_member_that_does_not_come_back_for_more_keeps_its_partitions(tmp_path: Path) -> None:
    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=TOPICS) as bus:
        await bus.publish(messages(40))
        async with bus.subscribe(["plain"], "g") as busy:
            held = await collect(busy, 40)
            async with bus.subscribe(["plain"], "g") as other:
                assert not await other.next(100, 0.3)
                assert other.assigned() == frozenset()
                await busy.commit(held)
            ends = {number: end for number, (_, end) in (await bus.range("plain")).items()}
            assert await bus.committed("g", "plain") == ends


async def test_an_offset_behind_the_log_is_an_error(tmp_path: Path) -> None:
    async with open_embedded(tmp_path / "bus.db", disk_cap=PLENTY, topics=BRIEF, upkeep_every=0.1) as bus:
        await bus.publish(messages(10, "brief"))
        assert await waited_for(bus, "brief", 10) == 10

        async def start(places: object) -> Mapping[tuple[str, int], int]:
            return {("brief", 0): 4}

        async with bus.subscribe(["brief"], "g", start=start) as subscription:
            with pytest.raises(PermanentError, match=r"offset 4 .* \(10 to 10\)"):
                await subscription.next(10, 0.1)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("", b"")],
        [("a", b""), ("a", b"")],
        [("name", b"\x1f000\x1f001"), ("\x1f002", b"\x1f0"), ("x", b"\x1f")],
        [("é", bytes(range(256)) * 3)],
    ],
)
def test_headers_come_back_whatever_is_in_them(headers: list[tuple[str, bytes]]) -> None:
    assert list(unpack(pack(headers))) == headers


PUBLISH_FOREVER = """
    import asyncio, sys
    from pathlib import Path
    from core.bus import Message
    from core.bus.embedded import open_embedded
    from tests.fixtures_bus import TOPICS

    async def publisher(bus, name):
        number = 0
        while True:
            await bus.publish([Message("plain", f"{name}.{number}.{part}", bytes(500)) for part in range(3)])
            print(f"{name}.{number}", flush=True)
            number += 1

    async def main():
        async with open_embedded(Path(sys.argv[1]), disk_cap=10**9, topics=TOPICS, upkeep_every=0.05) as bus:
            await asyncio.gather(*(publisher(bus, f"{sys.argv[2]}-{each}") for each in range(8)))

    asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_process_that_is_killed_while_it_publishes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    acknowledged: set[str] = set()
    for life in range(4):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(PUBLISH_FOREVER), str(path), str(life),
            stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert process.stdout
        first = (await process.stdout.readline()).decode()
        await asyncio.sleep(0.1 + 0.13 * life)
        process.send_signal(signal.SIGKILL)
        rest = (await process.stdout.read()).decode()
        await process.wait()
        # The last line may be cut: that one nobody was told of.
        acknowledged |= {line for line in (first + rest).split("\n")[:-1] if line}
    async with open_embedded(path, disk_cap=PLENTY, topics=TOPICS) as bus:
        found = await everything(bus, "plain")
    keys = {record.key for record in found}
    assert len(acknowledged) > 50
    assert all(f"{name}.{part}" in keys for name in acknowledged for part in range(3))
    for partition in range(4):
        offsets = [record.offset for record in found if record.partition == partition]
        assert offsets == list(range(len(offsets)))
    assert len(keys) == len(found)
    assert all(sum(key.rpartition(".")[0] == name for key in keys) == 3 for name in sorted(acknowledged)[:20])
