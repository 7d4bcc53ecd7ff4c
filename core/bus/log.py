"""The embedded bus's file: an append-only log in SQLite with the groups' offsets. Synchronous, one thread at a time."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from core.bus import Message, Record
from core.bus.headers import pack, unpack
from core.bus.topics import Topic, partition_of, refuse_large
from core.errors import ConfigError, PermanentError, TransientError

FORMAT = 1
STEP = 500  # records per step of upkeep: a few milliseconds
ROWS = 128  # records per INSERT
FULL_FOR = timedelta(minutes=1)
TIGHT = 0.8  # of the disk cap; the rest is for deliveries

_SCHEMA = """
CREATE TABLE IF NOT EXISTS partition(
  id INTEGER PRIMARY KEY, topic TEXT NOT NULL, number INTEGER NOT NULL,
  begin INTEGER NOT NULL DEFAULT 0, end INTEGER NOT NULL DEFAULT 0, cleaned INTEGER NOT NULL DEFAULT 0,
  UNIQUE (topic, number));
CREATE TABLE IF NOT EXISTS record(
  id INTEGER PRIMARY KEY, part INTEGER NOT NULL, offset INTEGER NOT NULL, time INTEGER NOT NULL,
  key TEXT NOT NULL, headers BLOB NOT NULL, value BLOB);
CREATE UNIQUE INDEX IF NOT EXISTS place ON record(part, offset);
-- what compaction has seen: where the last value of each key stands
CREATE TABLE IF NOT EXISTS latest(
  part INTEGER NOT NULL, key TEXT NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (part, key)) WITHOUT ROWID;
-- hold: what retention must not pass; committed: NULL where the group keeps its own offsets
CREATE TABLE IF NOT EXISTS progress(
  "group" TEXT NOT NULL, part INTEGER NOT NULL, hold INTEGER NOT NULL, committed INTEGER,
  PRIMARY KEY ("group", part)) WITHOUT ROWID;
