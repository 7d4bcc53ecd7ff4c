"""The feed over SSE: a snapshot, then deltas. A subscriber holds a cursor, not a queue.

Events: `customer` (the whole record with version and cause), `snapshot-end` (all that was there when the connection
began has been sent), `reset` (another generation: what comes now is a snapshot again, drop what you have). The id of
each is a position, `<generation>-<seq>`; sent back as Last-Event-ID it resumes without gap or double. One without an id
belongs to the next that has one. Positions only rise within a generation; consumers drop versions that they have seen.
"""

import asyncio
import re
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated

from aiohttp import hdrs, web
from pydantic import Field

from core.api.follower import Follower, Page
from core.api.guard import granted_to
from core.api.problem import Problem
from core.api.room import FOLLOWER, Room
from core.api.route import Call
from core.api.selection import Chosen, Everything, OfCustomer, OfEntities, OfNeed, Selection, resolve
from core.errors import TransientError
from core.store import CustomerRow, HubRow
from schemas.entities import ACTIVITIES, Shape
from schemas.personal import NONE

READERS_AT_MOST = 1_000
_PAGE = 100
_FILTERS = ACTIVITIES | {"person"}
_KERNEL = 256 * 1024
_PAUSE = 1.0  # seconds between two looks at a store that is down
_NUMBER = re.compile("[0-9]{1,18}")  # what every store can compare


class FeedQuery(Shape):
    """Filters narrow each other; `customer` stands alone."""

    customer: Annotated[str | None, NONE] = Field(None, description="any id of a customer, also a former one")
    entity: Annotated[str | None, NONE] = Field(None, description="entity types, comma-separated: call,conversation")
    ringing: Annotated[bool, NONE] = Field(False, description="1: only while a call rings, and when it ends")
    staff: Annotated[str | None, NONE] = Field(None, description="key of whom ringing or open items are assigned to")
    snapshot: Annotated[bool, NONE] = Field(True, description="0: start at the head")
    last_event_id: Annotated[str | None, NONE] = Field(None, description="like the header Last-Event-ID")


@dataclass(slots=True)
class _Place:
    """Where one reader is. `until`: the head when the snapshot began; None once it was passed."""

    generation: int
    seq: int
    until: int | None
    resumed: bool


