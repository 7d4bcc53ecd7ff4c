"""Intercom's lists, read back to a watermark in seconds of the source's clock.

A cursor is `{"since", "at"}` between two polls and `{"since", "high", "next"}` inside one: `next` is where the source
said to go on, `high` the newest time seen. At the end `since` moves to `high`, less an overlap for what the source's
index shows late.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from connectors.intercom.config import Config, context
from connectors.intercom.hydrate import read
from connectors.intercom.shapes import Item, listed, moment, present
from core.sdk import Http, Page, Payload, PermanentError, Response, Stream, TransientError
from core.sdk.connector import Cursor

DAY = 86_400
OVERLAP = 60  # the search index lags, and `>` leaves out its own second
CONTACTS_OVERLAP = 3_600  # contacts can take minutes to become searchable
SKEW = 3_600  # how far our clock may be from the source's
Query = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Search:
    """One search: `stop` ends it at the first row that is older, for lists that come newest first."""

    path: str
    rows: str
    per_page: int
    query: Callable[[int], Query]
    order: Literal["ascending", "descending"]
    overlap: int
    params: Mapping[str, str | int] | None = None


def _by_day(since: int) -> Query:
    """Contacts are matched by calendar day in the workspace's time zone, and `>` begins at the *next* midnight."""
    return {"field": "updated_at", "operator": ">", "value": max(since - 2 * DAY, 0)}


def _by_second(since: int) -> Query:
    """`>` proved exclusive in practice, whatever the manual says, so equality is asked for, too."""
    either = [{"field": "updated_at", "operator": operator, "value": since} for operator in (">", "=")]
    return {"operator": "OR", "value": either}


_CONTACTS = _Search(
    "/contacts/search", "data", 150, _by_day, "descending", CONTACTS_OVERLAP, {"include_merge_history": "true"}
)
_CONVERSATIONS = _Search("/conversations/search", "conversations", 50, _by_second, "ascending", OVERLAP)
_TICKETS = _Search("/tickets/search", "tickets", 50, _by_second, "ascending", OVERLAP)


