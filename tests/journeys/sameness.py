"""What two hubs over the same world must agree on, and what the world itself says. See P2 in the design.

Left out is what hangs on when a hub looked: versions, customer ids, event ids, times of observation.
"""

from collections.abc import Collection, Mapping
from typing import Any

import orjson

from core.projection import Registers
from core.sdk import to_ms
from core.store import CustomerRow, PersonRow, Store
from schemas.key import key

_OWN = frozenset({"id", "version", "event", "observed", "fetched_at"})
_SHOWN = 300  # characters of a value that differs

# Which field tells how new an object is, there and here, where that is not `updated_at`. (Guru tells nobody that a card
# is not verified any more, so that its newest edit says nothing.)
CLOCKS = {
    ("aircall", "call"): ("ended_at", "ended_at"),
    ("guru", "card"): ("lastVerified", "verified_at"),
}
_UPDATED = {"hubspot": ("updatedAt", "updated_at")}


async def customers(store: Store) -> list[CustomerRow]:
    """All that live."""
    found: dict[str, CustomerRow] = {}
    after = 0
    while True:
        _, rows = await store.changes(after, 500)
        if not rows:
            return [row for row in found.values() if row.status == "live"]
        found.update((row.id, row) for row in rows)
        after = rows[-1].seq


async def comparable(store: Store) -> dict[str, Any]:
    """Live records by the source persons behind them who are still there, without what is the hub's own."""
    people: dict[str, list[str]] = {}
    least: dict[str, str] = {}
    rows = await customers(store)
    for row in rows:
        everybody = await store.person_keys(row.id)
        people[row.id] = _present(everybody)
        least |= {person.key: people[row.id][0] for person in everybody}
    return {" ".join(people[row.id]): _stripped(orjson.loads(row.record), least) for row in rows}


def _present(everybody: Collection[PersonRow]) -> list[str]:
    """Their keys, sorted; where all have left, of all of them."""
    return sorted(person.key for person in everybody if not person.departed) or sorted(each.key for each in everybody)


async def objects(store: Store) -> dict[str, Any]:
    """What every object says that is shown, by key: messages go with their conversation."""
    found: dict[str, Any] = {}
    gone: set[str] = set()
    after = ""
    async with store.writing() as writing:
        while keys := await writing.all_object_keys(after, 1_000):
            for each, registers in (await writing.objects(keys)).items():
                visible = Registers.load(registers).visible()
                if visible.state == "live":
                    found[each] = {name: fact.value for name, fact in visible.facts.items()}
                else:
                    gone.add(each)
            after = keys[-1]
    return {each: said for each, said in found.items() if said.get("conversation") not in gone}


def _stripped(record: Any, least: Mapping[str, str]) -> Any:
    match record:
        case dict():
            found = {name: _stripped(value, least) for name, value in record.items() if name not in _OWN}
            if "reason" in found and "persons" in found:
                # Candidates are named by their anchors, and who is the anchor hangs on who was heard of first.
                found["persons"] = sorted(least.get(person, person) for person in found["persons"])
            return found
        case list():
            return [_stripped(item, least) for item in record]
        case _:
            return record


def differences(one: Any, other: Any, at: str = "") -> list[str]:
    """Where two comparable values differ, a line each."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted({*one, *other})
        return [line for name in names for line in differences(one.get(name), other.get(name), f"{at}/{name}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for index, (a, b) in pairs for line in differences(a, b, f"{at}[{index}]")]
    return [] if one == other else [f"{at}: {str(one)[:_SHOWN]} is not {str(other)[:_SHOWN]}"]


async def missing(store: Store, source: str, account: str, truth: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What of a source's live objects the store does not show, or shows older than they are; a line each."""
    lines = []
    for kind, shown_by_id in truth.items():
        theirs, ours = CLOCKS.get((source, kind)) or _UPDATED.get(source, ("updated_at", "updated_at"))
        keys = {key(source, account, kind, id): shown for id, shown in shown_by_id.items()}
        held = {row.key: row for row in await store.objects_by_key(sorted(keys))}
        for each, shown in keys.items():
            if each not in held or held[each].card is None:
                lines.append(f"{each} is missing")
                continue
            visible = Registers.load(held[each].registers).visible()
            if (wanted := _second(shown.get(theirs))) > _second(visible.get(ours)):
                lines.append(f"{each}: {ours} is {visible.get(ours)}, its source has {wanted}")
    return lines


async def haunting(
    store: Store, source: str, account: str, truth: Mapping[str, Mapping[str, Any]], told: Collection[str]
) -> list[str]:
    """Which of the objects that were `told` of (ids) the store shows although the source has them no more."""
    live = {id for shown_by_id in truth.values() for id in shown_by_id}
    gone = {key(source, account, kind, id) for kind in truth for id in told if id not in live}
    rows = await store.objects_by_key(sorted(gone))
    return [f"{row.key} is shown although it is gone" for row in rows if row.card is not None]


def _second(moment: Any) -> int:
    """Epoch seconds of a time as a source or as we write it; 0 where there is none."""
    match moment:
        case None:
            return 0
        case str() if not moment.isdigit():
            return to_ms(moment) // 1000
        case _:
            return int(moment) // 1000 if int(moment) > 10**11 else int(moment)
