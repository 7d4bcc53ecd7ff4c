"""Per connection how it is. What ingest's processes wrote down, joined with the store's own counts.

A state document is JSON with any of: `connector`, `account`, `webhook`, `last_delivery`, `last_poll`, `broken_since`
(epoch ms), `refused` {reason: count}, `last_refusal`, `refusal_remedy`, `state`, `error`, `remedy`, `polls_here`,
`streams` {name: {complete_up_to, listing, error, progress}}, `budget` and `drift` (schemas.answers). Several processes
may write one each for the same connection.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from core.api.lately import plus, since
from core.api.problem import Problem
from core.api.room import Room
from core.api.route import Call, Route, answer
from core.errors import PermanentError
from core.sdk import from_ms
from core.store import LedgerRow
from schemas.answers import (
    Acknowledged,
    BackfillOrder,
    Budget,
    Counts,
    Drifted,
    Ledger,
    LedgerHour,
    Ordered,
    Repair,
    Sources,
    SourceState,
    StreamState,
)
from schemas.entities import Shape
from schemas.key import key
from schemas.personal import NONE

_GONE = 120_000  # ms; a process reports every few seconds, so one that is behind by more was stopped or replaced
_UNATTENDED = "no process of the hub takes its deliveries or polls it"


async def connection_states(room: Room) -> list[SourceState]:
    """One per connection, by name."""
    store, now = room.store, room.now()
    reports: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for connection, _, document, at in sorted(await store.states(), key=lambda row: (row[0], row[3])):
        reports.setdefault(connection, []).append((at, orjson.loads(document)))
    states = []
    for connection, found in reports.items():
        state, last = _merged(connection, found), found[-1][0]
        # Ingest that starts together with the API needs a moment for its first word.
        states.append(_unattended(state, last) if now - max(last, room.since) > _GONE else state)
    return states


async def _sources(call: Call) -> web.StreamResponse:
    store = call.room.store
    hub, dead, counts = await store.hub(), await store.dead_counts(), await store.counts()
    states = {state.connection: state for state in await connection_states(call.room)}
    rows: dict[str, list[LedgerRow]] = {}
    for row in await store.ledger(since(call.room.now(), 24)):
        rows.setdefault(row.connection, []).append(row)
    lag = call.room.waiting()
    for connection in {*dead, *rows, *(lag or {})} - {""}:
        states.setdefault(connection, SourceState(connection=connection))
    shown = [
        state.model_copy(
            update={
                **_counted(state, rows.get(name, [])),
                "dead": dead.get(name, 0),
                "lag": None if lag is None else lag.get(name, 0),
                "objects": {entity: n for (source, entity), n in sorted(counts.items()) if source == state.source},
                "remedy": state.remedy or (f"hub dead list --connection {name}" if dead.get(name) else None),
            }
        )
        for name, state in sorted(states.items())
    ]
    return answer(
        Sources(
            sources=shown,
            titles=dict(call.room.titles),
            customers=counts.get(("", "customer"), 0),
            unfolded=dead.get("", 0),
            version=f"{hub.generation}-{hub.seq}",
            kind="demo" if hub.kind == "demo" else "real",
            as_of=from_ms(call.room.now()) or "",
        )
    )


def _counted(state: SourceState, rows: list[LedgerRow]) -> dict[str, Any]:
    streams, ways = dict(state.streams), dict[str, Counts]()
    for row in rows:
        ways[row.way] = plus(ways.get(row.way, Counts()), row)
        if row.stream:
            streams[row.stream] = plus(streams.get(row.stream, StreamState()), row)
    return {"streams": streams, "counts": ways}


class LedgerQuery(Shape):
    """How much of the ledger."""

    hours: Annotated[int, NONE] = Field(24, ge=1, le=2160, description="so many hours back")
    limit: Annotated[int, NONE] = Field(100, ge=0, le=1000, description="at most so many repaired objects")


async def _ledger(call: Call) -> web.StreamResponse:
    name, store = call.path["connection"], call.room.store
    rows = await store.ledger(since(call.room.now(), call.query.hours), name)
    repairs = await store.repairs(name, call.query.limit)
    if not rows and not repairs and name not in {state.connection for state in await connection_states(call.room)}:
        raise _unknown(name)
    return answer(
        Ledger(
            connection=name,
            hours=[
                LedgerHour.model_validate({**row._asdict(), "hour": from_ms(row.hour)}, extra="ignore") for row in rows
            ],
            repaired=[
                Repair.model_validate({**row._asdict(), "at": from_ms(row.at)}, extra="ignore") for row in repairs
            ],
        )
    )


async def _backfill(call: Call) -> web.StreamResponse:
    name = call.path["connection"]
    if call.room.backfill is None:
        raise Problem(501, "this process cannot order a backfill", "ask a hub that runs")
    try:
        streams = await call.room.backfill(name, call.body)
    except LookupError:
        raise _unknown(name) from None
    except PermanentError as error:
        raise Problem(409, str(error), "GET /v1/sources names the streams") from error
    return answer(Ordered(connection=name, streams=streams))


async def _acknowledge(call: Call) -> web.StreamResponse:
    name = call.path["connection"]
    if call.room.acknowledge is None:
        raise Problem(501, "this process has no bus", "ask a hub that runs")
    try:
        await call.room.acknowledge(name)
    except LookupError:
        raise _unknown(name) from None
    return answer(Acknowledged(connection=name))


def _unknown(name: str) -> Problem:
    return Problem(404, f"there is no connection {name!r}", "GET /v1/sources names them")


def _merged(connection: str, reports: list[tuple[int, Mapping[str, Any]]]) -> SourceState:
    """Of several processes' documents, the oldest first: the latest times of all; of those that were alive when the
    newest one was written, the sums of counts and the newest trouble."""
    known = {name: said for _, document in reports for name, said in document.items() if said is not None}
    source = _source(known)
    # What was said of another source that had this name before is kept for a purge alone.
    documents = [document for _, document in reports if _source(document) in (None, source)]
    alive = [document for at, document in reports if at >= reports[-1][0] - _GONE]
    refused: dict[str, int] = {}
    complete: dict[str, int] = {}
    for document in alive:
        for reason, count in (document.get("refused") or {}).items():
            refused[reason] = refused.get(reason, 0) + count
    streams: dict[str, StreamState] = {}
    for document in documents:
        for stream, its in (document.get("streams") or {}).items():
            complete[stream] = max(complete.get(stream, 0), its.get("complete_up_to") or 0)
            # Whoever polls it now knows how it is.
            if stream not in streams or (document.get("polls_here") and any(document is each for each in alive)):
                shown = {name: its.get(name) for name in ("listing", "progress") if its.get(name)}
                streams[stream] = StreamState.model_validate({**shown, "problem": its.get("error")})
    broken: Mapping[str, Any] = next((each for each in reversed(alive) if each.get("error")), {})
    refusal: Mapping[str, Any] = next((each for each in reversed(alive) if each.get("last_refusal")), {})
    delivery, poll = _latest(documents, "last_delivery"), _latest(documents, "last_poll")
    heard = max(delivery or 0, poll or 0)
    return SourceState(
        connection=connection,
        source=source,
        state=broken.get("state", "down") if broken else "ok" if heard else "waiting",
        webhook=bool(known.get("webhook")),
        last_delivery=from_ms(delivery),
        last_poll=from_ms(poll),
        heard=from_ms(heard or None),
        complete_up_to={
            stream: at
            for stream, ms in sorted(complete.items())
            if (at := from_ms(ms or None)) and not streams[stream].listing
        },
        streams={
            stream: its.model_copy(update={"complete_up_to": from_ms(complete[stream] or None)})
            for stream, its in sorted(streams.items())
        },
        refused=refused,
        last_refusal=refusal.get("last_refusal"),
        refusal_remedy=refusal.get("refusal_remedy"),
        budget=_budget(alive),
        drift=_drift(alive),
        problem=broken.get("error"),
        broken_since=from_ms(broken.get("broken_since")),
        remedy=broken.get("remedy"),
    )


def _unattended(state: SourceState, at: int) -> SourceState:
    """As it was left at `at` (epoch ms), when it was last reported; what was under way then is not any more."""
    streams = {name: its.model_copy(update={"progress": None}) for name, its in state.streams.items()}
    remedy = f"start `hub run`; where hub.yaml does not have it any more: hub purge {state.connection}"
    told = {"state": "unattended", "problem": _UNATTENDED, "broken_since": from_ms(at), "remedy": remedy}
    return state.model_copy(update={**told, "streams": streams, "budget": None})


def _drift(alive: list[Mapping[str, Any]]) -> list[Drifted]:
    """Each change once, though several processes may have noticed it."""
    found = {(each["kind"], each["what"]): each["at"] for document in alive for each in document.get("drift") or ()}
    shown = [Drifted(kind=kind, what=what, at=from_ms(at) or "") for (kind, what), at in found.items()]
    return sorted(shown, key=lambda each: (each.at, each.kind, each.what))


def _budget(alive: list[Mapping[str, Any]]) -> Budget | None:
    """All processes share one: the least that any sees as left, and all who wait."""
    told = [each["budget"] for each in alive if each.get("budget")]
    if not told:
        return None
    newest: Mapping[str, Any] = next((each for each in reversed(told) if each.get("limit") is not None), {})
    waiting: dict[str, int] = {}
    for each in told:
        for purpose, count in (each.get("waiting") or {}).items():
            waiting[purpose] = waiting.get(purpose, 0) + count
    return Budget(
        limit=newest.get("limit"),
        per=newest.get("per"),
        reserve=newest.get("reserve", 0),
        left=min((each["left"] for each in told if each.get("left") is not None), default=None),
        waiting=waiting,
        paused_until=from_ms(_latest(told, "paused_until")),
    )


def _source(document: Mapping[str, Any]) -> str | None:
    """vendor/account as keys begin with it."""
    if not document.get("connector") or not document.get("account"):
        return None
    return key(document["connector"], document["account"], "-", "-").removesuffix("/-/-")


def _latest(documents: list[Mapping[str, Any]], name: str) -> int | None:
    return max((document[name] for document in documents if document.get(name)), default=None)


def title(room: Room, source: str) -> str:
    """A source's own name, of an object's key or of vendor/account: `hubspot/123/contact/9` is HubSpot."""
    vendor = source.partition("/")[0]
    return room.titles.get(vendor, vendor.replace("_", " ").capitalize())


ROUTES = (
    Route("GET", "/v1/sources", _sources, Sources, "Every connection: when it was heard, and what is wrong."),
    Route("GET", "/v1/sources/{connection}/ledger", _ledger, Ledger, "What came, what was missing, what was repaired.",
          query=LedgerQuery, problems=(400, 404)),
    Route("POST", "/v1/sources/{connection}/backfill", _backfill, Ordered, "Read streams again from their beginning.",
          scope="admin", body=BackfillOrder, problems=(400, 404, 409, 501)),
    Route("POST", "/v1/sources/{connection}/acknowledge", _acknowledge, Acknowledged,
          "What has changed in its payloads is known now.", scope="admin", problems=(404, 501)),
)  # fmt: skip
