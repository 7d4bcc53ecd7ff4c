"""One batch of the bus in one transaction of the store: apply, resolve, fold, and the offsets with them."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from core import deadletter, ledger, purge
from core.bus import Batch, Record
from core.bus.codec import Incoming, decode
from core.bus.topics import DEAD
from core.errors import NormalizeError
from core.identity import Rules
from core.process.folding import fold_touched
from core.process.lots import BREATH
from core.process.objects import Changed, change, follow, part_of
from core.process.people import put_people, resolve
from core.process.revision import MIXED, mixes, refuse_older
from core.process.settings import Settings
from core.store import DeadRow, HubRow, LedgerRow, Store, Writing

_TURN = 50  # subjects that are computed ahead before whoever waits gets the interpreter


@dataclass(frozen=True, slots=True)
class Ahead:
    """What events make of registers, computed before their turn from what was held then. Events by subject."""

    events: Mapping[str, list[Incoming]]
    held: Mapping[str, bytes]
    changed: Changed

    def holds(self, events: Mapping[str, list[Incoming]], held: Mapping[str, bytes]) -> bool:
        """Whether the transaction found the same events and registers."""
        return all(
            events.get(subject) == group and held.get(subject) == self.held.get(subject)
            for subject, group in self.events.items()
        )


@dataclass(slots=True)
class Decoded:
    """A batch taken apart outside of the transaction. `moves`: (topic, partition, from, to); `records` by event id."""

    events: list[Incoming] = field(default_factory=list)
    dead: list[DeadRow] = field(default_factory=list)
    moves: list[tuple[str, int, int, int]] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)
    at: int = 0  # epoch ms of the newest record
    marks: int = 0  # of purges: such a batch must be parted before it is applied
    ahead: Ahead | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a commit did, for metrics and logs. `connections` gives (events, epoch ms when the oldest was published);
    `hub` is what was found."""

    events: int
    customers: int
    dead: Sequence[DeadRow]
    connections: Mapping[str, tuple[int, int]]
    hub: HubRow
    ledger: Sequence[LedgerRow] = ()


def decoded(batches: Sequence[Batch]) -> Decoded:
    """Events, dead letters and offsets of some batches; what is no event of ours becomes a dead letter itself."""
    result = Decoded()
    for batch in batches:
        result.moves.append((batch.topic, batch.partition, batch.begin, batch.end))
        for record in batch.records:
            if record.value is None:  # erased
                continue
            if purge.is_mark(record):
                result.marks += 1
                continue
            result.at = max(result.at, record.timestamp)
            try:
                if batch.topic == DEAD:
                    result.dead.append(deadletter.decode(record))
                else:
                    event = decode(record)
                    result.events.append(event)
                    result.records[event.id] = record
            except NormalizeError as error:
                result.dead.append(deadletter.of_record(record, deadletter.reason_of(error), record.timestamp))
    return result


async def apply(
    store: Store, batch: Decoded, settings: Settings, give_way: Callable[[], bool] | None = None
) -> Outcome:
    """Commit one batch. Raises OffsetsMoved, StaleWorkerError, TransientError, and GaveWay (see Store.writing); then
    nothing of it has happened."""
    async with store.writing(give_way) as writing:
        hub = writing.hub
        refuse_older(hub)
        await writing.move_offsets(batch.moves)
        subjects = sorted({event.subject for event in batch.events})
        events = await _erasing(writing, batch.events) if subjects else []
        held = await writing.objects(sorted({event.subject for event in events}))
        ahead, batch.ahead = batch.ahead, None  # it is used up, also where this fails
        changed = await _changed(writing, by_subject(events), held, ahead, settings.rules)
        failed = [
            deadletter.of_record(batch.records[event.id], deadletter.reason_of(error, event.data), batch.at)
            for event, error in changed.failed
        ]
        hours, repairs = ledger.entries(batch.events, changed.found, [event for event, _ in changed.failed])
        await writing.put_ledger(hours, repairs)
        dead = [*batch.dead, *failed]
        customers = await write(writing, changed, settings, dead, batch.at)
        if customers and mixes(hub, settings):
            await writing.set_rules(MIXED)
        if dead:
            await writing.put_dead(_distinct(dead))
    connections: dict[str, tuple[int, int]] = {}
    for event in batch.events:
        count, oldest = connections.get(event.connection, (0, batch.at))
        connections[event.connection] = (count + 1, min(oldest, batch.records[event.id].timestamp))
    return Outcome(len(batch.events), customers, dead, connections, hub, hours)


