"""The second half of a batch: which customer each touched person belongs to now."""

import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.identity import Alias, Component, Evidence, Implied, Partition, Rules, SourcePerson, partition
from core.identity.model import CONTESTED_ABOVE
from core.process.objects import UNHEARD, Changed
from core.projection import Base
from core.store import EvidenceRow, PersonRow, Writing

_MOST_CANDIDATES = 5


def birth_id(secret: bytes, key: str) -> str:
    """A source person's birth id: the id of the customer that they would be alone. Derived, so that it outlives us."""
    return hmac.new(secret, key.encode(), hashlib.sha256).hexdigest()[:20]


@dataclass(slots=True)
class Moved:
    """What a new partition means. `identity` is what it said of each customer that it looked at; `merged` maps ids
    that are nobody's any more to the id that their anchor belongs to; `whence` maps customers whose members changed to
    those whose activities came with them, or went: themselves."""

    identity: dict[str, dict[str, Any]] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)
    fold: set[str] = field(default_factory=set)
    causes: dict[str, dict[str, Any]] = field(default_factory=dict)
    to: dict[str, str] = field(default_factory=dict)  # person -> their new customer
    whence: dict[str, set[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Written:
    """`customers` maps all touched persons that there are to their customer so far; `again` are those for whom identity
    must look again; `edges` the identifiers whose holders changed; `left` the customers of persons who are nobody any
    more."""

    customers: dict[str, str] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)
    edges: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)


async def put_people(writing: Writing, changed: Changed) -> Written:
    """Write persons and evidence, and take out those whom only activities named that are gone."""
    result, people = Written(), set(changed.touched) | set(changed.after)
    rows = {row.key: row for row in await writing.persons(sorted(people))}
    ghosts = {key for key in people - set(changed.after) if key not in rows or rows[key].state is None}
    ghosts |= changed.forgotten
    await _unsay(writing, changed, result)
    gone = await writing.unnamed(sorted(ghosts & changed.doubtful)) if ghosts & changed.doubtful else set()
    if gone:
        await _take_out(writing, gone, rows, result)
    written: list[PersonRow] = []
    evidence: dict[str, list[EvidenceRow]] = {}
    for key in sorted(people - gone):
        old = rows.get(key)
        id = old.birth_id if old else birth_id(writing.hub.secret, key)
        result.customers[key] = customer = old.customer if old else id
        person = changed.after.get(key)
        if person is None:
            if old is None or key in changed.forgotten:  # only named: a number, or a contact that will be told later
                implied = changed.implied.get(key)
                written.append(PersonRow(key, id, customer, implied, UNHEARD, False, False, None, "", None))
                result.again.add(key)
                result.edges.update([implied] if implied else [])
            elif old.departed:  # had nothing to show perhaps, and so no record of what identity said
                result.again.add(key)
            continue
        names, state = "\n".join(person.names), changed.state[key]
        flags = person.staff, person.departed, person.alias_of
        written.append(PersonRow(key, id, customer, None, person.first, *flags, names, state))
        before = changed.before.get(key)
        if old is None or before != person:
            result.again.add(key)
        if before is None or before.carried != person.carried:
            evidence[key] = _evidence(key, changed)
            was = {each.identifier for each in before.carried} if before else set()
            result.edges |= was ^ {each.identifier for each in person.carried}
    await writing.put_persons(written)
    if evidence:
        await writing.put_evidence(sorted(evidence), [row for key in sorted(evidence) for row in evidence[key]])
    return result


async def _unsay(writing: Writing, changed: Changed, result: Written) -> None:
    """Nobody has said any more who the forgotten are."""
    if changed.forgotten:
        await writing.put_evidence(sorted(changed.forgotten), [])
    for key in changed.forgotten:
        before = changed.before[key]
        result.edges |= {each.identifier for each in before.carried} if before else set()


