"""Guru's contract mock: its API and its webhooks over the shared story.

It keeps the traps: the next page in a Link header with blanks, no header where `maxResults` is given, 204 for nothing,
dates with `+0000`, events that carry ids only, verifications that run out silently.
"""

import base64
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from math import inf
from typing import Any

import orjson
from aiohttp import web

from connectors.guru.world import Object, Team
from core.sdk import from_iso, to_ms
from core.sdk.mock import Push, answer, now, page_size
from core.sdk.story import uuid

DEMO: Mapping[str, str] = {
    "user": "reader@example.com",
    "token": "demo-token-of-guru",
    "webhook_secret": "demo-part-of-the-url-of-guru",
}
_CLAUSE = re.compile(r"^\s*(\w+)\s*(>=|<=|>|<)\s*(\S+)\s*$")
_SORTS = {"lastModified", "dateCreated", "lastVerified", "title", "verificationState", "version"}
_HAS_ZONE = re.compile(r"T.*(Z|[+-]\d\d:?\d\d)$")


class Guru:
    """A `core.sdk.mock.Simulator`. `page_size` cards come per page; `team.delivery_mode` is SINGLE or BATCH."""

    name = "guru"
    timeout = 15.0
    retries = 5  # "a limited number": neither it nor the pauses are published
    schedule = (60.0,)
    limit = 1_000  # not published
    tells_wait = False
    cannot_show = ("tampered", "stale")
    page_size = 50

    def __init__(self, seed: int, secrets: Mapping[str, str]) -> None:
        self.seed = seed
        self.team = Team(seed)
        self._user = secrets.get("user", DEMO["user"])
        self._token = secrets.get("token", DEMO["token"])
        self._secret = secrets.get("webhook_secret", DEMO["webhook_secret"])

    def apply(self, beat: Any, now_ms: int) -> Sequence[Push]:
        return self.team.apply(beat, now_ms)

    def authorized(self, request: web.Request) -> bool:
        wanted = base64.b64encode(f"{self._user}:{self._token}".encode()).decode()
        return hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Basic {wanted}".encode())

    def sign(self, push: Push, target: str, now: datetime) -> tuple[str, dict[str, str], bytes]:
        """The secret is a part of the address; nothing else proves the sender."""
        secret = "somebody-elses-guess" if push.forged else self._secret
        return f"{target}/{secret}", {"Content-Type": "application/json"}, orjson.dumps(push.body)

    def pause(self, status: int, attempt: int, at: float) -> float:
        return inf if status == 410 else 0.0

    def failure(self, status: int) -> Any:
        return {"status": status, "message": {401: "Bad credentials", 429: "Too many requests"}.get(status, "Failed")}

    def rate_headers(self, limit: int, remaining: int, reset_seconds: int, now_ms: int) -> Mapping[str, str]:
        return {}

    def counts(self) -> Mapping[str, int]:
        live = self._live()
        return {"cards": len(live), "verified": sum(self.team.trusted(card) for card in live)}

    def truth(self) -> Mapping[str, Any]:
        return {"card": {card["id"]: self.team.shown(card) for card in self._live()}}

    def _live(self) -> list[Object]:
        return [card for card in self.team.cards.values() if not card["archived"] and not card["hidden"]]

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/api/v1/whoami", self._whoami),
            web.get("/api/v1/search/query", self._query),
            web.get("/api/v1/search/visible", self._visible),
            web.post("/api/v1/search/cardmgr", self._manager),
            web.post("/api/v1/cards/bulk", self._bulk),
            web.get("/api/v1/cards/{id}", self._card),
            web.get("/api/v1/cards/{id}/extended", self._extended),
        ]

    async def _whoami(self, request: web.Request) -> web.Response:
        team = {"id": uuid(self.seed, "team"), "name": "Example Shop", "status": "ACTIVE"}
        return answer({"user": {"id": self._user, "email": self._user}, "team": team})

    def _shown(self, request: web.Request, cards: Sequence[Object]) -> list[Object]:
        self.team.now = max(self.team.now, now(request))
        return [self.team.shown(card) for card in cards]

    async def _query(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        behind = None
        if "token" in asked:
            asked, behind = json.loads(base64.urlsafe_b64decode(asked["token"]))
        field = asked.get("sortField", "lastModified")
        if field not in _SORTS:
            return answer(self.failure(400), 400)
        try:
            matches = [_clause(text) for text in re.split(r"\s+AND\s+", asked["q"])] if asked.get("q") else []
        except ValueError as error:
            return answer({"status": 400, "message": str(error)}, 400)
        archived = asked.get("showArchived") == "true"
        seen = [card for card in self.team.cards.values() if not card["hidden"]] if archived else self._live()
        cards = self._shown(request, seen)
        rows = [card for card in cards if all(matches_one(card) for matches_one in matches)]
        return self._paged(request, rows, asked, behind, field)

    def _paged(
        self, request: web.Request, rows: list[Object], asked: Mapping[str, str], behind: Any, field: str
    ) -> web.Response:
        """Bare rows, and the next page's whole address in the header Link."""
        down = asked.get("sortOrder", "desc") == "desc"

        def place(card: Object) -> list[Any]:
            return [str(card.get(field) or ""), card["id"]]

        rest = [
            card
            for card in sorted(rows, key=place, reverse=down)
            if behind is None or (place(card) < behind if down else place(card) > behind)
        ]
        if not rest:
            return web.Response(status=204)
        if most := asked.get("maxResults"):
            return answer(rest[: min(int(most), 50)])
        shown = rest[: page_size(request, self.page_size)]
        if len(rest) == len(shown):
            return answer(shown)
        token = base64.urlsafe_b64encode(json.dumps([dict(asked), place(shown[-1])]).encode()).decode()
        url = f"{request.scheme}://{request.host}{request.path}?token={token}"
        return answer(shown, headers={"Link": f'< {url} >; rel="next-page"'})

    async def _visible(self, request: web.Request) -> web.Response:
        return answer({}, headers={"x-guru-total-cards": str(len(self._live()))})

    async def _manager(self, request: web.Request) -> web.Response:
        """Without `queryType: archived` the live cards, as the web app's card manager shows them."""
        body = orjson.loads(await request.read() or b"{}")
        wanted = body.get("queryType") == "archived"
        cards = [card for card in self.team.cards.values() if card["archived"] == wanted and not card["hidden"]]
        behind = None
        if token := request.query.get("token"):
            _, behind = json.loads(base64.urlsafe_b64decode(token))
        asked = {"sortField": "dateCreated", "sortOrder": "asc"}
        return self._paged(request, self._shown(request, cards), asked, behind, "dateCreated")

    async def _bulk(self, request: web.Request) -> web.Response:
        """Live cards by id, each with a `status`; what is archived, hidden or unknown is absent."""
        ids = orjson.loads(await request.read())["ids"]
        live = [card for card in self._live() if card["id"] in ids]
        return answer({card["id"]: {**card, "status": 200} for card in self._shown(request, live)})

    async def _card(self, request: web.Request) -> web.Response:
        card = self.team.cards.get(request.match_info["id"])
        if card and card["hidden"]:
            return answer(self.failure(403), 403)
        return answer(self._shown(request, [card])[0]) if card else answer(self.failure(404), 404)

    async def _extended(self, request: web.Request) -> web.Response:
        card = self.team.cards.get(request.match_info["id"])
        live = card and not card["archived"]
        return answer(self._shown(request, [card])[0]) if card and live else answer(self.failure(404), 404)


def _clause(text: str) -> Callable[[Object], bool]:
    """One comparison of Guru's query language: a date needs its zone. ValueError for what it does not know."""
    found = _CLAUSE.match(text)
    if found is None or not found[1].startswith(("last", "date")):
        raise ValueError(f"Unable to parse query {text!r}")
    field, operator, value = found.groups()
    if not _HAS_ZONE.search(value):
        raise ValueError(f"{value!r} is no date with a zone")
    limit = to_ms(from_iso(value) or "")

    def matches(card: Object) -> bool:
        at = from_iso(card.get(field))
        if at is None:
            return False
        time = to_ms(at)
        match operator:
            case ">=":
                return time >= limit
            case "<=":
                return time <= limit
            case ">":
                return time > limit
            case _:
                return time < limit

    return matches


simulator: Callable[[int, Mapping[str, str]], Guru] = Guru