async def prepare(store: Store, batch: Decoded, besides: Collection[str], settings: Settings) -> None:
    """Do of a batch what needs no transaction, while the one before it is under way; `besides` are the subjects of that
    one. `apply` looks whether what was read here still holds, and else does it again."""
    events = {subject: group for subject, group in by_subject(batch.events).items() if subject not in besides}
    held = await store.registers(sorted(events))
    changed = Changed()
    for lot in _lots(events, _TURN):
        change(changed, lot, held, settings.rules)
        await asyncio.sleep(0)  # the batch before goes first
    batch.ahead = Ahead(events, held, changed)


def by_subject(events: Iterable[Incoming]) -> dict[str, list[Incoming]]:
    groups: dict[str, list[Incoming]] = {}
    for event in events:
        groups.setdefault(event.subject, []).append(event)
    return groups


def _lots(groups: Mapping[str, list[Incoming]], size: int) -> Iterator[dict[str, list[Incoming]]]:
    waiting = iter(groups.items())
    while lot := dict(islice(waiting, size)):
        yield lot


async def _changed(
    writing: Writing,
    events: Mapping[str, list[Incoming]],
    held: Mapping[str, bytes],
    ahead: Ahead | None,
    rules: Rules,
) -> Changed:
    """Objects are written as they change."""
    changed = Changed()
    if ahead and ahead.holds(events, held):
        changed = ahead.changed
        await writing.put_objects(changed.rows)
        events = {subject: group for subject, group in events.items() if subject not in ahead.events}
    for lot in _lots(events, writing.lot):
        done = len(changed.rows)
        for few in _lots(lot, BREATH):
            change(changed, few, held, rules)
            await writing.breathe()
        await writing.put_objects(changed.rows[done:])
    return changed


async def _erasing(writing: Writing, events: Sequence[Incoming]) -> list[Incoming]:
    """What of these events may be applied. PRIVACY: whatever was merged into something erased, or is part of it, is
    erased, too, in whatever order the two are told; and nothing brings an erased object back. Of parts this sees those
    that the events bring; those that are known `_follow` finds."""
    named = {event.subject for event in events} | {whole for event in events if (whole := _whole(event))}
    suppressed = await writing.suppressed(sorted(named))
    kept = [event for event in events if event.subject not in suppressed]
    erasures = {event.subject: event for event in kept if event.erased}
    gone = suppressed | set(erasures)
    while gone:
        into = {event.subject: event for event in kept if _whole(event) in gone and event.subject not in gone}
        rows = await writing.aliases_to(sorted(gone)) if erasures or into else []
        more = {row.key: "person" for row in rows if row.key not in gone}
        more |= {key: event.entity for key, event in into.items()}
        if not more:
            break
        by = min(erasures.values() if erasures else into.values(), key=lambda event: event.id)
        for key in sorted(more):
            erasures[key] = by._replace(
                id=f"{by.id}.{key}", entity=more[key], action="deleted", subject=key, data={}, into=None,
                final=True, erased=True,
            )  # fmt: skip
        gone |= more.keys()
    return [event for event in kept if event.subject not in erasures] + [erasures[key] for key in sorted(erasures)]


def _whole(event: Incoming) -> str | None:
    return part_of(event.entity, event.into, event.data.get)


async def write(writing: Writing, changed: Changed, settings: Settings, dead: list[DeadRow], at: int) -> int:
    """Write what follows from changed objects and fold the records that they touch. Returns how many got a new
    version; a record that cannot be folded is appended to `dead`, dated `at` (epoch ms)."""
    await _follow(writing, changed, settings.rules)
    if changed.erased:
        await writing.suppress(sorted(set(changed.erased)), 0)
    if changed.parties:
        rows = [row for key in sorted(changed.parties) for row in changed.parties[key]]
        for _, person in await writing.put_parties(sorted(changed.parties), rows):
            changed.doubtful.add(person)
            changed.touched.setdefault(person, set())
    if not changed.touched:
        return 0
    written = await put_people(writing, changed)
    moved = await resolve(writing, written.again, written.edges, settings.rules)
    moved.fold |= written.left
    customers = {person: moved.to.get(person, id) for person, id in written.customers.items()}
    return await fold_touched(writing, changed, moved, customers, settings, dead, at)


async def _follow(writing: Writing, changed: Changed, rules: Rules) -> None:
    """What is part of a conversation goes with it, comes back with it, and is erased with it."""
    while turned := changed.turned:
        changed.turned = {}
        parts = await writing.children(sorted(turned))
        done = len(changed.rows)
        follow(changed, turned, parts, await writing.objects(sorted(parts)), rules)
        await writing.put_objects(changed.rows[done:])


def _distinct(rows: Iterable[DeadRow]) -> list[DeadRow]:
    return list({row.id: row for row in rows}.values())
