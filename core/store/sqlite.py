"""The store on SQLite: one file, one writing thread, reading threads that never wait for it, checkpoints aside."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import orjson

from core.errors import HubError, PermanentError, TransientError, check_kind
from core.store import Store
from core.store import words as folding
from core.store.database import PATIENCE, Put, Rows
from core.store.lookups import DatabaseStore
from core.store.migrate import Birth, upgrade_sqlite
from core.store.notices import Bell
from core.store.sqlite_statements import STATEMENTS
from core.writeahead import Mode, WriteAheadLog

_READERS = 2
_SMALL, _MANY = 24, 1_000_000  # keys or rows; about few a call takes microseconds
_POLL_SECONDS = 0.1  # between looks for other processes' commits
# Each checkpoint holds up the commits beside it, and writes a page once however often it changed: few and large ones.
_CHECKPOINT_BYTES = 32_000_000  # of write-ahead log, from which on a checkpoint beside the writer pays
_STALL_BYTES = 256_000_000  # of write-ahead log, from which on writers wait for a checkpoint
_TRANSIENT = {
    "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL",
    "SQLITE_NOMEM", "SQLITE_READONLY", "SQLITE_INTERRUPT",
}  # fmt: skip
T = TypeVar("T")


@contextmanager
def _ours() -> Iterator[None]:
    """SQLite's exceptions become ours. Its messages name tables and columns, never values."""
    try:
        yield
    except sqlite3.Error as error:
        # Extended names, such as SQLITE_IOERR_WRITE, begin with the plain one.
        name = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
        kind: type[HubError] = TransientError if name in _TRANSIENT else PermanentError
        raise kind(f"SQLite: {error} ({name or type(error).__name__})") from error


