"""The one writer's connection to PostgreSQL: a thread of its own, so that the database works while Python does.

What is put is only handed over: the statements of a transaction run in order, and a failed one is told by the next call
that waits for an answer, at the latest by COMMIT. The thread talks libpq's blocking calls, which leave the interpreter
to others for as long as a statement takes, however much it sends; psycopg's own cursors would take turns with us for
each piece that fits into the socket.
"""

import asyncio
import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import errors
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format

from core.errors import TransientError
from core.store.database import Put, Rows
from core.store.postgres_errors import ours

FRESH_SECONDS = 1.0  # a connection that lay idle for longer is tried before it is used
_INT, _INT8 = struct.Struct("!i"), struct.Struct("!q")
_NULL = _INT.pack(-1)
_FLAGS = (_INT.pack(1) + b"\0", _INT.pack(1) + b"\1")
_OIDS = {"text": 25, "bytea": 17, "int8": 20, "bool": 16}
_ARRAYS = {"text": 1009, "bytea": 1001, "int8": 1016, "bool": 1000}
_Parameter = tuple[int, bytes | None]  # its type's number, its binary form


class WriterSession:
    """A `Writer`. Calls of several tasks are answered in the order in which they came."""

    lot = 250

    def __init__(self, options: Mapping[str, Any]) -> None:
        """`options` are psycopg's own to connect with, which the first call does."""
        self._options = options
        self._connection: psycopg.Connection[Any] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._prepared: dict[str, bytes] = {}
        self._failed: Exception | None = None
        self._used = time.monotonic()

    async def usable(self) -> bool:
        """Whether it answers: a server that restarted is met here rather than in the middle of a batch."""
        if self._failed or self._connection is None or self._connection.pgconn.status != ConnStatus.OK:
            return False
        # An idle connection that has something to say says good-bye.
        quiet = not select.select([self._connection.pgconn.socket], [], [], 0)[0]
        if quiet and time.monotonic() - self._used < FRESH_SECONDS:
            return True
        try:
            await self.rows("SELECT 1")
        except TransientError:
            return False
        return True

    def drop(self) -> None:
        """End it, also in the middle of a statement: the server rolls back, and no cancellation can come between."""
        self._failed = self._failed or TransientError("PostgreSQL: this connection was given up")
        if self._connection is not None:
            with suppress(OSError, psycopg.Error):
                with socket.socket(fileno=os.dup(self._connection.pgconn.socket)) as line:
                    line.shutdown(socket.SHUT_RDWR)
        self._pool.submit(self._close)
        self._pool.shutdown(wait=False)

    async def rows(self, sql: str, *parameters: Any, few: bool = False) -> Rows:
        given = [_encoded(each) for each in parameters]
        found: Rows = await asyncio.get_running_loop().run_in_executor(self._pool, self._run, sql, given)
        self._used = time.monotonic()
        return found

    async def among(self, sql: str, keys: Iterable[str], *parameters: Any) -> Rows:
        listed = list(keys)
        return await self.rows(sql, listed, *parameters) if listed else []

    async def each(self, sql: str, keys: Iterable[str], *parameters: Any) -> Rows:
        return await self.among(sql, dict.fromkeys(keys), *parameters)

    async def put(self, put: Put, rows: Sequence[Sequence[Any]]) -> None:
        if not rows:
            return
        put.check(rows)
        given = [_array(kind, column) for kind, column in zip(put.kinds, zip(*rows, strict=True), strict=True)]
        self._pool.submit(self._put, put.sql, given)

    # -- in the thread
    def _put(self, sql: str, given: list[_Parameter]) -> None:
        with suppress(Exception):  # kept, and told by the next that waits
            self._run(sql, given)

    def _run(self, sql: str, given: list[_Parameter]) -> Rows:
        if self._failed:
            raise self._failed
        try:
            with ours():
                return self._execute(sql, given)
        except Exception as error:
            self._failed = error  # the transaction is lost, and the connection ends with it
            raise

    def _execute(self, sql: str, given: list[_Parameter]) -> Rows:
        if self._connection is None:
            self._connection = psycopg.connect(autocommit=True, **self._options)
            self._connection.pgconn.nonblocking = 0
        pgconn = self._connection.pgconn
        name = self._prepared.get(sql)
        if name is None:
            name = b"hub%d" % len(self._prepared)
            text, *rest = sql.split("?")
            text += "".join(f"${number}{part}" for number, part in enumerate(rest, 1))
            _good(pgconn.prepare(name, text.encode(), [oid for oid, _ in given]))
            self._prepared[sql] = name
        # Binary both ways: as text a bytea would double in size and pass through hex.
        values: list[Any] = [value for _, value in given]
        result = _good(pgconn.exec_prepared(name, values, [Format.BINARY] * len(given), Format.BINARY))
        if not result.nfields:
            return []
        loading = Transformer(self._connection)
        loading.set_pgresult(result)
        return loading.load_rows(0, result.ntuples, tuple)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _good(result: Any) -> Any:
    if result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        return result
    error = errors.error_from_result(result, "utf-8")
    raise error if error.sqlstate else psycopg.OperationalError(str(error))  # without: the line broke


def _encoded(value: Any) -> _Parameter:
    match value:
        case list():
            return _array("text", value)
        case str():
            return _OIDS["text"], value.encode()
        case bool():
            return _OIDS["bool"], b"\1" if value else b"\0"
        case int():
            return _OIDS["int8"], _INT8.pack(value)
        case _:
            return _OIDS["bytea"], value


def _array(kind: str, column: Sequence[Any]) -> _Parameter:
    """PostgreSQL's binary form of an array of one dimension (array_recv in its arrayfuncs.c)."""
    head = struct.pack("!iiiii", 1, 1, _OIDS[kind], len(column), 1)
    match kind:
        case "bool":
            items = [_FLAGS[value] for value in column]
        case "int8":
            items = [b"\0\0\0\x08" + _INT8.pack(value) for value in column]
        case _ if None in column:
            items = [_NULL if value is None else _sized(value) for value in column]
        case _:
            values = [value.encode() for value in column] if kind == "text" else column
            items = [b""] * (2 * len(column))
            items[::2] = map(_INT.pack, map(len, values))
            items[1::2] = values
    return _ARRAYS[kind], head + b"".join(items)


def _sized(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _INT.pack(len(data)) + data
