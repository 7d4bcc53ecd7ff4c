"""What polls back to a watermark cannot find: rows that the search shows very late, and changes that leave `updated_at`
as it was.

So open conversations and tickets are read whole now and then, with whatever changed since a day before the last time.
A round reads about MOST of them at most, in the order of their creation, and the next round goes on behind them.

All of a cursor's times are seconds: what changed last before `from` was never fetched; `at` is when the last whole pass
began. Inside a pass there are `began`, `behind` (the creation of the last row) and, inside a round, `read` (how many).
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from connectors.intercom.asking import every_row, post
from connectors.intercom.config import Config
from connectors.intercom.details import Details
from connectors.intercom.hydrate import each, payload
from connectors.intercom.paging import SKEW, Query, Search, by_day, changed, following, searched, times_of
from core.sdk import Http, Page
from core.sdk.connector import Cursor

DAY = 86_400
MOST = 2_000  # conversations, or tickets, of one round
_PAGE = 50
_CONTACTS = Search("/contacts/search", "data", 150, by_day, "descending", DAY, {"include_merge_history": "true"})

Poll = Callable[[Http, Config, str, Cursor | None], AsyncIterator[Page]]


@dataclass(frozen=True, slots=True)
class _Pass:
    """One way through all that is unfinished; it may take several rounds."""

    since: int  # `from` of the cursor
    at: int
    began: int
    behind: int = 0

    def query(self, unfinished: Query) -> Query:
        late = {"field": "updated_at", "operator": ">", "value": self.at - DAY}
        # `>` leaves out its own second, in which there may be others.
        created = {"field": "created_at", "operator": ">", "value": max(self.behind - 1, 0)}
        # A group holds filters or groups, and never both.
        groups = [{"operator": "AND", "value": [created]}, {"operator": "OR", "value": [unfinished, late]}]
        return {"operator": "AND", "value": groups}

    def cursor(self, behind: int, read: int | None) -> Cursor:
        """`read` None: the round ends here, and the next one must get further, however many share one second."""
        place = {"from": self.since, "at": self.at, "began": self.began, "behind": behind}
        return {**place, "read": read} if read is not None else {**place, "behind": max(behind, self.behind + 1)}

    def ended(self) -> Cursor:
        return {"from": self.since, "at": self.began}


def again(kind: str, path: str, name: str, unfinished: Query, *, most: int = MOST) -> Poll:
    """Reads anew what is unfinished. The first time nothing is asked: another stream is just fetching it."""

    async def poll(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
        now = int(http.now().timestamp())
        if cursor is None:
            yield Page([], {"from": int((http.now() - config.since).timestamp()), "at": now})
            return
        way = _Pass(int(cursor["from"]), int(cursor["at"]), int(cursor.get("began") or now), cursor.get("behind") or 0)
        read, after = int(cursor.get("read") or 0), dict[str, Any]()
        while True:
            body = {
                "query": way.query(unfinished),
                "sort": {"field": "created_at", "order": "ascending"},
                "pagination": {"per_page": _PAGE, **after},
            }
            response = await post(http, path, body)
            found, after = every_row(response, name), following(response.data)
            known = changed(found, "updated_at", way.since)
            read += len(found)
            whole = [it async for it in each(http, config, account, kind, known)]
            behind = max([way.behind, *times_of(found, "created_at")])
            last = not after or read >= most
            yield Page(whole, way.cursor(behind, None if last else read) if after else way.ended())
            if last:
                return

    return poll


async def contacts(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """All that changed since a day before the newest one of last time: the search knows days only, and lags."""
    if cursor is None:
        now = int(http.now().timestamp())
        yield Page([], {"since": now - DAY - SKEW, "at": now})
        return
    details = Details(http)
    async for page in searched(http, _CONTACTS, cursor):
        found = [await details.filled(row) for row in page.rows]
        yield Page([payload("contact", row, config, account, page.response) for row in found], page.cursor)
