"""HubSpot's lists: first a walk over all ids, then what changed since, found by search and read whole.

The search has four traps, met so: it pages no further than 10,000 results and loops where many rows share one modified
date, so each page is a query of its own above the last id; its index lags, so each round looks back over five minutes
and ends at its own start, by HubSpot's clock; it serves old copies without associations, so it only finds ids, and the
objects are read. Its rows are never archived ones, so the recycle bin is walked apart.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from typing import Any

from connectors.hubspot.config import Config
from connectors.hubspot.hydrate import completed, read
from connectors.hubspot.kinds import CUSTOM, INBOX, KINDS, Kind, kinds_of, still_open
from connectors.hubspot.labels import BATCH, OBJECT, Labels, Row, Stages, ask, by_their_clock, chunks, following, odd
from connectors.hubspot.labels import rows as listed_in
from connectors.hubspot.threads import conversations, living_threads, states
from core.sdk import Hint, Http, Ids, Listing, Page, Payload, Response, Stream, from_iso, to_ms

LIST_PAGE = 100
SEARCH_PAGE = 200
LOOK_BACK = timedelta(minutes=5)
RARELY = timedelta(minutes=30)
DAILY = timedelta(days=1)

Cursor = dict[str, Any]
Poll = Callable[[Http, Config, str, Cursor | None], AsyncIterator[Page]]


def objects(kind: Kind) -> Poll:
    """The poll of one kind. Its cursor walks `{walk, upper, total}`, then rests at `{since}` or searches
    `{lower, upper, last, total}`; times are epoch ms."""

    async def poll(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
        if kind.name not in kinds_of(config):
            return
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
    if "total" not in cursor:
        cursor = {**cursor, "total": await _count(http, config, kind, begin)}
    while "walk" in cursor:
        answer, rows, after = await _list(http, config, kind, cursor["walk"], _asked(config, kind))
        cursor = by_their_clock(cursor, answer)
        stages = await labels.stages(kind)
        wanted = [row for row in rows if modified(row) >= begin or _open(kind, row, stages)]
        total = cursor["total"]
        cursor = {**cursor, "walk": after} if after else {"since": cursor["upper"]}
        whole = await _whole(http, config, account, kind, wanted, labels, answer.started)
        yield Page([*odd(answer, account, *OBJECT), *whole], cursor, total)


async def _whole(
    http: Http, config: Config, account: str, kind: Kind, rows: list[Row], labels: Labels, started: int
) -> list[Payload]:
    """Rows of a list, completed."""
    wanted = [_associated(kind, row) for row in rows]
    return [
        Payload(kind.name, row, account, pushed=False, received=started)
        for row in await completed(http, config, kind, wanted, labels)
    ]


def _asked(config: Config, kind: Kind) -> dict[str, str]:
    return {"properties": ",".join(kind.asked(config))} | ({"associations": ",".join(kind.to)} if kind.to else {})


async def _count(http: Http, config: Config, kind: Kind, begin: int) -> int:
    """How many a walk will bring, by the search's own count; what is older and still open comes on top."""
    asked = query(kind, {"lower": begin, "upper": _now(http), "last": "0"}) | {"limit": 1}
    return int((await ask(http, "POST", config.path("search", type=kind.plural), json=asked)).data.get("total") or 0)


async def _search(
    http: Http, config: Config, account: str, kind: Kind, labels: Labels, cursor: Cursor
) -> AsyncIterator[Page]:
    while "last" in cursor:
        response = await ask(http, "POST", config.path("search", type=kind.plural), json=query(kind, cursor))
        cursor = by_their_clock(cursor, response)
        rows = listed_in(response, "id")
        hints = {str(row["id"]): Hint(kind.name, str(row["id"]), modified(row)) for row in rows}
        payloads = [
            payload
            for ids in chunks(hints, BATCH)
            async for payload in read(http, config, account, kind, {id: hints[id] for id in ids}, labels)
        ]
        # Each page is a query of its own, so only the first one counts all.
        total = cursor.get("total", response.data.get("total"))
        full = rows and following(response.data)
        cursor = {**cursor, "last": str(rows[-1]["id"]), "total": total} if full else {"since": cursor["upper"]}
        yield Page([*odd(response, account, "id"), *payloads], cursor, total)


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
    kinds = kinds_of(config)
    if cursor.get("kind") not in kinds:  # at rest, or in the midst of what is not read any more
        since = cursor.get("since", now - _ms(config.since))
        cursor = {"kind": _next(kinds, None), "walk": "", "lower": since - _ms(LOOK_BACK), "upper": now}
    while (kind := kinds.get(cursor.get("kind") or "")) is not None:
        asked = {"properties": kind.modified, "archived": "true"}
        answer, rows, after = await _list(http, config, kind, cursor["walk"], asked)
        cursor = by_their_clock(cursor, answer)
        payloads = [
            Payload(kind.name, row, account, pushed=False, received=answer.started)
            for row in rows
            if max(modified(row), _moment(row.get("archivedAt"))) >= cursor["lower"]
        ]
        cursor = _onwards(kinds, kind, cursor, after) or {"since": cursor["upper"]}
        yield Page([*odd(answer, account, *OBJECT), *payloads], cursor)


