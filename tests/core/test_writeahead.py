"""How much of a write-ahead log waits for a checkpoint, beside what SQLite itself says of it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from core.writeahead import log_size, not_copied


@contextmanager
def _opened(path: Path, page: int) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in (f"page_size={page}", "journal_mode=WAL", "wal_autocheckpoint=0"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE row (value)")
        yield connection


def _grown(connection: sqlite3.Connection) -> None:
    connection.executemany("INSERT INTO row VALUES (?)", [("x" * 400,) for _ in range(200)])


@pytest.mark.parametrize("page", [512, 4096, 65536])
def test_what_waits_is_what_a_checkpoint_then_copies(tmp_path: Path, page: int) -> None:
    path = tmp_path / "some.db"
    with _opened(path, page) as connection:
        for _ in range(3):  # the log begins anew twice
            _grown(connection)
            waiting = not_copied(path)
            (_, frames, copied) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            assert waiting == frames * page == copied * page > 0
            assert not_copied(path) == 0


def test_a_log_that_begins_anew_keeps_its_file_and_has_little_that_waits(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    with _opened(path, 4096) as connection:
        _grown(connection)
        size = log_size(path)
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        connection.execute("INSERT INTO row VALUES (1)")
        assert log_size(path) == size > 80_000
        assert 0 < not_copied(path) < 20_000


def test_where_nobody_has_the_database_open_nothing_waits(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    assert (log_size(path), not_copied(path)) == (0, 0)
    with _opened(path, 4096):
        pass
    assert (log_size(path), not_copied(path)) == (0, 0)
    path.with_name("some.db-shm").write_bytes(b"short")
    assert not_copied(path) == 0
