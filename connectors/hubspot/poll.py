"""HubSpot's lists: first a walk over all ids, then what changed since, found by search and read whole.

The search has four traps, met so: it pages no further than 10,000 results and loops where many rows share one modified
date, so each page is a query of its own above the last id; its index lags, so each round looks back over five minutes
and never past its own start; it serves old copies without associations, so it only finds ids, and the objects are read.
Its rows are never archived ones, so the recycle bin is walked apart.
"""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

from connectors.hubspot.config import Config
from connectors.hubspot.hydrate import completed, read
from connectors.hubspot.kinds import KINDS, Kind, closed
from connectors.hubspot.labels import BATCH, Labels, Row, Stages, ask, chunks, following
from core.sdk import Hint, Http, Page, Payload, Stream, from_iso, to_ms

LIST_PAGE = 100
SEARCH_PAGE = 200
LOOK_BACK = timedelta(minutes=5)
RARELY = timedelta(minutes=30)

Cursor = dict[str, Any]
Poll = Callable[[Http, Config, str, Cursor | None], AsyncIterator[Page]]


def objects(kind: Kind) -> Poll:
    """The poll of one kind. Its cursor walks `{walk, upper}`, then rests at `{since}` or searches
    `{lower, upper, last}`; times are epoch ms."""

    async def poll(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
        now = _now(http)
        labels = Labels(http, config)
        if cursor is None:
            cursor = {"walk": "", "upper": now}
        if "since" in cursor:
            cursor = {"lower": cursor["since"] - _ms(LOOK_BACK), "upper": now, "last": "0"}
        pages = _walk if "walk" in cursor else _search
        async for page in pages(http, config, account, kind, labels, cursor):
            yield page

    return poll


async def _walk(
    http: Http, config: Config, account: str, kind: Kind, labels: Labels, cursor: Cursor
) -> AsyncIterator[Page]:
    begin = cursor["upper"] - _ms(config.since) if kind.activity else 0
    asked = {"properties": ",".join(kind.asked(config))} | ({"associations": kind.to} if kind.to else {})
    while "walk" in cursor:
        started, rows, after = await _list(http, config, kind, cursor["walk"], asked)
        stages = await labels.stages(kind)
        wanted = [_associated(kind, row) for row in rows if modified(row) >= begin or _open(kind, row, stages)]
        payloads = [
            Payload(kind.name, row, account, pushed=False, received=started)
            for row in await completed(http, config, kind, wanted, labels)
        ]
        cursor = {"walk": after, "upper": cursor["upper"]} if after else {"since": cursor["upper"]}
        yield Page(payloads, cursor)


async def _search(
    http: Http, config: Config, account: str, kind: Kind, labels: Labels, cursor: Cursor
) -> AsyncIterator[Page]:
    while "last" in cursor:
        response = await ask(http, "POST", config.path("search", type=kind.plural), json=query(kind, cursor))
        rows: list[Row] = response.data["results"]
        hints = {str(row["id"]): Hint(kind.name, str(row["id"]), modified(row)) for row in rows}
        payloads = [
            payload
            for ids in chunks(hints, BATCH)
            async for payload in read(http, config, account, kind, {id: hints[id] for id in ids}, labels)
        ]
        full = len(rows) == SEARCH_PAGE
        cursor = {**cursor, "last": str(rows[-1]["id"])} if full else {"since": cursor["upper"]}
        yield Page(payloads, cursor)


def query(kind: Kind, cursor: Cursor) -> dict[str, Any]:
    """The search for what changed between two times, above one id."""
    filters = [
        {"propertyName": kind.modified, "operator": "GTE", "value": str(cursor["lower"])},
        {"propertyName": kind.modified, "operator": "LTE", "value": str(cursor["upper"])},
        {"propertyName": "hs_object_id", "operator": "GT", "value": cursor["last"]},
    ]
    return {
        "filterGroups": [{"filters": filters}],
        "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
        "properties": [kind.modified],
        "limit": SEARCH_PAGE,
    }


async def archived(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """What was deleted since. The recycle bin has no filter: all of it is walked, kind after kind."""
    now = _now(http)
    if cursor is None:
        cursor = {"since": now - _ms(config.since)}
    if "since" in cursor:
        cursor = {"kind": next(iter(KINDS)), "walk": "", "lower": cursor["since"] - _ms(LOOK_BACK), "upper": now}
    while "kind" in cursor:
        kind = KINDS[cursor["kind"]]
        asked = {"properties": kind.modified, "archived": "true"}
        started, rows, after = await _list(http, config, kind, cursor["walk"], asked)
        payloads = [
            Payload(kind.name, row, account, pushed=False, received=started)
            for row in rows
            if max(modified(row), _moment(row.get("archivedAt"))) >= cursor["lower"]
        ]
        names = list(KINDS)
        following = names[names.index(kind.name) + 1 :]
        if after:
            cursor = {**cursor, "walk": after}
        elif following:
            cursor = {**cursor, "kind": following[0], "walk": ""}
        else:
            cursor = {"since": cursor["upper"]}
        yield Page(payloads, cursor)


async def owners(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """The portal's users, removed ones too, because old records name them. Walked whole: the list has no filter."""
    now = _now(http)
    if cursor is None:
        cursor = {"since": 0}
    if "since" in cursor:
        cursor = {"archived": "false", "walk": "", "lower": cursor["since"] - _ms(LOOK_BACK), "upper": now}
    while "walk" in cursor:
        asked: dict[str, str | int] = {"limit": LIST_PAGE, "archived": cursor["archived"], **_after(cursor["walk"])}
        response = await ask(http, "GET", config.path("owners"), params=asked)
        payloads = [
            Payload("owner", row, account, pushed=False, received=response.started)
            for row in response.data["results"]
            if modified(row) >= cursor["lower"]
        ]
        if after := following(response.data):
            cursor = {**cursor, "walk": after}
        elif cursor["archived"] == "false":
            cursor = {**cursor, "archived": "true", "walk": ""}
        else:
            cursor = {"since": cursor["upper"]}
        yield Page(payloads, cursor)


STREAMS: tuple[Stream[Config], ...] = (
    Stream("owners", owners, every=RARELY),
    *(Stream(kind.plural, objects(kind)) for kind in KINDS.values()),
    Stream("archived", archived, every=RARELY),
)


def modified(row: Row) -> int:
    """When the object last changed, epoch ms."""
    return _moment(row.get("updatedAt"))


async def _list(
    http: Http, config: Config, kind: Kind, after: str, asked: dict[str, str]
) -> tuple[int, list[Row], str]:
    """When the request started, the rows, and after what to go on (empty: this was the last page)."""
    params: dict[str, str | int] = {"limit": LIST_PAGE, **asked, **_after(after)}
    response = await ask(http, "GET", config.path("list", type=kind.plural), params=params)
    return response.started, response.data["results"], following(response.data)


def _associated(kind: Kind, row: Row) -> Row:
    """The row with its associations in our form. The list leaves the key out where there are none, and cuts long ones:
    those are left for a batch read."""
    if kind.to is None:
        return row
    block = (row.get("associations") or {}).get(kind.to) or {}
    rest = {key: value for key, value in row.items() if key != "associations"}
    if "paging" in block:
        return rest
    found: dict[str, bool] = {}
    for item in block.get("results", ()):  # one row per type of association
        primary = item.get("type") == f"{kind.name}_to_company"
        found[str(item["id"])] = found.get(str(item["id"]), False) or primary
    return {**rest, "associations": {kind.to: [{"id": id, "primary": primary} for id, primary in found.items()]}}


def _open(kind: Kind, row: Row, stages: Stages) -> bool:
    """Whether a deal, ticket or task is still to be done: then it counts, however old it is."""
    if kind.name == "task":
        return row["properties"].get("hs_task_status") not in ("COMPLETED", "DELETED")
    stage = stages.get(kind.stage(row["properties"]))
    return stage is not None and not closed(stage["metadata"])


def _after(after: str) -> dict[str, str]:
    return {"after": after} if after else {}


def _moment(value: str | None) -> int:
    moment = from_iso(value)
    return to_ms(moment) if moment else 0


def _now(http: Http) -> int:
    return int(http.now().timestamp() * 1000)


def _ms(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)
