"""Intercom's streams: searches back to a watermark, small lists whole, companies by scroll."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from connectors.intercom.asking import every_row, get, rows
from connectors.intercom.config import Config
from connectors.intercom.details import Details
from connectors.intercom.hydrate import each, payload
from connectors.intercom.paging import (
    OVERLAP,
    Query,
    Search,
    beginning,
    by_day,
    following,
    newest_first,
    numbered,
    searched,
)
from connectors.intercom.phone import all_calls, calls
from connectors.intercom.reconcile import again
from connectors.intercom.reconcile import contacts as late_contacts
from connectors.intercom.shapes import Item, present
from core.sdk import Http, Page, PermanentError, Response, Stream, TransientError
from core.sdk.connector import Cursor

CONTACTS_OVERLAP = 3_600  # contacts can take minutes to become searchable; what takes longer, `late contacts` finds


def _by_second(since: int) -> Query:
    """`>` proved exclusive in practice, whatever the manual says, so equality is asked for, too."""
    either = [{"field": "updated_at", "operator": operator, "value": since} for operator in (">", "=")]
    return {"operator": "OR", "value": either}


_CONTACTS = Search(
    "/contacts/search", "data", 150, by_day, "descending", CONTACTS_OVERLAP, {"include_merge_history": "true"}
)
_IN_CONVERSATIONS, _IN_TICKETS = ("/conversations/search", "conversations"), ("/tickets/search", "tickets")
_CONVERSATIONS = Search(*_IN_CONVERSATIONS, 50, _by_second, "ascending", OVERLAP)
_TICKETS = Search(*_IN_TICKETS, 50, _by_second, "ascending", OVERLAP)
_OPEN = {"field": "state", "operator": "IN", "value": ["open", "snoozed"]}
_UNRESOLVED = {"field": "open", "operator": "=", "value": True}


async def contacts(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """All of them at first, whatever `since` says: who calls today may have been silent for a year.

    Newest first, so that a quiet poll is one request although the search cannot ask for less than a day.
    """
    details = Details(http)
    async for page in searched(http, _CONTACTS, cursor or {"since": 0}):
        found = []
        for row in page.rows:
            found.append(payload("contact", await details.filled(row), config, account, page.response))
            await asyncio.sleep(0)  # a page is long: deliveries go first
        yield Page(found, page.cursor, page.total)


async def conversations(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """The search shows no parts, so each changed conversation is read."""
    async for page in searched(http, _CONVERSATIONS, cursor or beginning(http, config)):
        found = [it async for it in each(http, config, account, "conversation", page.rows)]
        yield Page(found, page.cursor, page.total)


async def tickets(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    async for page in searched(http, _TICKETS, cursor or beginning(http, config)):
        found = [it async for it in each(http, config, account, "ticket", page.rows)]
        yield Page(found, page.cursor, page.total)


async def deletions(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """Deleted conversations, the newest deletion first, as in the description's example: whose order this is it does
    not say. Where it is that of the ids, the weekly comparison of all ids finds what stands further back (404)."""
    first: dict[str, Any] = {"per_page": 60, "order": "desc"}
    names = ("conversations", "deleted_at")
    async for page in newest_first(http, "/conversations/deleted", names, first, cursor or beginning(http, config)):
        yield Page([payload("conversation.deleted", row, config, account, page.response) for row in page.rows],
                   page.cursor)  # fmt: skip


async def articles(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """All of them at first; they come with the newest `updated_at` first. Collections have their names apart."""
    names = await _collections(http)
    async for page in newest_first(http, "/articles", ("data", "updated_at"), {}, cursor or {"since": 0}):
        found = [{**row, "collections": [names[id] for id in _parents(row) if id in names]} for row in page.rows]
        yield Page([payload("article", row, config, account, page.response) for row in found], page.cursor, page.total)


def _parents(article: Item) -> list[str]:
    """The collections that an article stands in: a list from 2.16 on, one before."""
    several = article.get("parent_ids")
    ids = several if isinstance(several, list) else [article.get("parent_id")]
    return [id for each in ids if (id := present(each))]


async def _collections(http: Http) -> dict[str, Item]:
    found: dict[str, Item] = {}
    after: dict[str, Any] = {}
    while True:
        response = await get(http, "/help_center/collections", **after)
        found |= {id: row for row in rows(response, "data") if (id := present(row.get("id")))}
        before, after = after, following(response.data) or numbered(response.data)
        if not after or after == before:
            return found


async def internal_articles(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """Whole: the list names no order."""
    after: dict[str, Any] = dict((cursor or {}).get("next") or {})
    while True:
        response = await get(http, "/internal_articles", **after)
        found = [payload("internal_article", row, config, account, response) for row in every_row(response, "data")]
        after = following(response.data) or numbered(response.data)
        yield Page(found, {"next": after} if after else {"at": response.started})
        if not after:
            return


async def admins(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    response = await get(http, "/admins")
    found = [payload("admin", row, config, account, response) for row in every_row(response, "admins")]
    yield Page(found, {"at": response.started})


async def teams(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    response = await get(http, "/teams")
    found = [payload("team", row, config, account, response) for row in every_row(response, "teams")]
    yield Page(found, {"at": response.started})


async def companies(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    async for found, response, after in scroll(http, cursor):
        yield Page([payload("company", row, config, account, response) for row in found], after)


async def scroll(http: Http, cursor: Cursor | None) -> AsyncIterator[tuple[list[Item], Response, Cursor]]:
    """All companies by scroll, the only way past 10,000. A workspace has one scroll; it is forgotten after a minute."""
    param, number = (cursor or {}).get("scroll"), int((cursor or {}).get("page") or 0)
    resumed = bool(param)
    while True:
        try:
            response = await get(http, "/companies/scroll", **({"scroll_param": param} if param else {}))
        except (PermanentError, TransientError) as error:
            if resumed:
                param, number, resumed = None, 0, False  # forgotten or broken: from the beginning
                continue
            if isinstance(error, PermanentError) and error.status == 400:
                raise TransientError(f"another scroll is open: {error}", retry_after=timedelta(minutes=1)) from error
            raise
        resumed = False
        found = every_row(response, "data")
        param, number = present(response.data.get("scroll_param")), number + 1
        last = not found or param is None
        # The source may give the same parameter for every page, so the page's number makes the cursor a new one.
        yield found, response, {"at": response.started} if last else {"scroll": param, "page": number}
        if last:
            return


STREAMS = (
    Stream("admins", admins, every=timedelta(hours=1)),
    Stream("teams", teams, every=timedelta(hours=1), pull_only=True),
    Stream("companies", companies, every=timedelta(hours=6)),
    Stream("contacts", contacts),
    Stream("conversations", conversations),
    Stream("tickets", tickets),
    Stream("calls", calls),
    Stream("deleted conversations", deletions),
    Stream("late contacts", late_contacts, every=timedelta(hours=6)),
    Stream("open conversations", again("conversation", *_IN_CONVERSATIONS, _OPEN), every=timedelta(hours=6)),
    Stream("open tickets", again("ticket", *_IN_TICKETS, _UNRESOLVED), every=timedelta(hours=6)),
    Stream("all calls", all_calls, every=timedelta(hours=6)),
    Stream("articles", articles, every=timedelta(hours=1)),
    Stream("internal articles", internal_articles, every=timedelta(hours=6), pull_only=True),
)
