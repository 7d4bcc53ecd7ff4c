"""Calls of Intercom's own telephony, found in whatever order they are listed: none is documented, and no filter is.

The first fetch reads every page. From then on `calls` looks at both ends of the list, from each as far as pages show
something new, which finds new calls wherever they are put. What changed in the midst, as the end of a long call does
where the list goes by creation, `all_calls` finds: it reads every page now and then.

In cursors `since` (what changed earlier was read before) and `high` (the newest time seen) are seconds, `began` epoch
ms; `page` is read next; `front` is the last page from the front, once the look from the other end is under way; `first`
marks the first fetch.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from connectors.intercom.asking import every_row, get
from connectors.intercom.config import Config
from connectors.intercom.hydrate import payload
from connectors.intercom.paging import LISTED, beginning, changed, ended, times_of
from connectors.intercom.reconcile import DAY
from connectors.intercom.shapes import Item, part
from core.sdk import Http, Page, Payload, Response
from core.sdk.connector import Cursor


@dataclass(frozen=True, slots=True)
class _Sheet:
    """One page: what changed of it since, its newest time (s), and how many pages there are."""

    changed: list[Item]
    newest: int
    pages: int
    response: Response

    def payloads(self, config: Config, account: str) -> list[Payload]:
        return [payload("call", row, config, account, self.response) for row in self.changed]


async def calls(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """No webhook tells of a call that was given up while it was routed."""
    cursor = cursor or {**beginning(http, config), "first": True}
    since, first = int(cursor["since"]), bool(cursor.get("first"))
    high, began = int(cursor.get("high") or since), cursor.get("began")
    page, front = int(cursor.get("page") or 1), cursor.get("front")
    while True:
        sheet = await _read(http, page, since)
        began = sheet.response.started if began is None else int(began)
        high = max(high, sheet.newest)
        onwards = _onwards(page, front, sheet, first)
        if onwards is None:
            yield Page(sheet.payloads(config, account), ended(high, LISTED, began, sheet.response))
            return
        page, front = onwards
        place = {"since": since, "high": high, "began": began, "page": page, "front": front, "first": first}
        yield Page(sheet.payloads(config, account), place)


def _onwards(page: int, front: int | None, sheet: _Sheet, whole: bool) -> tuple[int, int | None] | None:
    """The page to read next, and `front`; None where nothing more is to be expected."""
    if front is not None:
        return (page - 1, front) if sheet.changed and page - 1 > front else None
    if page >= sheet.pages:
        return None
    return (page + 1, None) if whole or sheet.changed else (sheet.pages, page)


async def all_calls(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """What changed since a day before the last time, wherever it stands. The first time nothing is asked, because
    `calls` is just reading all of it, and the next time goes back as far: a row that changes its place between two
    requests makes another one change its page."""
    if cursor is None:
        yield Page([], beginning(http, config))
        return
    since, page = int(cursor["since"]), int(cursor.get("page") or 1)
    began = int(cursor.get("began") or http.now().timestamp() * 1000)
    while True:
        sheet = await _read(http, page, since)
        last = page >= sheet.pages
        page += 1
        place = {"since": began // 1000 - DAY} if last else {"since": since, "began": began, "page": page}
        yield Page(sheet.payloads(config, account), place)
        if last:
            return


async def _read(http: Http, page: int, since: int) -> _Sheet:
    response = await get(http, "/calls", page=page, per_page=25)
    found = every_row(response, "data")
    told = part(response.data, "pages").get("total_pages")
    newest = max(times_of(found, "updated_at"), default=0)
    return _Sheet(changed(found, "updated_at", since), newest, told if isinstance(told, int) else page, response)
