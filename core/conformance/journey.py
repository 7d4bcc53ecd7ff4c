"""The whole way, in all the orders in which things may come: fetches, webhooks, pages."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from core.conformance.bench import PATIENCE, Bench, Object, Objects, bench, same
from core.conformance.story import PAUSE, played, pushes, story, told
from core.conformance.subject import BrokenError, ExemptError, Subject
from core.ingest import Client, sessions
from core.sdk import Ids, Page, Payload
from core.sdk.player import Queued

_MOST_PAGES = 200  # of one stream: a poll that brings more goes in circles
_REST = 15.0  # simulated seconds between two polls: nothing here counts requests, and the source's limits hold
_READ = timedelta(hours=1)  # by then every stream was read, however many there are
Examine = Callable[[Subject], Awaitable[None]]


async def backfill(subject: Subject) -> None:
    """Every object of the mock's truth is there, also of kinds of which nothing came."""
    polls(subject)
    async with bench(subject) as each:
        async with each.ingesting():
            await each.polled()
        found = {(_kind(key), key.rpartition("/")[2]) for key in each.objects()}
        brought, unlisted = {kind for kind, _ in found}, getattr(each.simulator, "unlisted", ())
        for kind, rows in each.simulator.truth().items():
            if kind not in brought and (kind in unlisted or not subject.maps(kind)):
                continue
            missing = [id for id in rows if (kind, str(id)) not in found]
            if missing:
                raise BrokenError(f"{len(missing)} of {len(rows)} objects of kind {kind} are not found")
        if each.letters():
            raise BrokenError(f"{each.letters()} dead letters come of an undisturbed fetch")


async def incremental(subject: Subject) -> None:
    """What happened while nobody listened is found by the next polls; what the source itself no longer lists may
    stay."""
    polls(subject)
    async with bench(subject) as each:
        async with each.ingesting():
            await each.polled()
        played(each)
        each.later(PAUSE)
        async with each.ingesting():
            await each.polled()
        found = each.objects()
        now = await fresh(each)
    same(now, {key: found[key] for key in now if key in found}, "after a day without webhooks")


async def webhooks(subject: Subject) -> None:
    """What a fetch tells, webhooks have told, too: those that were heard beside fetches, and those heard alone of all
    that they name."""
    undisturbed = await story(subject)
    if subject.connector.webhook is None:
        raise ExemptError("the connector has no webhooks")
    if undisturbed.letters:
        raise BrokenError(f"{undisturbed.letters} dead letters come of an undisturbed story")
    async with bench(subject) as each:
        played(each)
        each.later(PAUSE)
        async with each.ingesting():
            await each.polled()
        fresh = each.objects()
    live = {key: its for key, its in fresh.items() if its[0] == "live"}
    told = {key: _only(live[key][1], its) for key, its in undisturbed.end.items() if key in live}
    same(live, told, "told by webhooks and the next fetch")
    if not (alone := undisturbed.told):
        raise BrokenError("webhooks alone tell nothing")
    pushed = {quote(push.subject, safe="") for push in await pushes(subject)}
    hinted = {(kind, quote(id, safe="")) for kind, id in undisturbed.hinted}
    kinds = {_kind(key) for key in alone}  # others have a list only

    def named(key: str) -> bool:
        kind, id = _kind(key), key.rpartition("/")[2]
        return (kind in kinds and id in pushed) or (kind, id) in hinted

    new = {key: its for key, its in live.items() if its != undisturbed.backfill.get(key) and named(key)}
    same(new, {key: _only(new[key][1], its) for key, its in alone.items() if key in new}, "told by webhooks alone")


def _only(fields: Collection[str], of: Object) -> Object:
    """A webhook may tell more than a list does; what a list tells it tells, too."""
    state, facts, into = of
    return state, {name: value for name, value in facts.items() if name in fields}, into


def polls(subject: Subject) -> None:
    if not subject.connector.streams:
        raise ExemptError("the connector polls nothing")


async def fresh(each: Bench) -> Objects:
    """What somebody finds who fetches for the first time now."""
    each.bus = type(each.bus)(each.now)
    async with each.ingesting():
        await each.polled()
    return each.objects()


# -- the same deliveries in other ways


def deliveries(change: Callable[[Sequence[Queued]], Sequence[Queued]], what: str) -> Examine:
    """The story's deliveries come changed."""

    async def examine(subject: Subject) -> None:
        undisturbed = await story(subject)
        if subject.connector.webhook is None:
            raise ExemptError("the connector has no webhooks")
        same(undisturbed.told, (await told(subject, change)).objects, what)

    return examine


async def late(subject: Subject) -> None:
    """Deliveries come a day late, after the next fetch has found what they tell."""
    undisturbed = await story(subject)
    if subject.connector.webhook is None:
        raise ExemptError("the connector has no webhooks")
    async with bench(subject) as each:
        async with each.ingesting():
            await each.polled()
        queued = played(each)
        each.later(PAUSE)
        async with each.ingesting():
            await each.polled()
            await each.send(queued)
            await each.settled()
        same(undisturbed.end, each.objects(), "deliveries came a day late")


def doubled(queued: Sequence[Queued]) -> list[Queued]:
    return [one for one in queued for _ in range(2)]


def turned(queued: Sequence[Queued]) -> list[Queued]:
    return list(reversed(queued))


# -- polls page by page


