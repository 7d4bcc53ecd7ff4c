"""Template's lists: what changed since, the oldest change first, page by page by the source's own cursor.

A stream's cursor is `{since}` between two polls (a time of the source's clock) and `{since, high, next}` inside one.
"""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors._template.config import Config
from core.sdk import Http, Ids, Listing, NormalizeError, Page, Payload, Response, Stream, from_iso, from_ms
from core.sdk.connector import Cursor

# The source's index lags: the next poll begins that much before the latest change that was seen.
OVERLAP = timedelta(minutes=2)
Poll = Callable[[Http, Config, str, Cursor | None], AsyncIterator[Page]]


def changed(kind: str, path: str) -> Poll:
    """The poll of one list. Everything is measured by the source's clock: ours may be wrong."""

    async def poll(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
        since = (cursor or {}).get("since") or _iso(http, config.since)
        at: dict[str, Any] = {"since": since, "high": since, "next": None, **(cursor or {})}
        while True:
            following = {"cursor": at["next"]} if at["next"] else {}
            answer = await http.get(path, changed_since=_earlier(at["since"]), **following)
            rows = listed(answer, "rows")
            times = [time for row in rows if isinstance(row, dict) and (time := from_iso(row.get("changed_at")))]
            at = {**at, "high": max([at["high"], *times]), "next": answer.data.get("next")}
            payloads = [Payload(kind, row, account, False, answer.started) for row in rows]
            # Not beyond this request: a row may be dated in the future.
            ended = {"since": min(at["high"], from_ms(answer.started) or "")}
            yield Page(payloads, at if at["next"] else ended, answer.data.get("total"))
            if not at["next"]:
                return

    return poll


async def ids(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Ids]:
    """The ids of all tickets that live; a deletion may have been told to nobody."""
    following = (cursor or {}).get("next")
    while True:
        answer = await http.get("/v1/tickets/ids", **({"cursor": following} if following else {}))
        found, following = [str(id) for id in listed(answer, "ids")], answer.data.get("next")
        yield Ids(found, {"next": following})
        if not following:
            return


def listed(answer: Response, name: str) -> list[Any]:
    """Raises NormalizeError where the source answers 200 with something else."""
    found = answer.data.get(name) if isinstance(answer.data, dict) else None
    if not isinstance(found, list):
        raise NormalizeError(f"the answer has no list of {name}")
    return found


def _iso(http: Http, back: timedelta) -> str:
    return f"{http.now().astimezone(UTC) - back:%Y-%m-%dT%H:%M:%S.000Z}"


def _earlier(time: str) -> str:
    return f"{datetime.fromisoformat(time).astimezone(UTC) - OVERLAP:%Y-%m-%dT%H:%M:%S.000Z}"


STREAMS: tuple[Stream[Config], ...] = (
    Stream("people", changed("person", "/v1/people")),
    Stream("tickets", changed("ticket", "/v1/tickets")),
)
LISTINGS: tuple[Listing[Config], ...] = (Listing("ticket", ids),)
