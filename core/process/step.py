"""One batch of the bus in one transaction of the store: apply, resolve, fold, and the offsets with them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from core import deadletter
from core.bus import Batch, Record
from core.bus.codec import Incoming, decode
from core.bus.topics import DEAD
from core.errors import NormalizeError, StaleWorkerError
from core.identity import Rules
from core.process.objects import Changed, change
from core.process.people import Moved, put_people, resolve
from core.projection import FOLD_REVISION, Choice, Member, Piece, Shown, fold, merged_record
from core.store import CustomerHead, CustomerRow, DeadRow, Store, Writing

RECENT = 20  # activities per source person that a record is made of, the newest
OPEN = 20  # and the longest open


@dataclass(frozen=True, slots=True)
class Settings:
    """What of hub.yaml decides the records."""

    rules: Rules = field(default_factory=Rules)
    show: Choice = field(default_factory=Choice)


@dataclass(slots=True)
class Decoded:
    """A batch taken apart outside of the transaction. `moves`: (topic, partition, from, to); `records` by event id."""

    events: list[Incoming] = field(default_factory=list)
    dead: list[DeadRow] = field(default_factory=list)
    moves: list[tuple[str, int, int, int]] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)
    at: int = 0  # epoch ms of the newest record


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a commit did, for metrics and logs. `connections` gives (events, epoch ms when the oldest was published)."""

    events: int
    customers: int
    dead: Sequence[DeadRow]
    connections: Mapping[str, tuple[int, int]]


def decoded(batches: Sequence[Batch]) -> Decoded:
    """Events, dead letters and offsets of some batches; what is no event of ours becomes a dead letter itself."""
    result = Decoded()
    for batch in batches:
        result.moves.append((batch.topic, batch.partition, batch.begin, batch.end))
        for record in batch.records:
            if record.value is None:  # erased
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


async def apply(store: Store, batch: Decoded, settings: Settings) -> Outcome:
    """Commit one batch. Raises OffsetsMoved, StaleWorkerError, TransientError; then nothing of it has happened."""
    async with store.writing() as writing:
        if writing.hub.fold_revision > FOLD_REVISION:
            raise StaleWorkerError(
                f"the store is folded by revision {writing.hub.fold_revision}, this process knows {FOLD_REVISION}: "
                "update it"
            )
        await writing.move_offsets(batch.moves)
        subjects = sorted({event.subject for event in batch.events})
        suppressed = await writing.suppressed(subjects) if subjects else set()
        events = [event for event in batch.events if event.subject not in suppressed]
        held = await writing.objects([subject for subject in subjects if subject not in suppressed])
        changed = change(events, held, settings.rules)
        failed = [
            deadletter.of_record(batch.records[event.id], deadletter.reason_of(error, event.data), batch.at)
            for event, error in changed.failed
        ]
        dead = [*batch.dead, *failed]
        customers = await write(writing, changed, settings, dead, batch.at)
        if dead:
            await writing.put_dead(_distinct(dead))
    connections: dict[str, tuple[int, int]] = {}
    for event in batch.events:
        count, oldest = connections.get(event.connection, (0, batch.at))
        connections[event.connection] = (count + 1, min(oldest, batch.records[event.id].timestamp))
    return Outcome(len(batch.events), customers, dead, connections)


async def write(writing: Writing, changed: Changed, settings: Settings, dead: list[DeadRow], at: int) -> int:
    """Write what changed and fold the records that it touches. Returns how many got a new version; a record that
    cannot be folded is appended to `dead`, dated `at` (epoch ms)."""
    if changed.rows:
        await writing.put_objects(changed.rows)
    if changed.erased:
        await writing.suppress(changed.erased, 0)
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
    return await _fold(writing, changed, moved, written.people, settings.show, dead, at)