async def resume(subject: Subject) -> None:
    """A poll or listing that is stopped after any of its pages, also the last, goes on there: together they bring what
    one brings at one go. And where it goes on a day later, nothing is lost of what changed meanwhile."""
    polls(subject)
    wholes = await _wholes(subject)
    async with bench(subject) as each:
        for stream in subject.connector.streams:
            await _stopped(each, f"the stream {stream.name!r}", stream.poll, wholes[stream.name])
        for listing in subject.connector.listings:
            whole = await _pages(each, listing.ids, None, _MOST_PAGES)
            await _stopped(each, f"the listing {listing.kind!r}", listing.ids, whole)
    await _interrupted(subject, wholes)


async def _stopped(each: Bench, what: str, ask: Callable[..., AsyncIterator[Any]], whole: Sequence[Any]) -> None:
    parts: list[Any] = []
    cursor = None
    for _ in whole:
        page = (await _pages(each, ask, cursor, 1))[-1:]
        parts += page
        cursor = json.loads(json.dumps(page[0].cursor)) if page else cursor
    try:
        parts += await _pages(each, ask, cursor, _MOST_PAGES)
    except (LookupError, TypeError, ValueError) as error:
        raise BrokenError(f"{what} cannot go on behind its last page: {type(error).__name__}") from error
    if missing := _contents(whole) - _contents(parts):
        raise BrokenError(f"{what} stopped after each page brings {len(missing)} rows less than at one go")


async def _interrupted(subject: Subject, wholes: Mapping[str, Sequence[Page]]) -> None:
    """A first fetch that is cut after its first page goes on a day later. What changed meanwhile comes by then, or by
    the poll after it: as much as comes where nothing was cut."""
    streams = [stream for stream in subject.connector.streams if len(wholes[stream.name]) > 1]
    async with bench(subject) as each:
        before = {stream.name: await _pages(each, stream.poll, None, _MOST_PAGES) for stream in streams}
        firsts = {stream.name: (await _pages(each, stream.poll, None, 1))[0] for stream in streams}
        each.later(_READ)
        played(each)
        each.later(PAUSE)
        for stream in streams:
            later = await _pages(each, stream.poll, before[stream.name][-1].cursor, _MOST_PAGES)
            changed = _contents(later) - _contents(before[stream.name])
            found = [firsts[stream.name]]
            for _ in range(2):
                cursor = json.loads(json.dumps(found[-1].cursor))
                found += await _pages(each, stream.poll, cursor, _MOST_PAGES)
            if missing := changed - _contents(found):
                raise BrokenError(
                    f"the stream {stream.name!r} that stood still for a day after its first page loses "
                    f"{len(missing)} of {len(changed)} rows that changed meanwhile"
                )


async def cursors(subject: Subject) -> None:
    """Every poll ends by itself, and gives no cursor twice."""
    polls(subject)
    for name, pages in (await _wholes(subject)).items():
        if not pages:
            raise BrokenError(f"the stream {name!r} gives no page, and so no cursor to go on from")
        if len(pages) >= _MOST_PAGES:
            raise BrokenError(f"the stream {name!r} does not end")
        named = []
        for page in pages:
            try:
                named.append(json.dumps(page.cursor, sort_keys=True))
            except TypeError:
                raise BrokenError(f"the stream {name!r} gives a cursor that is no JSON") from None
        if len(named) != len(set(named)):
            raise BrokenError(f"the stream {name!r} gives a cursor twice")


async def _wholes(subject: Subject) -> dict[str, list[Page]]:
    """What each stream brings at one go. Read once per examination."""
    if "pages" not in subject.seen:
        async with bench(subject) as each:
            streams = subject.connector.streams
            subject.seen["pages"] = {
                stream.name: await _pages(each, stream.poll, None, _MOST_PAGES) for stream in streams
            }
    found: dict[str, list[Page]] = subject.seen["pages"]
    return found


async def _pages(each: Bench, ask: Callable[..., AsyncIterator[Any]], cursor: Any, most: int) -> list[Any]:
    found: list[Any] = []
    async with aclosing(read(each, ask, cursor)) as pages:
        async for page in pages:
            found.append(page)
            if len(found) >= most:
                break
    return found


async def read(each: Bench, ask: Callable[..., AsyncIterator[Any]], cursor: Any) -> AsyncGenerator[Any, None]:
    """What a stream's `poll` or a listing's `ids` gives from the cursor on, without the engine that polls again."""
    await asyncio.sleep(_REST)
    connection = each.connection
    async with sessions() as session:
        http = Client(connection, session, each.now, patience=PATIENCE)
        account = connection.settings.account or await connection.connector.account(http, connection.settings)
        pages = ask(http, connection.settings, account, cursor)
        try:
            async for page in pages:
                yield page
        finally:
            if aclose := getattr(pages, "aclose", None):
                await aclose()


def _contents(pages: Sequence[Page | Ids]) -> set[str]:
    return {row for page in pages for row in rows(page)}


def rows(page: Page | Ids) -> set[str]:
    """What a page brings, as texts that can be compared."""
    return set(page.ids) if isinstance(page, Ids) else {content(payload) for payload in page.payloads}


def content(payload: Payload) -> str:
    return json.dumps([payload.kind, payload.data], sort_keys=True, default=str)


def _kind(key: str) -> str:
    return key.split("/")[2]