async def feed(call: Call) -> web.StreamResponse:
    """Answer with the stream; returns when the reader leaves, stops reading, or the hub stops."""
    room, request, query = call.room, call.request, call.query
    last = _position(request.headers.get("Last-Event-ID") or query.last_event_id)
    hub, selection = await room.store.hub(), await _selection(room, query)
    if request.app[FOLLOWER].readers >= READERS_AT_MOST:
        raise Problem(503, "too many feeds are open", "share one, or try again later", headers={"Retry-After": "10"})
    response = web.StreamResponse(
        headers={hdrs.CONTENT_TYPE: "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    _bound(request)
    try:
        with request.app[FOLLOWER].reader():
            async with aclosing(_stream(call, selection, hub, last)) as chunks:
                async for chunk in chunks:
                    async with asyncio.timeout(room.patience):
                        await response.write(chunk)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()  # it does not read: closing in order would wait for it, too
    except (ConnectionError, TransientError):
        pass  # the reader left; or the store did before the first event: the reader comes again
    return response


def _bound(request: web.Request) -> None:
    """Keep little in the kernel for one reader: otherwise it would hold megabytes before a slow one is noticed."""
    transport = request.transport.get_extra_info("socket") if request.transport else None
    if transport is not None:
        transport.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL)


async def _stream(
    call: Call, selection: Selection, hub: HubRow, last: tuple[int, int] | None
) -> AsyncGenerator[bytes, None]:
    room, follower = call.room, call.request.app[FOLLOWER]
    yield b": supporthub\nretry: 1000\n\n"
    place, begun = await _start(room, call.query, selection, hub, last)
    yield begun
    sent, checked = place.seq, asyncio.get_running_loop().time()
    while not follower.closed:
        try:
            chunk = await _next(room, follower, call.query, selection, place)
        except TransientError:
            chunk = b""
            await asyncio.sleep(_PAUSE)
        if chunk:
            sent = place.seq
            yield chunk
        now = asyncio.get_running_loop().time()
        if now - checked >= room.heartbeat:
            checked = now
            if await _revoked(call):
                return
            # An id without data moves the reader's position past what its filter left out.
            passed = b"id: %d-%d\n" % (place.generation, place.seq) if sent != place.seq else b""
            yield b": heartbeat\n%s\n" % passed
            sent = place.seq
        elif not chunk and place.until is None:  # until then there is more to read, also behind a page without a match
            await follower.wait(place.generation, place.seq, checked + room.heartbeat - now)


async def _start(
    room: Room, query: FeedQuery, selection: Selection, hub: HubRow, last: tuple[int, int] | None
) -> tuple[_Place, bytes]:
    """Where this reader is, and what it gets before all else. A position that is none of ours counts as none."""
    place, reset = _Place(hub.generation, 0, hub.seq, resumed=False), b""
    if last is not None and last[0] == hub.generation and last[1] <= hub.seq:
        place.seq, place.resumed = last[1], True
        if query.ringing:
            await _remind(room, selection, place)
        return place, b""
    if last is not None:
        reset = _event("reset", b'{"generation":%d}' % hub.generation)
    begun = await _begin(room, query, selection, place)
    return place, b"".join([reset, *(_customer(place.generation, chosen) for chosen in begun)])


async def _remind(room: Room, selection: Selection, place: _Place) -> None:
    """Of the phones that rang already where the reader stopped: that they no longer do is told, whenever that is."""
    after = 0
    while True:
        hub, rows = await room.store.on_the_phone(after, _PAGE, place.seq)
        if hub.generation == place.generation:
            place.until = hub.seq  # who changed up to here was not found, and counts as one that may be shown
        if not rows:
            return
        await selection.choose(rows, after, resumed=False)
        after = rows[-1].seq


async def _begin(room: Room, query: FeedQuery, selection: Selection, place: _Place) -> list[Chosen]:
    """Set the place where a reader without a position starts; what it gets before all else."""
    assert place.until is not None
    if not query.snapshot:
        place.seq = place.until
    elif isinstance(selection, OfCustomer) and query.customer:
        place.seq = place.until
        row = await resolve(room.store, query.customer)
        return [selection.first(row, place.until)] if row else []
    return []


async def _next(room: Room, follower: Follower, query: FeedQuery, selection: Selection, place: _Place) -> bytes:
    """One page as bytes, and the place behind it; nothing where there is nothing new."""
    if query.ringing and place.until is not None and not place.resumed:
        hub, rows = await room.store.on_the_phone(place.seq, _PAGE, place.until)
        page = Page(hub.generation, hub.seq, rows)
    else:
        page = await follower.after(place.generation, place.seq, _PAGE, place.until)
    if page.generation != place.generation:
        place.generation, place.seq, place.until, place.resumed = page.generation, 0, page.seq, False
        begun = await _begin(room, query, selection, place)
        reset = _event("reset", b'{"generation":%d}' % page.generation)
        return b"".join([reset, *(_customer(place.generation, chosen) for chosen in begun)])
    frames = [_customer(page.generation, c) for c in await _choose(selection, page, place)]
    if page.rows:
        place.seq = page.rows[-1].seq
    elif place.until is not None:
        place.seq, place.until, place.resumed = max(place.seq, place.until), None, False
        frames.append(_event("snapshot-end", b"{}", f"{place.generation}-{place.seq}"))
    return b"".join(frames)


async def _choose(selection: Selection, page: Page, place: _Place) -> list[Chosen]:
    return await selection.choose(page.rows, place.seq, place.resumed) if page.rows else []


async def _selection(room: Room, query: FeedQuery) -> Selection:
    others = (query.entity, query.ringing or None, query.staff)
    if query.customer is not None:
        if any(others):
            raise Problem(400, "customer stands alone", "leave out entity, ringing and staff")
        row = await resolve(room.store, query.customer)
        if row is None:
            raise Problem(404, "no customer has or had this id", "look one up: GET /v1/lookup, GET /v1/customers?q=")
        return OfCustomer(room.store, query.customer, row)
    if query.entity is not None:
        wanted = frozenset(query.entity.split(","))
        if any(others[1:]) or wanted - _FILTERS:
            remedy = f"entity stands alone, with any of: {', '.join(sorted(_FILTERS))}"
            raise Problem(400, "wrong filter", remedy, errors={"entity": remedy})
        return OfEntities(room.store, wanted)
    return OfNeed(room.store, query.ringing, query.staff) if any(others) else Everything()


async def _revoked(call: Call) -> bool:
    try:
        return "feed" not in (await granted_to(call.request) or ())
    except TransientError:
        return False  # a store that is down revokes nobody


def _position(text: str | None) -> tuple[int, int] | None:
    if not text:
        return None
    generation, _, seq = text.partition("-")
    if not (_NUMBER.fullmatch(generation) and _NUMBER.fullmatch(seq)):
        raise Problem(400, "this is no position of the feed", "send the id of the last event, as it came")
    return int(generation), int(seq)


def _customer(generation: int, chosen: Chosen) -> bytes:
    position = None if chosen.seq is None else f"{generation}-{chosen.seq}"
    return _event("customer", with_version(chosen.row, generation), position)


def with_version(row: CustomerRow, generation: int) -> bytes:
    """The record with its version and cause, without parsing it."""
    return b'%s,"version":"%d-%d","cause":%s}' % (row.record[:-1], generation, row.seq, row.cause or b"{}")


def _event(name: str, data: bytes, id: str | None = None) -> bytes:
    position = f"id: {id}\n".encode() if id else b""
    return b"%sevent: %s\ndata: %s\n\n" % (position, name.encode(), data)
