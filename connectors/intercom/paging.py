"""Intercom's lists, read back to a watermark in seconds of the source's clock.

A cursor is `{"since", "at"}` between two polls and `{"since", "high", "next", "began"}` inside one: `next` is where the
source said to go on, `high` the newest time seen, `began` when the first page was asked for (epoch ms). At the end
`since` moves to `high`, less an overlap for what the source's index shows late.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from connectors.intercom.asking import every_row, get, post
from connectors.intercom.config import Config
from connectors.intercom.shapes import Item, moment
from core.sdk import Http, PermanentError, Response
from core.sdk.connector import Cursor

LISTED = 60  # seconds that a list is read back: its second may not have been over
OVERLAP = 300  # the same of a search, whose index lags; what takes longer, connectors.intercom.reconcile finds
SKEW = 3_600  # how far our clock may be from the source's
_TWO_DAYS = 2 * 86_400
Query = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Search:
    """One search: rows that are older than the watermark end it, for lists that come newest first."""

    path: str
    rows: str
    per_page: int
    query: Callable[[int], Query]
    order: Literal["ascending", "descending"]
    overlap: int
    params: Mapping[str, str | int] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of one page that changed since the watermark, and the cursor after them. `total`: rows of the whole poll."""

    rows: list[Item]
    response: Response
    cursor: Cursor
    total: int | None


def by_day(since: int) -> Query:
    """Contacts are matched by calendar day in the workspace's time zone, and `>` begins at the *next* midnight."""
    return {"field": "updated_at", "operator": ">", "value": max(since - _TWO_DAYS, 0)}


async def searched(http: Http, search: Search, cursor: Cursor) -> AsyncIterator[Found]:
    """The rows that changed since the cursor."""
    since = int(cursor["since"])
    high, after = int(cursor.get("high") or since), dict(cursor.get("next") or {})
    resumed, began = bool(after), _began(cursor)
    while True:
        body = {
            "query": search.query(since),
            "sort": {"field": "updated_at", "order": search.order},
            "pagination": {"per_page": search.per_page, **after},
        }
        try:
            response = await post(http, search.path, body, search.params)
        except PermanentError as error:
            if not (resumed and error.status == 400):
                raise
            after, resumed = {}, False  # the place where we stopped is forgotten by now: from the beginning
            continue
        resumed = False
        began = response.started if began is None else began
        found = every_row(response, search.rows)
        times, fresh = times_of(found, "updated_at"), changed(found, "updated_at", since)
        high = max([high, *times])
        after = following(response.data)
        stale = search.order == "descending" and bool(times) and times[-1] < since
        # A list that ends at the watermark counts more rows than are read of it.
        total = counted(response.data) if search.order == "ascending" or since == 0 else None
        if stale or not after:
            yield Found(fresh, response, ended(high, search.overlap, began, response), total)
            return
        yield Found(fresh, response, {"since": since, "high": high, "next": after, "began": began}, total)


def beginning(http: Http, config: Config) -> Cursor:
    return {"since": int((http.now() - config.since).timestamp())}


async def newest_first(
    http: Http, path: str, names: tuple[str, str], first: dict[str, Any], cursor: Cursor
) -> AsyncIterator[Found]:
    """A list that comes newest first, down to the watermark. `names`: where its rows stand, and their time."""
    since = int(cursor["since"])
    high, after = int(cursor.get("high") or since), dict(cursor.get("next") or {})
    began = _began(cursor)
    while True:
        response = await get(http, path, **(first | after))
        began = response.started if began is None else began
        found = every_row(response, names[0])
        fresh = changed(found, names[1], since)
        high = max([high, *times_of(found, names[1])])
        after = following(response.data) or numbered(response.data)
        total = counted(response.data) if since == 0 else None
        if not after or len(fresh) < len(found):
            yield Found(fresh, response, ended(high, LISTED, began, response), total)
            return
        yield Found(fresh, response, {"since": since, "high": high, "next": after, "began": began}, total)


def changed(found: list[Item], name: str, since: int) -> list[Item]:
    """What is not older than that (epoch seconds), and what tells no time: it ends no list and is not lost."""
    return [row for row in found if (at := moment(row.get(name))) is None or at // 1000 >= since]


def times_of(found: list[Item], name: str) -> list[int]:
    """Epoch seconds."""
    return [at // 1000 for row in found if (at := moment(row.get(name))) is not None]


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


def counted(data: Any) -> int | None:
    """`total_count`, where the list tells it."""
    count = data.get("total_count") if isinstance(data, dict) else None
    return count if isinstance(count, int) else None


def _began(cursor: Cursor) -> int | None:
    """When the poll that was cut short began; None where this one begins. Cursors of before did not tell: then time
    moves nothing on."""
    return int(cursor.get("began") or 0) if "next" in cursor else None


def ended(high: int, overlap: int, began: int, response: Response) -> Cursor:
    """The cursor after a whole poll. Where nothing is new, time moves it on, so that a burst is not read for ever: not
    beyond the poll's beginning, for of what changed since a poll that was cut short and resumed may know nothing."""
    high = min(high, response.started // 1000)  # a row may be dated in the future
    since = max(high - overlap, began // 1000 - overlap - SKEW)
    return {"since": since, "at": response.started}
