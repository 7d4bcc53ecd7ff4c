"""The mock's API for tickets, calls, articles and what a contact's own answer only names."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from connectors.intercom import desk, views
from connectors.intercom.answers import missing, paged, searched
from connectors.intercom.views import SUBSCRIPTIONS
from connectors.intercom.world import Object, Workspace
from core.sdk.mock import answer, page_size

# How the list of calls may be sorted: Intercom tells nobody.
CALL_ORDERS: Mapping[str, Callable[[Object], Any]] = {
    "updated": lambda call: -call["updated"],
    "created": lambda call: -call["created"],
    "oldest": lambda call: call["created"],
    "stalest": lambda call: call["updated"],
    "none": lambda call: call["id"],
}


class DeskApi:
    """`article_page` articles come per page; calls come in `call_order`, one of CALL_ORDERS. Tests set both."""

    article_page = 25
    call_order = "created"

    def __init__(self, world: Workspace) -> None:
        self._world = world

    def routes(self) -> Sequence[web.RouteDef]:
        world, its = self._world, self._world.desk
        return [
            web.post("/tickets/search", self._search_tickets),
            web.get("/tickets/{id}", self._one(its.tickets, lambda each: desk.ticket_view(world, each, pushed=False))),
            web.get("/calls", self._calls),
            web.get("/calls/{id}", self._one(its.calls, lambda each: desk.call_view(world, each))),
            web.get("/articles", self._articles),
            web.get("/articles/{id}", self._one(its.articles, lambda each: desk.article_view(world, each))),
            web.get("/internal_articles", self._internal_articles),
            web.get("/internal_articles/{id}", self._one(its.internal, lambda each: desk.internal_view(world, each))),
            web.get("/help_center/collections", self._collections),
            web.get("/tags", self._tags),
            web.get("/subscription_types", self._subscription_types),
            web.get("/contacts/{id}/tags", self._own("tags")),
            web.get("/contacts/{id}/notes", self._own("notes")),
            web.get("/contacts/{id}/companies", self._own("companies")),
            web.get("/contacts/{id}/subscriptions", self._own("subscriptions")),
        ]

    def _one(self, shelf: Mapping[str, Object], show: Callable[[Object], Object]) -> Any:
        async def handle(request: web.Request) -> web.Response:
            found = shelf.get(request.match_info["id"])
            return answer(show(found)) if found else missing()

        return handle

    async def _search_tickets(self, request: web.Request) -> web.Response:
        rows = [desk.ticket_view(self._world, each, pushed=False) for each in self._world.desk.tickets.values()]
        lag = self._world.lag_of
        return await searched(request, "ticket.list", "tickets", rows, lag, by_day=False, usual=20)

    async def _calls(self, request: web.Request) -> web.Response:
        """At most 25 to a page, whatever is asked for."""
        order = CALL_ORDERS[self.call_order]
        rows = sorted(self._world.desk.calls.values(), key=lambda call: (order(call), call["id"]))
        return _numbered(request, [desk.call_view(self._world, each) for each in rows], 25)

    async def _articles(self, request: web.Request) -> web.Response:
        rows = sorted(self._world.desk.articles.values(), key=lambda each: (each["updated"], each["id"]), reverse=True)
        return _numbered(request, [desk.article_view(self._world, each) for each in rows], self.article_page)

    async def _internal_articles(self, request: web.Request) -> web.Response:
        rows = [desk.internal_view(self._world, each) for each in self._world.desk.internal.values()]
        return _numbered(request, rows, self.article_page)

    async def _collections(self, request: web.Request) -> web.Response:
        rows = [
            {"id": str(desk.collection_id(self._world, index)), "workspace_id": self._world.code, "name": name,
             "description": None, "icon": "bookmark", "order": index, "parent_id": None, "help_center_id": 1,
             "url": f"https://help.example.com/en/collections/{index}", "created_at": 1_734_537_243,
             "updated_at": 1_734_537_243}
            for index, name in enumerate(desk.COLLECTIONS)
        ]  # fmt: skip
        return _numbered(request, rows, 20)

    async def _tags(self, request: web.Request) -> web.Response:
        names = sorted({tag for person in self._world.contacts.values() for tag in person["tags"]})
        return answer({"type": "list", "data": [views.tag(self._world, name) for name in names]})

    async def _subscription_types(self, request: web.Request) -> web.Response:
        return answer({"type": "list", "data": [views.subscription(self._world, name) for name in SUBSCRIPTIONS]})

    def _own(self, what: str) -> Any:
        """One of a contact's own lists, whole objects and all of them."""

        async def handle(request: web.Request) -> web.Response:
            person = self._world.contacts.get(request.match_info["id"])
            if person is None:
                return missing()
            rows = views.own(self._world, person, what)
            if what != "notes":
                return answer({"type": "list", "data": rows})
            return paged(
                "list",
                "data",
                rows,
                {"field": "created_at"},
                page_size(request, 50),
                request.query.get("starting_after"),
            )

        return handle


def _numbered(request: web.Request, rows: Sequence[Object], per_page: int) -> web.Response:
    """Lists that tell the number of their page and of all pages, and no address of the next."""
    page = int(request.query.get("page", 1))
    per_page = page_size(request, min(int(request.query.get("per_page", per_page)), per_page))
    pages = {"type": "pages", "page": page, "per_page": per_page, "total_pages": -(-len(rows) // per_page)}
    shown = rows[(page - 1) * per_page : page * per_page]
    return answer({"type": "list", "data": shown, "total_count": len(rows), "pages": pages})