async def everything(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """All objects once more. An association, a restore or a stage's new name moves no modified date, so that no search
    shows it where its webhook was lost. What stands there now the first fetch of each kind brings: so the first time
    nothing is walked, and of kinds that were chosen since the last time nothing is either. Its cursor names those that
    were there then; one of before did not."""
    now = _now(http)
    chosen = kinds_of(config)
    known = chosen if cursor is None else cursor.get("kinds", chosen)
    kinds = {name: kind for name, kind in chosen.items() if name in known}
    rest: Cursor = {"since": now, "kinds": list(chosen)}
    if cursor is None or not kinds:
        yield Page((), rest)
        return
    if cursor.get("kind") not in kinds:
        cursor = {"kind": _next(kinds, None), "walk": "", "upper": now, "kinds": list(known)}
    labels = Labels(http, config)
    while (kind := kinds.get(cursor.get("kind") or "")) is not None:
        begin = cursor["upper"] - _ms(config.since) if kind.activity else 0
        answer, rows, after = await _list(http, config, kind, cursor["walk"], _asked(config, kind))
        cursor = by_their_clock(cursor, answer)
        stages = await labels.stages(kind)
        wanted = [row for row in rows if modified(row) >= begin or _open(kind, row, stages)]
        cursor = _onwards(kinds, kind, cursor, after) or {**rest, "since": cursor["upper"]}
        whole = await _whole(http, config, account, kind, wanted, labels, answer.started)
        yield Page([*odd(answer, account, *OBJECT), *whole], cursor)


def _next(kinds: Iterable[str], name: str | None) -> str | None:
    """The first of the kinds that are read, or the one after `name`."""
    chosen = list(kinds)
    rest = chosen if name is None else chosen[chosen.index(name) + 1 :]
    return rest[0] if rest else None


def _onwards(kinds: Iterable[str], kind: Kind, cursor: Cursor, after: str) -> Cursor | None:
    """The next page of this kind, the next kind, or None at the end."""
    if after:
        return {**cursor, "walk": after}
    if following_kind := _next(kinds, kind.name):
        return {**cursor, "kind": following_kind, "walk": ""}
    return None


async def own_objects(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """The objects of the company's own, type after type. Its cursor holds one of each type; one that was added to the
    settings since has none, and its first fetch is one although that of the others is over."""
    cursors = dict(cursor or {})
    own = {name: kind for name, kind in kinds_of(config).items() if CUSTOM.fullmatch(name)}
    if not own:
        yield Page((), cursors)
    for name, kind in own.items():
        async for page in objects(kind)(http, config, account, cursors.get(name)):
            past = "walk" in cursors.get(name, {"walk": ""})
            cursors = {**cursors, name: page.cursor}
            yield Page(page.payloads, cursors, past=past)


def living(kind: Kind) -> Callable[[Http, Config, str, Cursor | None], AsyncIterator[Ids]]:
    """All ids of one kind that are not in the recycle bin."""

    async def ids(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Ids]:
        after = (cursor or {}).get("after", "")
        while kind.name in config.objects:
            _, rows, after = await _list(http, config, kind, after, {"properties": kind.modified})
            yield Ids([str(row["id"]) for row in rows], {"after": after} if after else {})
            if not after:
                return

    return ids


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
            for row in listed_in(response, "id")
            if modified(row) >= cursor["lower"]
        ]
        payloads += odd(response, account, "id")
        cursor = by_their_clock(cursor, response)
        if after := following(response.data):
            cursor = {**cursor, "walk": after}
        elif cursor["archived"] == "false":
            cursor = {**cursor, "archived": "true", "walk": ""}
        else:
            cursor = {"since": cursor["upper"]}
        yield Page(payloads, cursor)


STREAMS: tuple[Stream[Config], ...] = (
    Stream("owners", owners, every=RARELY, pull_only=True),
    *(Stream(kind.plural, objects(kind)) for kind in KINDS.values()),
    Stream("custom objects", own_objects),
    Stream("conversations", conversations),
    Stream("archived", archived, every=RARELY),
    Stream("all objects", everything, every=DAILY),
    Stream("states", states, every=DAILY),
)
LISTINGS: tuple[Listing[Config], ...] = (
    *(Listing(kind.name, living(kind), every=DAILY, whole=not kind.activity) for kind in KINDS.values()),
    Listing(INBOX, living_threads, every=DAILY),
)


def modified(row: Row) -> int:
    """When the object last changed, epoch ms."""
    return _moment(row.get("updatedAt"))


async def _list(
    http: Http, config: Config, kind: Kind, after: str, asked: dict[str, str]
) -> tuple[Response, list[Row], str]:
    """The answer, its rows, and after what to go on (empty: this was the last page)."""
    params: dict[str, str | int] = {"limit": LIST_PAGE, **asked, **_after(after)}
    response = await ask(http, "GET", config.path("list", type=kind.plural), params=params)
    return response, listed_in(response, *OBJECT), following(response.data)


def _associated(kind: Kind, row: Row) -> Row:
    """Associations as a list brings them, in our form. It leaves a type out where there are none, and cuts long ones:
    those are left for a batch read."""
    if not kind.to:
        return row
    told = row.get("associations") or {}
    # In answers a type is named with blanks, as in `line items`.
    blocks = {name.replace(" ", "_"): block for name, block in told.items()}
    found = {to: _inline(kind, blocks.get(to) or {}) for to in kind.to if "paging" not in (blocks.get(to) or {})}
    return {**row, "associations": found}


def _inline(kind: Kind, block: Row) -> list[Row]:
    found: dict[str, bool] = {}
    for item in block.get("results", ()):  # one row per type of association
        primary = item.get("type") == f"{kind.name}_to_company"
        found[str(item["id"])] = found.get(str(item["id"]), False) or primary
    return [{"id": id, "primary": primary} for id, primary in found.items()]


def _open(kind: Kind, row: Row, stages: Stages) -> bool:
    return still_open(kind, row["properties"], stages.get(kind.stage(row["properties"])))


def _after(after: str) -> dict[str, str]:
    return {"after": after} if after else {}


def _moment(value: str | None) -> int:
    moment = from_iso(value)
    return to_ms(moment) if moment else 0


def _now(http: Http) -> int:
    return int(http.now().timestamp() * 1000)


def _ms(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)
