"""Aircall's lists, page by page.

Calls can only be asked for by when they began, and change afterwards: each poll reads the last hour again, and every
hour the last two days. Their windows are closed on both sides, so that no new call shifts the rows between two pages.
A query ends at 10,000 rows without an error: windows above LARGEST are halved before they are read.
Contacts are asked for by when they changed, and go on from the last one seen instead of by page: that has no such end.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from connectors.aircall.config import Config
from connectors.aircall.webhook import without_links
from core.sdk import Http, NormalizeError, Page, Payload, Response, Stream, from_iso, to_ms

PER_PAGE = 50
LARGEST = 9_000  # rows of one query; the rest up to 10,000 is slack for calls that begin meanwhile
NEAR, TRAIL, DEEP_EVERY = 3_600, 48 * 3_600, 3_600  # seconds
OVERLAP = 120  # seconds that a list of contacts may lag behind
SMALLEST = 60  # seconds of a window that is not halved any more: what it hides beyond 10,000 is out of reach


async def calls(http: Http, config: Config, account: str, cursor: dict[str, Any] | None) -> AsyncIterator[Page]:
    """Cursor between polls {end, deep}; within one also {from, to, page}: the closed window that is being read."""
    at = cursor if cursor and "page" in cursor else _calls_begin(http, config, cursor)
    while True:
        answer = await http.get("/v1/calls", **{"from": at["from"], "to": at["to"], "page": at["page"]},
                                per_page=PER_PAGE, order="asc", fetch_contact="true")  # fmt: skip
        if at["page"] == 1 and _total(answer) > LARGEST and at["to"] - at["from"] > SMALLEST:
            at = {**at, "to": (at["from"] + at["to"]) // 2}
            continue
        at = _calls_next(at, answer)
        yield Page(_payloads(answer, "calls", "call", account), at)
        if "page" not in at:
            return


def _calls_begin(http: Http, config: Config, cursor: dict[str, Any] | None) -> dict[str, Any]:
    now = int(http.now().timestamp())
    if cursor is None:
        return {"from": now - int(config.since.total_seconds()), "to": now, "page": 1, "end": now, "deep": now}
    deep = now - cursor["deep"] >= DEEP_EVERY
    begin = cursor["end"] - (TRAIL if deep else NEAR)
    return {"from": begin, "to": now, "page": 1, "end": now, "deep": now if deep else cursor["deep"]}


def _calls_next(at: dict[str, Any], answer: Response) -> dict[str, Any]:
    if _more(answer):
        return {**at, "page": at["page"] + 1}
    if at["to"] < at["end"]:
        return {**at, "from": at["to"], "to": at["end"], "page": 1}
    return {"end": at["end"], "deep": at["deep"]}


async def contacts(http: Http, config: Config, account: str, cursor: dict[str, Any] | None) -> AsyncIterator[Page]:
    """All contacts at first, however old (one may ring today); then what changed. Cursor {from, page?}, epoch s."""
    at: dict[str, Any] = cursor or {"from": 0}
    if "page" not in at:
        at = {"from": max(at["from"] - OVERLAP, 0), "page": 1}
    while True:
        answer = await http.get("/v1/contacts", **{"from": at["from"], "page": at["page"]},
                                per_page=PER_PAGE, order="asc", order_by="updated_at")  # fmt: skip
        payloads = _payloads(answer, "contacts", "contact", account)
        last = max((_updated(payload.data) for payload in payloads), default=at["from"])
        more = _more(answer)
        # Rows of one second may fill more than a page: only then the page's number counts.
        at = {"from": last, "page": 1} if last > at["from"] else {"from": at["from"], "page": at["page"] + 1}
        if not more:
            at = {"from": last}
        yield Page(payloads, at)
        if not more:
            return


async def users(http: Http, config: Config, account: str, cursor: dict[str, Any] | None) -> AsyncIterator[Page]:
    async for page in _whole(http, "/v2/users", "users", "user", account, cursor):
        yield page


async def teams(http: Http, config: Config, account: str, cursor: dict[str, Any] | None) -> AsyncIterator[Page]:
    async for page in _whole(http, "/v1/teams", "teams", "team", account, cursor):
        yield page


async def _whole(
    http: Http, path: str, plural: str, kind: str, account: str, cursor: dict[str, Any] | None
) -> AsyncIterator[Page]:
    """A short list, read from the beginning each time. Cursor between polls {read: epoch s}, within one {page}."""
    page = (cursor or {}).get("page", 1)
    while True:
        answer = await http.get(path, page=page, per_page=PER_PAGE)
        page += 1
        more = _more(answer)
        after = {"page": page} if more else {"read": answer.started // 1000}
        yield Page(_payloads(answer, plural, kind, account), after)
        if not more:
            return


def _payloads(answer: Response, plural: str, kind: str, account: str) -> list[Payload]:
    rows = answer.data.get(plural) if isinstance(answer.data, dict) else None
    if not isinstance(rows, list):
        raise NormalizeError(f"the list of {plural} has no {plural}")
    return [
        Payload(kind, without_links(row) if isinstance(row, dict) else row, account, False, answer.started)
        for row in rows
    ]


def _total(answer: Response) -> int:
    return int((answer.data.get("meta") or {}).get("total") or 0)


def _more(answer: Response) -> bool:
    return bool((answer.data.get("meta") or {}).get("next_page_link"))


def _updated(contact: Any) -> int:
    """Epoch seconds; text in case that reads, too, begin to tell time as webhooks do."""
    value = contact.get("updated_at") if isinstance(contact, dict) else None
    if isinstance(value, str):
        return to_ms(from_iso(value) or "1970-01-01T00:00:00.000Z") // 1000
    return int(value or 0)


STREAMS: tuple[Stream[Config], ...] = (
    Stream("users", users, timedelta(hours=1)),
    Stream("teams", teams, timedelta(hours=1)),
    Stream("contacts", contacts),
    Stream("calls", calls),
)
