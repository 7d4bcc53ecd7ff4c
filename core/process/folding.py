"""The end of a batch: the records of everybody whom it touched, each with a new version where something changed."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson

from core import deadletter
from core.process.lots import BREATH
from core.process.objects import Changed
from core.process.people import Moved, resolve
from core.process.settings import Settings
from core.projection import Base, Choice, Member, Shown, base, fold, merged_record
from core.store import ActivityRow, CustomerHead, CustomerRow, DeadRow, PersonRow, Writing

RECENT = 20  # activities per source person that a record is made of, the newest
OPEN = 20  # and the longest open
_NEVER = (0, "")


@dataclass(slots=True)
class _Work:
    """Everything that is known of the customers to fold. `entities` and `received` say what touched each, `brought`
    the entity types that came or went with members."""

    heads: dict[str, CustomerHead] = field(default_factory=dict)
    bases: dict[str, Base] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)  # of those bases that stay as they are: as they are stored
    failed: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)  # who has a record, or would have one that cannot be folded
    entities: dict[str, set[str]] = field(default_factory=dict)
    brought: dict[str, set[str]] = field(default_factory=dict)
    received: dict[str, tuple[int, str]] = field(default_factory=dict)


async def fold_touched(
    writing: Writing,
    changed: Changed,
    moved: Moved,
    customers: Mapping[str, str],
    settings: Settings,
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
    if moved.whence:
        work.brought = await _brought(writing, moved)
    await _again(writing, ids, work, moved, settings)
    told = {customers[person] for person in changed.state}
    work.bases = await _bases(writing, ids, work, moved, told, settings.show)
    seq = writing.hub.seq
    async with aclosing(_folded(writing, work, dead, at)) as lots:
        async for shown in lots:
            rows = _numbered(_live(work, shown, moved), seq)
            seqs = {row.id: row.seq for row in rows}
            if changed.anew:  # also where the record is as it was: the parts may be from before a mistake was mended
                seqs = {id: work.heads[id].seq for id, _ in shown if id in work.heads} | seqs
            await writing.put_customers(rows, _parts(work, seqs))
            seq += len(rows)
    # Survivors before merged ones: who follows a merge finds the survivor there already.
    rows = _numbered(_gone(work, ids, moved), seq)
    await writing.put_customers(rows, _parts(work, {row.id: row.seq for row in rows}))
    await writing.forget_identity(sorted(work.failed & set(work.heads)))
    seq, before = seq + len(rows), writing.hub.seq
    if seq > before:
        await writing.set_seq(seq)
    return seq - before


async def _again(writing: Writing, ids: Sequence[str], work: _Work, moved: Moved, settings: Settings) -> None:
    """Whoever could not be folded when they changed: all that changed then counts now."""
    lost = [id for id in ids if id not in moved.identity and not (id in work.heads and work.heads[id].identity)]
    people = await writing.persons_of(lost)
    if not people:
        return
    found = await resolve(writing, sorted(row.key for row in people), (), settings.rules)
    moved.identity.update({id: said for id, said in found.identity.items() if id in lost})
    entities = await writing.entities([row.key for row in people])
    for row in people:
        work.brought.setdefault(row.customer, {"person"}).update(entities.get(row.key, ()))


async def _brought(writing: Writing, moved: Moved) -> dict[str, set[str]]:
    """Whose members changed has all the parts of those from whom they came: their activities were not touched."""
    known = await writing.parts(sorted(set().union(*moved.whence.values())))
    return {id: {"person"}.union(*(known.get(each, ()) for each in ids)) for id, ids in moved.whence.items()}


async def _bases(
    writing: Writing,
    ids: Sequence[str],
    work: _Work,
    moved: Moved,
    told: set[str],
    show: Choice,
) -> dict[str, Base]:
    """The people's part of each record: rendered where people changed (`told`), kept where only activities did."""
    heads = work.heads
    kept = {id: Base.load(heads[id].identity) for id in ids if id in heads and heads[id].identity}
    fresh = {id for id in ids if id in moved.identity or id in moved.fold or id in told or id not in kept}
    bases = {id: each for id, each in kept.items() if id not in fresh}
    work.kept = {id: heads[id].identity for id in bases}
    members: dict[str, list[PersonRow]] = {}
    for row in await writing.persons_of(sorted(fresh)):
        members.setdefault(row.customer, []).append(row)
    for id, people in members.items():
        said = moved.identity.get(id, kept[id].said if id in kept else {})
        circular = frozenset(said.get("circular", ()))
        bases[id] = base([_member(row, circular) for row in people], said, show)
    return bases


