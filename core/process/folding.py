"""The end of a batch: the records of everybody whom it touched, each with a new version where something changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from core import deadletter
from core.process.objects import Changed
from core.process.people import Moved
from core.projection import Base, Choice, Member, Shown, base, fold, merged_record
from core.store import ActivityRow, CustomerHead, CustomerRow, DeadRow, Writing

RECENT = 20  # activities per source person that a record is made of, the newest
OPEN = 20  # and the longest open
_NEVER = (0, "")


@dataclass(slots=True)
class _Work:
    """Everything that is known of the customers to fold. `entities` and `received` say what touched each."""

    heads: dict[str, CustomerHead] = field(default_factory=dict)
    bases: dict[str, Base] = field(default_factory=dict)
    shown: dict[str, Shown] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    entities: dict[str, set[str]] = field(default_factory=dict)
    received: dict[str, tuple[int, str]] = field(default_factory=dict)


async def fold_touched(
    writing: Writing,
    changed: Changed,
    moved: Moved,
    customers: Mapping[str, str],
    show: Choice,
    dead: list[DeadRow],
    at: int,
) -> int:
    """Fold the customers of the touched persons (`customers`: person to id) and those that moved. Returns how many got
    a new version; a record that cannot be folded is appended to `dead`, dated `at` (epoch ms)."""
    work = _Work()
    for person, id in customers.items():
        work.entities.setdefault(id, set()).update(changed.touched.get(person, ()))
        work.received[id] = max(work.received.get(id, _NEVER), changed.received.get(person, _NEVER))
    ids = sorted(moved.fold | set(work.entities))
    work.heads = await writing.heads(sorted({*ids, *moved.merged}))
    told = {customers[person] for person in changed.state}
    work.bases = await _bases(writing, ids, work.heads, moved, told, show)
    await _fold(writing, work, dead, at)
    rows = _rows(work, ids, moved, writing.hub.seq)
    if rows:
        parts = [(row.id, entity) for row in rows for entity in sorted(work.entities.get(row.id, ()))]
        await writing.put_customers(rows, parts)
        await writing.set_seq(rows[-1].seq)
    return len(rows)


async def _bases(
    writing: Writing,
    ids: Sequence[str],
    heads: Mapping[str, CustomerHead],
    moved: Moved,
    told: set[str],
    show: Choice,
) -> dict[str, Base]:
    """The people's part of each record: rendered where people changed (`told`), kept where only activities did."""
    kept = {id: Base.load(heads[id].identity) for id in ids if id in heads and heads[id].identity}
    fresh = {id for id in ids if id in moved.identity or id in moved.fold or id in told or id not in kept}
    bases = {id: each for id, each in kept.items() if id not in fresh}
    members: dict[str, list[Member]] = {}
    for row in await writing.persons_of(sorted(fresh)):
        members.setdefault(row.customer, []).append(Member(row.key, row.implied, row.alias_of, row.departed, row.state))
    for id, people in members.items():
        said = moved.identity.get(id, kept[id].said if id in kept else {})
        bases[id] = base(people, said, show)
    return bases


async def _fold(writing: Writing, work: _Work, dead: list[DeadRow], at: int) -> None:
    customer_of = {person: id for id, people in work.bases.items() for person in people.members}
    pieces: dict[str, list[ActivityRow]] = {}
    for piece in await writing.activities(sorted(customer_of), RECENT, OPEN):
        pieces.setdefault(customer_of[piece.person], []).append(piece)
    for id, people in sorted(work.bases.items()):
        if not people.present and id not in pieces:
            continue  # everybody left, and nothing is left of them
        try:
            work.shown[id] = fold(id, people, pieces.get(id, ()))
        except Exception as error:  # one record that cannot be folded must not stop the rest
            content = {"form": "customer", "customer": id}
            dead.append(deadletter.row(deadletter.Letter("", "fold", deadletter.reason_of(error), content, at)))
            work.broken.add(id)


def _rows(work: _Work, ids: Sequence[str], moved: Moved, seq: int) -> list[CustomerRow]:
    """Survivors before merged ones: who follows a merge finds the survivor there already."""
    rows: list[CustomerRow] = []
    for id, shown in work.shown.items():
        head, people = work.heads.get(id), work.bases[id].dump()
        if head and head.status == "live" and head.hash == shown.hash and head.identity == people:
            continue
        cause = orjson.dumps(_cause(id, work, moved))
        rows.append(CustomerRow(id, 0, "live", None, shown.hash, shown.record, shown.search, cause, people))
    for id in ids:
        head = work.heads.get(id)
        known = id in work.shown or id in work.broken or id in moved.merged
        if head and head.status == "live" and not known:
            record = orjson.dumps({"id": id, "status": "erased"})
            rows.append(CustomerRow(id, 0, "erased", None, b"", record, "", b'{"kind":"gone"}', b""))
    for id, into in sorted(moved.merged.items()):
        record, digest = merged_record(id, into)
        if (work.heads[id].status, work.heads[id].hash) != ("merged", digest):
            cause = orjson.dumps({"kind": "merged", "into": into})
            rows.append(CustomerRow(id, 0, "merged", into, digest, record, "", cause, b""))
    return [row._replace(seq=seq + number) for number, row in enumerate(rows, 1)]


def _cause(id: str, work: _Work, moved: Moved) -> dict[str, Any]:
    """Why this version came to be, for the feed: {"kind": new|update|ring|merge|split|shared, "entities": [...],
    "received": epoch ms of the newest event behind it (0: none), "connection": by which it came, …}."""
    head, entities = work.heads.get(id), work.entities.get(id, set())
    cause: dict[str, Any] = dict(moved.causes.get(id, {}))
    if not cause and head and head.identity and id in moved.identity:
        before = {each[0] for each in Base.load(head.identity).said.get("contested", ())}
        fresh = [each for each in work.bases[id].said.get("contested", ()) if each[0] not in before]
        if fresh:
            cause = {"kind": "shared", "identifier": fresh[0][0], "people": fresh[0][1]}
    if not cause:
        cause = {"kind": "ring" if work.shown[id].ringing and "call" in entities else "update" if head else "new"}
    received, connection = work.received.get(id, _NEVER)
    return {**cause, "entities": sorted(entities), "received": received, "connection": connection}