class _Thread:
    """Connections that live in threads of their own; a call runs in one of them."""

    def __init__(self, name: str, size: int, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connections: list[sqlite3.Connection] = []
        self._local = threading.local()
        self._connect = connect
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def run(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """A cancelled caller leaves at once; the call goes on to its end, and later calls of one thread come after."""
        with _ours():
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._call, call)

    def _call(self, call: Callable[[sqlite3.Connection], T]) -> T:
        if not hasattr(self._local, "connection"):
            self._local.connection = self._connect()
            self._connections.append(self._local.connection)
        connection: sqlite3.Connection = self._local.connection
        return call(connection)

    async def close(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)
        for connection in self._connections:
            connection.close()


class _Session:
    """Statements in one of the threads."""

    # All at once: SQLite gives up the interpreter at each row and gets it back late from a thread that computes.
    lot = 1_000_000

    def __init__(self, thread: _Thread, here: sqlite3.Connection | None = None) -> None:
        """With `here`, the thread's connection, small calls are made where they stand: to change threads costs more."""
        self._thread = thread
        self._here = here

    async def rows(self, sql: str, *parameters: Any, few: bool = False) -> Rows:
        return await self._run(lambda connection: connection.execute(sql, parameters).fetchall(), 1 if few else _MANY)

    async def among(self, sql: str, keys: Iterable[str], *parameters: Any) -> Rows:
        if not (listed := list(keys)):
            return []
        given = orjson.dumps(listed).decode(), *parameters
        return await self._run(lambda connection: connection.execute(sql, given).fetchall(), len(listed))

    async def each(self, sql: str, keys: Iterable[str], *parameters: Any) -> Rows:
        listed = list(dict.fromkeys(keys))

        def call(connection: sqlite3.Connection) -> Rows:
            # SQLite has no LATERAL; a prepared statement costs microseconds, and the thread is entered once.
            found: Rows = []
            for key in listed:
                found += connection.execute(sql, (key, *parameters)).fetchall()
            return found

        return await self._run(call, len(listed)) if listed else []

    async def put(self, put: Put, rows: Sequence[Sequence[Any]]) -> None:
        if not rows:
            return
        put.check(rows)
        size = _MANY if put.searched else len(rows)
        await self._run(lambda connection: connection.executemany(put.sql, rows), size)

    async def _run(self, call: Callable[[sqlite3.Connection], T], size: int) -> T:
        """`size`: how many keys or rows it is about."""
        if self._here is None or size > _SMALL:
            return await self._thread.run(call)
        with _ours():
            return call(self._here)


class SqliteDatabase:
    """A `Database` over one file."""

    statements = STATEMENTS
    beside = False

    def __init__(self, path: Path, *, read_only: bool, patience: float) -> None:
        self.bell = Bell()
        self._write_ahead = WriteAheadLog(path, due=_CHECKPOINT_BYTES, most=_STALL_BYTES)
        self._read_only = read_only
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writer = _Thread("store-write", 1, lambda: _connect(path, "rw", cache=64_000, patience=patience))
        self._reader = _Thread("store-read", _READERS, lambda: _connect(path, "ro", cache=16_000))
        self._checkpointer = _Thread("store-checkpoint", 1, lambda: _connect(path, "rw", cache=2_000))
        self._poller = _Thread("store-poll", 1, lambda: _connect(path, "ro", cache=100))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[_Session]:
        yield _Session(self._reader)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[_Session]:
        if self._read_only:
            raise PermanentError("the store is open for reading only")
        async with self._lock:
            try:
                yield _Session(self._writer, await self._writer.run(_begin))
                await self._writer.run(lambda connection: connection.commit())
            except BaseException:
                # It stands in the thread's queue before any later BEGIN, also where we are cancelled once more.
                rollback = asyncio.ensure_future(self._writer.run(lambda connection: connection.rollback()))
                with suppress(HubError):
                    await asyncio.shield(rollback)
                raise

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[_Session]:
        async with self.writing() as session:
            yield session
        self.bell.ring()

    def match(self, words: Sequence[str]) -> str:
        return folding.match_query(words)

    def words(self, text: str) -> str:
        return folding.plain(text)

    async def listen(self) -> None:
        if not any(task.get_name() == "store-poll" for task in self._tasks):
            self._start("store-poll", self._poll())

    async def _poll(self) -> None:
        """Ring for the commits of other processes; our own ring by themselves as well."""
        seen = None
        while True:
            with suppress(TransientError):
                rows = await self._poller.run(lambda connection: connection.execute("PRAGMA data_version").fetchall())
                if seen not in (None, rows):
                    self.bell.ring()
                seen = rows
            await asyncio.sleep(_POLL_SECONDS)

    def start_checkpoints(self) -> None:
        self._start("store-checkpoint", self._checkpoints())

    async def _checkpoints(self) -> None:
        """Beside the writer, whose commits would otherwise stall for one; only a log that outgrows it stops writers."""
        while True:
            await asyncio.sleep(0.5)
            with suppress(TransientError, OSError):  # tried again
                if mode := self._write_ahead.wants():
                    await self._checkpoint("PASSIVE")
                    async with self._lock if mode == "TRUNCATE" else nullcontext():
                        await self._checkpoint(mode)  # of what came meanwhile, so that the log can begin anew

    async def _checkpoint(self, mode: Mode) -> None:
        await self._checkpointer.run(lambda connection: self._write_ahead.checkpoint(connection, mode))

    def _start(self, name: str, coroutine: Any) -> None:
        self._tasks.add(asyncio.create_task(coroutine, name=name))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for thread in (self._poller, self._reader, self._checkpointer, self._writer):
            await thread.close()


def _begin(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("BEGIN IMMEDIATE")  # waits for other processes' writers
    return connection


def _connect(path: Path, mode: str, *, cache: int, patience: float = PATIENCE) -> sqlite3.Connection:
    """`cache` in KiB. Transactions are ours to begin."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True, isolation_level=None, check_same_thread=False, timeout=patience, cached_statements=256,
    )  # fmt: skip
    for pragma in ("synchronous=FULL", "wal_autocheckpoint=0", f"cache_size=-{cache}", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@asynccontextmanager
async def open_sqlite(
    path: Path,
    *,
    kind: str | None,
    secret: bytes | None = None,
    read_only: bool = False,
    fold_revision: int = 0,
    rules: str = "",
    patience: float = PATIENCE,
) -> AsyncIterator[Store]:
    """The store in the file `path`, made or migrated where it has to be. `kind` is demo or real; None: whichever it
    is, but it must be there. Another process's writer is waited for `patience` seconds, then TransientError.

    Raises ConfigError where the store is of the other kind or from a newer hub, or `read_only` finds none or an older
    one; TransientError where it is locked or the disk is full. Close it in the event loop that opened it.
    """
    with _ours():
        await asyncio.to_thread(upgrade_sqlite, path, Birth(kind, secret, fold_revision, rules), read_only=read_only)
    database = SqliteDatabase(path, read_only=read_only, patience=patience)
    try:
        store = DatabaseStore(database)
        check_kind((await store.hub()).kind, kind, "store", "the `data:` folder", "`data: var/{}`")
        if not read_only:
            database.start_checkpoints()
        yield store
    finally:
        await database.close()
