"""Template's contract mock: its API, its pages, its signed webhooks, over the shared story.

It plays the part of the story's helpdesk, so that its people are those whom the other tools know. With it the connector
is tested, demonstrated (`mock: true`), and anybody's own tests run: `hub mock template`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hmac import compare_digest
from typing import Any

import orjson
from aiohttp import web

from connectors._template.webhook import signature
from core.sdk import from_iso, from_ms
from core.sdk.mock import Push, answer
from core.sdk.story import Beat, number

DEMO: Mapping[str, str] = {"token": "demo-token-of-template", "webhook_secret": "demo-secret-of-template"}
ACCOUNT = "acme"
_STATES = {"close": "done", "reopen": "open", "snooze": "waiting"}
Item = dict[str, Any]


class Template:
    """A `core.sdk.mock.Simulator`. `page_size` rows come per page."""

    name = "intercom"  # whose beats of the story it plays
    timeout = 10.0
    retries = 5
    limit = 300
    page_size = 25

    def __init__(self, seed: int, secrets: Mapping[str, str]) -> None:
        self.seed = seed
        self.people: dict[int, Item] = {}
        self.tickets: dict[int, Item] = {}
        self._secrets = {**DEMO, **secrets}

    # The world

    def apply(self, beat: Beat, now_ms: int) -> Sequence[Push]:
        family, _, act = beat.kind.partition(".")
        id, now = number(self.seed, f"{family}:{beat.ref}", 8), from_ms(now_ms)
        match family, act:
            case "person", "upsert":
                self._person(id, beat, str(now))
                return [self._push("person.changed", now, id=id)]
            case "person", "delete" | "merge":
                return [self._push("person.deleted", now, id=id)] if self.people.pop(id, None) else ()
            case "conversation", _:
                ticket = self._ticket(id, act, beat, str(now))
                return [self._push("ticket.changed", now, id=id, ticket=dict(ticket))] if ticket else ()
        return ()

    def _person(self, id: int, beat: Beat, now: str) -> None:
        person = self.people.setdefault(id, {"id": id, "role": "customer", "created_at": now})
        names = {"given": "first_name", "family": "last_name", "email": "email", "phone": "phone"}
        person |= {shown: beat.data[name] for name, shown in names.items() if name in beat.data}
        person |= {"role": "visitor" if beat.data.get("role") == "lead" else person["role"], "changed_at": now}

    def _ticket(self, id: int, act: str, beat: Beat, now: str) -> Item | None:
        if act == "open":
            person = number(self.seed, f"person:{beat.data['person']}", 8)
            self.tickets[id] = {
                "id": id, "subject": beat.data["subject"], "state": "open", "person_id": person,
                "agent": beat.data.get("assignee"), "created_at": now,
            }  # fmt: skip
        ticket = self.tickets.get(id)
        if ticket is not None:
            ticket |= {"state": _STATES.get(act, ticket["state"]), "changed_at": now}
            ticket |= {"agent": beat.data["to"]} if act == "assign" else {}
        return ticket

    def _push(self, event: str, at: Any, **data: Any) -> Push:
        body = {"account": ACCOUNT, "events": [{"event": event, "at": at, **data}]}
        return Push(str(data["id"]), body, event)

    def counts(self) -> Mapping[str, int]:
        return {"people": len(self.people), "tickets": len(self.tickets)}

    def truth(self) -> Mapping[str, Any]:
        return {
            "person": {str(id): person for id, person in self.people.items()},
            "ticket": {str(id): ticket for id, ticket in self.tickets.items()},
        }

    # Its API

    def authorized(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "").encode()
        return compare_digest(given, f"Bearer {self._secrets['token']}".encode())

    def sign(self, push: Push, target: str, now: datetime) -> tuple[str, dict[str, str], bytes]:
        body, time = orjson.dumps(push.body), str(int(now.timestamp()))
        secret = "somebody-elses-guess" if push.forged else self._secrets["webhook_secret"]
        signed = {"X-Template-Time": time, "X-Template-Signature": signature(secret, time, body)}
        return target, {"Content-Type": "application/json", **signed}, body

    def failure(self, status: int) -> Any:
        return {"error": {"status": status}}

    def rate_headers(self, limit: int, remaining: int, reset_seconds: int, now_ms: int) -> Mapping[str, str]:
        return {}

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/v1/me", self._me),
            web.get("/v1/people", self._list(self.people)),
            web.get("/v1/tickets", self._list(self.tickets)),
            web.get("/v1/tickets/ids", self._ids),
            web.post("/v1/people/batch", self._batch(self.people)),
            web.post("/v1/tickets/batch", self._batch(self.tickets)),
        ]

    async def _me(self, request: web.Request) -> web.Response:
        return answer({"account": ACCOUNT})

    def _list(self, items: Mapping[int, Item]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            since = from_iso(request.query.get("changed_since")) or ""
            rows = sorted((item["changed_at"], item["id"]) for item in items.values() if item["changed_at"] >= since)
            return self._page(request, rows, "rows", [items[id] for _, id in rows])

        return handle

    async def _ids(self, request: web.Request) -> web.Response:
        ids = sorted(self.tickets)
        return self._page(request, [("", id) for id in ids], "ids", ids)

    def _page(
        self, request: web.Request, places: Sequence[tuple[str, int]], name: str, shown: list[Any]
    ) -> web.Response:
        """The page behind the cursor, which is the place of the last row that was shown."""
        changed, _, id = request.query.get("cursor", "").rpartition("~")
        behind = (changed, int(id)) if id.isdecimal() else ("", 0)
        begin = next((index for index, place in enumerate(places) if place > behind), len(places))
        end = begin + self.page_size
        last = "~".join(map(str, places[end - 1])) if end < len(places) else None
        return answer({name: shown[begin:end], "next": last, "total": len(shown)})

    def _batch(self, items: Mapping[int, Item]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            wanted = orjson.loads(await request.read())["ids"]
            return answer({"rows": [items[int(id)] for id in wanted if int(id) in items]})

        return handle


simulator: Callable[[int, Mapping[str, str]], Template] = Template
