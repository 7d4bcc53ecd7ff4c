"""Listings: what the hub knows and the source lists no more was deleted without a word; it is fetched, to be sure.

What is known is asked *before* the listing begins, so that nothing created meanwhile is suspected; it waits on disk, so
that a million ids cost no memory. What no page named becomes a hint: only when the source itself says that the object
is gone (404 to `hydrate`) is it deleted here.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from core.config.model import Connection
from core.errors import ListingError, PermanentError
from core.ingest import status
from core.ingest.cursors import Cursors, Saved, decode, listing_name
from core.ingest.lane import MISSING
from core.ingest.pace import closing, live_first, patiently
from core.ingest.rounds import Rounds
from core.ingest.status import ms
from core.ingest.stream import check_cursor
from core.ingest.tools import Known, Tools
from core.sdk import Hint, Listing
from core.sdk.connector import Cursor
from schemas.key import key, parse

MOST_SHARE = 0.2  # of what is known may be missing at once; a source that answers nothing must not empty the hub
FEW = 50  # so many may always be missing
_PAGE = 1_000
T = TypeVar("T")


class Unlisted:
    """Ids that are known and that no page has named yet, in a private file that vanishes with it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="listing")
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            "CREATE TABLE id (id TEXT PRIMARY KEY) WITHOUT ROWID",
            "BEGIN",
        ):
            self._db.execute(statement)

    async def add(self, ids: Sequence[str]) -> None:
        await self._each("INSERT OR IGNORE INTO id VALUES (?)", ids)

    async def strike(self, ids: Sequence[str]) -> None:
        await self._each("DELETE FROM id WHERE id = ?", ids)

    async def count(self) -> int:
        return await self._do(lambda: int(self._db.execute("SELECT count(*) FROM id").fetchone()[0]))

    async def pages(self) -> AsyncIterator[list[str]]:
        """All that is left, in order."""
        after = ""
        while ids := await self._do(lambda after=after: self._after(after)):  # type: ignore[misc]
            yield ids
            after = ids[-1]

    def _after(self, after: str) -> list[str]:
        rows = self._db.execute("SELECT id FROM id WHERE id > ? ORDER BY id LIMIT ?", (after, _PAGE))
        return [id for (id,) in rows]

    def close(self) -> None:
        """At once, or when what its thread does now is done."""
        self._thread.submit(self._db.close)
        self._thread.shutdown(wait=False)

    async def _each(self, sql: str, ids: Sequence[str]) -> None:
        await self._do(lambda: self._db.executemany(sql, [(id,) for id in ids]))

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


@dataclass(slots=True)
class _Work:
    """A listing under way: from `cursor` it goes on after a failure of the source."""

    began: int
    unlisted: Unlisted
    known: int = 0
    listed: int = 0
    cursor: Cursor | None = None
    seen: set[bytes] = field(default_factory=set)


class ListingPoll:
    """One listing of one connection, on its own schedule. `raw` is its saved cursor as it stands on the bus; of a
    listing that was cut short by a crash nothing is saved: it begins anew."""

    def __init__(
        self,
        tools: Tools,
        known: Known,
        cursors: Cursors,
        connection: Connection,
        listing: Listing[Any],
        raw: bytes | None,
    ) -> None:
        self._tools = tools
        self._known = known
        self._cursors = cursors
        self._connection = connection
        self._listing = listing
        self._name = listing_name(listing.kind)
        self._raw = raw
        self._saved = Saved()
        self._work: _Work | None = None
        self._every = listing.every.total_seconds()
        shown = tools.board[connection.name].streams
        self._shown = shown.setdefault(self._name, status.Stream(listing=True))

    async def run(self) -> None:
        """Compare for ever, when it is due. As long as the hub knows nothing there is nothing to compare."""
        rounds = Rounds(self._tools, self._connection.name, self._name, self._shown, downtimes=False)
        try:
            await rounds.run(self._load, self._once, self._every)
        finally:
            self._drop()

    async def _load(self) -> float:
        self._saved = decode(self._raw)
        self._shown.at, self._shown.complete_up_to = self._saved.at, self._saved.complete_up_to
        if self._saved.complete_up_to is None:
            return 0.0
        due = self._saved.complete_up_to / 1000 + self._every - self._tools.clock().timestamp()
        return min(self._every, max(0.0, due))

    async def _once(self) -> None:
        tools = self._tools
        await live_first(tools.lag, tools.pace)
        try:
            work = self._work = self._work or await self._begin()
            if work.known:
                await self._list(work)
                await self._compare(work)
        except PermanentError:
            self._drop()  # its cursor may be what is wrong
            raise
        await self._finish(work)

    async def _begin(self) -> _Work:
        """Ask what is known. Raises TransientError where nobody can say now."""
        tools, connection = self._tools, self._connection
        work = _Work(ms(tools.clock()), Unlisted())
        account = tools.intake.account(connection.name)
        prefix = key(connection.connector.name, account, self._listing.kind, "-").removesuffix("-")
        try:
            async with closing(self._known(prefix)) as pages:
                async for keys in pages:
                    await work.unlisted.add([parse(each)[3] for each in keys])
                    work.known += len(keys)
        except BaseException:
            work.unlisted.close()
            raise
        return work

    async def _list(self, work: _Work) -> None:
        tools, name = self._tools, self._connection.name
        self._shown.begin(work.listed, ms(tools.clock()))
        http = tools.https[name].of("sweep")
        pages = self._listing.ids(http, self._connection.settings, tools.intake.account(name), work.cursor)
        async with closing(pages):
            async for page in pages:
                check_cursor(page.cursor, work.seen)
                await work.unlisted.strike(page.ids)
                work.cursor, work.listed = page.cursor, work.listed + len(page.ids)
                self._shown.progress("listing", work.listed, work.known, ms(tools.clock()))
                await live_first(tools.lag, tools.pace)

    async def _compare(self, work: _Work) -> None:
        """Publish hints for what was not listed. Raises ListingError where that is more than one can believe."""
        tools, name = self._tools, self._connection.name
        lacking = await work.unlisted.count()
        if lacking > max(FEW, MOST_SHARE * work.known) and not self._saved.accept:
            raise ListingError(
                f"the source lists {work.listed:,} of kind {self._listing.kind} and lacks {lacking:,} of the "
                f"{work.known:,} that the hub knows: that is too much to be believed, and nothing was done",
                self._name,
            )
        async with closing(work.unlisted.pages()) as pages:
            async for ids in pages:
                now = ms(tools.clock())
                hints = [Hint(self._listing.kind, id, now, MISSING) for id in ids]
                await patiently(lambda hints=hints: tools.intake.hints(name, hints))  # type: ignore[misc]

    async def _finish(self, work: _Work) -> None:
        self._drop()
        now = ms(self._tools.clock())
        self._saved = Saved(at=now, complete_up_to=work.began, asked=self._saved.asked)
        await self._cursors.save(self._connection.name, self._name, self._saved)
        self._shown.way, self._shown.at, self._shown.complete_up_to = "", now, work.began

    def _drop(self) -> None:
        if self._work is not None:
            self._work.unlisted.close()
            self._work = None
