"""What every connection can say of itself: when it was heard, what was refused and why, what is broken and what to do.

Says once in the log that a source broke, and once that it is back.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import structlog

from core.config.model import Connection
from core.ingest.health import BUS_REMEDY, STATES, remedy, state_of, worst
from core.ingest.quota import PURPOSES
from core.log import scrub
from core.metrics import Metrics

Clock = Callable[[], datetime]
T = TypeVar("T")

BUS = ""  # stands where a connection's name would stand
_MOST_WORDS = 20  # different reasons or kinds per connection; more are counted as "other"

log = structlog.get_logger()


def ms(moment: datetime) -> int:
    """Epoch milliseconds."""
    return int(moment.timestamp() * 1000)


@dataclass(slots=True)
class Stream:
    """`at`: the last save of the cursor; `complete_up_to`: when the last complete poll began (epoch ms).

    While a poll is under way `way` is backfill or sweep, `fetched` the rows that it has brought of `total`.
    """

    at: int | None = None
    complete_up_to: int | None = None
    error: str | None = None
    listing: bool = False
    way: str = ""
    fetched: int = 0
    total: int | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)  # whoever polls it begins a round soon
    _start: tuple[int, int] = (0, 0)  # what was fetched, and the time, when this process went on with it

    def begin(self, fetched: int, now: int) -> None:
        """This process begins, or goes on, with `fetched` rows behind it."""
        self._start = fetched, now

    def progress(self, way: str, fetched: int, total: int | None, now: int) -> None:
        self.way, self.fetched, self.total, self.at = way, fetched, total, now

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {"at": self.at, "complete_up_to": self.complete_up_to}
        document |= {"error": self.error and scrub(self.error), "listing": self.listing}
        if self.way:
            document["progress"] = {"way": self.way, "fetched": self.fetched, "total": self.total, **self._speed()}
        return document

    def _speed(self) -> dict[str, Any]:
        fetched, since = self.fetched - self._start[0], (self.at or 0) - self._start[1]
        if fetched <= 0 or since <= 0:
            return {"per_second": None, "seconds_left": None}
        rate = fetched * 1000 / since
        left = None if self.total is None else round(max(0, self.total - self.fetched) / rate)
        return {"per_second": round(rate, 1), "seconds_left": left}


@dataclass(slots=True)
class State:
    """One connection, since this process started. Times are epoch ms."""

    account: str | None = None
    polls_here: bool = False
    last_delivery: int | None = None
    last_poll: int | None = None
    last_refusal: str | None = None
    refusal_remedy: str | None = None
    received: int = 0
    published: int = 0
    hydrated: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    dead: dict[str, int] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)
    broken: dict[str, Exception] = field(default_factory=dict)
    broken_since: int | None = None
    turned_away: bool = False  # a delivery was answered 503, and may not come again
    wakes: set[asyncio.Event] = field(default_factory=set)  # of what is done at once when a downtime has ended
    said: set[str] = field(default_factory=set)  # states that the log has heard of since it broke


class Board:
    """Counts for Prometheus and keeps the documents that `hub status` shows. `budget` tells a connection's budget of
    requests (see Budget.document), `drift` what changed in its payloads (see Drift.news). `missed`: connections whose
    downtime has ended, until whoever polls them has been told (see Poller)."""

    def __init__(self, connections: Iterable[Connection], metrics: Metrics, clock: Clock, *, calm: float = 0.0) -> None:
        self.metrics = metrics
        self._calm = calm * 1000
        self.missed: set[str] = set()
        self.drift: Callable[[str], list[dict[str, Any]]] = lambda name: []
        self.budget: Callable[[str], dict[str, Any] | None] = lambda name: None
        self._clock = clock
        self._connections = {connection.name: connection for connection in connections}
        self._states = {name: State() for name in (*self._connections, BUS)}

    def __getitem__(self, name: str) -> State:
        return self._states[name]

    def received(self, name: str) -> None:
        self._states[name].received += 1
        self.metrics.received.labels(name).inc()

    def heard(self, name: str, at: int) -> None:
        """A delivery of the source itself: whatever is refused says nothing about when it was last heard."""
        state = self._states[name]
        state.last_delivery = at
        self._taken_again(name)
        self.metrics.heard.labels(name, "webhook").set(at / 1000)

    def turned_away(self, name: str) -> None:
        """A delivery was answered 503. Sources repeat it, or not: as soon as deliveries are taken, a sweep looks."""
        self._states[name].turned_away = True

    def _taken_again(self, name: str) -> None:
        if self._states[name].turned_away:
            self._states[name].turned_away = False
            self._ended(name)

    def _ended(self, name: str) -> None:
        """A downtime; another process may be the one that polls."""
        self.missed.add(name)
        self.wake(name)

    def wake(self, name: str) -> None:
        """Let what this process polls of the connection begin a round soon, because something may have been missed."""
        for wake in self._states[name].wakes:
            wake.set()

    def refused(self, name: str, sentence: str, code: str, status: int, remedy: str | None = None) -> str:
        """Answered with `status` and counted under `code`, which is returned as it was counted; the log hears of each
        code's first refusal and then of every thousandth, because anybody can send refused deliveries."""
        state = self._states[name]
        said = scrub(sentence)
        word = _count(state.refused, code[:60])
        state.last_refusal, state.refusal_remedy = said, remedy
        self.metrics.refused.labels(name, word, status).inc()
        if state.refused[word] % 1000 == 1:
            log.warning("delivery refused", connection=name, reason=said, times=state.refused[word])
        return word

    def ignored(self, name: str, kinds: Iterable[str]) -> None:
        for kind in kinds:
            _count(self._states[name].ignored, kind[:80])
            self.metrics.ignored.labels(name).inc()

    def published(self, name: str, events: int) -> None:
        self._states[name].published += events
        self.metrics.published.labels(name).inc(events)

    def dead(self, name: str, stage: str) -> None:
        _count(self._states[name].dead, stage)
        self.metrics.dead.labels(name, stage).inc()

    def hydrated(self, name: str, objects: int) -> None:
        self._states[name].hydrated += objects
        self.metrics.hydrated.labels(name).inc(objects)

    def polled(self, name: str, stream: str, payloads: int) -> None:
        at = ms(self._clock())
        self._states[name].last_poll = at
        self.metrics.polled.labels(name, stream).inc(payloads)
        self.metrics.heard.labels(name, "poll").set(at / 1000)

    def broke(self, name: str, part: str, error: Exception) -> None:
        """`part` of the connection (a stream, hydrate, account) does not work now; said once until all parts heal."""
        state = self._states[name]
        if not state.broken:
            state.broken_since = ms(self._clock())
        word = state_of(error)
        if word not in state.said:
            what = "bus unavailable" if name == BUS else "source unavailable"
            log.warning(what, **_named(name, state=word), part=part, reason=str(error), remedy=_remedy(name, error))
            state.said |= set(STATES) if name == BUS else {word}
        state.broken[part] = error
        if name != BUS:
            self.metrics.failed.labels(name).inc()
            self._show(name)

    def healed(self, name: str, part: str) -> None:
        state = self._states[name]
        if state.broken.pop(part, None) is None:
            return
        if not state.broken:
            state.said.clear()
            since, state.broken_since = state.broken_since, None
            if name == BUS:
                for each in self._connections:
                    self._taken_again(each)
            elif since is not None and ms(self._clock()) - since >= self._calm:
                self._ended(name)
            log.info("bus is back" if name == BUS else "source is back", **_named(name))
        if name != BUS:
            self._show(name)

    def _show(self, name: str) -> None:
        error = worst(self._states[name].broken.values())
        now = state_of(error) if error else "ok"
        self.metrics.healthy.labels(name).set(error is None)
        for word in ("ok", *STATES):
            self.metrics.state.labels(name, word).set(word == now)

    def _count_budget(self, name: str, budget: Mapping[str, Any]) -> None:
        if budget.get("limit") is not None:
            self.metrics.limit.labels(name).set(budget["limit"])
            self.metrics.left.labels(name).set(budget["left"])
        for purpose in PURPOSES:
            self.metrics.waiting.labels(name, purpose).set(budget.get("waiting", {}).get(purpose, 0))

    def document(self, name: str) -> dict[str, Any]:
        """JSON-ready; what is not known yet is None. Holds no secrets and nobody's data."""
        state, connection = self._states[name], self._connections[name]
        webhook = connection.connector.webhook
        error, budget = worst(state.broken.values()), _or_none(lambda: self.budget(name))
        self._count_budget(name, budget or {})
        return {
            "connector": connection.connector.name,
            "account": state.account,
            "webhook": webhook is not None and bool(_or_none(lambda: webhook.enabled(connection.settings))),
            "polls_here": state.polls_here,
            "last_delivery": state.last_delivery,
            "last_poll": state.last_poll,
            "last_refusal": state.last_refusal,
            "refusal_remedy": state.refusal_remedy,
            "state": state_of(error) if error else None,
            "error": scrub(str(error)) if error else None,
            "error_parts": sorted(state.broken),
            "broken_since": state.broken_since,
            "remedy": _remedy(name, error) if error else None,
            "received": state.received,
            "published": state.published,
            "hydrated": state.hydrated,
            "refused": dict(state.refused),
            "ignored": dict(state.ignored),
            "dead": dict(state.dead),
            "budget": budget,
            "drift": self.drift(name),
            "streams": {stream: it.document() for stream, it in state.streams.items()},
        }


def _or_none(said: Callable[[], T]) -> T | None:
    """What a connector's code says; its mistakes are told where it is at work, and its state must be seen then."""
    try:
        return said()
    except Exception:
        return None


def _remedy(name: str, error: Exception) -> str:
    return BUS_REMEDY if name == BUS else remedy(name, error)


def _named(name: str, **more: str) -> dict[str, str]:
    return {} if name == BUS else {"connection": name, **more}


def _count(counts: dict[str, int], word: str) -> str:
    if word not in counts and len(counts) >= _MOST_WORDS:
        word = "other"
    counts[word] = counts.get(word, 0) + 1
    return word
