"""What the API is given: everything from outside comes in here, nothing is made inside."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from core.api.follower import Follower
from core.api.lately import Lately
from core.identity import Rules
from core.store import Store
from schemas.answers import BackfillOrder, PurgeOrder, Purging

Check = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, kw_only=True)
class Room:
    """`now` is epoch ms; `since`, too: when the hub began to run, which is given a moment to report its sources.
    `metrics` renders Prometheus' text. `ready` are named checks: None, or what is wrong.

    `backfill` lets streams of a connection begin anew and answers which: PermanentError where it has none such.
    `acknowledge` takes what changed in a connection's payloads as known (LookupError where there is no such one).
    `purge` takes a connection out, a step at each call: PermanentError where it must not be. `replay` puts a dead
    letter's input on its way again (raises PermanentError where that cannot work). `ring` lets a mocked customer call:
    phone or None in, {phone, connection} out; LookupError where nobody has this phone; where it is None,
    `silent` says why and what to do.
    `waiting` tells how many events of each connection process had still to take a moment ago; None where nobody knows.
    `titles` are the sources' own names by vendor: {"hubspot": "HubSpot"}. `hosts` are the names (without port) under
    which browsers may reach us, beside localhost and plain addresses. `heartbeat` and `patience` are seconds: between
    two comments on a silent feed, and how long a reader may take to read what was sent. `lately` remembers the ledger's
    counts for a few seconds.
    """

    store: Store
    rules: Rules
    now: Callable[[], int]
    metrics: Callable[[], bytes]
    since: int = 0
    ready: Mapping[str, Check] = field(default_factory=dict)
    replay: Callable[[str], Awaitable[None]] | None = None
    backfill: Callable[[str, BackfillOrder], Awaitable[list[str]]] | None = None
    acknowledge: Callable[[str], Awaitable[None]] | None = None
    purge: Callable[[str, PurgeOrder], Awaitable[Purging]] | None = None
    waiting: Callable[[], Mapping[str, int] | None] = lambda: None
    ring: Callable[[str | None], Awaitable[Mapping[str, str]]] | None = None
    silent: tuple[str, str] = ("the sources are real", "`mock: true` makes them mocks")
    titles: Mapping[str, str] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()
    heartbeat: float = 15.0
    patience: float = 20.0
    lately: Lately = field(default_factory=Lately)


ROOM: web.AppKey[Room] = web.AppKey("room", Room)
FOLLOWER: web.AppKey[Follower] = web.AppKey("follower", Follower)
