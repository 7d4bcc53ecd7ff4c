"""Customers by id and by words, and their timeline."""

import base64
import hashlib
from collections.abc import Mapping
from operator import attrgetter
from typing import Annotated, Any

import orjson
from aiohttp import hdrs, web
from pydantic import Field

from core.api.items import open_items
from core.api.lookup import customer_or_problem
from core.api.problem import Problem
from core.api.read import flat, joined, label, match, value
from core.api.route import Call, NoQuery, Route, answer
from core.identity import canonical
from core.projection.cards import title
from core.store import ActivityRow, CustomerRow
from schemas.answers import Found, Timeline
from schemas.customer import Customer
from schemas.entities import Shape
from schemas.personal import IDENTIFYING, NONE

_CLOCKED = ("signals", "freshness")  # they age by the second and are no reason to send the rest again


class SearchQuery(Shape):
    """Nothing given: all customers, the newest change first."""

    q: Annotated[str, IDENTIFYING] = Field("", description="words of a name, address, number or organization")
    limit: Annotated[int, NONE] = Field(20, ge=1, le=100, description="customers per page")
    after: Annotated[str, NONE] = Field("", description="`next` of the page before")


class TimelineQuery(Shape):
    """Newest first."""

    cursor: Annotated[str | None, NONE] = Field(None, description="`next` of the page before")
    limit: Annotated[int, NONE] = Field(20, ge=1, le=100, description="entries per page")


async def _customer(call: Call) -> web.StreamResponse:
    row = await customer_or_problem(call)
    hub = await call.room.store.hub()
    record = await joined(call.room, row, hub.generation)
    tag = _tag(record)
    given = [each.strip() for each in call.request.headers.get(hdrs.IF_NONE_MATCH, "").split(",")]
    if tag in given or "*" in given:
        return web.Response(status=304, headers={"ETag": tag, "Cache-Control": "private, no-cache"})
    return answer(record, ETag=tag, Cache_Control="private, no-cache")


def _tag(record: Mapping[str, Any]) -> str:
    """Weak (RFC 9110, 8.8.1): the same record with younger clocks."""
    lasting = {name: value for name, value in record.items() if name not in _CLOCKED}
    digest = hashlib.blake2b(orjson.dumps(lasting), digest_size=8).hexdigest()
    return f'W/"{record["version"]}-{digest}"'


async def _search(call: Call) -> web.StreamResponse:
    room, query = call.room, call.query
    rows = await _exact(call)
    if rows is None:
        rows = await room.store.search(query.q, query.limit + 1, query.after)
    page = rows[: query.limit]
    hub = await room.store.hub()
    listed = [_listed(row, hub.generation) for row in page]
    await label(room, listed)
    return answer(
        {"customers": [flat(each) for each in listed], "next": page[-1].id if len(rows) > query.limit else None}
    )


async def _exact(call: Call) -> list[CustomerRow] | None:
    """Live customers who hold what was typed, where it is a whole number or address in any spelling: as a search would
    give them, the newest change first, those behind `after`. None where nobody holds it."""
    typed, store = call.query.q.strip(), call.room.store
    kind: Any = "email" if "@" in typed else "phone" if sum(map(str.isdigit, typed)) >= 7 else None
    identifier = canonical(kind, typed, call.room.rules) if kind else None
    persons = await store.by_identifier(identifier) if identifier else []
    ids = {person.customer for person in persons if person.findable}
    rows = {row.id: row for row in await store.customers_by_id(sorted(ids)) if row.status == "live"}
    if not rows:
        return None
    found = sorted(rows.values(), key=attrgetter("seq"), reverse=True)
    if not (after := call.query.after):
        return found
    last = rows.get(after) or next(iter(await store.customers_by_id([after])), None)
    return [row for row in found if last and row.seq < last.seq]


def _listed(row: CustomerRow, generation: int) -> dict[str, Any]:
    record = orjson.loads(row.record)
    profile = record.get("profile") or {}
    return {
        **match(row),
        "email": value(profile, "email"),
        "phone": value(profile, "phone"),
        "waiting_since": record.get("waiting_since"),
        "open": sum(1 for _ in open_items(record)),
        "ringing": bool(record.get("ringing")),
        "shared": _shared(record),
        "sources": record.get("sources") or [],
        "version": f"{generation}-{row.seq}",
    }


def _shared(record: Mapping[str, Any]) -> int:
    """How many people use the number of one of whom only the number is known; 0 where nobody else does."""
    people = record.get("people") or ()
    if not all(person.get("implied") for person in people):
        return 0
    others = {key for candidate in record.get("candidates") or () for key in candidate["persons"]}
    return len(others - {person["key"] for person in people})


async def _timeline(call: Call) -> web.StreamResponse:
    row = await customer_or_problem(call)
    store, query = call.room.store, call.query
    persons = [person.key for person in await store.person_keys(row.id)]
    before = _decoded(query.cursor) if query.cursor else None
    found = await store.timeline(persons, before, query.limit + 1) if persons else []
    page = found[: query.limit]
    # An activity of two persons of the same customer stands there once.
    entries = [_entry(activity) for activity in {activity.object: activity for activity in page}.values()]
    await label(call.room, entries)
    last = page[-1] if len(found) > query.limit else None
    return answer({"customer": row.id, "entries": entries, "next": _encoded(last.at, last.object) if last else None})


def _entry(activity: ActivityRow) -> dict[str, Any]:
    card = orjson.loads(activity.card)
    return {
        "at": activity.at,
        "entity": activity.entity,
        "key": activity.object,
        "title": title(card) or None,
        "role": activity.role,
        "open": activity.open,
        "status": card.get("status") or card.get("state"),
        "card": card,
    }


def _encoded(at: str, key: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([at, key])).decode().rstrip("=")


def _decoded(cursor: str) -> tuple[str, str]:
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        at, key = orjson.loads(raw)
    except (TypeError, ValueError):  # of base64, of JSON, of what is no pair
        at = key = None
    if not isinstance(at, str) or not isinstance(key, str) or "\0" in at + key:
        raise Problem(400, "this cursor is not one of ours", "take `next` of the page before, as it came")
    return at, key


ROUTES = (
    Route(
        "GET", "/v1/customers", _search, Found, "Find customers by words of name, address, number or organization.",
        query=SearchQuery, problems=(400,),
    ),
    Route(
        "GET", "/v1/customers/{id}", _customer, Customer, "A customer by any id that was ever theirs.",
        query=NoQuery, problems=(404, 410), also={304: "Nothing new since the given ETag."},
    ),
    Route(
        "GET", "/v1/customers/{id}/timeline", _timeline, Timeline, "Everything that happened with a customer.",
        query=TimelineQuery, problems=(400, 404, 410),
    ),
)  # fmt: skip
