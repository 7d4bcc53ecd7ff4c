"""Changed shapes: the first payload whose fields or types differ from what samples and history know is told, once.

So is a field that always came and comes no more. Custom fields come and go: of them the changed type of a known one is
told. Of deliveries that only name what to fetch it is the notification that is looked at, as kind `webhook <topic>`.

What is known stands on a compacted topic, so that restarts and other processes know it, too. A payload is never held up
or refused for its shape, nor where looking at it fails. Where payloads rush in, one of a few is looked at: a new shape
comes again.
"""

import asyncio
import re
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
import structlog

from core.bus import Bus, Message
from core.bus.topics import SHAPES
from core.config.model import Connection
from core.deadletter import reason_of
from core.errors import TransientError
from core.ingest.pace import patiently
from core.ingest.samples import samples_of
from core.ingest.shapes import GONE, Learner, News, shape_of
from core.ingest.status import Clock, ms
from core.metrics import Metrics
from core.sdk import Payload

HINTED = "webhook "  # begins the kind of a notification that only names what to fetch; its topic follows
EVERY = 2.0  # seconds between two looks at what other processes know
MOST_NEWS = 20  # of one kind that are shown
FRESH = 7 * 24 * 3_600_000  # ms after which a change is no news any more
BASE = 20  # payloads of a kind without samples that are learnt without a word
MOST_TOPICS = 100  # kinds `webhook <topic>` of one connection that are learnt
RUSH, ONE_IN = 200, 10  # above so many payloads a second one of so many is looked at
_EARLY = 200  # payloads that may come before the history is read
_PAGE = 1000
_ACK = "acknowledged"
_TOPIC = re.compile(HINTED + r"[A-Za-z][A-Za-z0-9_.:-]{0,80}")

log = structlog.get_logger()


@dataclass(slots=True)
class _Kind:
    learner: Learner
    sampled: bool
    seen: int = 0
    news: dict[str, tuple[News, int]] = field(default_factory=dict)  # by sentence: with when it was noticed, epoch ms
    dirty: bool = False


