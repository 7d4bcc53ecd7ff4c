"""A component by number: who carries what, how strongly, and what joins nobody. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from core.identity.blocks import connected
from core.identity.identifiers import is_blocked
from core.identity.model import STRATA, Component, Rules, SourcePerson

LARGEST = 500  # persons; what hangs together above it drops its weakest stratum

# How somebody carries an identifier: class plus currency, so that the greatest counts.
CLAIMED, RECORDED, PROVED, CURRENT = 1, 2, 3, 4
_CLASSES = {"claimed": CLAIMED, "recorded": RECORDED, "proved": PROVED}

# What a stratum reads: the kind, and the class that it takes at least.
READS = dict(
    zip(
        STRATA,
        (("external_id", RECORDED), ("email", PROVED), ("email", RECORDED), ("phone", PROVED), ("phone", RECORDED)),
        strict=True,
    )
)

Holders = dict[int, int]


def joins(how: int) -> bool:
    """Proved and recorded evidence joins, claimed evidence suggests."""
    return how & 3 >= RECORDED


@dataclass(frozen=True, slots=True)
class Links:
    """`persons` are those who may join, by `number`; `known` their keys and those of staff. `holders` maps each
    identifier that may join somebody to who carries it and how; `shared` are those in use that too many hold, `nobody`
    those that are blocked or held by staff."""

    persons: Sequence[SourcePerson]
    staff: Sequence[SourcePerson]
    number: Mapping[str, int]
    known: Collection[str]
    holders: Mapping[str, Holders]
    shared: Collection[str]
    nobody: Collection[str]

    def external_ids(self) -> dict[int, dict[str, set[str]]]:
        """The external ids that each person carries now, by namespace."""
        found: dict[int, dict[str, set[str]]] = {}
        for identifier, holders in self.holders.items():
            if identifier.startswith("external_id:"):
                space = identifier.split(":", 2)[1]
                for person, how in holders.items():
                    if how >= CURRENT and joins(how):
                        found.setdefault(person, {}).setdefault(space, set()).add(identifier)
        return found


def link(component: Component, rules: Rules) -> Links:
    """Doubles are told apart by key and count once; evidence of persons who are not there counts nothing."""
    by_key = {person.key: person for person in component.persons}
    persons = [person for person in by_key.values() if not person.staff]
    number = {person.key: at for at, person in enumerate(persons)}
    holders: dict[str, Holders] = {}
    own: set[str] = set()
    for person, identifier, how in _carried(component, rules):
        at = number.get(person)
        if at is not None:
            mine = holders.setdefault(identifier, {})
            mine[at] = max(mine.get(at, 0), how)
        elif person in by_key and how >= CURRENT:
            own.add(identifier)
    used = holders.keys() | {implied.identifier for implied in component.implied}
    nobody = {each for each in used if each in own or is_blocked(each, rules)}
    shared = (component.shared & used) - nobody
    left = {key: held for key, held in holders.items() if key not in nobody and key not in shared}
    staff = [person for person in by_key.values() if person.staff]
    return Links(persons, staff, number, by_key.keys(), left, shared, nobody)


def _carried(component: Component, rules: Rules) -> list[tuple[str, str, int]]:
    """(person, identifier, how); the word of a vendor whom the rules trust lifts what it recorded."""
    found = []
    for each in component.evidence:
        how = _CLASSES[each.class_]
        if how == RECORDED and rules.proved:
            proves = rules.proved.get(each.person.partition("/")[0], ())
            if each.identifier.partition(":")[0] in proves:
                how = PROVED
        found.append((each.person, each.identifier, how if each.former else how + CURRENT))
    return found


def said(component: Component) -> dict[tuple[str, str], bool]:
    """Per pair of keys, in order, whether they are the same: the latest verdict counts, of two with one sequence the
    one that says "different"."""
    latest: dict[tuple[str, str], tuple[int, bool]] = {}
    for verdict in component.verdicts:
        for left in verdict.left:
            for right in verdict.right - {left}:
                pair = (left, right) if left < right else (right, left)
                now = (verdict.sequence, not verdict.same)
                latest[pair] = max(latest.get(pair, now), now)
    return {pair: not different for pair, (_, different) in latest.items()}


def allowed(links: Links, firm: Sequence[tuple[int, int]], strata: Sequence[str]) -> list[int] | None:
    """How many of the strata, from the strongest, each person takes part in; None: all of them.

    `firm` are pairs that hang together whatever happens: verdicts and merges.
    """
    if len(links.persons) <= LARGEST:
        return None
    levels = [len(strata)] * len(links.persons)
    pieces = [list(range(len(levels)))]
    while pieces:
        for piece in _split(pieces.pop(), levels, links, firm, strata):
            if len(piece) > LARGEST and levels[piece[0]]:
                for person in piece:
                    levels[person] -= 1
                pieces.append(piece)
    return levels


def _split(
    piece: list[int], levels: list[int], links: Links, firm: Sequence[tuple[int, int]], strata: Sequence[str]
) -> list[list[int]]:
    """The piece by what still holds it together on its level."""
    inside = set(piece)
    groups = [[person] for person in piece]
    groups += [list(pair) for pair in firm if pair[0] in inside]
    reads: dict[str, int] = {}
    for stratum in strata[: levels[piece[0]]]:
        kind, least = READS[stratum]
        reads[kind] = min(reads.get(kind, least), least)
    for identifier, holders in links.holders.items():
        if least := reads.get(identifier.partition(":")[0], 0):
            held = [person for person, how in holders.items() if person in inside and how & 3 >= least]
            if len(held) > 1:
                groups.append(held)
    return [sorted({person for at in each for person in groups[at]}) for each in connected(groups)]
