"""Intercom's contract mock: its API (version 2.16) and its webhooks over the shared story.

It keeps the traps: three paging schemes, contacts searched by whole days, merged contacts that answer 410 and are named
only in a merge history, one scroll at a time, ten of anything within a contact, webhooks in other shapes than REST.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from connectors.intercom import desk, search, views
from connectors.intercom.answers import error_list, missing, paged, searched
from connectors.intercom.deskapi import DeskApi
from connectors.intercom.patience import Patience
from connectors.intercom.world import Object, Workspace
from core.sdk.mock import Push, answer, now, page_size
from core.sdk.story import uuid

DEMO: Mapping[str, str] = {"token": "demo-token-of-intercom", "webhook_secret": "demo-client-secret-of-intercom"}
_SCROLL_IDLE = 60_000  # ms after which an unused scroll is forgotten


class Intercom:
    """A `core.sdk.mock.Simulator`. `scroll_size` companies come per page of a scroll."""

    name = "intercom"
    timeout = 5.0
    retries = 1  # not published: others tell of one and of five, 30 seconds apart
    schedule = (30.0,)
    limit, per = 1_667, 10.0  # 10,000 a minute, spread by Intercom over windows of 10 s
    tells_wait = False  # X-RateLimit-Reset tells when
    cannot_show = ("stale",)  # it signs no time
    scroll_size = 100

    def __init__(self, seed: int, secrets: Mapping[str, str]) -> None:
        self.seed = seed
        self.world = Workspace(seed)
        self.desk = DeskApi(self.world)
        self._token = secrets.get("token", DEMO["token"])
        self._secret = secrets.get("webhook_secret", DEMO["webhook_secret"])
        self._patience = Patience()
        self._scroll: tuple[str, int, int] | None = None  # parameter, how many were shown, last used (epoch ms)
        self._scrolls = 0

    def apply(self, beat: Any, now_ms: int) -> Sequence[Push]:
        return self.world.apply(beat, now_ms)

    def authorized(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode())

    def sign(self, push: Push, target: str, now: datetime) -> tuple[str, dict[str, str], bytes]:
        told = push.body
        if isinstance(told, dict) and "delivery_attempts" in told:
            told = {**told, "delivery_attempts": push.attempt + 1}
        body = orjson.dumps(told)
        key = "somebody-else" if push.forged else self._secret
        signature = hmac.new(key.encode(), body, hashlib.sha1).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "intercom-parrot-service-client/1.0",
            "X-Hub-Signature": f"sha1={signature}",
        }
        return target, headers, body

    def pause(self, status: int, attempt: int, at: float) -> float:
        return self._patience.after(status, at)

    def failure(self, status: int) -> Any:
        said = f"Exceeded rate limit of {self.limit} in {self.per:.0f}_seconds" if status == 429 else ""
        return error_list(status, message=said)

    def rate_headers(self, limit: int, remaining: int, reset_seconds: int, now_ms: int) -> Mapping[str, str]:
        return {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(now_ms // 1000 + reset_seconds),
        }

    def counts(self) -> Mapping[str, int]:
        world = self.world
        return {
            "people": len(world.contacts),
            "conversations": len(world.conversations),
            "organizations": len(world.companies),
            "tickets": len(world.desk.tickets),
            "articles": len(world.desk.articles) + len(world.desk.internal),
        }

    def truth(self) -> Mapping[str, Any]:
        world = self.world
        return {
            "contact": {id: views.contact(world, person, pushed=False) for id, person in world.contacts.items()},
            "company": {id: views.company(world, made) for id, made in world.companies.items()},
            "conversation": {id: self._conversation(id) for id in world.conversations},
            "ticket": {id: desk.ticket_view(world, each, pushed=False) for id, each in world.desk.tickets.items()},
            "call": {id: desk.call_view(world, each) for id, each in world.desk.calls.items()},
            "article": {id: desk.article_view(world, each) for id, each in world.desk.articles.items()},
            "internal_article": {id: desk.internal_view(world, each) for id, each in world.desk.internal.items()},
            "admin": {shown["id"]: shown for shown in views.admins(world)},
            "team": {shown["id"]: shown for shown in views.teams(world)},
        }

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/me", self._me),
            web.get("/admins", self._admins),
            web.get("/admins/{id}", self._admin),
            web.get("/teams", self._teams),
            web.get("/teams/{id}", self._team),
            web.get("/contacts", self._contacts),
            web.post("/contacts/search", self._search_contacts),
            web.get("/contacts/{id}", self._contact),
            web.get("/contacts/{id}/merge_history", self._merge_history),
            web.get("/companies/scroll", self._companies),
            web.get("/companies/{id}", self._company),
            web.get("/conversations/deleted", self._deleted),
            web.post("/conversations/search", self._search_conversations),
            web.get("/conversations", self._conversations),
            web.get("/conversations/{id}", self._one_conversation),
            *self.desk.routes(),
        ]

    async def _me(self, request: web.Request) -> web.Response:
        app = {
            "type": "app", "id_code": self.world.code, "name": "Example Shop", "created_at": 1_734_537_243,
            "secure": False, "identity_verification": False, "timezone": search.ZONE_NAME, "region": "US",
        }  # fmt: skip
        me = views.admins(self.world)[0]
        return answer({key: me[key] for key in ("type", "id", "name", "email")} | {"email_verified": True, "app": app})

    async def _admins(self, request: web.Request) -> web.Response:
        return answer({"type": "admin.list", "admins": views.admins(self.world)})

    async def _teams(self, request: web.Request) -> web.Response:
        return answer({"type": "team.list", "teams": views.teams(self.world)})

    async def _admin(self, request: web.Request) -> web.Response:
        return _picked(views.admins(self.world), request)

    async def _team(self, request: web.Request) -> web.Response:
        return _picked(views.teams(self.world), request)

    async def _company(self, request: web.Request) -> web.Response:
        made = self.world.companies.get(request.match_info["id"])
        return answer(views.company(self.world, made)) if made else missing()

    async def _contacts(self, request: web.Request) -> web.Response:
        sort, query = {"field": "id", "order": "ascending"}, request.query
        rows, per_page = self._people(request), page_size(request, min(int(query.get("per_page", 50)), 150))
        return paged("list", "data", rows, sort, per_page, query.get("starting_after"))

    async def _search_contacts(self, request: web.Request) -> web.Response:
        people, lag = self._people(request), self.world.lag_of
        return await searched(request, "list", "data", people, lag, by_day=True, usual=50)

    def _people(self, request: web.Request) -> list[Object]:
        history = request.query.get("include_merge_history") == "true"
        everybody = self.world.contacts.values()
        return [views.contact(self.world, person, pushed=False, history=history) for person in everybody]

    async def _contact(self, request: web.Request) -> web.Response:
        id = request.match_info["id"]
        if person := self.world.contacts.get(id) or self.world.archived.get(id):
            history = request.query.get("include_merge_history") == "true"
            return answer(views.contact(self.world, person, pushed=False, history=history))
        if canonical := self.world.canonical(id):
            return answer(self.failure(410), 410, {"Link": f'</contacts/{canonical}>; rel="canonical"'})
        return missing()

    async def _merge_history(self, request: web.Request) -> web.Response:
        person = self.world.contacts.get(request.match_info["id"])
        if person is None or person["role"] != "user":
            return missing()
        rows = self.world.history.get(person["id"], [])
        rows = rows if request.query.get("order") == "asc" else rows[::-1]
        begin, per_page = int(request.query.get("cursor", 0)), int(request.query.get("per_page", 50))
        per_page = page_size(request, min(per_page, 150))
        more = begin + per_page < len(rows)
        shown = rows[begin : begin + per_page]
        cursor = str(begin + per_page) if more else None
        return answer({"type": "list", "data": shown, "next_cursor": cursor, "has_more": more})

    async def _companies(self, request: web.Request) -> web.Response:
        given, at = request.query.get("scroll_param"), now(request)
        if self._scroll and at - self._scroll[2] > _SCROLL_IDLE:
            self._scroll = None
        if given is None and self._scroll:
            return answer(error_list(400, "scroll_exists", "scroll already exists for this workspace"), 400)
        if given is not None and (self._scroll is None or self._scroll[0] != given):
            return answer(error_list(404, "not_found", "scroll parameter not found"), 404)
        if self._scroll is None:
            self._scrolls += 1
            self._scroll = (uuid(self.seed, f"scroll:{self._scrolls}"), 0, at)
        param, shown, _ = self._scroll
        rows = list(self.world.companies.values())[shown : shown + page_size(request, self.scroll_size)]
        self._scroll = (param, shown + len(rows), at) if rows else None
        data = [views.company(self.world, made) for made in rows]
        return answer({"type": "list", "data": data, "pages": None, "total_count": None, "scroll_param": param})

    async def _deleted(self, request: web.Request) -> web.Response:
        page, per_page = int(request.query.get("page", 1)), int(request.query.get("per_page", 20))
        per_page = page_size(request, min(per_page, 60))
        rows = self.world.deleted if request.query.get("order") == "asc" else self.world.deleted[::-1]
        total = -(-len(rows) // per_page)
        order = request.query.get("order", "desc")
        url = f"{request.scheme}://{request.host}{request.path}?per_page={per_page}&order={order}&page={page + 1}"
        return answer({
            "type": "conversations.list", "conversations": rows[(page - 1) * per_page : page * per_page],
            "total_count": len(rows),
            "pages": {"type": "pages", "next": url if page < total else None, "page": page, "per_page": per_page,
                      "total_pages": total},
        })  # fmt: skip

    def _conversation(self, id: str, *, markup: bool = True) -> Object:
        parts = self.world.conversations[id]["parts"]
        return views.conversation(self.world, id, pushed=False, parts=parts, markup=markup)

    async def _conversations(self, request: web.Request) -> web.Response:
        sort, query = {"field": "created_at"}, request.query
        per_page = page_size(request, min(int(query.get("per_page", 20)), 150))
        return paged("conversation.list", "conversations", self._threads(), sort, per_page, query.get("starting_after"))

    def _threads(self) -> list[Object]:
        world = self.world
        return [views.conversation(world, id, pushed=False, parts=None, markup=True) for id in world.conversations]

    async def _one_conversation(self, request: web.Request) -> web.Response:
        id = request.match_info["id"]
        if id not in self.world.conversations:
            return missing()
        return answer(self._conversation(id, markup=request.query.get("display_as") != "plaintext"))

    async def _search_conversations(self, request: web.Request) -> web.Response:
        kind, rows, lag = "conversation.list", self._threads(), self.world.lag_of
        return await searched(request, kind, "conversations", rows, lag, by_day=False, usual=20)


def _picked(rows: Sequence[Object], request: web.Request) -> web.Response:
    found = next((row for row in rows if row["id"] == request.match_info["id"]), None)
    return answer(found) if found else missing()


simulator: Callable[[int, Mapping[str, str]], Intercom] = Intercom
