"""Ingest: everything that comes from sources, through one door onto the bus. Needs the bus, never the store."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from core.bus import Bus
from core.config.model import Connection, Server
from core.errors import TransientError
from core.ingest.accounts import learn, recall
from core.ingest.claims import Claims
from core.ingest.cursors import Cursors
from core.ingest.drift import Drift, acknowledge
from core.ingest.http import Client, Patience, sessions
from core.ingest.hydrate import Hydrator
from core.ingest.intake import Intake, Outcome
from core.ingest.oauth import Keyring, forget_tokens
from core.ingest.orders import begin_anew, read_again
from core.ingest.pace import Lag, Pace, sparing
from core.ingest.poll import GROUP, Poller
from core.ingest.status import Board, Clock
from core.ingest.tools import Known, Tools
from core.ingest.treasury import Treasury
from core.ingest.turns import Turns
from core.ingest.webhooks import Listener, listening
from core.metrics import Metrics
from core.precedence import Precedence

__all__ = [
    "GROUP",
    "Board",
    "Claims",
    "Client",
    "Cursors",
    "Intake",
    "Keyring",
    "Known",
    "Outcome",
    "Pace",
    "Patience",
    "Report",
    "acknowledge",
    "begin_anew",
    "forget_tokens",
    "Treasury",
    "read_again",
    "replaying",
    "run",
    "sessions",
]

Report = Callable[[str, dict[str, Any]], Awaitable[None]]

REPORT_ANYWAY = 15  # looks after which a document is reported again, so that one sees who is alive


async def run(
    bus: Bus,
    connections: Mapping[str, Connection],
    server: Server,
    *,
    metrics: Metrics,
    clock: Clock,
    lag: Lag,
    report: Report,
    started: Callable[[str], None] = lambda _: None,
    known: Known | None = None,
    pace: Pace | None = None,
    patience: Patience | None = None,
    alone: bool = True,
    folder: Path | None = None,
    past: Lag | None = None,
    precedence: Precedence | None = None,
) -> None:
    """Take webhooks, poll and fetch until cancelled; then stop within seconds, the listener first.

    `clock` gives the time of day in UTC; `lag` how many events process has still to take, `past` how many of
    first fetches; `known` what the hub has
    (without it no listing is compared); `report` gets each connection's document (see Board.document) when it has
    changed, and may raise TransientError; `started` gets the listener's address; `alone`: no other process asks these
    sources; `folder`: where tokens that sources replace, and listings under way, are kept; `precedence` is this
    process's. Raises OSError where the address is taken.
    """
    pace = pace or Pace()
    board = Board(connections.values(), metrics, clock, calm=pace.calm)
    precedence = precedence or Precedence()
    intake = Intake(bus, connections, board, clock, precedence)
    drift = Drift(bus, connections, metrics, clock)
    intake.look, board.drift = drift.look, drift.news
    async with sessions() as session:
        treasury = Treasury(connections, intake.accounts, clock, metrics, None if alone else Claims(bus, clock))
        board.budget = lambda name: treasury.budget(name).document()
        keyring = Keyring(session, clock, folder)
        https = {
            name: Client(it, session, clock, patience=patience, treasury=treasury, keyring=keyring)
            for name, it in connections.items()
        }
        lag = sparing(bus, lag)
        turns = Turns(lag, sparing(bus, past or lag), pace, precedence)
        tools = Tools(bus, intake, connections, https, board, clock, lag, pace, turns, known, folder)
        listener = Listener(intake, connections, board, clock, public_url=server.public_url)
        async with asyncio.TaskGroup() as rooms:
            rooms.create_task(drift.run(), name="drift")
            rooms.create_task(learn(tools), name="accounts")
            rooms.create_task(Hydrator(tools).run(), name="hydrate")
            rooms.create_task(Poller(tools).run(), name="poll")
            rooms.create_task(_report(board, connections, report, tools.pace.report), name="report")
            async with listening(listener, server) as address:
                started(address)
                await asyncio.Event().wait()


async def replaying(bus: Bus, connections: Mapping[str, Connection], *, metrics: Metrics, clock: Clock) -> Intake:
    """The door alone, for `Intake.replay`: no listener, no polls; it knows the accounts that were learnt so far."""
    intake = Intake(bus, connections, Board(connections.values(), metrics, clock), clock)
    await recall(Cursors(bus), intake, connections)
    return intake


async def _report(board: Board, connections: Mapping[str, Connection], report: Report, every: float) -> None:
    last: dict[str, tuple[dict[str, Any], int]] = {}
    look = 0
    while True:
        for name in connections:
            document = board.document(name)
            before, when = last.get(name, (None, 0))
            if document == before and look - when < REPORT_ANYWAY:
                continue
            try:
                await report(name, document)
            except TransientError:
                continue  # who keeps the documents says for himself that he is down
            last[name] = (document, look)
        look += 1
        await asyncio.sleep(every)
