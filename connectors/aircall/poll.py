"""Aircall's lists, page by page.

Calls can only be asked for by when they began, and change afterwards: each poll reads the last hour again, and every
hour the last two days. Their windows are closed on both sides, so that no new call shifts the rows between two pages.
A query ends at 10,000 rows without an error: windows above LARGEST are halved before they are read, down to one second.
Contacts are asked for by when they changed, and go on from the last one seen instead of by page: that has no such end.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from hmac import compare_digest
from typing import Any

from connectors.aircall.config import Config
from connectors.aircall.shapes import moment_of
from connectors.aircall.webhook import without_links
from core.sdk import Http, Page, Payload, PermanentError, Response, Stream, TransientError, to_ms

PER_PAGE = 50
# Of a call only told where it is asked for: its contact, and (for two months) what the caller chose in the menu.
WHOLE = {"fetch_contact": "true", "fetch_call_timeline": "true"}
LARGEST = 9_000  # rows of one query; the rest up to 10,000 is slack for calls that begin meanwhile
NEAR, TRAIL, DEEP_EVERY = 3_600, 48 * 3_600, 3_600  # seconds
OVERLAP = 120  # seconds that a list of contacts may lag behind


async def calls(http: Http, config: Config, account: str, cursor: dict[str, Any] | None) -> AsyncIterator[Page]:
    """Cursor between polls {end, deep}; within one also {from, to, page, total}: the closed window that is read."""
    at = cursor if cursor and "page" in cursor else _calls_begin(http, config, cursor)
    while True:
        answer = await http.get("/v1/calls", **{"from": at["from"], "to": at["to"], "page": at["page"]},
                                per_page=PER_PAGE, order="asc", **WHOLE)  # fmt: skip
        at = {**at, "total": at.get("total") or _total(answer)}  # the first window is that of the whole poll
        if at["page"] == 1 and _total(answer) > LARGEST and at["to"] > at["from"]:
            at = {**at, "to": (at["from"] + at["to"]) // 2}
            continue
        total, at = at["total"], _calls_next(at, answer)
        yield Page(_payloads(answer, "calls", "call", account), at, total)
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
    if more(answer):
        return {**at, "page": at["page"] + 1}
    if at["to"] < at["end"]:
        # The next window begins with the last second of this one, unless it was no more than that second.
        return {**at, "from": max(at["to"], at["from"] + 1), "to": at["end"], "page": 1}
    return {"end": at["end"], "deep": at["deep"]}


async def contacts(http: Http, config: Config, account: str, cursor: dict[str, Any] | None) -> AsyncIterator[Page]:
    """All contacts at first, however old (one may ring today); then what changed. Cursor {from, page?, total?}."""
    at: dict[str, Any] = cursor or {"from": 0}
    if "page" not in at:
        at = {"from": max(at["from"] - OVERLAP, 0), "page": 1}
    async for answer, after in in_order(http, "updated_at", at):
        yield Page(_payloads(answer, "contacts", "contact", account), after, after.get("total") or at.get("total"))
        at = after


async def in_order(http: Http, by: str, at: dict[str, Any]) -> AsyncIterator[tuple[Response, dict[str, Any]]]:
    """Contacts ordered by a time in epoch seconds, going on from the last one seen instead of by page, and the cursor
    after each answer, also that after the last. `total`: how many there were as it began."""
    at = {"page": 1, **at}
    while True:
        answer = await http.get("/v1/contacts", **{"from": at["from"], "page": at["page"]},
                                per_page=PER_PAGE, order="asc", order_by=by)  # fmt: skip
        last = max((_time(row, by) for row in rows(answer, "contacts")), default=at["from"])
        total = at.get("total") or _total(answer)
        further = more(answer)
        # Rows of one second may fill more than a page: only then the page's number counts.
        at = {"from": last, "page": 1} if last > at["from"] else {"from": at["from"], "page": at["page"] + 1}
        # A row may be dated in the future.
        at = {**at, "total": total} if further else {"from": min(last, answer.started // 1000)}
        yield answer, at
        if not further:
            return


async def users(http: Http, config: Config, account: str, cursor: dict[str, Any] | None) -> AsyncIterator[Page]:
    async for page in _whole(http, "/v2/users", "users", "user", account, cursor):
        yield page


async def teams(http: Http, config: Config, account: str, cursor: dict[str, Any] | None) -> AsyncIterator[Page]:
    async for page in _whole(http, "/v1/teams", "teams", "team", account, cursor):
        yield page


async def webhook(http: Http, config: Config, account: str, cursor: dict[str, Any] | None) -> AsyncIterator[Page]:
    """Looks whether Aircall still sends. It switches a webhook off after many failures in a row, and a call that nobody
    told of is seen only by the next poll. Brings nothing. Cursor {read: epoch s}."""
    if config.webhook_token is None:
        return
    found, page = [], 1
    while True:
        answer = await http.get("/v1/webhooks", page=page, per_page=PER_PAGE)
        found += [row for row in rows(answer, "webhooks") if isinstance(row, dict)]
        page += 1
        if not more(answer):
            break
    token = config.webhook_token.get_secret_value()
    ours = [row for row in found if compare_digest(str(row.get("token")).encode(), token.encode())]
    if not ours:
        raise PermanentError("Aircall has no webhook with this webhook_token: make one, see the connector's README")
    if not any(row.get("active") for row in ours):
        raise PermanentError(
            f"Aircall has switched its webhook off: PUT /v1/webhooks/{ours[0].get('webhook_id')} with its url switches "
            "it on again"
        )
    yield Page((), {"read": answer.started // 1000})


async def _whole(
    http: Http, path: str, plural: str, kind: str, account: str, cursor: dict[str, Any] | None
) -> AsyncIterator[Page]:
    """A short list, read from the beginning each time. Cursor between polls {read: epoch s}, within one {page}."""
    page = (cursor or {}).get("page", 1)
    while True:
        answer = await http.get(path, page=page, per_page=PER_PAGE)
        page += 1
        further = more(answer)
        after = {"page": page} if further else {"read": answer.started // 1000}
        yield Page(_payloads(answer, plural, kind, account), after, _total(answer))
        if not further:
            return


def rows(answer: Response, plural: str) -> list[Any]:
    """The list in an answer; an answer without it is asked for again, and never taken for an empty list."""
    found = answer.data.get(plural) if isinstance(answer.data, dict) else None
    if not isinstance(found, list):
        raise TransientError(f"the list of {plural} has no {plural}")
    return found


def _payloads(answer: Response, plural: str, kind: str, account: str) -> list[Payload]:
    return [
        Payload(kind, without_links(row) if isinstance(row, dict) else row, account, False, answer.started)
        for row in rows(answer, plural)
    ]


def _total(answer: Response) -> int:
    return int((answer.data.get("meta") or {}).get("total") or 0)


def more(answer: Response) -> bool:
    return bool((answer.data.get("meta") or {}).get("next_page_link"))


def _time(contact: Any, by: str) -> int:
    """Epoch seconds; text in case that reads, too, begin to tell time as webhooks do."""
    moment = moment_of(contact.get(by)) if isinstance(contact, dict) else None
    return to_ms(moment) // 1000 if moment else 0


STREAMS: tuple[Stream[Config], ...] = (
    Stream("users", users, timedelta(hours=1)),
    Stream("teams", teams, timedelta(hours=1), pull_only=True),
    Stream("contacts", contacts),
    Stream("calls", calls),
    Stream("webhook", webhook, timedelta(hours=1)),
)