async def contacts(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """All of them at first, whatever `since` says: who calls today may have been silent for a year.

    Newest first, so that a quiet poll is one request although the search cannot ask for less than a day.
    """
    async for rows, response, after in _pages(http, _CONTACTS, cursor or {"since": 0}):
        yield Page([_payload("contact", row, config, account, response) for row in rows], after)


async def conversations(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """The search shows no parts, so each changed conversation is read."""
    async for rows, _, after in _pages(http, _CONVERSATIONS, cursor or _begin(http, config)):
        yield Page([found async for found in _each(http, config, account, "conversation", rows)], after)


async def tickets(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    async for rows, _, after in _pages(http, _TICKETS, cursor or _begin(http, config)):
        yield Page([found async for found in _each(http, config, account, "ticket", rows)], after)


async def _each(http: Http, config: Config, account: str, kind: str, rows: list[Item]) -> AsyncIterator[Payload]:
    for id in filter(None, (present(row.get("id")) for row in rows)):
        try:
            response = await read(http, kind, id)
        except PermanentError as error:
            if error.status != 404:
                raise
            continue  # deleted since the search; the list of deletions tells
        yield _payload(kind, response.data, config, account, response)


async def _pages(http: Http, search: _Search, cursor: Cursor) -> AsyncIterator[tuple[list[Item], Response, Cursor]]:
    """The rows that changed since the cursor, and the cursor after them."""
    since = int(cursor["since"])
    high, after = int(cursor.get("high") or since), dict(cursor.get("next") or {})
    resumed = bool(after)
    while True:
        body = {
            "query": search.query(since),
            "sort": {"field": "updated_at", "order": search.order},
            "pagination": {"per_page": search.per_page, **after},
        }
        try:
            response = await http.request("POST", search.path, params=search.params, json=body)
        except PermanentError as error:
            if not (resumed and error.status == 400):
                raise
            after, resumed = {}, False  # the place where we stopped is forgotten by now: from the beginning
            continue
        resumed = False
        rows = listed(response.data, search.rows)
        times = [(moment(row.get("updated_at")) or 0) // 1000 for row in rows]
        high = max([high, *times])
        after = following(response.data)
        stale = search.order == "descending" and bool(times) and times[-1] < since
        fresh = [row for row, at in zip(rows, times, strict=True) if at >= since]
        if stale or not after:
            yield fresh, response, _ended(high, search.overlap, response)
            return
        yield fresh, response, {"since": since, "high": high, "next": after}


def following(data: Any) -> dict[str, Any]:
    """Parameters of the next page: `pages.next` is an object, a URL, null or missing."""
    pages = data.get("pages") if isinstance(data, dict) else None
    match pages.get("next") if isinstance(pages, dict) else None:
        case {"starting_after": str(token)} if token:
            return {"starting_after": token}
        case str(url) if url:
            return dict(parse_qsl(urlsplit(url).query))
    return {}


def numbered(data: Any) -> dict[str, Any]:
    """The next page of a list that tells page numbers only."""
    pages = data.get("pages") if isinstance(data, dict) else None
    page, last = (pages.get("page"), pages.get("total_pages")) if isinstance(pages, dict) else (None, None)
    return {"page": page + 1} if isinstance(page, int) and isinstance(last, int) and page < last else {}


def _begin(http: Http, config: Config) -> Cursor:
    return {"since": int((http.now() - config.since).timestamp())}


def _ended(high: int, overlap: int, response: Response) -> Cursor:
    """The cursor after a whole poll. Where nothing is new, time moves it on, so that a burst is not read for ever."""
    since = max(high - overlap, response.started // 1000 - overlap - SKEW)
    return {"since": since, "at": response.started}


def _payload(kind: str, data: Any, config: Config, account: str, response: Response) -> Payload:
    return Payload(kind, data, account, False, response.started, headers=context(config))


async def deletions(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """Deleted conversations, newest first."""
    first: dict[str, Any] = {"per_page": 60, "order": "desc"}
    async for rows, response, after in _listed(
        http, "/conversations/deleted", ("conversations", "deleted_at"), first, cursor or _begin(http, config)
    ):
        yield Page([_payload("conversation.deleted", row, config, account, response) for row in rows], after)


async def articles(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """All of them at first; they come with the newest `updated_at` first."""
    names = ("data", "updated_at")
    async for rows, response, after in _listed(http, "/articles", names, {}, cursor or {"since": 0}):
        yield Page([_payload("article", row, config, account, response) for row in rows], after)


async def _listed(
    http: Http, path: str, names: tuple[str, str], first: dict[str, Any], cursor: Cursor
) -> AsyncIterator[tuple[list[Item], Response, Cursor]]:
    """A list that comes newest first, down to the watermark. `names`: where its rows stand, and their time."""
    since = int(cursor["since"])
    high, after = int(cursor.get("high") or since), dict(cursor.get("next") or {})
    while True:
        response = await http.get(path, **(first | after))
        rows = listed(response.data, names[0])
        times = [(moment(row.get(names[1])) or 0) // 1000 for row in rows]
        high = max([high, *times])
        fresh = [row for row, at in zip(rows, times, strict=True) if at >= since]
        after = following(response.data) or numbered(response.data)
        if not after or len(fresh) < len(rows):
            yield fresh, response, _ended(high, OVERLAP, response)
            return
        yield fresh, response, {"since": since, "high": high, "next": after}


async def admins(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    response = await http.get("/admins")
    rows = listed(response.data, "admins")
    yield Page([_payload("admin", row, config, account, response) for row in rows], {"at": response.started})


async def teams(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    response = await http.get("/teams")
    rows = listed(response.data, "teams")
    yield Page([_payload("team", row, config, account, response) for row in rows], {"at": response.started})


async def companies(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """All companies by scroll, the only way past 10,000. A workspace has one scroll; it is forgotten after a minute."""
    scroll, number = (cursor or {}).get("scroll"), int((cursor or {}).get("page") or 0)
    resumed = bool(scroll)
    while True:
        try:
            response = await http.get("/companies/scroll", **({"scroll_param": scroll} if scroll else {}))
        except (PermanentError, TransientError) as error:
            if resumed:
                scroll, number, resumed = None, 0, False  # forgotten or broken: from the beginning
                continue
            if isinstance(error, PermanentError) and error.status == 400:
                raise TransientError(f"another scroll is open: {error}", retry_after=timedelta(minutes=1)) from error
            raise
        resumed = False
        rows = listed(response.data, "data")
        scroll, number = present(response.data.get("scroll_param")), number + 1
        last = not rows or scroll is None
        # The source may give the same parameter for every page, so the page's number makes the cursor a new one.
        after: Cursor = {"at": response.started} if last else {"scroll": scroll, "page": number}
        yield Page([_payload("company", row, config, account, response) for row in rows], after)
        if last:
            return


STREAMS = (
    Stream("admins", admins, every=timedelta(hours=1)),
    Stream("teams", teams, every=timedelta(hours=1)),
    Stream("companies", companies, every=timedelta(hours=6)),
    Stream("contacts", contacts),
    Stream("conversations", conversations),
    Stream("tickets", tickets),
    Stream("deleted conversations", deletions),
    Stream("articles", articles, every=timedelta(hours=1)),
)
