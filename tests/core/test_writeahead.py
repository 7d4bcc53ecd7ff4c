"""How much of a write-ahead log waits for a checkpoint, beside what SQLite itself says of it."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from core.writeahead import WriteAheadLog

WRITES = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"


@contextmanager
def opened(path: Path, page: int = 4096) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in (f"page_size={page}", "journal_mode=WAL", "wal_autocheckpoint=0"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE row (value)")
        yield connection


def grow(connection: sqlite3.Connection) -> None:
    connection.executemany("INSERT INTO row VALUES (?)", [("x" * 400,) for _ in range(200)])


def log_of(path: Path, due: int = 100_000, most: int = 10_000_000) -> WriteAheadLog:
    return WriteAheadLog(path, due=due, most=most)


@pytest.mark.parametrize("page", [512, 4096, 65536])
def test_what_waits_is_what_a_checkpoint_then_copies(tmp_path: Path, page: int) -> None:
    path = tmp_path / "some.db"
    with opened(path, page) as connection:
        for _ in range(3):  # the log begins anew twice
            log = log_of(path)
            grow(connection)
            waiting = log.waiting()
            (_, frames, copied) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            assert waiting == frames * page == copied * page > 0


def test_after_a_checkpoint_only_what_came_since_waits(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    with opened(path) as connection, closing(sqlite3.connect(path, isolation_level=None)) as reader:
        log = log_of(path)
        grow(connection)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM row").fetchone()  # so that the log cannot begin anew
        assert log.wants() == "PASSIVE"
        log.checkpoint(connection, "PASSIVE")
        assert (log.waiting(), log.wants()) == (0, None)
        connection.execute("INSERT INTO row VALUES (1)")
        assert 0 < log.waiting() < 20_000
        log.checkpoint(connection, "PASSIVE")
        assert log.waiting() > 0, "the reader still sees the older state"
        reader.execute("COMMIT")
        log.checkpoint(connection, "PASSIVE")
        assert log.waiting() == 0


def test_a_log_that_begins_anew_keeps_its_file_and_has_little_that_waits(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    with opened(path) as connection:
        log = log_of(path, most=50_000)
        grow(connection)
        size = path.with_name("some.db-wal").stat().st_size
        log.checkpoint(connection, "PASSIVE")
        connection.execute("INSERT INTO row VALUES (1)")
        assert path.with_name("some.db-wal").stat().st_size == size > 80_000
        assert 0 < log.waiting() < 20_000
        assert log.wants() == "TRUNCATE", "its file is too large"
        log.checkpoint(connection, "TRUNCATE")
        assert (log.waiting(), log.wants()) == (0, None)


def test_where_there_is_no_log_nothing_waits(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    assert (log_of(path).waiting(), log_of(path).wants()) == (0, None)
    with opened(path):
        pass
    assert (log_of(path).waiting(), log_of(path).wants()) == (0, None)
    path.with_name("some.db-wal").write_bytes(b"short")
    assert log_of(path).waiting() == 0


def test_a_look_takes_no_lock_away_from_who_writes(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    with opened(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            log_of(path).wants()
        other = subprocess.run([sys.executable, "-c", WRITES, str(path)], capture_output=True, text=True, timeout=60)
        assert "database is locked" in other.stderr
