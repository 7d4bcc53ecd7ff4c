"""A small in-house system for the demo and for tests: its customers and their orders, sent in batches.

It plays the part of the story's crm, so that its people are those whom the other tools know. It has no API: whatever it
has to say it sends, and sends again until it is answered 2xx.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from core.sdk import from_ms
from core.sdk.mock import Push
from core.sdk.story import Beat, number

DEMO: Mapping[str, str] = {"account": "erp", "token": "demo-token-of-the-shop"}
_ORDERS = {"closedwon": "paid", "closedlost": "cancelled"}

Item = dict[str, Any]


class Shop:
    """A `core.sdk.mock.Simulator`."""

    name = "hubspot"  # whose beats it plays
    timeout = 10.0
    retries = 8
    limit = 1_000
    cannot_show = ("tampered", "stale")  # a bearer token proves who sends, not what or when

    def __init__(self, seed: int, secrets: Mapping[str, str]) -> None:
        self.seed = seed
        self.items: dict[tuple[str, str], Item] = {}
        self._facts: dict[tuple[str, str], dict[str, Any]] = {}
        self._token = secrets.get("token", DEMO["token"])
        self._opened = False

    def apply(self, beat: Beat, now_ms: int) -> Sequence[Push]:
        """The first beat after the opening brings everything: nobody can ask for it."""
        family, _, verb = beat.kind.partition(".")
        entity = {"person": "person", "deal": "order"}.get(family)
        if entity is None or verb not in ("upsert", "delete"):
            return ()
        item = self._item(entity, beat, now_ms, deleted=verb == "delete")
        self.items[entity, item["id"]] = item
        if beat.n < 0:
            return ()
        items, self._opened = [item] if self._opened else list(self.items.values()), True
        return [Push(item["id"], items, f"{entity}.{item['action']}")]

    def _item(self, entity: str, beat: Beat, now_ms: int, *, deleted: bool) -> Item:
        item: Item = {"entity": entity, "id": self._id(beat.ref), "updated_at": from_ms(now_ms)}
        if deleted:
            return {**item, "action": "deleted"}
        facts = self._facts.setdefault((entity, beat.ref), {})
        facts |= {"at": from_ms(now_ms), **beat.data} if not facts else beat.data
        data = self._person(facts) if entity == "person" else self._order(item["id"], facts)
        return {**item, "action": "upserted", "data": data}

    def _person(self, facts: Mapping[str, Any]) -> Item:
        held = [{"kind": kind, "value": facts[kind]} for kind in ("email", "phone") if facts.get(kind)]
        name = {"given_name": facts.get("given"), "family_name": facts.get("family")}
        return {**name, "role": "customer", "identifiers": held, "language": facts.get("language")}

    def _order(self, id: str, facts: Mapping[str, Any]) -> Item:
        who = facts.get("person")
        return {
            "number": f"S-{id}", "at": facts["at"], "total": facts.get("amount"), "currency": facts.get("currency"),
            "status": _ORDERS.get(str(facts.get("stage")), "open"), "items": [{"name": facts.get("title", "Order")}],
            "parties": [{"role": "requester", "person": f"person/{self._id(who)}"}] if who else [],
        }  # fmt: skip

    def _id(self, ref: str) -> str:
        return str(number(self.seed, ref, 6))

    def sign(self, push: Push, target: str, now: datetime) -> tuple[str, dict[str, str], bytes]:
        token = "somebody-elses-guess" if push.forged else self._token
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return target, headers, orjson.dumps(push.body)

    def routes(self) -> Sequence[web.RouteDef]:
        return ()

    def authorized(self, request: web.Request) -> bool:
        return False

    def failure(self, status: int) -> Any:
        return {"error": status}

    def rate_headers(self, limit: int, remaining: int, reset_seconds: int, now_ms: int) -> Mapping[str, str]:
        return {}

    def counts(self) -> Mapping[str, int]:
        return {kind: len(objects) for kind, objects in self.truth().items()}

    def truth(self) -> Mapping[str, Any]:
        live: dict[str, dict[str, Item]] = {"person": {}, "order": {}}
        for (kind, id), item in self.items.items():
            if item["action"] == "upserted":
                live[kind][id] = item
        return live


simulator: Callable[[int, Mapping[str, str]], Shop] = Shop
