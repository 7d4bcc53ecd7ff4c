"""Lists, page by page, as they are declared.

A cursor between two polls is `{mark, deep}`: until when all is known, and when the longer look-back was last made; for
lists that are read whole `{read}`. Within a poll it is `{from, to, until, page, high, total}`: the window that is being
read, where the poll ends, what comes next, and the latest change that was seen. Times are epoch ms.
"""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from connectors.http.config import Config
from connectors.http.cuts import cut
from connectors.http.expressions import Expression
from connectors.http.functions import moment
from connectors.http.sections import List, Paging, Request, Since, StreamPart
from connectors.http.templates import fill
from core.sdk import Http, Ids, Listing, NormalizeError, Page, Payload, PermanentError, Response, Stream
from core.sdk.connector import Cursor

_ID = Expression("id")
_LINK = re.compile(r"<\s*([^>\s]+)\s*>\s*;([^,]*)")


def streams(config: Config) -> tuple[Stream[Config], ...]:
    return tuple(Stream(part.name, _Polled(part).pages, part.every, part.pull_only) for part in config.streams)


def listings(config: Config) -> tuple[Listing[Config], ...]:
    alone = [Listing(part.kind, _Listed(part, part.id).ids, part.every, part.pull_only) for part in config.listings]
    polled = [
        Listing(part.kind, _Listed(part, _ID, part.since).ids, part.listing, part.pull_only, _whole(part.since))
        for part in config.streams
        if part.listing is not None
    ]
    return (*alone, *polled)


def _whole(since: Since | None) -> bool:
    return since is None or since.everything


async def send(http: Http, config: Config, request: Request, values: Mapping[str, Any], path: str = "") -> Response:
    """One request; `path` replaces the declared one, and then brings its parameters itself."""
    secrets = {name: secret.get_secret_value() for name, secret in config.auth.query.items()}
    paging = request.pages.params if isinstance(request, List) and request.pages else {}
    params = {} if path else {name: _text(value) for name, value in fill({**request.params, **paging}, values).items()}
    return await http.request(
        "GET" if request.get else "POST",
        path or str(fill(request.get or request.post, values)),
        params={**params, **secrets} or None,
        json=fill(request.body, values),
        headers=config.headers or None,
    )