class Drift:
    """One per process. `look` at every payload; `run` beside it."""

    def __init__(
        self,
        bus: Bus,
        connections: Mapping[str, Connection],
        metrics: Metrics,
        clock: Clock,
        *,
        every: float = EVERY,
    ) -> None:
        self._every = every
        self._bus, self._connections, self._metrics, self._clock = bus, connections, metrics, clock
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._acknowledged: dict[str, int] = {}
        self._early: deque[tuple[str, Payload, str | None]] | None = deque(maxlen=_EARLY)  # None: the history is read
        self._positions: dict[int, int] = {}
        self._second, self._count = 0, 0
        self._unreadable: set[str] = set()  # samples of which the log has heard
        self._failed: set[str] = set()  # connections, the same

    def look(self, name: str, payload: Payload, place: str | None = None) -> None:
        """Learn its shape, and tell what is new. Costs some µs per field. `place`: from where it comes, such as a
        stream's name; None: what it lacks is not counted. Never raises."""
        if self._early is not None:
            self._early.append((name, payload, place))
        elif not self._rush():
            self._look(name, payload, place)

    def news(self, name: str) -> list[dict[str, Any]]:
        """What changed in a connection's payloads and was not acknowledged: kind, what, at (epoch ms)."""
        after = max(self._acknowledged.get(name, 0), ms(self._clock()) - FRESH)
        found = [
            {"kind": kind, "what": what, "at": at}
            for (connection, kind), known in self._kinds.items()
            for what, (_, at) in known.news.items()
            if connection == name and at > after
        ]
        return sorted(found, key=lambda each: (each["at"], each["kind"], each["what"]))

    async def run(self) -> None:
        """Read what is known; then keep it, and hear of what others learn, until cancelled."""
        while True:
            with self._harmless(), suppress(TransientError):  # the bus is down, which others say; what is learnt waits
                await self._read()
                self._catch_up()
                await self._write()
            await asyncio.sleep(self._every)

    @contextmanager
    def _harmless(self, name: str = "", payload: Payload | None = None) -> Iterator[None]:
        """To look is a favour: what goes wrong here must stop no payload, nor any other room of ingest."""
        try:
            yield
        except Exception as error:
            if name not in self._failed:
                self._failed.add(name)
                named = {"connection": name} if name else {}
                reason = reason_of(error, getattr(payload, "data", None))
                remedy = "nothing is lost by it; tell who keeps the connector"
                log.error("changes of payloads go unseen; said once", **named, reason=reason, remedy=remedy)

    def _rush(self) -> bool:
        second = int(self._clock().timestamp())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        return self._count > RUSH and self._count % ONE_IN != 0

    def _look(self, name: str, payload: Payload, place: str | None) -> None:
        with self._harmless(name, payload):
            self._learn(name, payload, place)

    def _learn(self, name: str, payload: Payload, place: str | None) -> None:
        kind = f"{payload.kind} pushed" if payload.pushed else payload.kind
        if (name, kind) not in self._kinds and kind.startswith(HINTED) and not self._room(name, kind):
            return
        known = self._kinds.get((name, kind)) or self._new(name, kind)
        known.seen += 1
        # Another process may have told that a field vanished.
        news = [each for each in known.learner.learn(payload.data, place) if not self._told(known, each)]
        known.dirty |= known.learner.changed
        known.learner.changed = False
        if news and (known.sampled or known.seen > BASE):
            self._tell(name, kind, known, news)

    def _room(self, name: str, kind: str) -> bool:
        """Whether another topic is learnt; topics are what the source says."""
        topics = sum(each == name and known.startswith(HINTED) for each, known in self._kinds)
        return topics < MOST_TOPICS and _TOPIC.fullmatch(kind) is not None

    def _told(self, known: _Kind, news: News) -> bool:
        _, at = known.news.get(news.sentence, (news, 0))
        return news.type == GONE and at > ms(self._clock()) - FRESH

    def _new(self, name: str, kind: str) -> _Kind:
        learner, samples = Learner(), self._sampled(name, kind)
        learner.sampled(samples)
        return self._kinds.setdefault((name, kind), _Kind(learner, bool(samples)))

    def _sampled(self, name: str, kind: str) -> list[Any]:
        if name not in self._connections:
            return []
        found = samples_of(self._connections[name].connector)
        for each in found.unreadable:
            if each not in self._unreadable:
                self._unreadable.add(each)
                log.warning("a sample is passed over", connection=name, reason=each)
        return [each.data for each in found.readable if kind == (f"{each.kind} pushed" if each.pushed else each.kind)]

    def _tell(self, name: str, kind: str, known: _Kind, news: list[News]) -> None:
        at = ms(self._clock())
        for each in news[:MOST_NEWS]:
            known.news[each.sentence] = each, at
        while len(known.news) > MOST_NEWS:
            del known.news[next(iter(known.news))]
        known.dirty = True
        self._metrics.drift.labels(name).inc(len(news))
        log.warning(
            "payloads have changed",
            connection=name,
            kind=kind,
            changes=[each.sentence for each in news[:MOST_NEWS]],
            remedy=f"see whether the connector needs it; then: hub acknowledge {name}",
        )

    def _catch_up(self) -> None:
        early, self._early = self._early or (), None
        for name, payload, place in early:
            self._look(name, payload, place)

    async def _read(self) -> None:
        for partition, (begin, end) in (await self._bus.range(SHAPES)).items():
            position = max(self._positions.get(partition, 0), begin)
            while position < end:
                batch = await self._bus.read(SHAPES, partition, position, _PAGE)
                for record in batch.records:
                    with self._harmless(record.key.partition("/")[0]):
                        self._take(record.key, record.value)
                if batch.end <= position:
                    break
                position = self._positions[partition] = batch.end

    def _take(self, key: str, value: bytes | None) -> None:
        name, _, kind = key.partition("/")
        try:
            said = orjson.loads(value or b"{}")
            if kind == _ACK:
                self._acknowledged[name] = max(self._acknowledged.get(name, 0), int(said["at"]))
                return
            shape = shape_of(said["shape"])
            news = [(News(**each["news"]), int(each["at"])) for each in said["news"]]
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # of a newer hub, or nobody's: it is learnt again
        known = self._kinds.get((name, kind)) or self._new(name, kind)
        # What the connector's samples have learnt since then is no news any more.
        fresh = {each.sentence: (each, at) for each, at in news if not known.learner.knows(each)}
        known.seen = max(known.seen, int(said.get("seen", 0)))
        known.learner.merge(shape)
        known.news = {**fresh, **known.news}

    async def _write(self) -> None:
        dirty = {key: known for key, known in self._kinds.items() if known.dirty}
        messages = []
        for (name, kind), known in dirty.items():
            known.dirty = False
            with self._harmless(name):
                messages.append(_message(name, kind, known))
        try:
            await self._bus.publish(messages)
        except TransientError:
            for known in dirty.values():
                known.dirty = True
            raise


async def acknowledge(bus: Bus, connection: str, now: int) -> None:
    """What has changed until now (epoch ms) in this connection's payloads is no news any more. Durable on return."""
    message = Message(SHAPES, f"{connection}/{_ACK}", orjson.dumps({"at": now}), connection)
    await patiently(lambda: bus.publish([message]))


def _message(name: str, kind: str, known: _Kind) -> Message:
    news = [{"news": asdict(each), "at": at} for each, at in known.news.values()]
    value = {"shape": known.learner.root.document(), "seen": known.seen, "news": news}
    return Message(SHAPES, f"{name}/{kind}", orjson.dumps(value), name)
