"""Ids of all that lives, so that a deletion that nobody told is found.

Not of calls: Aircall forgets them after about six months, and what it forgot did not cease to have happened.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

from connectors.aircall.config import Config
from connectors.aircall.poll import PER_PAGE, in_order, more, rows
from core.sdk import Http, Ids, Listing


async def _contacts(http: Http, config: Config, account: str, cursor: dict[str, Any] | None) -> AsyncIterator[Ids]:
    """By creation, which never changes, and not by page: a query ends at 10,000 rows."""
    async for answer, after in in_order(http, "created_at", cursor or {"from": 0, "page": 1}):
        yield Ids(_ids(rows(answer, "contacts")), after)


def _whole(path: str, plural: str) -> Callable[..., AsyncIterator[Ids]]:
    async def ids(http: Http, config: Config, account: str, cursor: dict[str, Any] | None) -> AsyncIterator[Ids]:
        page = (cursor or {}).get("page", 1)
        while True:
            answer = await http.get(path, page=page, per_page=PER_PAGE)
            page += 1
            yield Ids(_ids(rows(answer, plural)), {"page": page} if more(answer) else {"read": answer.started // 1000})
            if not more(answer):
                return

    return ids


def _ids(found: list[Any]) -> list[str]:
    return [str(row["id"]) for row in found if isinstance(row, dict) and row.get("id")]


LISTINGS: tuple[Listing[Config], ...] = (
    Listing("contact", _contacts, whole=True),
    Listing("user", _whole("/v2/users", "users"), whole=True),
    Listing("team", _whole("/v1/teams", "teams"), pull_only=True, whole=True),
)
