"""The store on PostgreSQL: a handful of connections, made again when they break; batches travel as binary arrays."""

import asyncio
import dataclasses
import hashlib
import select
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ConnStatus, Format, TransactionStatus
from psycopg.types.numeric import Int8BinaryDumper

from core.errors import ConfigError, GaveWay, TransientError, check_kind
from core.store import Store
from core.store import words as folding
from core.store.database import PATIENCE, Rows
from core.store.lookups import DatabaseStore
from core.store.migrate import Birth, upgrade_postgres
from core.store.notices import Bell
from core.store.postgres_errors import ours
from core.store.postgres_statements import STATEMENTS
from core.store.postgres_writer import FRESH_SECONDS, WriterSession

_READERS = 3
_CONNECT_SECONDS = 10
# The hot statements are made for their indexes. Which way they go must not hang on statistics: a bulk load has none
# yet, and a plan that was made for an empty table would be kept.
SETTINGS = {
    "jit": "off",
    "work_mem": "64MB",  # a batch's arrays are some megabytes: below that, each statement spills them to disk
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "60s",
    "statement_timeout": "60s",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


class _Texts(list[str]): ...


class _Session:
    """Statements on one connection."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self._used = time.monotonic()

    async def usable(self) -> bool:
        """Whether it answers: a server that restarted is met here rather than in the middle of a batch."""
        pgconn = self._connection.pgconn
        if pgconn.status != ConnStatus.OK:
            return False
        # An idle connection that has something to say says good-bye.
        quiet = not select.select([pgconn.socket], [], [], 0)[0]
        if quiet and time.monotonic() - self._used < FRESH_SECONDS:
            return True
        try:
            await self._connection.execute("SELECT 1")
        except psycopg.Error:
            self.drop()
            return False
        return True

    def clean(self) -> bool:
        """Whether it may be used again. Anything but a finished transaction ends with the connection: the server
        rolls back, and no cancellation can come between."""
        self._used = time.monotonic()
        if self._connection.pgconn.transaction_status == TransactionStatus.IDLE:
            return True
        self.drop()
        return False

    def drop(self) -> None:
        self._connection.pgconn.finish()

    async def rows(self, sql: str, *parameters: Any, few: bool = False) -> Rows:
        with ours():
            # Binary both ways: as text a bytea would double in size and pass through hex.
            cursor = self._connection.cursor(binary=True)
            await cursor.execute(sql.replace("?", "%b"), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def among(self, sql: str, keys: Iterable[str], *parameters: Any) -> Rows:
        listed = _Texts(keys)
        return await self.rows(sql, listed, *parameters) if listed else []

    async def each(self, sql: str, keys: Iterable[str], *parameters: Any) -> Rows:
        return await self.among(sql, dict.fromkeys(keys), *parameters)


class PostgresDatabase:
    """A `Database`. One connection writes, a few read, one listens."""

    beside = True

    def __init__(self, url: str, schema: str | None, patience: float) -> None:
        self.bell = Bell()
        self._options = _options(url, schema, {**SETTINGS, "lock_timeout": f"{round(patience * 1000)}ms"})
        self._channel = f"hub_{_number(schema) % 2**32:08x}"
        self.statements = dataclasses.replace(STATEMENTS, notify=f'NOTIFY "{self._channel}"')
        self._lock = asyncio.Lock()
        self._writer: WriterSession | None = None
        self._readers: asyncio.LifoQueue[_Session | None] = asyncio.LifoQueue()
        for _ in range(_READERS):
            self._readers.put_nowait(None)
        self._listener: asyncio.Task[None] | None = None

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        with ours():
            connection = await psycopg.AsyncConnection.connect(autocommit=True, prepare_threshold=0, **self._options)
        connection.adapters.register_dumper(int, Int8BinaryDumper)  # one width, one prepared statement
        oid = connection.adapters.types["text"].array_oid
        connection.adapters.register_dumper(_Texts, connection.adapters.get_dumper_by_oid(oid, Format.BINARY))
        return connection

    async def _open(self, session: _Session | None) -> _Session:
        if session is not None and await session.usable():
            return session
        return _Session(await self._connect())

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[_Session]:
        session = await self._readers.get()
        try:
            session = await self._open(session)
            yield session
        finally:
            self._readers.put_nowait(session if session and session.clean() else None)

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[_Session]:
        async with self.reading() as session:
            await session.rows("BEGIN")
            yield session
            await session.rows("COMMIT")
        self.bell.ring()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[WriterSession]:
        async with self._lock:
            writer = self._writer
            if writer is None or not await writer.usable():
                self._end_writer()
                self._writer = writer = WriterSession(self._options)
            try:
                await writer.rows("BEGIN")
                yield writer
                await writer.rows("COMMIT")
            except GaveWay:
                await self._take_back(writer)
                raise
            except BaseException:
                self._end_writer()
                raise

    async def _take_back(self, writer: WriterSession) -> None:
        """A transaction that ended itself leaves its connection as it was."""
        try:
            await writer.rows("ROLLBACK")
        except BaseException:
            self._end_writer()
            raise

    def _end_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.drop()

    def match(self, words: Sequence[str]) -> str:
        return folding.ts_query(words)

    def words(self, text: str) -> str:
        return folding.vector(text)

    async def listen(self) -> None:
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="store-listen")

    async def _listen(self) -> None:
        """Ring for every commit of any process; where the connection breaks, make another."""
        while True:
            with suppress(TransientError):
                connection = await self._connect()
                try:
                    with ours():
                        await connection.execute(f'LISTEN "{self._channel}"')
                        self.bell.ring()  # for what was committed while nobody listened
                        async for _ in connection.notifies():
                            self.bell.ring()
                finally:
                    await connection.close()
            await asyncio.sleep(1)

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None
        self._end_writer()
        for session in [self._readers.get_nowait() for _ in range(self._readers.qsize())]:
            if session is not None:
                session.drop()


def _number(schema: str | None) -> int:
    """One that stands for the schema, signed 64 bits: for advisory locks."""
    return int.from_bytes(hashlib.sha256((schema or "").encode()).digest()[:8], "big", signed=True)


def _options(url: str, schema: str | None, settings: Mapping[str, str]) -> dict[str, Any]:
    """What connecting takes. Raises ConfigError where the URL is none; it holds the password and is not repeated."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        raise ConfigError("store.url of hub.yaml is not a PostgreSQL URL: postgresql://user:password@host/db") from None
    if schema is not None:
        settings = {**settings, "search_path": schema}
    flags = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return {
        "connect_timeout": _CONNECT_SECONDS, "application_name": "supporthub", "keepalives_idle": 30,
        **given, "options": f"{given.get('options') or ''} {flags}".strip(),
    }  # fmt: skip


@asynccontextmanager
async def open_postgres(
    url: str,
    *,
    kind: str | None,
    secret: bytes | None = None,
    schema: str | None = None,
    read_only: bool = False,
    fold_revision: int = 0,
    rules: str = "",
    patience: float = PATIENCE,
) -> AsyncIterator[Store]:
    """The store in a database, made or migrated where it has to be; `schema` (a plain name) is made, too. With
    `read_only` nothing is: an older hub may be at work on it.

    Another process's writer is waited for `patience` seconds, then TransientError.
    Raises ConfigError where the URL is none, the store is of the other kind or from a newer hub, or `read_only` finds
    none or an older one; TransientError where the server is not there.
    """
    options = _options(url, schema, {"lock_timeout": "60s"})
    birth = Birth(kind, secret, fold_revision, rules)

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(**options)

    with ours():
        await asyncio.to_thread(upgrade_postgres, connect, schema, _number(schema), birth, read_only=read_only)
    database = PostgresDatabase(url, schema, patience)
    try:
        store = DatabaseStore(database)
        check_kind((await store.hub()).kind, kind, "store", "`store.url`", "a database `{}`")
        yield store
    finally:
        await database.close()
