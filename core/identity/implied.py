"""Who is only a number or an address joins last, as a leaf, and never glues two customers. Pure.

Such a person hangs on the one customer that holds the identifier now, be it only claimed; else on the one that held it
formerly. Where several hold it, they stand alone with these as candidates. Where nobody holds it, all of one identifier
are one unknown customer: the same caller is the same unknown caller. Whom a blocked or shared identifier names stands
alone. A verdict counts here, too: "different" keeps a leaf away, "same" names its one customer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from core.identity.evidence import CURRENT, Links
from core.identity.model import CONTESTED_ABOVE, Candidate, Component, Implied

Verdicts = Mapping[tuple[str, str], bool]
DIFFERS = "a person said that two callers differ"


class Place(NamedTuple):
    """A customer's anchor, or the identifier of an unknown one; and what put the leaf there."""

    known: bool
    at: str
    by: str


@dataclass(slots=True)
class Leaves:
    """`hung` maps anchors to the implied persons of that customer; those who stand alone are their own anchor.
    `joined_by` names what hung them."""

    hung: dict[str, list[str]] = field(default_factory=dict)
    joined_by: dict[str, str] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)


def hang(component: Component, links: Links, verdicts: Verdicts, anchors: Sequence[str]) -> Leaves:
    """Where each implied person belongs; `anchors` gives each numbered person's customer."""
    leaves = Leaves()
    implied = {each.key: each for each in component.implied if each.key not in links.known}
    places: dict[str, Place] = {}
    for key, leaf in implied.items():
        place = _place(leaf, links, verdicts, anchors, leaves)
        if place:
            places[key] = place
    # Two that differ are kept apart also where one customer would have both.
    apart = {key for pair, same in verdicts.items() if not same and _meet(places, *pair) for key in pair}
    for key, place in sorted(places.items()):
        if key in apart and place.known:
            leaves.candidates.append(Candidate(key, (place.at,), DIFFERS))
    return _assemble(leaves, implied, {key: place for key, place in places.items() if key not in apart})


def _meet(places: Mapping[str, Place], a: str, b: str) -> bool:
    return a in places and b in places and places[a][:2] == places[b][:2]


def _assemble(leaves: Leaves, implied: Mapping[str, Implied], places: Mapping[str, Place]) -> Leaves:
    together: dict[Place, list[Implied]] = {}
    for key, leaf in sorted(implied.items()):
        if key in places:
            together.setdefault(places[key], []).append(leaf)
        else:
            leaves.hung[key] = [key]
    for place, group in together.items():
        anchor = place.at if place.known else min((leaf.first, leaf.key) for leaf in group)[1]
        leaves.hung.setdefault(anchor, []).extend(leaf.key for leaf in group)
        if place.known or len(group) > 1:
            leaves.joined_by.update((leaf.key, place.by) for leaf in group)
    leaves.candidates.sort(key=lambda each: each.implied)
    return leaves


def _place(leaf: Implied, links: Links, verdicts: Verdicts, anchors: Sequence[str], leaves: Leaves) -> Place | None:
    """Where one leaf hangs; None: it stands alone, and its candidates are noted."""
    same, different = _told(leaf.key, links, verdicts, anchors)
    if len(same - different) == 1:
        return Place(True, min(same - different), "verdict")
    holders, current = _holders(leaf.identifier, links, anchors)
    if leaf.identifier in links.shared:
        leaves.candidates.append(Candidate(leaf.key, (), f"contested: more than {CONTESTED_ABOVE} people"))
        return None
    if leaf.identifier in links.nobody:
        return None
    if not holders:
        return Place(False, leaf.identifier, leaf.identifier)
    if len(holders) == 1 and not holders & different:
        return Place(True, min(holders), leaf.identifier)
    if left := sorted(holders - different):
        several = f"{'contested' if current else 'formerly of'}: {len(holders)} people"
        leaves.candidates.append(Candidate(leaf.key, tuple(left), several))
    return None


def _told(key: str, links: Links, verdicts: Verdicts, anchors: Sequence[str]) -> tuple[set[str], set[str]]:
    """The customers that a person said are the same as this one, and those that are not."""
    told: tuple[set[str], set[str]] = (set(), set())
    for (a, b), same in verdicts.items():
        if key in (a, b):
            other = links.number.get(b if a == key else a)
            if other is not None:
                told[0 if same else 1].add(anchors[other])
    return told


def _holders(identifier: str, links: Links, anchors: Sequence[str]) -> tuple[set[str], bool]:
    """The customers that hold it, by evidence of any class; whether they do so now."""
    holders = links.holders.get(identifier, {})
    current = {anchors[person] for person, how in holders.items() if how >= CURRENT}
    return current or {anchors[person] for person in holders}, bool(current)
