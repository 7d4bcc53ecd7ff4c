"""When the write-ahead log of a SQLite database is due for a checkpoint. The size of its file does not tell, which
stays when the log begins anew.

Of a database's files only the log is read. SQLite's locks are in the other two, and whoever closes a file drops all the
locks that his process holds in it (https://www.sqlite.org/howtocorrupt.html, 2.2).
"""

import os
import sqlite3
from bisect import bisect_left
from pathlib import Path
from typing import Literal

# https://www.sqlite.org/fileformat2.html, 4.1: the head, then frames, each a head of its own and a page.
_HEAD, _FRAME_HEAD = 32, 24
_PAGE_SIZE, _SALTS, _FRAME_SALTS = slice(8, 12), slice(16, 24), slice(8, 16)
Mode = Literal["PASSIVE", "TRUNCATE"]


class WriteAheadLog:
    """So many bytes that wait are `due`; a file of more than `most` has to begin anew, whoever waits for that."""

    def __init__(self, database: Path, *, due: int, most: int) -> None:
        self._path = database.with_name(database.name + "-wal")
        self._due, self._most = due, most
        self._copied = b"", 0  # the salts of a log, and how many of its frames

    def wants(self) -> Mode | None:
        """What is due: PASSIVE keeps out of the way of commits, TRUNCATE waits for them. Raises OSError."""
        if self._path.exists() and self._path.stat().st_size > self._most:
            return "TRUNCATE"
        return "PASSIVE" if self.waiting() > self._due else None

    def waiting(self) -> int:
        """Bytes that no checkpoint of ours has copied into the database. Raises OSError."""
        salts, frames, size = self._frames()
        done, copied = self._copied
        return (frames - copied if salts == done else frames) * size

    def checkpoint(self, connection: sqlite3.Connection, mode: Mode) -> None:
        """Raises sqlite3.Error and OSError."""
        salts, *_ = self._frames()  # before: of a log that begins anew meanwhile too much waits, and never too little
        _, _, copied = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        if copied >= 0:  # below: somebody else's is under way
            self._copied = salts, copied

    def _frames(self) -> tuple[bytes, int, int]:
        """The log's salts, its frames and the bytes of a page. Behind them stand those of an older log."""
        try:
            file = self._path.open("rb", buffering=0)
        except FileNotFoundError:
            return b"", 0, 0
        with file:
            head = os.pread(file.fileno(), _HEAD, 0)
            if len(head) < _HEAD:
                return b"", 0, 0
            salts, size = head[_SALTS], int.from_bytes(head[_PAGE_SIZE], "big")
            step = _FRAME_HEAD + size

            def older(frame: int) -> bool:
                return os.pread(file.fileno(), _FRAME_HEAD, _HEAD + frame * step)[_FRAME_SALTS] != salts

            return salts, bisect_left(range((os.fstat(file.fileno()).st_size - _HEAD) // step), True, key=older), size
