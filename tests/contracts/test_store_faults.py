"""What every store promises when something breaks: kill -9, lost connections, a full disk, the wrong kind."""

import asyncio
import os
import signal
import sqlite3
import sys
import textwrap
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core.errors import ConfigError, PermanentError, TransientError
from core.store import DeadRow, Store, Writing, sqlite
from core.store.postgres import open_postgres
from core.store.sqlite import open_sqlite
from tests.contracts.store_rows import customer, thing
from tests.contracts.test_store import put_next
from tests.fixtures_store import OpenStore

# Commits customers one by one and says so only after each commit.
WRITER = """
    import asyncio, sys
    from pathlib import Path
    from core.store.postgres import open_postgres
    from core.store.sqlite import open_sqlite
    from core.store import CustomerRow

    async def main(kind, place, schema):
        if kind == "sqlite":
            opened = open_sqlite(Path(place), kind="real")
        else:
            opened = open_postgres(place, kind="real", schema=schema)
        async with opened as store:
            for seq in range(1, 100_000):
                async with store.writing() as tx:
                    row = CustomerRow(f"c{seq}", seq, "live", None, b"h", b"{}" * 500, "Dana", b"[]", b"{}")
                    await tx.move_offsets([("events", 0, seq - 1, seq)])
                    await tx.put_customers([row])
                    await tx.set_seq(seq)
                print(seq, flush=True)

    asyncio.run(main(*sys.argv[1:]))
"""


async def kill_while_it_writes(*arguments: str) -> int:
    """Returns the last seq of which the writer has heard that it is committed."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(WRITER), *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    last = 0
    async with asyncio.timeout(60):
        while last < 50:
            last = int(await child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        for line in (await child.stdout.read()).splitlines(keepends=True):
            last = int(line) if line.endswith(b"\n") else last
        await child.wait()
    return last


async def whole(store: Store, at_least: int) -> None:
    hub, rows = await store.changes(0, 100_000)
    assert hub.seq >= at_least
    assert [row.seq for row in rows] == list(range(1, hub.seq + 1))
    assert await store.offsets("events") == {0: hub.seq}


async def test_kill_9_loses_nothing_that_was_committed_on_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    last = await kill_while_it_writes("sqlite", str(path), "")
    async with open_sqlite(path, kind="real") as store:
        await whole(store, last)
        assert await put_next(store, "after") > last


@pytest.mark.postgres
async def test_kill_9_loses_nothing_that_was_committed_on_postgres(postgres_url: str, postgres_schema: str) -> None:
    last = await kill_while_it_writes("postgres", postgres_url, postgres_schema)
    async with open_postgres(postgres_url, kind="real", schema=postgres_schema) as store:
        await whole(store, last)
        assert await put_next(store, "after") > last


@pytest.mark.parametrize(("stored", "wanted"), [("demo", "real"), ("real", "demo")])
async def test_a_store_of_the_other_kind_is_refused_with_the_remedy(
    open_store: OpenStore, stored: str, wanted: str
) -> None:
    async with open_store(kind=stored):
        pass
    with pytest.raises(ConfigError, match=rf"{stored} store.*connections are {wanted}.*mock: true"):
        async with open_store(kind=wanted):
            pass
    async with open_store(kind=stored) as store:
        assert (await store.hub()).kind == stored


async def test_two_processes_may_open_a_new_store_at_once(open_store: OpenStore) -> None:
    async def born() -> Any:
        async with open_store() as store:
            return await store.hub()

    hubs = await asyncio.gather(*(born() for _ in range(4)))
    assert len(set(hubs)) == 1


async def test_whoever_listens_wakes_at_a_commit_of_any_process(open_store: OpenStore) -> None:
    async with open_store() as one, open_store() as two, one.notified(100) as notices, asyncio.timeout(60):
        ticks = aiter(notices)
        await anext(ticks)  # the look at the start
        for writer in (one, two, two, one, two, two):
            await asyncio.sleep(0.3)
            await put_next(writer, "a")
            await anext(ticks)


async def test_who_listens_is_woken_after_a_while_without_any_commit(store: Store) -> None:
    async with store.notified(0.01) as notices, asyncio.timeout(30):
        ticks = aiter(notices)
        for _ in range(5):
            await anext(ticks)


async def test_a_commit_between_two_looks_is_not_missed(store: Store) -> None:
    async with store.notified(50) as notices, asyncio.timeout(30):
        ticks = aiter(notices)
        await anext(ticks)
        await put_next(store, "a")
        await anext(ticks)


def cut(url: str, where: str) -> int:
    """End the store's connections from outside, as a restarting server does. Returns how many."""
    with psycopg.connect(url, autocommit=True) as connection:
        sql = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'supporthub' AND " + where
        )
        return len(connection.execute(sql).fetchall())


async def until_it_works(store: Store, id: str) -> None:
    """The first calls after a loss may fail, in one way only."""
    while True:
        try:
            await put_next(store, id)
            assert await store.customer(id) is not None
            return
        except TransientError:
            await asyncio.sleep(0.05)


async def sees(store: Store, id: str) -> bool:
    while True:
        try:
            return await store.customer(id) is not None
        except TransientError:
            await asyncio.sleep(0.05)


@pytest.mark.postgres
async def test_lost_connections_are_made_again(postgres_url: str, postgres_schema: str) -> None:
    def opened() -> AbstractAsyncContextManager[Store]:
        return open_postgres(postgres_url, kind="real", schema=postgres_schema)

    async with opened() as one, opened() as two, one.notified(50) as notices, asyncio.timeout(60):
        ticks = aiter(notices)
        await anext(ticks)
        for round in range(3):
            await until_it_works(one, f"a{round}")
            assert cut(postgres_url, "true") >= 2
            await until_it_works(two, f"b{round}")
            while not await sees(one, f"b{round}"):
                await anext(ticks)


