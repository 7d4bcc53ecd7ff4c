"""Ids of all that lives, so that a deletion that nobody told is found. Merged and archived contacts are in no list."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

from connectors.intercom.asking import get, post, rows
from connectors.intercom.config import Config
from connectors.intercom.paging import following, numbered
from connectors.intercom.poll import scroll
from connectors.intercom.shapes import Item, present
from core.sdk import Http, Ids, Listing
from core.sdk.connector import Cursor

Lister = Callable[[Http, Config, str, Cursor | None], AsyncIterator[Ids]]


def _pages(path: str, name: str, **first: str | int) -> Lister:
    """A list with cursors or page numbers; a whole list is one page."""

    async def ids(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Ids]:
        after: dict[str, Any] = dict((cursor or {}).get("next") or {})
        while True:
            response = await get(http, path, **(first | after))
            after = following(response.data) or numbered(response.data)
            yield Ids(_ids(rows(response, name)), {"next": after} if after else {"at": response.started})
            if not after:
                return

    return ids


async def _tickets(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Ids]:
    """Tickets have no list, only a search. By creation, so that what changes meanwhile keeps its place."""
    after: dict[str, Any] = dict((cursor or {}).get("next") or {})
    while True:
        body = {
            "query": {"field": "created_at", "operator": ">", "value": 0},
            "sort": {"field": "created_at", "order": "ascending"},
            "pagination": {"per_page": 150, **after},
        }
        response = await post(http, "/tickets/search", body)
        after = following(response.data)
        yield Ids(_ids(rows(response, "tickets")), {"next": after} if after else {"at": response.started})
        if not after:
            return


async def _companies(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Ids]:
    async for found, _, after in scroll(http, cursor):
        yield Ids(_ids(found), after)


def _ids(found: list[Item]) -> list[str]:
    return [id for row in found if (id := present(row.get("id")))]


LISTINGS: tuple[Listing[Config], ...] = (
    Listing("contact", _pages("/contacts", "data", per_page=150), whole=True),
    Listing("company", _companies, whole=True),
    # Deleted ones have a list of their own, which is read with every poll.
    Listing("conversation", _pages("/conversations", "conversations", per_page=150), every=timedelta(days=7)),
    Listing("ticket", _tickets),
    Listing("admin", _pages("/admins", "admins"), whole=True),
    Listing("team", _pages("/teams", "teams"), pull_only=True, whole=True),
    Listing("article", _pages("/articles", "data"), whole=True),
    Listing("internal_article", _pages("/internal_articles", "data"), pull_only=True, whole=True),
)
