"""Per connection how it is. What ingest's processes wrote down, joined with the store's own counts.

A state document is JSON with any of: `source` (vendor/account), `state`, `last_delivery`, `last_poll` (RFC 3339 or
epoch ms), `refused` {reason: count}, `problem`, `remedy`. Several processes may write one for the same connection.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from core.api.room import Room
from core.api.route import Call, Route, answer
from core.sdk import from_ms
from core.store import Store
from schemas.answers import Sources, SourceState


async def connection_states(store: Store) -> list[SourceState]:
    """One per connection, by name."""
    documents: dict[str, list[Mapping[str, Any]]] = {}
    for connection, _, document, _ in sorted(await store.states(), key=lambda row: (row[0], row[3])):
        documents.setdefault(connection, []).append(orjson.loads(document))
    return [_merged(connection, found) for connection, found in documents.items()]


async def _sources(call: Call) -> web.StreamResponse:
    store = call.room.store
    hub, dead, counts = await store.hub(), await store.dead_counts(), await store.counts()
    states = {state.connection: state for state in await connection_states(store)}
    for connection in dead:
        states.setdefault(connection, SourceState(connection=connection))
    shown = [
        state.model_copy(
            update={
                "dead": dead.get(name, 0),
                "objects": {entity: n for (source, entity), n in sorted(counts.items()) if source == state.source},
                "title": title(call.room, state.source) if state.source else None,
                "remedy": state.remedy or (f"hub dead list {name}" if dead.get(name) else None),
            }
        )
        for name, state in sorted(states.items())
    ]
    return answer(
        Sources(
            sources=shown,
            customers=counts.get(("", "customer"), 0),
            version=f"{hub.generation}-{hub.seq}",
            kind="demo" if hub.kind == "demo" else "real",
            as_of=from_ms(call.room.now()) or "",
        )
    )


def _merged(connection: str, documents: list[Mapping[str, Any]]) -> SourceState:
    """Of several processes' documents, the oldest first: the newest word, the latest times, the sums of counts."""
    refused: dict[str, int] = {}
    for document in documents:
        for reason, count in (document.get("refused") or {}).items():
            refused[reason] = refused.get(reason, 0) + int(count)
    newest = {name: value for document in documents for name, value in document.items() if value is not None}
    delivery, poll = _latest(documents, "last_delivery"), _latest(documents, "last_poll")
    return SourceState(
        connection=connection,
        source=newest.get("source"),
        state=str(newest.get("state") or ("ok" if delivery or poll else "unknown")),
        last_delivery=delivery,
        last_poll=poll,
        heard=max(filter(None, (delivery, poll)), default=None),
        refused=refused,
        problem=documents[-1].get("problem"),
        remedy=documents[-1].get("remedy"),
    )


def _latest(documents: list[Mapping[str, Any]], name: str) -> str | None:
    times = (document.get(name) for document in documents)
    return max((from_ms(at) if isinstance(at, int | float) else str(at) for at in times if at), default=None)  # type: ignore[type-var]


def title(room: Room, key: str) -> str:
    """A source's own name, of a key or of vendor/account: `hubspot/123/contact/9` is HubSpot."""
    vendor = key.partition("/")[0]
    return room.titles.get(vendor, vendor.replace("_", " ").capitalize())


ROUTES = (Route("GET", "/v1/sources", _sources, Sources, "Every connection: when it was heard, and what is wrong."),)
