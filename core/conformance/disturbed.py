"""What goes wrong: answers of the source, moving pages, clocks that differ, a process that dies. Whatever it is, the
objects are those of an undisturbed run in the end."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from core.conformance.bench import bench, same
from core.conformance.journey import Examine, content, fresh, polls, read, rows
from core.conformance.story import PAUSE, played, story, told
from core.conformance.subject import BrokenError, ExemptError, NotRunError, Subject
from core.errors import NormalizeError, PermanentError, TransientError
from core.sdk import Payload, Stream
from core.sdk.faults import Fault

_MOST_TRIES = 20  # of a list whose answers go wrong: it has few faults before it


def _asks(subject: Subject) -> None:
    connector = subject.connector
    if not (connector.streams or connector.listings or connector.hydrate):
        raise ExemptError("the connector asks its source nothing")


def fault(*faults: Fault, each: bool = True, exempt: str = "", buries: bool = False, alone: bool = False) -> Examine:
    """Each list and each object's address fails so (without `each` only the first); then all is well. `exempt` says
    why there may be nothing to disturb; `buries`: what is asked for by its id may end as a dead letter; `alone`: every
    stream and listing is then read by itself, too."""

    async def examine(subject: Subject) -> None:
        striking = [replace(one, each=each) for one in faults]
        disturbed = await _disturbed(subject, striking, buries)
        if alone:
            disturbed += await _alone(subject, striking)
        if not disturbed:
            raise ExemptError(exempt) if exempt else NotRunError("no request of the connector was disturbed")

    return examine


async def _disturbed(subject: Subject, faults: Sequence[Fault], buries: bool) -> int:
    """How many answers went wrong, in a first fetch and while webhooks are heard alone."""
    _asks(subject)
    undisturbed = await story(subject)
    async with bench(replace(subject, connector=replace(subject.connector, webhook=None), seen={})) as on:
        on.mock.faulty.faults += [replace(one) for one in faults]
        async with on.ingesting():
            await on.polled()
        same(undisturbed.backfill, on.objects(), "the first fetch")
        struck = on.mock.faulty.struck
        if on.mock.faulty.hasty:
            raise BrokenError("the source is asked again before the time that it named")
    if subject.connector.hydrate is None:
        return struck
    found = await told(subject, list, [replace(one) for one in faults])
    letters = min(found.letters, found.struck) if buries else 0
    same(undisturbed.told, found.objects, "fetching what webhooks named", letters=letters)
    return struck + found.struck


async def _alone(subject: Subject, faults: Sequence[Fault]) -> int:
    """As `_disturbed`, of one list at a time: where two ask at one address, a fault strikes only one of them, and the
    other may bring what it has lost. A listing brings no object at all."""
    connector = subject.connector
    asks: list[tuple[str, Callable[..., AsyncIterator[Any]]]] = [
        *((f"the stream {stream.name!r}", stream.poll) for stream in connector.streams),
        *((f"the listing {listing.kind!r}", listing.ids) for listing in connector.listings),
    ]
    struck = 0
    for what, ask in asks:
        whole, _ = await _brought(subject, what, ask, ())
        found, times = await _brought(subject, what, ask, faults)
        if missing := whole - found:
            raise BrokenError(f"{what} by itself brings {len(missing)} of {len(whole)} rows less")
        struck += times
    return struck


async def _brought(
    subject: Subject, what: str, ask: Callable[..., AsyncIterator[Any]], faults: Sequence[Fault]
) -> tuple[set[str], int]:
    """All rows of a list that is asked again where it fails, and how many answers went wrong."""
    async with bench(subject) as each:
        each.mock.faulty.faults += [replace(one) for one in faults]
        found: set[str] = set()
        cursor = None
        for _ in range(_MOST_TRIES):
            try:
                async for page in read(each, ask, cursor):
                    found, cursor = found | rows(page), page.cursor
            except (TransientError, PermanentError):
                continue  # as the engine, which polls again after either from the cursor that it has
            return found, each.mock.faulty.struck
    raise BrokenError(f"{what} by itself never comes to its end")


async def odd_rows(subject: Subject) -> None:
    """Beside the good ones they harm nobody; and none is lost without a dead letter."""
    faults = [Fault("rows", times=10**6, each=True)]
    if not await _disturbed(subject, faults, buries=False):
        raise ExemptError("the source gives no lists")
    for stream in subject.connector.streams:
        good = {content(payload) for payload in await _payloads(subject, stream, ())}
        if not good:
            continue
        odd = [each for each in await _payloads(subject, stream, faults) if content(each) not in good]
        if not odd or any(not _told(subject, payload) for payload in odd):
            raise BrokenError(
                f"the stream {stream.name!r} loses rows of another shape without a dead letter: hand them on as they "
                "came, and let `normalize` refuse them"
            )


async def _payloads(subject: Subject, stream: Stream[Any], faults: Sequence[Fault]) -> list[Payload]:
    async with bench(subject) as each:
        each.mock.faulty.faults += [replace(one) for one in faults]
        return [payload async for page in read(each, stream.poll, None) for payload in page.payloads]


def _told(subject: Subject, payload: Payload) -> bool:
    try:
        return bool(list(subject.connector.normalize(payload)))
    except NormalizeError:
        return True


async def redirect(subject: Subject) -> None:
    """Another host stands there and listens: nobody comes."""
    visitors = 0

    async def visited(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal visitors
        visitors += 1
        return web.json_response({})

    runner = web.ServerRunner(web.Server(visited))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        elsewhere = f"http://localhost:{runner.addresses[0][1]}/"
        await fault(Fault("redirect", after=1, url=elsewhere), buries=True)(subject)
    finally:
        await runner.cleanup()
    if visitors:
        raise BrokenError("a redirect to another host is followed: what was asked for, and credentials, went there")


async def shift(subject: Subject) -> None:
    """Objects change, come and go between two pages of every list; what the next polls find makes it whole."""
    polls(subject)
    deaf = replace(subject, connector=replace(subject.connector, webhook=None), seen={})
    async with bench(deaf) as each:
        each.later(PAUSE)
        each.mock.faulty.faults.append(Fault("shift", each=True, beats=40))
        async with each.ingesting():
            await each.polled()
        if not each.mock.faulty.struck:
            raise NotRunError("the source gives no list that could shift")
        each.mock.faulty.faults.clear()
        each.later(PAUSE)
        async with each.ingesting():
            await each.polled()
        found = each.objects()
        now = await fresh(each)
    same(now, {key: found[key] for key in now if key in found}, "a page shifted while it was read")


def skewed(seconds: float) -> Examine:
    """The source's clock and ours differ."""

    async def examine(subject: Subject) -> None:
        polls(subject)
        async with bench(subject, skew=seconds) as each:
            async with each.ingesting():
                await each.polled()
            played(each)
            async with each.ingesting():  # at once: by a clock that is behind, what has just changed lies ahead
                await each.polled()
            each.later(PAUSE)
            async with each.ingesting():
                await each.polled()
            found = each.objects()
            now = await fresh(each)
        where = f"our clock is {abs(seconds) / 60:.0f} minutes {'ahead' if seconds > 0 else 'behind'}"
        same(now, {key: found[key] for key in now if key in found}, where)

    return examine


async def crash(subject: Subject) -> None:
    """Killed as a page is published, and behind that as its cursor is saved, again and again."""
    polls(subject)
    undisturbed = await story(subject)
    async with bench(subject) as each:
        crashes, each.bus.deadly = 0, True
        while crashes < 2 * len(subject.connector.streams) + 3:
            async with each.ingesting():
                if not await each.crashed_or_polled():
                    break
            crashes += 1
        each.bus.deadly = False
        if not crashes:
            raise BrokenError("no cursor is ever saved: after a crash everything is fetched again")
        async with each.ingesting():
            await each.polled(ever=True)
        same(undisturbed.backfill, each.objects(), "killed between publish and cursor")