async def _take_out(writing: Writing, gone: set[str], rows: dict[str, PersonRow], result: Written) -> None:
    """A number that no call shows any more leaves no trace: neither in its customer nor among candidates."""
    known = [rows.pop(key) for key in sorted(gone) if key in rows]
    result.customers |= {row.key: row.customer for row in known}
    result.left |= {row.customer for row in known}
    result.edges |= {row.implied for row in known if row.implied}
    await writing.drop_persons([row.key for row in known])
    result.again |= {row.key for row in await writing.persons_of(sorted(result.left))}


def _evidence(key: str, changed: Changed) -> list[EvidenceRow]:
    """One row per identifier: the strongest class, current before former."""
    best: dict[str, EvidenceRow] = {}
    for each in sorted(changed.after[key].carried, key=lambda c: (c.former, _STRENGTH[c.class_], c.identifier)):
        best.setdefault(each.identifier, EvidenceRow(key, each.identifier, each.class_, each.former))
    return list(best.values())


_STRENGTH = {"proved": 0, "recorded": 1, "claimed": 2}


@dataclass(slots=True)
class _Closure:
    rows: dict[str, PersonRow] = field(default_factory=dict)
    evidence: list[EvidenceRow] = field(default_factory=list)
    shared: set[str] = field(default_factory=set)


async def closure(writing: Writing, seeds: Collection[str], edges: Collection[str]) -> _Closure:
    """All persons of every touched customer, then their neighbors to a fixed point, stopping at shared identifiers.
    An identifier that has just become shared, or stops being so, touches all its persons."""
    found = _Closure()
    frontier = set(seeds)
    if edges:
        held = await writing.holders(sorted(edges), CONTESTED_ABOVE + len(seeds))
        for people in held.values():
            if len(people) <= CONTESTED_ABOVE + len(seeds):
                frontier.update(people)
    asked: set[str] = set()
    customers: set[str] = set()
    while frontier:
        rows = await writing.persons(sorted(frontier))
        fresh = {row.customer for row in rows} - customers
        customers |= fresh
        rows += await writing.persons_of(sorted(fresh))
        new = {row.key: row for row in rows if row.key not in found.rows}
        found.rows.update(new)
        evidence = await writing.evidence([key for key, row in new.items() if row.implied is None])
        found.evidence += evidence
        identifiers = {row.identifier for row in evidence} | {row.implied for row in new.values() if row.implied}
        frontier = {row.alias_of for row in new.values() if row.alias_of}
        frontier.update(row.key for row in await writing.aliases_to(sorted(new)))
        for identifier, people in (await writing.holders(sorted(identifiers - asked), CONTESTED_ABOVE)).items():
            if len(people) > CONTESTED_ABOVE:
                found.shared.add(identifier)
            else:
                frontier.update(people)
        asked |= identifiers
        frontier -= set(found.rows)
    return found


def component(found: _Closure) -> Component:
    """The closure as identity wants it."""
    return Component(
        persons=[
            SourcePerson(row.key, tuple(filter(None, row.names.split("\n"))), row.first, row.staff)
            for row in found.rows.values()
            if row.implied is None
        ],
        implied=[Implied(row.key, row.implied, row.first) for row in found.rows.values() if row.implied],
        evidence=[Evidence(row.person, row.identifier, row.class_, row.former) for row in found.evidence],  # type: ignore[arg-type]
        aliases=[
            Alias(row.key, row.alias_of) for row in found.rows.values() if row.alias_of and row.alias_of in found.rows
        ],
        shared=frozenset(found.shared),
    )


