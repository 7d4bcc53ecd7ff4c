"""Who is behind an identifier: one, candidates or none, never a guess."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from core.api.problem import Problem
from core.api.read import flat, joined, label, match
from core.api.route import Call, Route, answer
from core.api.selection import resolve
from core.api.sources import title
from core.identity import canonical, is_blocked
from core.store import CustomerRow, PersonRow
from schemas.answers import Lookup
from schemas.entities import Shape
from schemas.personal import IDENTIFYING, NONE

_MOST = 5
_WAYS = ("phone", "email", "external_id", "key")
_WORDS = {"phone": "number", "email": "address", "external_id": "external id"}


class LookupQuery(Shape):
    """Exactly one of phone, email, external_id, key."""

    phone: Annotated[str | None, IDENTIFYING] = Field(None, description="in any spelling; write + as %2B")
    email: Annotated[str | None, IDENTIFYING] = Field(None, description="an e-mail address")
    external_id: Annotated[str | None, IDENTIFYING] = Field(None, description="an id of your own, with its namespace")
    namespace: Annotated[str | None, NONE] = Field(None, description="whose numbering the external id is")
    key: Annotated[str | None, NONE] = Field(None, description="a source object: vendor/account/kind/id")


async def _lookup(call: Call) -> web.StreamResponse:
    given = [way for way in _WAYS if getattr(call.query, way)]
    if len(given) != 1:
        raise Problem(400, "give exactly one identifier", f"one of: {', '.join(_WAYS)}")
    if (given[0] == "external_id") != bool(call.query.namespace):
        raise Problem(400, "external_id and namespace go together", "give both", errors={"namespace": "go together"})
    found = await (_by_key(call) if given[0] == "key" else by_identifier(call, given[0], getattr(call.query, given[0])))
    return answer(found)


async def by_identifier(call: Call, kind: Any, text: str) -> dict[str, Any]:
    """`schemas.answers.Lookup`, JSON-ready."""
    room, what = call.room, _WORDS[kind]
    if kind == "phone" and text.startswith(" "):
        text = "+" + text.strip()  # a + that nobody wrote as %2B means a blank in a query
    identifier = canonical(kind, text, room.rules, namespace=call.query.namespace)
    if identifier is None:
        return {"result": "none", "reason": f"this {what} names nobody"}
    if is_blocked(identifier, room.rules):
        return {"result": "none", "reason": f"this {what} is our own or blocked: it names nobody"}
    return await _of(call, await room.store.by_identifier(identifier), identifier, f"several people use this {what}")


async def _of(call: Call, found: Sequence[PersonRow], identifier: str | None, several: str) -> dict[str, Any]:
    """Who these persons are; `several` says why that may be more than one."""
    # Whom their source has deleted is a witness that the identifier is shared, and no longer somebody to find.
    persons = [person for person in found if person.findable]
    customers = await _customers(call, persons)
    known = {person.customer for person in persons if person.implied is None and person.customer in customers}
    rows = [customers[id] for id in known or customers]
    if len(rows) > 1:
        return await _candidates(call, rows, persons, several)
    return await _one(call, rows[0] if rows else None, persons, identifier)


async def _one(
    call: Call, row: CustomerRow | None, persons: Sequence[PersonRow], identifier: str | None
) -> dict[str, Any]:
    """That customer, where the record itself raises no doubt."""
    if row is None:
        return {"result": "none", "reason": "nobody is known by this"}
    record = orjson.loads(row.record)
    shared = next((each for each in record.get("contested") or () if each["identifier"] == identifier), None)
    doubts = [each for each in record.get("candidates") or () if _is_implied(record)]
    if shared is None and not doubts:
        hub = await call.room.store.hub()
        return {"result": "one", "customer": await joined(call.room, row, hub.generation)}
    keys = sorted({key for doubt in doubts for key in doubt["persons"]})
    others = [each for each in await call.room.store.persons_by_key(keys) if each.implied is None] if keys else []
    customers = await _customers(call, others) or {row.id: row}
    reason = f"{shared['people']} people use this" if shared else doubts[0]["reason"]
    return await _candidates(call, customers.values(), [*persons, *others], reason)


def _is_implied(record: Mapping[str, Any]) -> bool:
    """Behind it stands only a number or an address, no contact."""
    people = record.get("people") or ()
    return bool(people) and all(person.get("implied") for person in people)


async def _by_key(call: Call) -> dict[str, Any]:
    """A person's key, or an activity's: then whoever needed it."""
    key = call.query.key
    persons = await call.room.store.persons_by_key([key])
    if not persons:
        row = await call.room.store.object(key)
        persons = await _of_activity(call, orjson.loads(row.card)) if row and row.card else []
    return await _of(call, persons, None, "several people take part in it")


async def _of_activity(call: Call, card: Mapping[str, Any]) -> list[PersonRow]:
    needing = [party for party in card.get("parties") or () if party.get("role") in ("requester", "caller", "callee")]
    persons = await call.room.store.persons_by_key([p["person"] for p in needing if p.get("person")])
    for party in needing:
        held = party.get("identifier")
        if held and not party.get("person"):
            found = canonical(held["kind"], held["value"], call.room.rules, namespace=held.get("namespace"))
            persons += await call.room.store.by_identifier(found) if found else []
    return persons


async def _customers(call: Call, persons: Iterable[PersonRow]) -> dict[str, CustomerRow]:
    """Live customers of these persons, by id."""
    ids = sorted({person.customer for person in persons})
    rows = await call.room.store.customers_by_id(ids) if ids else []
    return {row.id: row for row in rows if row.status == "live"}


async def _candidates(
    call: Call, rows: Iterable[CustomerRow], persons: Sequence[PersonRow], reason: str
) -> dict[str, Any]:
    """At most five, those with the newest contact first, each with who knows them."""
    known: dict[str, set[str]] = {}
    for person in persons:
        known.setdefault(person.customer, set()).add(title(call.room, person.key))
    newest = sorted(rows, key=lambda row: (max(orjson.loads(row.record).get("contacts") or [""]), row.id), reverse=True)
    matches = [match(row) for row in newest[:_MOST]]
    await label(call.room, matches)
    candidates = [
        {**flat(each), "reason": f"known in {' and '.join(sorted(known.get(each['id'], ())))}"} for each in matches
    ]
    return {"result": "candidates", "candidates": candidates, "reason": reason}


async def customer_or_problem(call: Call) -> CustomerRow:
    """The live customer that the path's id is now. Raises Problem 404 or 410."""
    row = await resolve(call.room.store, call.path["id"])
    if row is None:
        raise Problem(404, "no customer has or had this id", "look one up: GET /v1/lookup, GET /v1/customers?q=")
    if row.status == "erased":
        raise Problem(410, "this customer was erased", "nothing is left to show")
    return row


ROUTES = (
    Route(
        "GET", "/v1/lookup", _lookup, Lookup, "Who is behind an identifier: one, candidates or none, never a guess.",
        query=LookupQuery, problems=(400,),
    ),
)  # fmt: skip