"""
_INSERT = "INSERT INTO record(part, offset, time, key, headers, value) VALUES "
_SELECT = """SELECT offset, time, key, headers, value FROM record
  WHERE part=? AND offset>=? AND offset<? ORDER BY offset LIMIT ?"""
_COMPACT = (
    # what the next records supersede among those before them, then among themselves
    """DELETE FROM record WHERE part=:part AND offset IN (SELECT offset FROM latest WHERE part=:part AND key IN
        (SELECT key FROM record WHERE part=:part AND offset>=:begin AND offset<:end))""",
    """DELETE FROM record WHERE part=:part AND offset>=:begin AND offset<:end AND offset NOT IN
        (SELECT max(offset) FROM record WHERE part=:part AND offset>=:begin AND offset<:end GROUP BY key)""",
    """INSERT INTO latest SELECT part, key, offset FROM record WHERE part=:part AND offset>=:begin AND offset<:end
        ON CONFLICT DO UPDATE SET offset=excluded.offset""",
)
_EXPIRE = (
    """DELETE FROM latest WHERE part=:part AND offset<:end
        AND key IN (SELECT key FROM record WHERE part=:part AND offset<:end)""",
    "DELETE FROM record WHERE part=:part AND offset<:end",
)
_HOLD = """INSERT INTO progress VALUES (?, ?, ?, NULL) ON CONFLICT DO NOTHING"""
_MOVE = """INSERT INTO progress VALUES (?, ?, ?, NULL) ON CONFLICT DO UPDATE SET hold=excluded.hold"""
_COMMIT = """INSERT INTO progress VALUES (?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET hold=excluded.hold, committed=excluded.committed"""
_EXPIRED = """SELECT max(offset) FROM
  (SELECT offset, time FROM record WHERE part=:part AND offset>=:begin AND offset<:bound ORDER BY offset LIMIT :step)
  WHERE time < :horizon"""

Clock = Callable[[], int]  # epoch ms
Row = tuple[int, int, int, str, bytes, bytes | None]


@dataclass(slots=True)
class Part:
    """One partition. `begin` and `end` as in Bus.range; `time` is the last record's."""

    id: int
    topic: str
    number: int
    begin: int
    end: int
    cleaned: int
    time: int = 0


def connect(path: Path) -> sqlite3.Connection:
    """A connection for one thread; transactions are begun by hand."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=30)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA wal_autocheckpoint=0")  # a thread of its own does it
    connection.execute("PRAGMA secure_delete=ON")  # PRIVACY: what is gone is gone from free pages, too
    return connection


@contextmanager
def sqlite_errors() -> Iterator[None]:
    """SQLite's errors as ours: all of them may pass once there is space, or the disk answers."""
    try:
        yield
    except sqlite3.Error as error:
        raise TransientError(
            f"the bus's file cannot be used: {error}; look for free space and errors of the disk", retry_after=FULL_FOR
        ) from error


class Log:
    """The writing connection. Nothing is visible before `transaction` ends; what it changed in memory is taken back
    where it fails."""

    def __init__(self, path: Path, topics: Mapping[str, Topic], disk_cap: int, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self._topics = topics
        self.disk_cap = disk_cap
        self._connection = connect(path)
        self._rows: list[Row] = []
        self._full = False
        self.tight = False  # as of the last transaction
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        (self._page_size,) = self._connection.execute("PRAGMA page_size").fetchone()
        self.parts: dict[tuple[str, int], Part] = {}
        self._counts: dict[str, int] = {}
        self._load()

    def _open(self) -> None:
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found not in (0, FORMAT):
            raise ConfigError(f"{self.path} has format {found}, this hub reads {FORMAT}: use the hub that wrote it")
        self._connection.executescript(_SCHEMA)
        self._connection.execute(f"PRAGMA user_version={FORMAT}")
        known = {topic for (topic,) in self._connection.execute("SELECT DISTINCT topic FROM partition")}
        # A topic keeps the number of partitions that it was born with: another one would tear keys from their order.
        new = [(t.name, number) for t in self._topics.values() if t.name not in known for number in range(t.partitions)]
        self._connection.executemany("INSERT INTO partition(topic, number) VALUES (?, ?)", new)

    def _load(self) -> None:
        rows = self._connection.execute("SELECT id, topic, number, begin, end, cleaned FROM partition").fetchall()
        last = "SELECT offset + 1, time FROM record WHERE part=? ORDER BY offset DESC LIMIT 1"
        for row in rows:
            part = Part(*row)
            if found := self._connection.execute(last, (part.id,)).fetchone():
                part.end, part.time = max(part.end, found[0]), found[1]
            self.parts[part.topic, part.number] = part
            self._counts[part.topic] = self._counts.get(part.topic, 0) + 1

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        before = [(part, part.begin, part.end, part.cleaned, part.time) for part in self.parts.values()]
        self._rows = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            used = self.used()
            self._full, self.tight = used >= self.disk_cap, used >= self.disk_cap * TIGHT
            yield
            self._insert()
            self._connection.execute("COMMIT")
        except BaseException:
            for part, *values in before:
                part.begin, part.end, part.cleaned, part.time = values
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def ranges(self) -> dict[tuple[str, int], tuple[int, int]]:
        return {place: (part.begin, part.end) for place, part in self.parts.items()}

    def used(self) -> int:
        """Bytes in use; free pages are written again before the file grows."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        return int((pages - free) * self._page_size)

    # -- inside a transaction

    def append(self, messages: Sequence[Message]) -> None:
        """All of them or, with an error, none."""
        refuse_large(messages)
        if self._full:
            raise TransientError(
                f"the bus holds its {self.disk_cap:,} bytes: raise bus.disk_cap in hub.yaml, or see with `hub check` "
                "which group has not read for long",
                retry_after=FULL_FOR,
            )
        placed = [(self._place(message), message) for message in messages]
        now = self.clock()
        for part, message in placed:
            part.time = max(part.time, now)  # never backwards, so that at_time may bisect
            row = (part.id, part.end, part.time, message.key, pack(message.headers), message.value)
            self._rows.append(row)
            part.end += 1

    def _place(self, message: Message) -> Part:
        if (count := self._counts.get(message.topic)) is None:
            raise PermanentError(f"there is no topic {message.topic!r}")
        return self.parts[message.topic, partition_of(message, count)]

    def _insert(self) -> None:
        # Many rows in one statement: sqlite3 gives up the GIL at each step, and a busy event loop hands it back late.
        for at in range(0, len(self._rows), ROWS):
            rows = self._rows[at : at + ROWS]
            values = ",".join(["(?,?,?,?,?,?)"] * len(rows))
            self._connection.execute(_INSERT + values, [value for row in rows for value in row])

    def commit(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        rows = [(group, self.parts[place].id, offset, offset) for place, offset in offsets.items()]
        self._connection.executemany(_COMMIT, rows)

    def hold(self, group: str, offsets: Mapping[tuple[str, int], int], *, move: bool) -> None:
        """Keep what lies behind these offsets for the group; without `move` only where it holds nothing yet."""
        rows = [(group, self.parts[place].id, offset) for place, offset in offsets.items()]
        self._connection.executemany(_MOVE if move else _HOLD, rows)

    def upkeep(self, part: Part) -> bool:
        """One bounded step of compaction and retention of one partition; True where more is waiting."""
        topic = self._topics.get(part.topic)
        if topic is None:
            return False
        compacted = topic.compact and self._compact(part)
        expired = topic.retention is not None and self._expire(
            part, self.clock() - topic.retention // timedelta(milliseconds=1)
        )
        if compacted or expired:
            values = (part.begin, part.end, part.cleaned, part.id)
            self._connection.execute("UPDATE partition SET begin=?, end=?, cleaned=? WHERE id=?", values)
        return expired or (compacted and part.cleaned < part.end)

    def _compact(self, part: Part) -> bool:
        """Remove what the next records supersede. The last value of each key stays, so the head always does."""
        begin, end = max(part.cleaned, part.begin), min(max(part.cleaned, part.begin) + STEP, part.end)
        if begin == end:
            return False
        for statement in _COMPACT:
            self._connection.execute(statement, {"part": part.id, "begin": begin, "end": end})
        part.cleaned = end
        return True

    def _expire(self, part: Part, horizon: int) -> bool:
        """Remove what is older than `horizon` (epoch ms) and behind every group."""
        (slowest,) = self._connection.execute("SELECT min(hold) FROM progress WHERE part=?", (part.id,)).fetchone()
        bound = part.end if slowest is None else min(slowest, part.end)
        names = {"part": part.id, "begin": part.begin, "bound": bound, "horizon": horizon, "step": STEP}
        (last,) = self._connection.execute(_EXPIRED, names).fetchone()
        if last is None:
            return False
        for statement in _EXPIRE:
            self._connection.execute(statement, {"part": part.id, "end": last + 1})
        part.begin = last + 1
        return True


class Reader:
    """A reading connection; sees what was committed when it is asked."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)

    def close(self) -> None:
        self._connection.close()

    def read(self, part: Part, begin: int, end: int, limit: int) -> list[Record]:
        topic, number = part.topic, part.number
        return [
            Record(topic, number, offset, time, key, value, unpack(headers))
            for offset, time, key, headers, value in self._connection.execute(_SELECT, (part.id, begin, end, limit))
        ]

    def at_time(self, part: Part, begin: int, end: int, moment: int) -> int:
        """Bisects: times never go backwards within a partition."""
        probe = "SELECT time FROM record WHERE part=? AND offset>=? AND offset<? ORDER BY offset LIMIT 1"
        while begin < end:
            middle = (begin + end) // 2
            found = self._connection.execute(probe, (part.id, middle, end)).fetchone()
            if found is None or found[0] >= moment:
                end = middle
            else:
                begin = middle + 1
        return begin

    def committed(self, group: str) -> dict[int, int]:
        """By the partition's id."""
        statement = 'SELECT part, committed FROM progress WHERE "group"=? AND committed IS NOT NULL'
        return dict(self._connection.execute(statement, (group,)).fetchall())

    def holds(self) -> list[tuple[str, int, int]]:
        """(group, partition's id, offset) of everything that retention must not pass."""
        return self._connection.execute('SELECT "group", part, hold FROM progress').fetchall()