async def _fold(
    writing: Writing,
    changed: Changed,
    moved: Moved,
    people: Iterable[str],
    show: Choice,
    dead: list[DeadRow],
    at: int,
) -> int:
    touched = await writing.persons(sorted(people))
    entities: dict[str, set[str]] = {}
    received: dict[str, int] = {}
    for row in touched:
        entities.setdefault(row.customer, set()).update(changed.touched.get(row.key, ()))
        received[row.customer] = max(received.get(row.customer, 0), changed.received.get(row.key, 0))
    ids = sorted(moved.fold | set(entities))
    heads = await writing.heads(sorted({*ids, *moved.merged}))
    shown, broken = await _shown(writing, ids, heads, moved, show, dead, at)
    seq = writing.hub.seq
    rows: list[CustomerRow] = []
    for id, each in shown.items():
        identity = moved.identity.get(id) or (heads[id].identity if id in heads else b"{}")
        head = heads.get(id)
        if head and head.status == "live" and head.hash == each.hash and head.identity == identity:
            continue
        seq += 1
        cause = _cause(id, head, each, entities.get(id, set()), moved, identity)
        cause["received"] = received.get(id, 0)
        rows.append(
            CustomerRow(id, seq, "live", None, each.hash, each.record, each.search, orjson.dumps(cause), identity)
        )
    for id in ids:
        if (
            id in heads
            and id not in shown
            and id not in broken
            and id not in moved.merged
            and heads[id].status == "live"
        ):
            seq += 1
            record = orjson.dumps({"id": id, "status": "erased"})
            rows.append(CustomerRow(id, seq, "erased", None, b"", record, "", b'{"kind":"gone"}', b"{}"))
    for id, into in sorted(moved.merged.items()):
        record, digest = merged_record(id, into)
        if heads[id].status == "merged" and heads[id].hash == digest:
            continue
        seq += 1  # survivors before merged ones: who follows a merge finds the survivor there already
        gone = orjson.dumps({"kind": "merged", "into": into})
        rows.append(CustomerRow(id, seq, "merged", into, digest, record, "", gone, b"{}"))
    if rows:
        parts = [(row.id, entity) for row in rows for entity in sorted(entities.get(row.id, ()))]
        await writing.put_customers(rows, parts)
        await writing.set_seq(seq)
    return len(rows)


async def _shown(
    writing: Writing,
    ids: Sequence[str],
    heads: Mapping[str, CustomerHead],
    moved: Moved,
    show: Choice,
    dead: list[DeadRow],
    at: int,
) -> tuple[dict[str, Shown], set[str]]:
    """Records by customer id, and the ids whose record cannot be folded."""
    people = {row.key: row for row in await writing.persons_of(ids)}
    pieces: dict[str, list[Piece]] = {}
    heard: set[str] = set()
    for found in await writing.activities(sorted(people), RECENT, OPEN):
        piece = Piece(found.object, found.role, found.entity, found.at, found.open, found.card)
        pieces.setdefault(people[found.person].customer, []).append(piece)
        heard.add(found.person)
    members: dict[str, list[Member]] = {}
    for row in people.values():
        # Whom only activities name is there as long as one of them is: an earlier state leaves no trace.
        if row.state is not None or row.key in heard:
            member = Member(row.key, row.implied, row.alias_of, row.departed, row.state)
            members.setdefault(row.customer, []).append(member)
    shown: dict[str, Shown] = {}
    broken: set[str] = set()
    for id in sorted(members):
        said = moved.identity.get(id) or (heads[id].identity if id in heads else b"{}")
        try:
            shown[id] = fold(id, members[id], pieces.get(id, ()), orjson.loads(said), show)
        except Exception as error:  # one record that cannot be folded must not stop the rest
            letter = deadletter.Letter(
                "", "fold", deadletter.reason_of(error), {"form": "customer", "customer": id}, at
            )
            dead.append(deadletter.row(letter))
            broken.add(id)
    return shown, broken


def _cause(
    id: str, head: CustomerHead | None, shown: Shown, entities: set[str], moved: Moved, identity: bytes
) -> dict[str, Any]:
    """Why this version came to be, for the feed: {"kind": new|update|ring|merge|split|shared, "entities": [...], …}."""
    cause: dict[str, Any] = dict(moved.causes.get(id, {}))
    if not cause and head and head.identity != identity:
        before = {each[0] for each in orjson.loads(head.identity).get("contested", ())}
        fresh = [each for each in orjson.loads(identity).get("contested", ()) if each[0] not in before]
        if fresh:
            cause = {"kind": "shared", "identifier": fresh[0][0], "people": fresh[0][1]}
    if not cause:
        cause = {"kind": "ring" if shown.ringing and "call" in entities else "update" if head else "new"}
    return {**cause, "entities": sorted(entities)}


def _distinct(rows: Iterable[DeadRow]) -> list[DeadRow]:
    return list({row.id: row for row in rows}.values())
