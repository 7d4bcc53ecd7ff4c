"""Guru's lists: cards that changed, all cards with their verification, and the archived ones.

Lists are bare arrays; the next page's whole URL stands in the header `Link`. A cursor is `{"since", "at"}` between two
polls (epoch ms of the source's clock) and `{"since", "high", "next", "began"}` inside one; of the whole list `{"at"}`
and `{"next", "total"}`.
"""

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.guru.config import Config
from core.sdk import (
    Http,
    Ids,
    Listing,
    Page,
    Payload,
    PermanentError,
    Response,
    Stream,
    TransientError,
    from_iso,
    to_ms,
)
from core.sdk.connector import Cursor

QUERY = "/api/v1/search/query"
VISIBLE = "/api/v1/search/visible"
MANAGER = "/api/v1/search/cardmgr"
OVERLAP = 300_000  # ms: the search shows changes late
SKEW = 3_600_000  # ms: how far our clock may be from the source's
# `maxResults` stands nowhere: with it the answer has no Link header and the list ends after one page.
_CARDS: Mapping[str, str | int] = {"queryType": "cards", "showArchived": "false", "sortOrder": "asc"}
_BY_BIRTH = {**_CARDS, "sortField": "dateCreated"}  # so that edits do not move cards between pages
_ARCHIVED: Mapping[str, Any] = {"queryType": "archived", "sorts": None, "query": None, "collectionIds": []}
# Blanks stand inside the angle brackets, where a strict reader of RFC 8288 expects none.
_NEXT = re.compile(r'<\s*([^>\s]+)\s*>\s*;[^,]*\brel="?next-page"?')


def following(response: Response) -> str | None:
    """The next page's URL; None on the last page."""
    found = _NEXT.search(response.headers.get("link", ""))
    return found[1] if found else None


async def cards(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """What changed since the cursor, the oldest change first."""
    cursor = cursor or {}
    since = int(cursor.get("since") or (http.now() - config.since).timestamp() * 1000)
    high = int(cursor.get("high") or since)
    # A cursor of before did not tell when its poll began: then time moves nothing on.
    began = int(cursor.get("began") or 0) if "next" in cursor else None
    moment = datetime.fromtimestamp(since // 1000, UTC)
    params = {**_CARDS, "sortField": "lastModified", "q": f"lastModified >= {moment.isoformat()}"}
    async for rows, response, after in _pages(http, "GET", QUERY, cursor, params=params):
        times = [time for row in rows if (time := from_iso(row.get("lastModified")))]
        high = max([high, *(min(to_ms(time), response.started) for time in times)])  # a card may be dated in the future
        began = response.started if began is None else began
        going: Cursor = {"since": since, "high": high, "next": after, "began": began}
        # Not beyond the poll's beginning: one that was cut short and resumed may know nothing of what changed since.
        ended: Cursor = {"since": max(high - OVERLAP, began - OVERLAP - SKEW), "at": response.started}
        yield Page(_payloads(rows, account, response), going if after else ended)


async def everything(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """All cards, however old: knowledge has no `since`, and a verification that runs out is told nowhere else."""
    cursor = cursor or {}
    total = cursor.get("total") if "next" in cursor else await _visible(http)
    async for rows, response, after in _pages(http, "GET", QUERY, cursor, params=_BY_BIRTH):
        going: Cursor = {"next": after, "total": total}
        yield Page(_payloads(rows, account, response), going if after else {"at": response.started}, total)


async def ids(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Ids]:
    """The ids of all cards that the token's user may read."""
    async for rows, _, after in _pages(http, "GET", QUERY, cursor or {}, params=_BY_BIRTH):
        yield Ids([str(row["id"]) for row in rows if row.get("id")], {"next": after} if after else {})


async def _visible(http: Http) -> int | None:
    """How many cards the token's user may read; a header tells it. None where Guru does not."""
    try:
        told = (await http.get(VISIBLE)).headers.get("x-guru-total-cards", "")
    except PermanentError:
        return None
    return int(told) if told.isdecimal() else None


async def archived(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """Deleted cards: they vanish from every other list."""
    async for rows, response, after in _pages(http, "POST", MANAGER, cursor or {}, json=_ARCHIVED):
        rows = [{**row, "archived": True} for row in rows]
        yield Page(_payloads(rows, account, response), {"next": after} if after else {"at": response.started})


def _payloads(rows: list[dict[str, Any]], account: str, response: Response) -> list[Payload]:
    return [Payload("card", row, account, False, response.started) for row in rows]


async def _pages(
    http: Http,
    method: str,
    path: str,
    cursor: Cursor,
    *,
    params: Mapping[str, str | int] | None = None,
    json: Mapping[str, Any] | None = None,
) -> AsyncIterator[tuple[list[dict[str, Any]], Response, str | None]]:
    """Rows, answer and the next page's URL, which is complete."""
    after: str | None = cursor.get("next")
    resumed = after is not None
    while True:
        try:
            if after:
                response = await http.request(method, after, json=json)
            else:
                response = await http.request(method, path, params=params, json=json)
        except PermanentError:
            if not resumed:
                raise
            after, resumed = None, False  # the token of another day is forgotten: from the beginning
            continue
        resumed = False
        rows, after = _listed(response), following(response)
        # What is no object is handed on, for the normalizer to refuse, so that it is not lost.
        yield [row if isinstance(row, dict) else {"row": row} for row in rows], response, after
        if after is None:
            return


def _listed(response: Response) -> list[Any]:
    """Bare rows; with 204 there are none. Anything else is asked for again, and never taken for an empty list."""
    if response.status == 204:
        return []
    if not isinstance(response.data, list):
        raise TransientError(f"Guru answered {response.status} without a list")
    return response.data


STREAMS: tuple[Stream[Config], ...] = (
    Stream("cards", cards),
    Stream("all cards", everything, every=timedelta(hours=1)),
    Stream("archived cards", archived, every=timedelta(hours=6)),
)
LISTINGS: tuple[Listing[Config], ...] = (Listing("card", ids, every=timedelta(days=1), whole=True),)
