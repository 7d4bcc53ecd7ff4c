"""Listings: what the hub knows and the source lists no more was deleted without a word; it is fetched, to be sure.

What is known is asked *before* the listing begins, so that nothing created meanwhile is suspected. What no page named
becomes a hint: only when the source itself says that the object is gone (404 to `hydrate`) is it deleted here. Of kinds
that are fetched however old, what a page names and nobody knew becomes one, too: a row may have moved while a page was
read, and no poll looks back so far.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

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
from core.ingest.unlisted import Place, Unlisted, path_of
from core.sdk import Hint, Listing
from schemas.key import key, parse

MOST_SHARE = 0.2  # of what is known may be missing at once; a source that answers nothing must not empty the hub
FEW = 50  # so many may always be missing, but never all
MOST_MORE = 5_000  # unknown ones that one listing has fetched; the next one goes on


class ListingPoll:
    """One listing of one connection, on its own schedule. `raw` is what the bus has of it: when it was last compared,
    and what a person asked. One that was cut short goes on from its file, where this process finds that: another
    machine begins it anew. `ordered`: it is due where it was compared before (epoch ms; see cursors.due)."""

    def __init__(
        self,
        tools: Tools,
        known: Known,
        cursors: Cursors,
        connection: Connection,
        listing: Listing[Any],
        raw: bytes | None,
        *,
        ordered: int = 0,
    ) -> None:
        self._tools = tools
        self._known = known
        self._cursors = cursors
        self._connection = connection
        self._listing = listing
        self._name = listing_name(listing.kind)
        self._raw = raw
        self._ordered = ordered
        self._saved = Saved()
        self._work: Unlisted | None = None
        self._seen: set[bytes] = set()  # cursors of the listing under way
        self._every = listing.every.total_seconds()
        shown = tools.board[connection.name].streams
        self._shown = shown.setdefault(self._name, status.Stream(listing=True))

    async def run(self) -> None:
        """Compare for ever, when it is due. As long as the hub knows nothing there is nothing to compare."""
        rounds = Rounds(self._tools, self._connection.name, self._name, self._shown, downtimes=False)
        try:
            await rounds.run(self._load, self._once, self._every)
        finally:
            if self._work is not None:
                self._work.close()

    async def _load(self) -> float:
        self._saved = decode(self._raw)
        self._shown.at, self._shown.complete_up_to = self._saved.at, self._saved.complete_up_to
        self._work = await self._kept()
        complete = self._saved.complete_up_to
        if complete is None or complete < self._ordered or self._work is not None:
            return 0.0
        due = complete / 1000 + self._every - self._tools.clock().timestamp()
        return min(self._every, max(0.0, due))

    async def _kept(self) -> Unlisted | None:
        """The listing that was cut short, unless it was ended elsewhere since, or a person wants another."""
        work = await self._opened()
        place = work.place
        if place and place.asked == self._saved.asked and place.began > (self._saved.complete_up_to or 0):
            return work
        await work.forget()
        return None

    async def _opened(self) -> Unlisted:
        work = Unlisted(path_of(self._tools.folder, self._connection.name, self._listing.kind))
        try:
            await work.open()
        except BaseException:
            work.close()
            raise
        return work

    async def _once(self) -> None:
        kept = self._work.place if self._work is not None else None
        await self._round()
        # One that was cut short struck ids before an order, or before a whole downtime: they may be gone since.
        late = self._tools.clock().timestamp() - self._every
        if kept is not None and (kept.began / 1000 <= late or kept.began < self._ordered):
            await self._round()

    async def _round(self) -> None:
        tools = self._tools
        await live_first(tools.lag, tools.pace)
        try:
            work = self._work = self._work or await self._begin()
            assert work.place is not None
            place = await self._list(work, work.place) if work.place.known else work.place
            if place.cursor is not None:  # without any page nothing was asked: the settings leave this kind out
                await self._compare(work, place)
        except PermanentError:
            await self._drop()  # its cursor may be what is wrong
            raise
        await self._finish(place)

    async def _begin(self) -> Unlisted:
        """Ask what is known. Raises TransientError where nobody can say now."""
        tools, connection = self._tools, self._connection
        more = MOST_MORE if self._listing.whole and await self._all_came() else 0
        began, known = ms(tools.clock()), 0
        account = tools.intake.account(connection.name)
        prefix = key(connection.connector.name, account, self._listing.kind, "-").removesuffix("-")
        work = await self._opened()
        try:
            async with closing(self._known(prefix)) as pages:
                async for keys in pages:
                    await work.add([parse(each)[3] for each in keys])
                    known += len(keys)
            await work.begin(Place(began, self._saved.asked, known, more))
        except BaseException:
            work.close()
            raise
        return work

    async def _all_came(self) -> bool:
        """Whether the streams have brought all that is there; what they are just bringing is waited for."""
        tools, streams = self._tools, self._tools.board[self._connection.name].streams.values()
        with suppress(TimeoutError):
            async with asyncio.timeout(tools.pace.hints):
                while any(it.way or it.complete_up_to is None for it in streams if not it.listing):  # noqa: ASYNC110
                    await asyncio.sleep(tools.pace.look)
        if any(it.way == "backfill" or it.complete_up_to is None for it in streams if not it.listing):
            return False
        return await tools.turns.drained(tools.pace.hints)

    async def _list(self, work: Unlisted, place: Place) -> Place:
        tools, name = self._tools, self._connection.name
        if place.ended:
            return place
        self._shown.begin(place.listed, ms(tools.clock()))
        http = tools.https[name].of("sweep")
        pages = self._listing.ids(http, self._connection.settings, tools.intake.account(name), place.cursor)
        async with closing(pages):
            async for page in pages:
                check_cursor(page.cursor, self._seen)
                if place.more:
                    unknown = (await work.unknown(page.ids))[: place.more]
                    await self._fetch(unknown)
                    place = replace(place, more=place.more - len(unknown))
                # Struck last: after a crash this page is read again.
                place = await work.strike(place, page.ids, page.cursor)
                self._shown.progress("listing", place.listed, place.known, ms(tools.clock()))
                await live_first(tools.lag, tools.pace)
        return await work.end(place)

    async def _compare(self, work: Unlisted, place: Place) -> None:
        """Publish hints for what was not listed. Raises ListingError where that is more than one can believe."""
        lacking = await work.count()
        most = min(max(FEW, MOST_SHARE * place.known), max(0, place.known - 1))
        if lacking > most and not self._saved.accept:
            raise ListingError(
                f"the source lists {place.listed:,} of kind {self._listing.kind} and lacks {lacking:,} of the "
                f"{place.known:,} that the hub knows: that is too much to be believed, and nothing was done",
                self._name,
            )
        async with closing(work.pages()) as pages:
            async for ids in pages:
                await self._fetch(ids)

    async def _fetch(self, ids: Sequence[str]) -> None:
        tools = self._tools
        hints = [Hint(self._listing.kind, id, ms(tools.clock()), MISSING) for id in ids]
        await patiently(lambda: tools.intake.hints(self._connection.name, hints))

    async def _finish(self, place: Place) -> None:
        now = ms(self._tools.clock())
        self._saved = Saved(at=now, complete_up_to=place.began, asked=self._saved.asked)
        await self._cursors.save(self._connection.name, self._name, self._saved)
        await self._drop()
        self._shown.way, self._shown.at, self._shown.complete_up_to = "", now, place.began

    async def _drop(self) -> None:
        """Nobody goes on with the listing under way."""
        self._seen.clear()
        work, self._work = self._work, None
        if work is not None:
            await work.forget()