@pytest.mark.postgres
async def test_a_connection_that_was_lost_while_idle_is_noticed_before_it_is_used(
    postgres_url: str, postgres_schema: str
) -> None:
    async with open_postgres(postgres_url, kind="real", schema=postgres_schema) as store:
        for round in range(3):
            await put_next(store, f"a{round}")
            await asyncio.gather(*(store.hub() for _ in range(5)))
            cut(postgres_url, "true")
            while cut(postgres_url, "true"):
                await asyncio.sleep(0.05)
            assert await store.customer(f"a{round}") is not None
            assert await put_next(store, f"b{round}") == round * 2 + 2


SLOW: dict[str, Callable[[Writing], Awaitable[None]]] = {
    "DELETE ON dead": lambda tx: tx.drop_connection("desk"),
    "INSERT ON article": lambda tx: tx.put_objects([thing("guru/a/card/1", "article", text="Lost luggage")]),
    "INSERT ON customer_words": lambda tx: tx.put_customers([customer("c1", tx.hub.seq + 1)]),
}


@pytest.mark.parametrize("what", SLOW)
async def test_a_statement_that_takes_long_in_sqlite_holds_up_nobody_else(tmp_path: Path, what: str) -> None:
    async with open_sqlite(tmp_path / "hub.db", kind="real") as store:
        async with store.writing() as tx:
            await tx.put_dead([DeadRow("1", "desk", "fold", "why", b"{}", 1, "open", 1)])
        other = sqlite3.connect(tmp_path / "hub.db")
        other.execute(
            f"""CREATE TRIGGER slow BEFORE {what} BEGIN SELECT (WITH RECURSIVE c(n) AS (
                    SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 2000000) SELECT max(n) FROM c); END"""
        )
        other.commit()
        other.close()
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async with store.writing() as tx:
            await asyncio.sleep(0)
            before = ticks
            await SLOW[what](tx)
            assert ticks > before + 10
        ticking.cancel()


@pytest.mark.postgres
async def test_a_transaction_whose_connection_dies_is_rolled_back(postgres_url: str, postgres_schema: str) -> None:
    async with open_postgres(postgres_url, kind="real", schema=postgres_schema) as store:
        with pytest.raises(TransientError):
            async with store.writing() as tx:
                await tx.put_customers([customer("a", 1)])  # handed over, not awaited
                while not cut(postgres_url, "state = 'idle in transaction'"):
                    await asyncio.sleep(0.01)
                await tx.set_seq(1)
        assert await store.customer("a") is None
        assert await put_next(store, "b") == 1


@pytest.mark.postgres
async def test_a_server_that_is_not_there_is_a_reason_to_try_again(tmp_path: Path) -> None:
    with pytest.raises(TransientError):
        async with open_postgres(f"postgresql://nobody@/nothing?host={tmp_path}", kind="real"):
            pass


@pytest.mark.parametrize("url", ["postgresql://u:secret@h/db?nonsense=1", "mysql://u:secret@h/db"])
async def test_a_url_that_is_none_is_a_mistake_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as mistake:
        async with open_postgres(url, kind="real"):
            pass
    assert "secret" not in str(mistake.value)


# A limit on the size of files stands for the full disk: the write fails, and works again when there is room.
FULL_DISK = """
    import asyncio, resource, sys
    from pathlib import Path
    from core.errors import TransientError
    from core.store.sqlite import open_sqlite

    async def put(store, n):
        async with store.writing() as tx:
            await tx.suppress([f"{n}-{each}" * 50 for each in range(20_000)], 0)

    async def main(path):
        async with open_sqlite(Path(path), kind="real") as store:
            room = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, room[1]))
            try:
                await put(store, 1)
            except TransientError:
                print("full")
            resource.setrlimit(resource.RLIMIT_FSIZE, room)
            async with store.writing() as tx:
                print(len(await tx.suppressed(["1-0" * 50])))
            await put(store, 2)
            print("written")

    asyncio.run(main(sys.argv[1]))
"""


async def test_a_full_disk_is_a_reason_to_try_again(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path / "store.db"), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    assert out.decode().split() == ["full", "0", "written"]


async def test_a_file_that_is_no_store_is_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no database " * 1_000)
    with pytest.raises(PermanentError):
        async with open_sqlite(tmp_path / "store.db", kind="real"):
            pass


async def test_a_store_opened_for_reading_follows_the_writer_and_refuses_to_write(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with open_sqlite(path, kind="real") as store:
        async with open_sqlite(path, kind="real", read_only=True) as reader:
            await put_next(store, "a")
            assert await reader.customer("a") == customer("a", 1)
            with pytest.raises(PermanentError, match="reading only"):
                await put_next(reader, "b")
    with pytest.raises(ConfigError, match="hub run"):
        async with open_sqlite(tmp_path / "none.db", kind="real", read_only=True):
            pass
    assert not (tmp_path / "none.db").exists()


@pytest.mark.slow
async def test_the_log_beside_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_STALL_BYTES", 64_000_000)
    path = tmp_path / "store.db"
    async with open_sqlite(path, kind="real") as store, asyncio.timeout(120):
        written = 0
        while written < 200_000_000:
            written += 500 * 2_000
            rows = [customer(f"c{k}", written + k, record=os.urandom(2_000)) for k in range(500)]
            async with store.writing() as tx:
                await tx.put_customers(rows)
            await asyncio.sleep(0.02)
        async with asyncio.timeout(30):
            while path.with_name("store.db-wal").stat().st_size > 64_000_000:
                await asyncio.sleep(0.1)
    assert path.stat().st_mode & 0o077 == 0  # it holds people
