"""HubSpot's contract mock: its lists, search, batch reads, limits, errors and signed webhooks over the story's portal.

It stands on the API's own terms and shares with the connector only the signature, which published vectors pin.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import formatdate
from typing import Any

import orjson
from aiohttp import web

from connectors.hubspot import world as worlds
from connectors.hubspot.api import Api, Handler, Json, throttled
from connectors.hubspot.mock_inbox import Inbox
from connectors.hubspot.mock_oauth import Grants
from connectors.hubspot.webhook import signature
from connectors.hubspot.world import SINGULAR, TYPE_IDS, World
from core.sdk.cast import ORGANIZATIONS, STAFF
from core.sdk.mock import UNMETERED, Push, answer, now
from core.sdk.story import Beat, uuid

DEMO: Mapping[str, str] = {"token": "pat-demo-hubspot", "client_secret": "demo-hubspot-client-secret"}
APP: Mapping[str, str] = {"client_id": "demo-hubspot-app", "refresh_token": "demo-hubspot-refresh-token"}

APP_LIMIT = 110  # requests of an OAuth app in the same window
DAILY = 650_000  # requests of a static token
BEHIND = 5 * 3_600_000  # ms by which midnight comes later where the account is


def simulator(seed: int, secrets: Mapping[str, str]) -> "Portal":
    return Portal(seed, {**DEMO, **APP, **secrets})


class Portal:
    """One HubSpot account: what changes it, and what it tells its webhook."""

    name = "hubspot"
    timeout = 5.0
    retries = 10
    schedule = (8_640.0,)  # ten within 24 hours; how they are spread is not published
    limit, per, rolling = 190, 10.0, True
    tells_wait = False
    unlisted = ("2-3465404",)  # the company's own objects: read only where the settings name their type

    def __init__(self, seed: int, secrets: Mapping[str, str]) -> None:
        self.seed = seed
        self.world = World(seed)
        self.api, self.inbox = Api(self.world), Inbox(self.world)
        self.grants = Grants(secrets["client_id"], secrets["client_secret"], secrets["refresh_token"])
        self._token, self._secret = secrets["token"], secrets["client_secret"]
        self.daily = DAILY
        self._spent: dict[int, int] = {}  # requests of a static token by day

    def apply(self, beat: Beat, now_ms: int) -> Sequence[Push]:
        """Beats of the story, and for tests <any object>.upsert, .delete and .restore, person.erase, <object>.link and
        .unlink (`to`: [type, ref]), and what the inbox says of thread.*."""
        entity, _, action = beat.kind.partition(".")
        world, data = self.world, beat.data
        match entity, action:
            case "person", "merge":
                batches = [world.merge(beat.ref, data["into"], data["new"], now_ms)]
            case "person", "erase":
                batches = world.erase(beat.ref, now_ms)
            case "thread", _:
                batches = [self.inbox.apply(action, beat.ref, data, now_ms)]
            case _, "link" | "unlink" if entity in _TYPES:
                change = world.link if action == "link" else world.unlink
                batches = [change(_TYPES[entity], beat.ref, data["to"][0], data["to"][1], now_ms)]
            case _, "delete" if entity in _TYPES:
                batches = [world.archive(_TYPES[entity], beat.ref, now_ms)]
            case _, "restore" if entity in _TYPES:
                batches = [world.restore(_TYPES[entity], beat.ref, now_ms)]
            case _, "upsert" if entity in _TYPES:
                batches = [self._upserted(entity, beat.ref, data, now_ms)]
            case _:
                return []
        return [
            Push(str(batch[0].get("objectId", "")), batch, str(batch[0]["subscriptionType"]))
            for batch in batches
            if batch
        ]

    def _upserted(self, entity: str, ref: str, data: Mapping[str, Any], at: int) -> list[worlds.Event]:
        world, type = self.world, _TYPES[entity]
        slug = data.get("owner") or ""
        owner = world.id("owners", slug) if slug in STAFF else None
        fresh = world.id(type, ref) not in world.objects[type]
        properties: dict[str, str | None] = {}
        match entity:
            case "person":
                properties = {"lifecyclestage": "customer"} if fresh else {}
                properties |= worlds.contact(data, owner)
            case "deal":
                properties = {"pipeline": "default"} if fresh else {}
                properties |= worlds.deal(data, owner, at)
            case "task":
                properties = worlds.task(data, owner, at)
        properties |= data.get("properties", {})
        events = world.put(type, ref, properties, at)
        organization = data.get("organization")
        if entity == "person" and organization in ORGANIZATIONS:
            events += world.put("companies", organization, worlds.company(organization), at)
            company = world.id("companies", organization)
            events += world.link("contacts", ref, "companies", organization, at, primary=True)
            events += world.put("contacts", ref, {"associatedcompanyid": company}, at)
        if entity != "person" and (person := data.get("person")) and self._contact(person):
            events += world.link(type, ref, "contacts", person, at)
        if data.get("stage") == "closedwon" and world.id("orders", f"o:{ref}") not in world.objects["orders"]:
            events += self._sold(ref, at)
        return events

    def _sold(self, ref: str, at: int) -> list[worlds.Event]:
        """What is won is ordered, billed and paid."""
        world = self.world
        deal = world.id("deals", ref)
        events = []
        for type, id, properties, to in worlds.sale(ref, world.objects["deals"][deal].properties, at):
            events += world.put(type, id, properties, at)
            for other, other_id in to:
                events += world.link(type, id, other, other_id, at)
            for buyer in world.links["deals", "contacts"].get(deal, {}) if type != "line_items" else ():
                events += world.associate(type, world.id(type, id), "contacts", buyer, at)
        return events

    def _contact(self, ref: str) -> bool:
        id = self.world.id("contacts", ref)
        return self.world.aliases.get(id, id) in self.world.objects["contacts"]

    def routes(self) -> Sequence[web.RouteDef]:
        routes = [*self.api.routes(), *self.inbox.routes(), *self.grants.routes()]
        return [web.route(route.method, route.path, self._told(route.handler)) for route in routes]

    def _told(self, handler: Any) -> Handler:
        """Every answer tells the portal's time; those to a static token also what is left of the day."""

        async def told(request: web.Request) -> web.StreamResponse:
            daily, static = self.daily, request.headers.get("Authorization") == f"Bearer {self._token}"
            today = (now(request) - BEHIND) // 86_400_000
            spent = self._spent.get(today, 0) + 1
            if static and spent > daily:
                response: web.StreamResponse = answer(throttled(self.seed, "DAILY"), 429)
            else:
                response = await handler(request)
                self._spent = {today: spent} if static else self._spent
            response.headers["Date"] = formatdate(now(request) / 1000, usegmt=True)
            if static and UNMETERED not in response:
                response.headers["X-HubSpot-RateLimit-Daily"] = str(daily)
                response.headers["X-HubSpot-RateLimit-Daily-Remaining"] = str(max(0, daily - spent))
            return response

        return told

    def limit_of(self, request: web.Request, limit: int) -> int:
        """An OAuth app has less of the window than a private app's token, also where tests ask for another limit."""
        return limit * APP_LIMIT // self.limit if self.grants.admits(request) else limit

    def authorized(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self._token}" or self.grants.admits(request)

    def sign(self, push: Push, target: str, now: datetime) -> tuple[str, dict[str, str], bytes]:
        told = push.body
        if isinstance(told, list):
            told = [{**event, "attemptNumber": push.attempt} if isinstance(event, dict) else event for event in told]
        body, timestamp = orjson.dumps(told), str(int(now.timestamp() * 1000))
        secret = "somebody-else" if push.forged else self._secret
        return (
            target,
            {
                "Content-Type": "application/json",
                "X-HubSpot-Signature-v3": signature(secret, "POST", target, body, timestamp),
                "X-HubSpot-Request-Timestamp": timestamp,
            },
            body,
        )

    def failure(self, status: int) -> Json:
        if status == 429:
            return throttled(self.seed, "TEN_SECONDLY_ROLLING")
        category = "INVALID_AUTHENTICATION" if status == 401 else "INTERNAL_ERROR"
        correlation = uuid(self.seed, f"failure {status}")
        return {"status": "error", "message": f"refused ({status})", "correlationId": correlation, "category": category}

    def rate_headers(self, limit: int, remaining: int, reset_seconds: int, now_ms: int) -> Mapping[str, str]:
        return {
            "X-HubSpot-RateLimit-Interval-Milliseconds": f"{self.per * 1000:.0f}",
            "X-HubSpot-RateLimit-Max": str(limit),
            "X-HubSpot-RateLimit-Remaining": str(remaining),
        }

    def counts(self) -> Mapping[str, int]:
        return {kind: len(rows) for kind, rows in self.truth().items()}

    def truth(self) -> Mapping[str, Any]:
        found = {
            SINGULAR[type]: {
                id: self.api.shown(type, record, record.properties)
                for id, record in rows.items()
                if record.archived is None
            }
            for type, rows in self.world.objects.items()
            if type != "line_items"  # parts of orders and invoices
        }
        threads = {id: self.inbox.shown(thread) for id, thread in self.inbox.threads.items() if not thread.archived}
        return {**found, "conversation": threads}


_TYPES = {"person": "contacts", **{SINGULAR[type]: type for type in TYPE_IDS if type != "contacts"}}
