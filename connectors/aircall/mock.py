"""Aircall's contract mock: Basic and Bearer authentication, windows and pages, the 10,000-row end, rate headers,
webhooks."""

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hmac import compare_digest
from math import inf
from typing import Any

import orjson
from aiohttp import web

from connectors.aircall.mock_shapes import API, BORN, Object
from connectors.aircall.world import Company
from core.sdk.mock import Push, Simulator, answer, now, page_size, set_live
from core.sdk.story import Beat, uuid

DEMO: Mapping[str, str] = {
    "account": "example",
    "api_id": "demo-aircall-id",
    "api_token": "demo-aircall-token",
    "webhook_token": "demo-aircall-webhook-token",
}
ACCESS_TOKEN = "demo-aircall-access-token"  # of an OAuth app: not in DEMO, because a connection has it or a key
REACHABLE = 10_000  # rows of one query; past them pages are empty, without an error
TIMELINE = 60 * 86_400  # seconds for which choices in the menu are shown: two months


def simulator(seed: int, secrets: Mapping[str, str]) -> Simulator:
    return Aircall(seed, {**DEMO, **secrets})


class Aircall:
    """The API over one invented company. Timeout, attempts and the limit are the source's own."""

    name = "aircall"
    timeout = 5.0
    retries = 50
    schedule = (864.0,)  # 50 within 12 hours; how they are spread is not published
    forgives = True
    limit = 120
    tells_wait = False  # not always; X-AircallApi-Reset is
    cannot_show = ("tampered", "stale")

    def __init__(self, seed: int, secrets: Mapping[str, str]) -> None:
        self.seed = seed
        self.company = Company(seed)
        self._token = secrets["webhook_token"]
        pair = f"{secrets['api_id']}:{secrets['api_token']}"
        basic = base64.b64encode(pair.encode()).decode()
        self._accepted = f"Basic {basic}", f"Bearer {secrets.get('access_token', ACCESS_TOKEN)}"

    def apply(self, beat: Beat, now_ms: int) -> Sequence[Push]:
        return self.company.apply(beat, now_ms // 1000)

    def sign(self, push: Push, target: str, now: datetime) -> tuple[str, dict[str, str], bytes]:
        body = {**push.body, "token": "not-the-token" if push.forged else self._token}
        return target, {"Content-Type": "application/json", "aircall-origin": "webhooks"}, orjson.dumps(body)

    def pause(self, status: int, attempt: int, at: float) -> float:
        return inf if attempt >= self.retries and not 200 <= status < 300 else 0.0

    def counts(self) -> Mapping[str, int]:
        return {"people": len(self.company.contacts), "calls": len(self.company.calls)}

    def truth(self) -> Mapping[str, Any]:
        company = self.company
        return {
            "contact": {str(id): contact for id, contact in company.contacts.items()},
            "call": {str(id): company.shown(call, contact=True) for id, call in company.calls.items()},
            "user": {str(user["id"]): user for user in company.users.values()},
            "team": {str(team["id"]): team for team in company.teams.values()},
        }

    def authorized(self, request: web.Request) -> bool:
        shown = request.headers.get("Authorization", "").encode()
        return any(compare_digest(shown, each.encode()) for each in self._accepted)

    def failure(self, status: int) -> Any:
        words = {401: "Forbidden", 429: "Rate limit exceeded", 500: "Internal server error"}
        return {"error": words.get(status, "Error"), "troubleshoot": "Please check the request."}

    def rate_headers(self, limit: int, remaining: int, reset_seconds: int, now_ms: int) -> Mapping[str, str]:
        return {
            "X-AircallApi-Limit": str(limit),
            "X-AircallApi-Remaining": str(remaining),
            "X-AircallApi-Reset": str(now_ms // 1000 + reset_seconds),
        }

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/v1/ping", self._ping),
            web.get("/v1/company", self._company),
            web.get("/v1/calls", self._list_calls),
            web.get(r"/v1/calls/{id:\d+}", self._one_call),
            web.get("/v1/contacts", self._list_contacts),
            web.get(r"/v1/contacts/{id:\d+}", self._one_contact),
            web.get(r"/v1/calls/{id:\d+}/{insight:summary|transcription}", self._insight),
            web.get("/v2/users", self._list_users),
            web.get(r"/v2/users/{id:\d+}", self._one_user),
            web.get(r"/v1/teams/{id:\d+}", self._one_team),
            web.get("/v1/webhooks", self._webhooks),
            web.get("/v1/webhooks/{id}", self._webhook),
            web.put("/v1/webhooks/{id}", self._webhook),
            web.get("/v1/teams", self._list_teams),
            web.get("/v1/numbers", self._list_numbers),
        ]

    async def _ping(self, request: web.Request) -> web.Response:
        return answer({"ping": "pong"})

    async def _company(self, request: web.Request) -> web.Response:
        return answer({"company": {"name": "Example", "users_count": len(self.company.users), "numbers_count": 1}})

    async def _list_calls(self, request: web.Request) -> web.Response:
        company, extra = self.company, _extra(request)
        found = company.between(*_window(request))
        return _listed(request, "calls", found, lambda id: company.shown(company.calls[id], **extra))

    async def _one_call(self, request: web.Request) -> web.Response:
        call = self.company.calls.get(int(request.match_info["id"]))
        return answer({"call": self.company.shown(call, **_extra(request))}) if call else _absent()

    async def _list_contacts(self, request: web.Request) -> web.Response:
        begin, end = _window(request)
        by = "updated_at" if request.query.get("order_by") == "updated_at" else "created_at"
        found = [item for item in self.company.contacts.values() if begin <= item[by] <= end]
        found.sort(key=lambda item: (item[by], item["id"]))
        return _listed(request, "contacts", found, lambda item: item)

    async def _one_contact(self, request: web.Request) -> web.Response:
        contact = self.company.contacts.get(int(request.match_info["id"]))
        return answer({"contact": contact}) if contact else _absent()

    async def _insight(self, request: web.Request) -> web.Response:
        what = request.match_info["insight"]
        found = self.company.insights.get((int(request.match_info["id"]), what))
        return answer({what: found}) if found else _absent()

    async def _one_user(self, request: web.Request) -> web.Response:
        return _picked("user", self.company.users, request)

    async def _one_team(self, request: web.Request) -> web.Response:
        return _picked("team", self.company.teams, request)

    async def _webhooks(self, request: web.Request) -> web.Response:
        return _listed(request, "webhooks", [self._hook()], lambda item: item)

    async def _webhook(self, request: web.Request) -> web.Response:
        """A PUT switches it on again."""
        if request.match_info["id"] != self._hook()["webhook_id"]:
            return _absent()
        if request.method == "PUT":
            set_live(request)
        return answer({"webhook": self._hook()})

    def _hook(self) -> Object:
        id = uuid(self.seed, "webhook")
        return {
            "webhook_id": id, "direct_link": f"{API}/webhooks/{id}", "created_at": BORN, "custom_name": "supporthub",
            "url": "https://hooks.example.com/hooks/aircall", "active": self.company.webhook_active, "events": [],
            "token": self._token,
        }  # fmt: skip

    async def _list_users(self, request: web.Request) -> web.Response:
        return _listed(request, "users", list(self.company.users.values()), lambda item: item)

    async def _list_teams(self, request: web.Request) -> web.Response:
        return _listed(request, "teams", list(self.company.teams.values()), lambda item: item)

    async def _list_numbers(self, request: web.Request) -> web.Response:
        return _listed(request, "numbers", [self.company.line], lambda item: item)


def _picked(kind: str, things: Mapping[str, Object], request: web.Request) -> web.Response:
    found = next((each for each in things.values() if each["id"] == int(request.match_info["id"])), None)
    return answer({kind: found}) if found else _absent()


def _extra(request: web.Request) -> dict[str, Any]:
    """What of a call is shown only where it was asked for."""
    contact, timeline = (request.query.get(f"fetch_{name}") == "true" for name in ("contact", "call_timeline"))
    return {"contact": contact, "timeline": now(request) // 1000 - TIMELINE if timeline else inf}


def _window(request: web.Request) -> tuple[int, int]:
    try:
        return int(request.query.get("from", 0)), int(request.query.get("to", 1 << 40))
    except ValueError:
        raise _bad_request("from and to are UNIX seconds") from None


def _listed(request: web.Request, plural: str, found: Sequence[Any], show: Callable[[Any], Object]) -> web.Response:
    """One page of `found`, only whose rows are shown."""
    try:
        page, size = int(request.query.get("page", 1)), int(request.query.get("per_page", 20))
    except ValueError:
        raise _bad_request("page and per_page are numbers") from None
    if page < 1 or not 1 <= size <= 50:
        raise _bad_request("per_page is 1 to 50")
    size = page_size(request, size)
    rows = found[:REACHABLE] if request.query.get("order", "asc") == "asc" else found[::-1][:REACHABLE]
    begin, end = (page - 1) * size, page * size
    link = request.url.with_query([(name, value) for name, value in request.query.items() if name[:6] != "fetch_"])
    meta = {
        "count": len(rows[begin:end]), "total": len(found), "current_page": page, "per_page": size,
        "next_page_link": str(link.update_query(page=page + 1)) if end < len(rows) else None,
        "previous_page_link": str(link.update_query(page=page - 1)) if page > 1 else None,
    }  # fmt: skip
    return answer({"meta": meta, plural: [show(item) for item in rows[begin:end]]})


def _bad_request(why: str) -> web.HTTPBadRequest:
    body = orjson.dumps({"error": "Bad Request", "troubleshoot": why})
    return web.HTTPBadRequest(body=body, content_type="application/json")


def _absent() -> web.Response:
    return answer({"error": "Not Found", "troubleshoot": "No such object."}, 404)
