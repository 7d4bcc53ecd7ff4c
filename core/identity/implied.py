"""Who is only a number or an address joins last, as a leaf, and never glues two customers. Pure.

Such a person hangs on the one customer that holds the identifier now, be it only claimed; else on the one that held it
formerly. Where several hold it, they stand alone with these as candidates. Where nobody holds it, all of one identifier
are one unknown customer: the same caller is the same unknown caller. Whom a blocked or shared identifier names stands
alone. A verdict counts here, too: "different" keeps a leaf away, "same" names its one customer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.identity.evidence import CURRENT, Links
from core.identity.model import CONTESTED_ABOVE, Candidate, Component, Implied

Verdicts = Mapping[tuple[str, str], bool]


@dataclass(slots=True)
class Leaves:
    """`hung` maps anchors to the implied persons of that customer; those who stand alone have an anchor of their own.
    `joined_by` names what hung them."""

    hung: dict[str, list[str]] = field(default_factory=dict)
    joined_by: dict[str, str] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)

    def put(self, leaf: str, anchor: str, by: str) -> None:
        self.hung.setdefault(anchor, []).append(leaf)
        self.joined_by[leaf] = by


def hang(component: Component, links: Links, verdicts: Verdicts, anchors: Sequence[str]) -> Leaves:
    """Where each implied person belongs; `anchors` gives each numbered person's customer."""
    leaves = Leaves()
    unknown: dict[str, list[Implied]] = {}
    implied = {each.key: each for each in component.implied if each.key not in links.known}
    for key, leaf in sorted(implied.items()):
        same, different = _told(key, links, verdicts, anchors)
        holders, current = _holders(leaf.identifier, links, anchors)
        if len(same - different) == 1:
            leaves.put(key, (same - different).pop(), "verdict")
        elif len(holders) == 1 and not holders & different:
            leaves.put(key, holders.pop(), leaf.identifier)
        elif leaf.identifier in links.shared or leaf.identifier in links.nobody or holders:
            leaves.hung[key] = [key]
            leaves.candidates += _candidate(leaf, links, sorted(holders - different), current)
        else:
            unknown.setdefault(leaf.identifier, []).append(leaf)
    for identifier, group in unknown.items():
        _stand(leaves, identifier, group, verdicts)
    return leaves


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


def _candidate(leaf: Implied, links: Links, holders: Sequence[str], current: bool) -> list[Candidate]:
    if leaf.identifier in links.shared:
        return [Candidate(leaf.key, (), f"contested: more than {CONTESTED_ABOVE} people")]
    if not holders:
        return []
    if len(holders) == 1:
        return [Candidate(leaf.key, tuple(holders), "a person said that another one is not it")]
    return [Candidate(leaf.key, tuple(holders), f"{'contested' if current else 'formerly of'}: {len(holders)} people")]


def _stand(leaves: Leaves, identifier: str, group: Sequence[Implied], verdicts: Verdicts) -> None:
    """All of one identifier that nobody holds are one, unless a person said that two of them differ."""
    keys = {leaf.key for leaf in group}
    if any(not same and keys.issuperset(pair) for pair, same in verdicts.items()):
        leaves.hung.update({key: [key] for key in keys})
        return
    leaves.hung[min((leaf.first, leaf.key) for leaf in group)[1]] = sorted(keys)
    if len(keys) > 1:
        leaves.joined_by.update(dict.fromkeys(keys, identifier))