async def resolve(writing: Writing, seeds: Collection[str], edges: Collection[str], rules: Rules) -> Moved:
    """Partition everything that the seeds may affect, move persons, and say which customers to fold again."""
    if not seeds and not edges:
        return Moved()
    found = await closure(writing, seeds, edges)
    result = partition(component(found), rules)
    now = {member: found.rows[anchor].birth_id for anchor, members in result.customers.items() for member in members}
    moves = [(key, now[key]) for key, row in found.rows.items() if row.customer != now[key]]
    if moves:
        await writing.set_customers(moves)
    moved = Moved(identity=_identity(result, found), to=dict(moves))
    live = set(now.values())
    heads = await writing.heads(sorted(live | {row.customer for row in found.rows.values()}))
    births = {row.birth_id: row.key for row in found.rows.values()}
    for id in sorted({row.customer for row in found.rows.values()} - live):
        if id in heads:
            # A number that left no trace may have given its customer the id, which now belongs to who is left of it.
            heir = births.get(id) or min(row.key for row in found.rows.values() if row.customer == id)
            moved.merged[id] = now[heir]
    for id in live:
        head = heads.get(id)
        known = head.identity if head and head.status == "live" else b""  # empty: it could not be folded
        if not known or Base.load(known).said != moved.identity[id]:
            moved.fold.add(id)
    moved.fold.update(id for _, id in moves)
    moved.fold.update(found.rows[key].customer for key, _ in moves if found.rows[key].customer in live)
    for key, id in moves:
        if (before := found.rows[key].customer) in heads:  # who is new has nothing to bring
            moved.whence.setdefault(id, set()).add(before)
            moved.whence.setdefault(before, set()).add(before)
    _causes(moved, found, now, heads, result)
    return moved


def _identity(result: Partition, found: _Closure) -> dict[str, dict[str, Any]]:
    anchors = {member: anchor for anchor, members in result.customers.items() for member in members}
    holders: dict[str, set[str]] = {}
    for row in found.evidence:
        holders.setdefault(row.identifier, set()).add(anchors[row.person])
    said: dict[str, dict[str, Any]] = {anchor: {} for anchor in result.customers}
    for member, by in sorted(result.joined_by.items()):
        said[anchors[member]].setdefault("joined_by", {})[member] = by
    for identifier in sorted(result.contested):
        count = CONTESTED_ABOVE + 1 if identifier in found.shared else len(holders.get(identifier, ()))
        for anchor in holders.get(identifier, ()):
            said[anchor].setdefault("contested", []).append([identifier, count])
    for member in result.circular:
        said[anchors[member]].setdefault("circular", []).append(member)
    for candidate in result.candidates:
        mine = said[anchors[candidate.implied]].setdefault("candidates", [])
        entry = [list(candidate.anchors[:_MOST_CANDIDATES]), candidate.reason]
        if entry not in mine:
            mine.append(entry)
    for refusal in result.refusals:
        groups = {anchors[people[0]] for people in refusal.people if people}
        for anchor in groups:
            others = sorted(groups - {anchor})[:_MOST_CANDIDATES]
            entry = [others, refusal.reason]
            mine = said[anchor].setdefault("candidates", [])
            if others and entry not in mine and len(mine) < _MOST_CANDIDATES:
                mine.append(entry)
    return {found.rows[anchor].birth_id: each for anchor, each in said.items()}


def _vendor(key: str) -> str:
    return key.partition("/")[0]


def _causes(moved: Moved, found: _Closure, now: Mapping[str, str], heads: Mapping[str, Any], result: Partition) -> None:
    """Why records change: merges and splits of customers that were already known."""
    members: dict[str, list[PersonRow]] = {}
    for key, row in found.rows.items():
        members.setdefault(now[key], []).append(row)
    for id, rows in members.items():
        told = [row for row in rows if row.implied is None]
        came = {row.key for row in told if row.customer != id}
        stayed = {row.key for row in told} - came
        if came and stayed and id in heads:
            by = {key: result.joined_by[key] for key in (*came, *stayed) if key in result.joined_by}
            moved.causes[id] = {
                "kind": "merge",
                "merged": sorted({row.customer for row in rows if row.customer in heads} - {id}),
                "by": sorted({by[key] for key in came & by.keys()} or set(by.values())),
                "from": sorted({_vendor(key) for key in came}),
                "to": sorted({_vendor(key) for key in stayed}),
            }
    split: dict[str, set[str]] = {}
    for key, row in found.rows.items():
        if row.customer in heads and row.implied is None:
            split.setdefault(row.customer, set()).add(now[key])
    for id, after in split.items():
        if len(after) > 1:
            why = sorted({refusal.reason for refusal in result.refusals})
            for each in after:
                moved.causes.setdefault(each, {"kind": "split", "from": id, "into": sorted(after), "reason": why[:3]})
