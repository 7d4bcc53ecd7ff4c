"""A test bench: the connector's real mock behind real HTTP, and the hub's real ingest before it, in simulated time."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from core import ingest
from core.bus.codec import decode
from core.bus.topics import DEAD, EVENTS, HINTS, PAST
from core.config.model import Connection, Server
from core.conformance.memory import MemoryBus
from core.conformance.subject import BrokenError, Subject
from core.ingest import Known, Pace, Patience
from core.metrics import Metrics
from core.projection import Registers
from core.sdk.mock import Clock, Mock, running
from core.sdk.player import Queued

START = 1_768_200_420_000  # epoch ms: 2026-01-12 06:47 UTC
ROWS = 10  # per page of the mock, so that every list has several
TRIES = 3  # of the client for one request: as many faults in a row reach the connector
_MOST_SAVED = 2_000  # cursors of one run: who saves more goes in circles
_LONGEST = 900.0  # simulated seconds until something must have come to its end
_DYING = 3.0  # simulated seconds in which the other streams, too, come to where they die
PATIENCE = Patience(tries=TRIES, first=0.1, longest=5.0, timeout=4.0)
_PACE = Pace(first=0.1, longest=1.0, rest=0.5, longest_rest=1.0, report=0.5)

Object = tuple[str, dict[str, Any], str | None]  # state, facts, merged into
Objects = dict[str, Object]  # by key


@dataclass
class Bench:
    """One connection of a hub of which only ingest runs. The source's clock and ours, `skew` seconds ahead, go with the
    simulated time; `later` puts both forward to the same moment in every run, however long it took until then."""

    mock: Mock
    clock: Clock
    connection: Connection
    bus: MemoryBus
    skew: float = 0.0
    waited: timedelta = timedelta(0)
    began: float = 0.0  # epoch ms: when ingest was started last
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def simulator(self) -> Any:
        return self.mock.simulator

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now() / 1000 + self.skew, UTC)

    def later(self, step: timedelta) -> None:
        """Only while ingest stands still: it looks at its schedule when it begins."""
        self.waited += step
        moment = START + int(self.waited.total_seconds() * 1000)
        assert moment >= self.clock.now(), "an examination may not go back in time"
        self.clock.set(moment)
        self.mock.player.set_clock(moment, None)

    @asynccontextmanager
    async def ingesting(self, known: Known | None = None) -> AsyncIterator[None]:
        """Ingest runs within the block, and its listener gets the mock's webhooks; then it is killed. `known` tells
        what the hub has: without it no listing is compared."""
        listens = asyncio.Event()

        def started(address: str) -> None:
            if self.connection.connector.webhook is not None:
                self.mock.courier.target = f"{address}/hooks/{self.connection.name}"
            listens.set()

        async def report(name: str, document: dict[str, Any]) -> None:
            self.document = document

        async def lag() -> int:
            return 0

        self.document, self.began = {}, self.now().timestamp() * 1000
        work = asyncio.create_task(
            ingest.run(self.bus, {self.connection.name: self.connection}, Server(webhooks="127.0.0.1:0"),
                       metrics=Metrics(), clock=self.now, lag=lag, report=report, started=started, pace=_PACE,
                       patience=PATIENCE, known=known)
        )  # fmt: skip
        work.add_done_callback(lambda _: listens.set())
        try:
            await listens.wait()
            yield
        finally:
            self.mock.courier.target = ""
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        if not work.cancelled() and (error := work.exception()):
            raise error

    async def known(self) -> None:
        """Until the source has told its account."""
        deadline = asyncio.get_running_loop().time() + _LONGEST
        while not self.document.get("account"):
            if asyncio.get_running_loop().time() > deadline:
                raise BrokenError(f"the account is never learnt: {self.document.get('error') or 'it is empty'}")
            await asyncio.sleep(0.25)

    async def polled(self, *, ever: bool = False) -> None:
        """Until every stream was read to its end since ingest began, or `ever`."""
        since = 2 if ever else self.began
        wanted = {stream.name for stream in self.connection.connector.streams}
        deadline = asyncio.get_running_loop().time() + _LONGEST
        while True:
            streams: Mapping[str, Any] = self.document.get("streams", {})
            missing = [
                name for name in sorted(wanted) if (streams.get(name, {}).get("complete_up_to") or 0) < since - 1
            ]
            if not missing:
                return
            if self.bus.saved > _MOST_SAVED:
                raise BrokenError(f"the stream {missing[0]!r} does not end")
            if asyncio.get_running_loop().time() > deadline:
                said = next((text for name in missing if (text := streams.get(name, {}).get("error"))), "")
                raise BrokenError(f"the stream {missing[0]!r} never comes to its end{': ' + said if said else ''}")
            await asyncio.sleep(0.25)

    async def crashed_or_polled(self) -> bool:
        """Whether the process died before every stream was read to its end."""
        polled, died = asyncio.create_task(self.polled(ever=True)), asyncio.create_task(self.bus.crashed.wait())
        await asyncio.wait((polled, died), return_when=asyncio.FIRST_COMPLETED)
        for task in (polled, died):
            task.cancel()
        await asyncio.gather(polled, died, return_exceptions=True)
        if crashed := self.bus.crashed.is_set():
            await asyncio.sleep(_DYING)
        self.bus.crashed.clear()
        return crashed

    async def send(self, queued: Sequence[Queued]) -> None:
        """The source tells this, one after the other and each a little later: nothing comes in the same moment."""
        for one in queued:
            self.mock.send([one])
            await asyncio.sleep(0.05)

    async def settled(self) -> None:
        """Until all webhooks are delivered and what they named is fetched."""
        deadline = asyncio.get_running_loop().time() + _LONGEST
        while len(self.mock.courier) or self.bus.behind("hydrate", HINTS):
            if asyncio.get_running_loop().time() > deadline:
                raise BrokenError(f"deliveries never come to rest: {self.document.get('error') or 'not fetched'}")
            await asyncio.sleep(0.25)

    def objects(self) -> Objects:
        """What all events together say, folded as the hub folds them; without times of fetching and receiving."""
        registers: dict[str, Registers] = {}
        for record in [*self.bus.records(EVENTS), *self.bus.records(PAST)]:
            event = decode(record)
            registers.setdefault(event.subject, Registers(event.entity)).apply(event)
        found = {}
        for key, each in registers.items():
            shown = each.visible()
            found[key] = (shown.state, {name: fact.value for name, fact in shown.facts.items()}, shown.into)
        return found

    def letters(self) -> int:
        return len(self.bus.records(DEAD))


@asynccontextmanager
async def bench(subject: Subject, *, skew: float = 0.0, rows: int = ROWS) -> AsyncIterator[Bench]:
    """A new mock world and an empty bus. To be used in simulated time."""
    loop = asyncio.get_running_loop()
    clock = Clock(START, timer=loop.time)
    simulator = subject.simulator()
    async with running(simulator, pace=0, clock=Clock(START, timer=loop.time), limit=10**9) as mock:
        mock.rows = rows
        mock.today = lambda: clock.now() / 1000
        settings = subject.settings(mock.url).model_copy(update={"poll_every": timedelta(minutes=30)})
        connection = Connection(subject.connector.name, subject.connector, settings)
        made = Bench(mock, clock, connection, MemoryBus(lambda: datetime.fromtimestamp(clock.now() / 1000, UTC)))
        made.skew = skew
        yield made


def differences(wanted: Objects, found: Objects) -> Iterator[str]:
    """In what the second differs from the first, the lost objects first. Values are not quoted."""
    lost = sorted(wanted.keys() - found.keys())
    if lost:
        yield f"{len(lost)} of {len(wanted)} objects are missing, such as {_short(lost[0])}"
    more = sorted(found.keys() - wanted.keys())
    if more:
        yield f"{len(more)} objects too many, such as {_short(more[0])}"
    for key in sorted(wanted.keys() & found.keys()):
        (state, facts, into), (state_, facts_, into_) = wanted[key], found[key]
        if state != state_:
            yield f"{_short(key)} is {state_} instead of {state}"
        elif into != into_:
            yield f"{_short(key)} is merged into another object"
        elif facts != facts_:
            fields = sorted(name for name in {*facts, *facts_} if facts.get(name) != facts_.get(name))
            yield f"{_short(key)} says something else of {', '.join(fields)}"


def same(wanted: Objects, found: Objects, where: str, *, letters: int = 0) -> None:
    """Raises BrokenError with the first difference. As many objects may differ as there are dead letters: what is
    buried is not lost."""
    odd = {key for key in {*wanted, *found} if wanted.get(key) != found.get(key)}
    if len(odd) > letters and (told := next(differences(wanted, found), None)):
        raise BrokenError(f"{where}: {told}")


def _short(key: str) -> str:
    return " ".join(key.split("/")[2:])
