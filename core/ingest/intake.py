"""The one door: whatever a source says is proved, cut, normalized and published here, at once or not at all.

Webhooks, polls, hydration and replays all pass through it. Nothing is acknowledged before the bus has it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import orjson

from core import deadletter
from core.bus import Bus, Message, Record
from core.bus.codec import ORIGIN, Origin, encode
from core.bus.topics import EVENTS
from core.config.model import Connection
from core.deadletter import Letter, Stage, reason_of
from core.errors import AccountError, NormalizeError, PermanentError, RefusedError, SignatureError, TransientError
from core.ingest.cursors import due
from core.ingest.cuts import blank, blank_values, without
from core.ingest.drift import HINTED
from core.ingest.keep import Door, door_of, dumps, fields, hint_message, raw, whole
from core.ingest.status import BUS, Board, Clock, ms
from core.precedence import Precedence
from core.sdk import Delivery, Hint, Payload, Split, classify, loads
from core.sdk.bodies import clean
from core.store import DeadRow
from schemas.event import Event, Order

_REPLAY = Origin("replay")
SETTLE = 2_000  # ms after a change within which a read may not be the last word


_BREATH = 20  # payloads of one delivery that are normalized at a stretch: a batch must not hold up the others


@dataclass(frozen=True, slots=True)
class Outcome:
    """The HTTP status to answer with, and for people why; how many of what were published.

    `items`: of a webhook that `tells`, what became of each payload, in order: {index, status: accepted, events: their
    ids, subjects: their keys}, or {index, status: refused, reason}; a refused one makes the status 207.
    """

    status: int
    detail: str = ""
    events: int = 0
    hints: int = 0
    dead: int = 0
    items: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class _Group:
    """What becomes of one input: published together, and where the bus cannot take it, replaced by one letter. `told`:
    see Outcome.items."""

    messages: Sequence[Message]
    events: int = 0
    hints: int = 0
    dead: Stage | None = None
    told: Mapping[str, Any] | None = None


class Intake:
    """`accounts` maps connections to their source's own accounts, as far as they are known; whoever learns one writes
    it there. `clock` gives the time of day in UTC. `look` sees every payload, before anything is made of it, and
    where it comes from (see Drift.look). `precedence` is this process's."""

    def __init__(
        self,
        bus: Bus,
        connections: Mapping[str, Connection],
        board: Board,
        clock: Clock,
        precedence: Precedence | None = None,
    ) -> None:
        self.accounts: dict[str, str] = {}
        self._bus = bus
        self._board = board
        self._precedence = precedence or Precedence()
        self._clock = clock
        self._doors = {name: door_of(connection) for name, connection in connections.items()}
        self.look: Callable[[str, Payload, str | None], None] = lambda name, payload, place: None
        self._known = {name: asyncio.Event() for name in connections}
        for name, connection in connections.items():
            if connection.settings.account:
                self.know(name, connection.settings.account)

    def know(self, name: str, account: str) -> None:
        """The account of a connection has been learnt."""
        self.accounts[name] = self._board[name].account = account
        self._known[name].set()

    async def known(self, name: str) -> str:
        """The account, once it is known."""
        await self._known[name].wait()
        return self.accounts[name]

    def account(self, name: str) -> str:
        """Raises TransientError as long as it is not known."""
        if name not in self.accounts:
            raise TransientError("the source has not told its account yet", retry_after=timedelta(seconds=10))
        return self.accounts[name]

    async def delivery(self, name: str, delivery: Delivery, received: int) -> Outcome:
        """Take one webhook request (`received`: epoch ms). Returns what to answer: 202 once it is durable on the bus,
        also where it became a dead letter; 401 and 403 keep nothing. Raises TransientError where it cannot be kept
        now: the source must send it again."""
        with self._precedence.delivery():
            return await self._delivery(self._doors[name], delivery, received)

    async def _delivery(self, door: Door, delivery: Delivery, received: int) -> Outcome:
        name = door.name
        self._board.received(name)
        try:
            self._verify(door, delivery)
            origin = Origin("push" if door.webhook.tells else "webhook", "", door.hooked)
            groups = await self._taken(door, delivery, self.account(name), received, origin)
        except SignatureError as error:
            return Outcome(401, self._board.refused(name, str(error), error.code, 401))
        except AccountError as error:
            return Outcome(403, self._board.refused(name, str(error), error.code, 403))
        except RefusedError as error:
            self._board.refused(name, str(error), error.code, status := error.status or 400)
            return Outcome(status, str(error))
        published = await self._publish(door, groups)
        self._board.heard(name, received)
        self._board.metrics.ingest.labels(name).observe(max(0, ms(self._clock()) - received) / 1000)
        return published

    async def payloads(
        self, name: str, payloads: Sequence[Payload], way: str, stream: str = "", topic: str = EVENTS
    ) -> Outcome:
        """Take what a poll or a fetch brought; `way` and `stream` as in Origin, `topic` for the events. On return it is
        durable; raises TransientError where it is not."""
        door = self._doors[name]
        origin = Origin(way, stream, door.hooked and stream not in door.pull_only)
        groups = []
        for payload in payloads:
            groups.append(self._normalized(door, payload, origin, topic))
            # A long page must not hold up live deliveries; what they named is live itself.
            await (asyncio.sleep(0) if way == "hydrate" else self._precedence.free())
        return await self._publish(door, groups)

    async def hints(self, name: str, hints: Sequence[Hint]) -> None:
        """Have these objects fetched. On return that is durable; raises TransientError where it is not."""
        door, account = self._doors[name], self.account(name)
        await self._send([hint_message(door, hint, account) for hint in hints])

    async def unhydrated(self, name: str, hint: Hint, error: Exception) -> None:
        """An object that a webhook named cannot be fetched, however often: a dead letter."""
        door = self._doors[name]
        await self._publish(door, [self._letter(door, "hydrate", error, {"form": "hint", **asdict(hint)})])

    async def unreadable(self, name: str, record: Record, error: Exception) -> None:
        """A message that should name an object to fetch, and does not: a dead letter."""
        door = self._doors[name]
        await self._publish(door, [self._letter(door, "hydrate", error, deadletter.whole(record))])

    async def replay(self, row: DeadRow) -> Outcome:
        """Handle a dead letter's input once more; where that fails again it is the same letter again, open.

        Raises PermanentError where it cannot be replayed, TransientError where the bus is down.
        """
        content = orjson.loads(row.payload)
        if content["form"] == "record":
            message = deadletter.to_message(content)
            headers = [header for header in message.headers if header[0] != ORIGIN]
            await self._send([replace(message, headers=[*headers, _REPLAY.header()])])
            return Outcome(202, events=1)
        door = self._doors.get(row.connection)
        if door is None:
            raise PermanentError(f"hub.yaml has no connection {row.connection!r} any more: discard the letter")
        return await self._publish(door, await self._again(door, content, row.at))

    async def _again(self, door: Door, content: dict[str, Any], at: int) -> list[_Group]:
        form = content.pop("form")
        match form:
            case "payload":
                return [self._normalized(door, Payload(**content), _REPLAY)]
            case "hint":
                return [_Group([hint_message(door, Hint(**content), self.account(door.name))], hints=1)]
            case "body":
                body, received = content.pop("body"), content.pop("received")
                delivery = Delivery(**content, body=b"")
                return await self._split(door, body, delivery, self.account(door.name), received, _REPLAY)
            case "bytes":
                delivery = Delivery("POST", "", {}, deadletter.to_bytes(content["body"]))
                return await self._taken(door, delivery, self.account(door.name), at, _REPLAY)
            case _:
                raise PermanentError(
                    f"connections.{door.name} has `drop:`, so only size and hash were kept: "
                    "fetch it from the source again, or discard the letter"
                )

    def _verify(self, door: Door, delivery: Delivery) -> None:
        try:
            door.webhook.verify(delivery, door.connection.settings, self._clock())
        except SignatureError:
            raise
        except Exception as error:
            # SECURITY: what makes the check stumble has not been proved.
            raise SignatureError(f"the check failed: {type(error).__name__}", code="check failed") from error

    async def _taken(self, door: Door, delivery: Delivery, account: str, received: int, origin: Origin) -> list[_Group]:
        try:
            body = door.webhook.cut(door.webhook.parse(delivery, loads))
        except RefusedError:
            raise
        except Exception as error:
            # SECURITY: what could not be cut is kept as bytes, known secrets blanked, and never as it came.
            kept = deadletter.of_bytes(blank(delivery.body, door.secrets))
            return [self._letter(door, "normalize", error, kept, shown=kept["body"])]
        return await self._split(door, body, delivery, account, received, origin)

    async def _split(
        self, door: Door, body: Any, delivery: Delivery, account: str, received: int, origin: Origin
    ) -> list[_Group]:
        try:
            split = door.webhook.split(body, delivery, door.connection.settings, account, received)
            if not isinstance(split, Split):
                raise TypeError(f"split gave {type(split).__name__} instead of a Split")
        except (SignatureError, AccountError, RefusedError):
            raise
        except Exception as error:
            return [self._unsplit(door, error, body, delivery, received)]
        for topic, part in split.seen:
            self.look(door.name, Payload(HINTED + topic, part, account, False, received), _place(origin))
        groups = []
        for number, payload in enumerate(split.payloads, 1):
            groups.append(self._normalized(door, payload, origin))
            if number % _BREATH == 0:
                await asyncio.sleep(0)
        return [
            *groups,
            *(_Group([hint_message(door, hint, account)], hints=1) for hint in split.hints),
            *(_Group([due(door.name, part, ms(self._clock()))]) for part in split.due),
            *self._ignored(door, split, body, account),
            *self._odd(door, split, body, delivery, received),
        ]

    def _odd(self, door: Door, split: Split, body: Any, delivery: Delivery, received: int) -> list[_Group]:
        """The whole delivery is kept, so that it can be split again; what is taken twice changes nothing."""
        if not split.odd:
            return []
        said = "; ".join(dict.fromkeys(split.odd))
        error = NormalizeError(f"{len(split.odd)} of its parts cannot be read: {said}")
        return [self._unsplit(door, error, body, delivery, received)]

    def _unsplit(self, door: Door, error: Exception, body: Any, delivery: Delivery, received: int) -> _Group:
        kept = {"form": "body", **whole(delivery, body, received)}
        return self._letter(door, "normalize", error, kept, shown=body)

    def _normalized(self, door: Door, payload: Payload, origin: Origin, topic: str = EVENTS) -> _Group:
        """One poison payload stops nobody else: whatever the normalizer raises makes it a dead letter, or is told."""
        connector = door.connection.connector
        tells = payload.pushed and connector.webhook is not None and connector.webhook.tells
        if not tells:  # whose items are checked against the published schema
            self.look(door.name, payload, _place(origin))
        told = None
        try:
            events = [
                without(classify(event, connector.evidence), door.drops).model_copy(
                    update={"connection": door.name, "order": _order(event)}
                )
                for event in connector.normalize(payload)
            ]
            messages = [_event(door, encode(event, origin, topic)) for event in events]
            subjects = [event.subject for event in events]
            if tells:
                told = {"status": "accepted", "events": [event.id for event in events], "subjects": subjects}
            if not door.drops:
                messages.append(raw(door, payload.kind, payload.account, fields(payload), subjects))
        except Exception as error:
            if tells:
                return self._refused(door, str(error) if isinstance(error, NormalizeError) else reason_of(error))
            return self._letter(door, "normalize", error, {"form": "payload", **fields(payload)}, shown=payload.data)
        return _Group(messages, events=len(events), told=told)

    def _refused(self, door: Door, reason: str) -> _Group:
        """The sender has it, and hears why it was not taken."""
        self._board.refused(door.name, "items of a batch were refused, their sender was told why", "item", 207)
        return _Group((), told={"status": "refused", "reason": reason})

    def _ignored(self, door: Door, split: Split, body: Any, account: str) -> list[_Group]:
        if not split.ignored:
            return []
        self._board.ignored(door.name, split.ignored)
        return [] if door.drops else [_Group([raw(door, "ignored", account, {"data": body})])]

    def _letter(
        self, door: Door, stage: Stage, error: Exception, content: dict[str, Any], *, shown: Any = None
    ) -> _Group:
        reason = reason_of(error, shown)
        if door.drops and stage == "normalize":
            content = deadletter.withheld(dumps({n: content.get(n) for n in ("kind", "data", "body")}))
        message = deadletter.encode(Letter(door.name, stage, reason, clean(content), ms(self._clock())))
        return _Group([replace(message, value=blank(message.value or b"", door.secrets))], dead=stage)

    async def _publish(self, door: Door, groups: Sequence[_Group]) -> Outcome:
        try:
            await self._send([message for group in groups for message in group.messages])
        except PermanentError as error:
            if len(groups) > 1:
                return _sum([await self._publish(door, [group]) for group in groups])
            groups = [self._refused_by_bus(door, groups[0], error)]
            await self._send(groups[0].messages)
        for group in groups:
            if group.dead:
                self._board.dead(door.name, group.dead)
        published = _sum([_outcome(group) for group in groups])
        self._board.published(door.name, published.events)
        return published

    def _refused_by_bus(self, door: Door, group: _Group, error: PermanentError) -> _Group:
        """The bus will never take it (too large): what can be said of it is said."""
        if group.told:
            return self._refused(door, str(error))
        kept = deadletter.withheld(b"".join(message.value or b"" for message in group.messages))
        message = deadletter.encode(Letter(door.name, "normalize", str(error), kept, ms(self._clock())))
        return _Group([message], dead="normalize")

    async def _send(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        try:
            await self._bus.publish(messages)
        except TransientError as error:
            self._board.broke(BUS, "publish", error)
            raise
        self._board.healed(BUS, "publish")


def _event(door: Door, message: Message) -> Message:
    """SECURITY: people paste secrets into ordinary fields, too. Of an event only these texts change: it is folded."""
    value = message.value or b""
    kept = blank_values(value, door.long_secrets)
    return message if kept is value else replace(message, value=kept)


def _place(origin: Origin) -> str | None:
    """What is replayed may be old."""
    return None if origin.way == _REPLAY.way else origin.stream or origin.way


def _outcome(group: _Group) -> Outcome:
    return Outcome(202, "", group.events, group.hints, group.dead is not None, [group.told] if group.told else ())


def _order(event: Event) -> Order:
    """A clock of whole seconds does not tell what else happened after a read within that second."""
    order = event.order
    soon = order.read == 1 and order.clock > 0 and event.received - order.clock < SETTLE
    return order._replace(read=-1) if soon else order


def _sum(outcomes: Sequence[Outcome]) -> Outcome:
    items = [item for outcome in outcomes for item in outcome.items]
    return Outcome(
        207 if any(item["status"] == "refused" for item in items) else 202,
        "",
        sum(outcome.events for outcome in outcomes),
        sum(outcome.hints for outcome in outcomes),
        sum(outcome.dead for outcome in outcomes),
        [{**item, "index": index} for index, item in enumerate(items)],
    )
