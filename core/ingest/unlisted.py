"""A listing under way: which of the ids that the hub knows no page has named yet, and where it goes on.

It waits on disk, so that a million ids cost no memory, and a page's ids and its cursor are struck and kept in one
transaction: whoever was killed goes on after the last page. A file that cannot be read, or is none of ours, is worth
nothing and is begun anew.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import orjson

from core.errors import PermanentError, TransientError
from core.sdk.connector import Cursor

_PAGE = 1_000
_FOLDER = "listings"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """`began`: when what is known was asked (epoch ms); `asked`: the order of a person that it obeys; `known` and
    `listed`: how many ids; `ended`: the source has no more pages; `more`: how many that nobody knew may still be
    fetched."""

    began: int
    asked: int
    known: int = 0
    more: int = 0
    listed: int = 0
    cursor: Cursor | None = None
    ended: bool = False


class Unlisted:
    """`place` is None until `begin`. With `path` None nothing outlives the process. All methods raise TransientError
    where the disk does not take it, PermanentError where the file was harmed meanwhile."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="listing")
        self._db: sqlite3.Connection | None = None
        self.place: Place | None = None

    async def open(self) -> None:
        """Reads what was kept."""
        self.place = await self._do(self._opened)

    async def add(self, ids: Sequence[str]) -> None:
        await self._do(lambda: self._each("INSERT OR IGNORE INTO id VALUES (?)", ids))

    async def begin(self, place: Place) -> Place:
        """All that is known was added: from here on it survives."""
        return await self._keep(place)

    async def unknown(self, ids: Sequence[str]) -> list[str]:
        """Those of a page that were not added (or, where rows move between pages, were struck already)."""
        return await self._do(lambda: self._unknown(ids))

    async def strike(self, place: Place, ids: Sequence[str], cursor: Cursor) -> Place:
        """A page, behind which it goes on at `cursor`."""
        await self._do(lambda: self._each("DELETE FROM id WHERE id = ?", ids))
        return await self._keep(replace(place, listed=place.listed + len(ids), cursor=cursor))

    async def end(self, place: Place) -> Place:
        return await self._keep(replace(place, ended=True))

    async def count(self) -> int:
        return await self._do(lambda: int(self._base().execute("SELECT count(*) FROM id").fetchone()[0]))

    async def pages(self) -> AsyncIterator[list[str]]:
        """All that is left, in order."""
        after = ""
        while ids := await self._do(lambda after=after: self._after(after)):  # type: ignore[misc]
            yield ids
            after = ids[-1]

    def close(self) -> None:
        """At once, or when what its thread does now is done."""
        self._thread.submit(self._closed)
        self._thread.shutdown(wait=False)

    async def forget(self) -> None:
        """Close it; nobody goes on with it."""
        await self._do(self._remove)
        self.close()

    def _base(self) -> sqlite3.Connection:
        assert self._db is not None
        return self._db

    def _opened(self) -> Place | None:
        try:
            return self._connected()
        except (sqlite3.DatabaseError, TypeError, ValueError) as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self._remove()
            return self._connected()

    def _connected(self) -> Place | None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # PRIVACY: SQLite gives its side files the mode of the main one.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = sqlite3.connect(self._path or "", isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=NORMAL",
            "CREATE TABLE IF NOT EXISTS id (id TEXT PRIMARY KEY) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY CHECK (one = 1), place BLOB)",
        ):
            self._db.execute(statement)
        row = self._db.execute("SELECT place FROM place").fetchone()
        place = Place(**orjson.loads(row[0])) if row else None
        if place is None:
            self._db.execute("DELETE FROM id")  # killed while what is known was asked
        self._db.execute("BEGIN")
        return place

    async def _keep(self, place: Place) -> Place:
        await self._do(lambda: self._kept(orjson.dumps(asdict(place))))
        self.place = place
        return place

    def _kept(self, place: bytes) -> None:
        self._base().execute("INSERT OR REPLACE INTO place VALUES (1, ?)", (place,))
        self._base().execute("COMMIT")
        self._base().execute("BEGIN")

    def _each(self, sql: str, ids: Sequence[str]) -> None:
        self._base().executemany(sql, [(id,) for id in ids])

    def _unknown(self, ids: Sequence[str]) -> list[str]:
        query = "SELECT 1 FROM id WHERE id = ?"
        return [id for id in dict.fromkeys(ids) if self._base().execute(query, (id,)).fetchone() is None]

    def _after(self, after: str) -> list[str]:
        rows = self._base().execute("SELECT id FROM id WHERE id > ? ORDER BY id LIMIT ?", (after, _PAGE))
        return [id for (id,) in rows]

    def _closed(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _remove(self) -> None:
        self._closed()
        for each in _files(self._path):
            each.unlink(missing_ok=True)

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.OperationalError, OSError) as error:
            raise TransientError(f"the disk does not take the listing: {error}") from error
        except sqlite3.DatabaseError as error:
            raise PermanentError(f"the listing's file is harmed, and it begins anew: {error}") from error


def path_of(folder: Path | None, connection: str, kind: str) -> Path | None:
    """Where a listing waits; None: it does not survive."""
    return folder / _FOLDER / f"{quote(connection, safe='')}.{quote(kind, safe='')}.db" if folder else None


def forget_all_but(folder: Path | None, wanted: set[Path | None]) -> None:
    """Of connections that are there no more nothing stays."""
    kept = {each for path in wanted for each in _files(path)}
    for each in (folder / _FOLDER).glob("*.db*") if folder else ():
        if each not in kept:
            each.unlink(missing_ok=True)


def _files(path: Path | None) -> list[Path]:
    return [path.with_name(path.name + end) for end in ("", "-wal", "-shm")] if path else []
