"""A change of a customer in one line, as `hub run` and `hub tail` tell it."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from core.cli.client import Client
from core.cli.terminal import age, span
from core.errors import PermanentError
from core.store import CustomerRow, Store

Line = tuple[str, str]  # a word and a sentence

_FRESH_MS = 60_000  # after this how long it took says nothing: the change is told later than it came
_OPEN = ("open", "pending", "snoozed")
_BY = {"email": "same e-mail", "phone": "same phone", "external_id": "same customer number", "merge": "merged there"}


class Look(Protocol):
    """What a line needs beyond its own change; both return records, organizations with their names."""

    async def customers(self, ids: Sequence[str]) -> list[Mapping[str, Any]]: ...
    async def holders(self, persons: Sequence[str]) -> list[Mapping[str, Any]]:
        """Of the customers that these source persons are now."""
        ...


class Words:
    """Tells changes. A call rings once, however often its record changes meanwhile."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._rung: deque[str] = deque(maxlen=100)

    async def line(self, change: Mapping[str, Any]) -> Line | None:
        """Of a change that a person wants to hear of at once; None of all others."""
        cause = change["cause"]
        match cause.get("kind"):
            case "ring":
                return await self._ring(change, cause)
            case "merge":
                by = [_BY.get(each.partition(":")[0], each) for each in cause["by"]]
                joins = f"{', '.join(cause['from'])} joins {', '.join(cause['to'])}"
                return "merge", f"{called(change)}: {joins}, {by[0] if by else 'same person'}"
            case "split" if change["id"] == cause["into"][0]:
                names = [called(each) for each in await self._look.customers(cause["into"])]
                return "split", f"{' and '.join(names)}: {', '.join(cause['reason']) or 'nothing joins them any more'}"
            case "shared":
                identifier = cause["identifier"].partition(":")[2]
                return "shared", f"{identifier}: {cause['people']} people; nobody merged"
        return None

    async def _ring(self, change: Mapping[str, Any], cause: Mapping[str, Any]) -> Line | None:
        call = change["ringing"][0]
        if call["key"] in self._rung:
            return None
        self._rung.append(call["key"])
        took = int(time.time() * 1000) - cause.get("received", 0)
        after = f" ({max(0, took)} ms)" if took < _FRESH_MS else ""
        number = next((p["identifier"]["value"] for p in call.get("parties") or () if p.get("identifier")), "somebody")
        if candidates := change.get("candidates"):
            holders = await self._look.holders(candidates[0]["persons"])
            where = {organization for each in holders if (organization := _organization(each))}
            at = f", {where.pop()}" if len(where) == 1 else ""
            return "shared", f"{number}: {len(candidates[0]['persons'])} people{at}; nobody merged{after}"
        if not name(change):
            return "ring", f"{number} is a new caller{after}"
        about: Mapping[str, Any] = next((c for c in change.get("conversations") or () if c.get("status") in _OPEN), {})
        title = about.get("subject") or about.get("preview")
        said = f': "{title}"' if title else ""
        since = change.get("waiting_since")
        return "ring", f"{number} is {name(change)}{f', waiting {span(age(since))}' if since else ''}{said}{after}"


def plainly(change: Mapping[str, Any]) -> Line:
    """A line of a change that `Words.line` is silent about."""
    who = called(change)
    match change.get("status"):
        case "merged":
            return "merged", f"{who} is {change['merged_into']} now"
        case "erased":
            return "gone", who
    cause = change["cause"]
    what = ", ".join(cause.get("entities") or ()) or "record"
    return ("new" if cause.get("kind") == "new" else "update"), f"{who}: {what}"


def name(record: Mapping[str, Any]) -> str:
    return _fact(record, "name")


def called(record: Mapping[str, Any]) -> str:
    """By what one can call them: a name, else a number or an address, else the id."""
    return next(filter(None, (_fact(record, fact) for fact in ("name", "phone", "email"))), str(record["id"]))


def _fact(record: Mapping[str, Any], fact: str) -> str:
    return str(((record.get("profile") or {}).get(fact) or {}).get("value") or "")


def _organization(record: Mapping[str, Any]) -> str | None:
    return (((record.get("profile") or {}).get("organization") or {}).get("value") or {}).get("name")


class StoreLook:
    """Looks straight into the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def customers(self, ids: Sequence[str]) -> list[Mapping[str, Any]]:
        records: list[Mapping[str, Any]] = [orjson.loads(row.record) for row in await self._store.customers_by_id(ids)]
        places = [o["value"] for r in records if (o := (r.get("profile") or {}).get("organization"))]
        rows = await self._store.objects_by_key([place["key"] for place in places if place.get("key")])
        names = {row.key: orjson.loads(row.card).get("name") for row in rows if row.card}
        for place in places:
            place["name"] = place.get("name") or names.get(place.get("key"))
        return records

    async def holders(self, persons: Sequence[str]) -> list[Mapping[str, Any]]:
        rows = await self._store.persons_by_key(persons)
        return await self.customers([row.customer for row in rows])


class ApiLook:
    """Asks the API."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def customers(self, ids: Sequence[str]) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for id in ids:
            try:
                found.append(await self._client.get(f"/v1/customers/{id}"))
            except PermanentError:
                continue  # gone meanwhile
        return found

    async def holders(self, persons: Sequence[str]) -> list[Mapping[str, Any]]:
        answers = [await self._client.get("/v1/lookup", key=key) for key in persons]
        return [answer["customer"] for answer in answers if answer["result"] == "one"]


def change_of(row: CustomerRow) -> dict[str, Any]:
    """A row of the store as the feed shows it, without its version."""
    return {**orjson.loads(row.record), "id": row.id, "cause": orjson.loads(row.cause or b"{}")}