def _member(row: PersonRow, circular: frozenset[str]) -> Member:
    """Whom the source merged into another one is there still, by that one's name."""
    alias_of = None if row.key in circular else row.alias_of
    return Member(row.key, row.implied, alias_of, row.departed and not alias_of, row.state)


async def _folded(
    writing: Writing, work: _Work, dead: list[DeadRow], at: int
) -> AsyncGenerator[list[tuple[str, Shown]], None]:
    """Records by their customers' ids, some at a time: while one lot is folded, the database writes the last and reads
    the next."""
    ids = sorted(work.bases)
    lots = [ids[begin : begin + writing.lot] for begin in range(0, len(ids), writing.lot)]
    ahead: asyncio.Future[list[ActivityRow]] | None = None
    try:
        for number, lot in enumerate(lots):
            found = await (ahead or _read(writing, work, lot))
            ahead = None
            if number + 1 < len(lots):
                ahead = asyncio.ensure_future(_read(writing, work, lots[number + 1]))
                await asyncio.sleep(0)  # so that it begins
            by_person: dict[str, list[ActivityRow]] = {}
            for piece in found:
                by_person.setdefault(piece.person, []).append(piece)
            shown: list[tuple[str, Shown]] = []
            for begin in range(0, len(lot), BREATH):
                shown += _fold(work, lot[begin : begin + BREATH], by_person, dead, at)
                await writing.breathe()
            yield shown
    finally:
        if ahead:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)


async def _read(writing: Writing, work: _Work, lot: Sequence[str]) -> list[ActivityRow]:
    return await writing.activities(sorted(person for id in lot for person in work.bases[id].members), RECENT, OPEN)


def _fold(
    work: _Work, lot: Sequence[str], by_person: Mapping[str, list[ActivityRow]], dead: list[DeadRow], at: int
) -> list[tuple[str, Shown]]:
    shown: list[tuple[str, Shown]] = []
    for id in lot:
        people = work.bases[id]
        pieces = [piece for person in people.members for piece in by_person.get(person, ())]
        if not people.present and not pieces:
            continue  # everybody left, and nothing is left of them
        try:
            shown.append((id, fold(id, people, pieces)))
        except Exception as error:  # one record that cannot be folded must not stop the rest
            work.failed.add(id)
            content = {"form": "customer", "customer": id}
            dead.append(deadletter.row(deadletter.Letter("", "fold", deadletter.reason_of(error), content, at)))
        work.known.add(id)
    return shown


def _live(work: _Work, shown: Sequence[tuple[str, Shown]], moved: Moved) -> list[CustomerRow]:
    rows: list[CustomerRow] = []
    for id, each in shown:
        head, people = work.heads.get(id), work.kept.get(id) or work.bases[id].dump()
        if head and head.status == "live" and head.hash == each.hash and head.identity == people:
            continue
        cause = orjson.dumps(_cause(id, work, moved, each.ringing))
        rows.append(CustomerRow(id, 0, "live", None, each.hash, each.record, each.search, cause, people))
    return rows


def _gone(work: _Work, ids: Sequence[str], moved: Moved) -> list[CustomerRow]:
    rows: list[CustomerRow] = []
    for id in ids:
        head = work.heads.get(id)
        if head and head.status == "live" and id not in work.known and id not in moved.merged:
            record = orjson.dumps({"id": id, "status": "erased"})
            rows.append(CustomerRow(id, 0, "erased", None, b"", record, "", b'{"kind":"gone"}', b""))
    for id, into in sorted(moved.merged.items()):
        record, digest = merged_record(id, into)
        if (work.heads[id].status, work.heads[id].hash) != ("merged", digest):
            cause = orjson.dumps({"kind": "merged", "into": into})
            rows.append(CustomerRow(id, 0, "merged", into, digest, record, "", cause, b""))
    return rows


def _numbered(rows: Sequence[CustomerRow], seq: int) -> list[CustomerRow]:
    return [row._replace(seq=seq + number) for number, row in enumerate(rows, 1)]


def _parts(work: _Work, seqs: Mapping[str, int]) -> list[tuple[str, str, int]]:
    return [
        (id, entity, seq)
        for id, seq in seqs.items()
        for entity in sorted(work.entities.get(id, set()) | work.brought.get(id, set()))
    ]


def _cause(id: str, work: _Work, moved: Moved, ringing: bool) -> dict[str, Any]:
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
        cause = {"kind": "ring" if ringing and "call" in entities else "update" if head else "new"}
    received, connection = work.received.get(id, _NEVER)
    return {**cause, "entities": sorted(entities), "received": received, "connection": connection}