class _Polled:
    """A declared stream."""

    def __init__(self, part: StreamPart) -> None:
        self._part = part

    async def pages(self, http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
        async for rows, response, after, total in _read(http, config, self._part, self._part.since, account, cursor):
            payloads = [
                Payload(self._part.kind, self._row(row, config), account, False, response.started) for row in rows
            ]
            yield Page(payloads, after, total)

    def _row(self, row: Any, config: Config) -> Any:
        return {**cut(row, config.cut), **self._part.set} if isinstance(row, dict) else row


class _Listed:
    """A declared listing, or a stream's list that is read whole, however old its rows are."""

    def __init__(self, part: List, id: Expression, since: Since | None = None) -> None:
        self._part, self._id = part, id
        self._since = since and since.model_copy(update={"everything": True})

    async def ids(self, http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Ids]:
        under_way = cursor if cursor and "until" in cursor else None
        async for rows, _, after, _ in _read(http, config, self._part, self._since, account, under_way):
            yield Ids([str(id) for row in rows if (id := self._id(row)) is not None], after)


async def _read(
    http: Http, config: Config, part: List, since: Since | None, account: str, cursor: Cursor | None
) -> AsyncIterator[tuple[list[Any], Response, Cursor, int | None]]:
    """Rows, their answer, the cursor after them and the number of all rows, until the end of the list."""
    resumed = cursor is not None and "until" in cursor
    at = cursor if cursor and resumed else _begin(http, config, part, since, cursor)
    while True:
        try:
            response = await _ask(http, config, part, at, account)
        except PermanentError:
            if not resumed or at["page"] == _first(part.pages):
                raise
            # What comes next was said another day and is forgotten by now: the window from its beginning.
            at, resumed = {**at, "page": _first(part.pages)}, False
            continue
        resumed = False
        counted = part.total(response.data) if part.total else None
        if since and _too_many(part, since, at, counted):
            at = {**at, "to": (at["from"] + at["to"]) // 2, "total": at.get("total") or counted}
            continue
        rows = _rows(part, response)
        at = _after(part, since, {**at, "total": at.get("total") or counted}, rows, response)
        yield rows, response, at, at.pop("total") if "until" not in at else at["total"]
        if "until" not in at:
            return


def _begin(http: Http, config: Config, part: List, since: Since | None, cursor: Cursor | None) -> Cursor:
    now = int(http.now().timestamp() * 1000)
    begin, deep = 0, now
    if since and cursor and "mark" in cursor:
        due = since.deep is not None and now - cursor["deep"] >= _ms(since.deep_every)
        deep = now if due else cursor["deep"]
        begin = max(cursor["mark"] - _ms(since.deep if due and since.deep else since.lookback), 0)
    elif since and not since.everything:
        begin = now - _ms(config.since)
    return {"from": begin, "to": now, "until": now, "page": _first(part.pages), "high": begin, "deep": deep}


async def _ask(http: Http, config: Config, part: List, at: Cursor, account: str) -> Response:
    by, place = (part.pages.by if part.pages else ""), at["page"]
    values = {
        "since": at["from"],
        "until": at["to"],
        "account": account,
        "size": part.pages.size if part.pages else None,
    }
    if by in ("link", "url") and place is not None:
        return await send(http, config, part, values, path=place)
    return await send(http, config, part, {**values, by: place} if by else values)


def _rows(part: List, response: Response) -> list[Any]:
    if response.data is None:
        return []  # 204, as some sources say that there is nothing
    rows = part.rows(response.data)
    if not isinstance(rows, list):
        raise NormalizeError(f"the answer of {part.get or part.post} has no list at {part.rows.text}")
    return rows


def _too_many(part: List, since: Since, at: Cursor, counted: Any) -> bool:
    if since.most is None or not isinstance(counted, int) or at["page"] != _first(part.pages):
        return False
    return counted > since.most and at["to"] - at["from"] > _ms(since.smallest)


def _after(part: List, since: Since | None, at: Cursor, rows: list[Any], response: Response) -> Cursor:
    times = [time for row in rows if since and since.field and (time := moment(since.field(row))) is not None]
    at = {**at, "high": max([at["high"], *times])}
    if part.pages and (following := _following(part.pages, at["page"], rows, response)) is not None:
        if part.pages.restart and at["high"] > at["from"]:
            return {**at, "from": at["high"], "page": _first(part.pages)}
        return {**at, "page": following}
    if at["to"] < at["until"]:
        return {**at, "from": at["to"], "to": at["until"], "page": _first(part.pages)}
    return {**_ended(since, at, response), "total": at["total"]}


def _ended(since: Since | None, at: Cursor, response: Response) -> Cursor:
    if since is None:
        return {"read": response.started}
    if since.field is None:
        return {"mark": at["until"], "deep": at["deep"]}
    # Not beyond the poll's beginning: one that was cut short and resumed may know nothing of what changed since.
    sure = at["until"] - _ms(since.skew) if since.skew is not None else 0
    return {"mark": max(min(at["high"], at["until"]), sure), "deep": at["deep"]}


def _first(pages: Paging | None) -> Any:
    match pages.by if pages else None:
        case "page":
            return pages.first if pages else None
        case "offset":
            return 0
    return None


def _following(pages: Paging, at: Any, rows: list[Any], response: Response) -> Any:
    """The next page's number, offset, cursor or address; None behind the last."""
    if pages.more is not None and not pages.more(response.data):
        return None
    match pages.by:
        case "link":
            links = _LINK.findall(response.headers.get("link", ""))
            relation = re.compile(rf'\brel="?{re.escape(pages.rel)}"?(?![\w-])')
            return next((url for url, rest in links if relation.search(rest)), None)
        case "url" | "cursor":
            return (pages.next(response.data) if pages.next else None) or None
    full = pages.more is not None or len(rows) >= pages.size
    if not full or not rows:
        return None
    return at + (1 if pages.by == "page" else len(rows))


def _text(value: Any) -> str | int:
    return str(value).lower() if isinstance(value, bool) else value if isinstance(value, int) else str(value)


def _ms(span: Any) -> int:
    return int(span.total_seconds() * 1000)
