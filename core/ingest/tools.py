"""What polling and fetching work with."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.bus import Bus
from core.config.model import Connection
from core.ingest.http import Client
from core.ingest.intake import Intake
from core.ingest.pace import Lag, Pace
from core.ingest.status import Board, Clock
from core.ingest.turns import Turns

# Of a key's beginning (vendor/account/kind/): the keys of the live objects that the hub knows, page by page.
Known = Callable[[str], AsyncIterator[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Tools:
    """`lag` says how many events process has still to take; `known` which objects the hub has (it may raise
    TransientError; None where nobody can say); `folder` where listings under way wait (None: nowhere)."""

    bus: Bus
    intake: Intake
    connections: Mapping[str, Connection]
    https: Mapping[str, Client]
    board: Board
    clock: Clock
    lag: Lag
    pace: Pace
    turns: Turns
    known: Known | None = None
    folder: Path | None = None
