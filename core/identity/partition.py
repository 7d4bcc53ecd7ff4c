"""Who is who? Pure: evidence, rules and verdicts in, a partition out; the order of arrival plays no part.

Rule 1: a verdict outranks evidence. Per pair the latest counts, and "different" is never joined across, whatever chain
of "same", merges and evidence leads from one to the other. A source's own merge yields to nothing but that; merges that
lead in a circle, or from one to itself, leave nobody who remains: none of them counts.
Rule 2: proved and recorded evidence joins, claimed evidence suggests. A former identifier joins until somebody else
holds it now; then only those of its former holders who bear the full name of another holder.
Rule 3: a blocked identifier, and one that staff hold, joins nobody. Staff stand alone.
Rule 4: the rest joins stratum by stratum, strongest first (external id, proved e-mail, e-mail, proved phone, phone),
with the clusters frozen as the stratum begins. All that hold an identifier, at this strength or a stronger one, are
proposed to be one. It is contested where more than 20 hold it, or where all names of one clash with all names of
another; a former holder still bears witness. Contested, it joins those with equal full names; above 20 nobody.
Rule 5: all proposals of a stratum are applied at once, so that no order and no spelling of keys decides. Where two
clusters would meet that must not (a verdict, unequal external ids in one namespace, and from e-mail down clashing
names), every proposal on a path between them falls, is tried again by full name, and else becomes a refusal.
External ids that a verdict or a merge has put together count as one.
Rule 6: where more than 500 persons hang together, their weakest stratum is dropped whole, and so on.
Rule 7: whoever is only a number or an address joins last, as a leaf, and never glues two customers (see `implied`).

These rules live here and nowhere else. A change to them is a change to this text.
"""

from collections.abc import Iterable, Mapping, Sequence

from core.identity.clusters import DIFFER, IDS, NAMES, Clusters, Proposal
from core.identity.evidence import CURRENT, READS, Holders, Links, allowed, joins, link, said
from core.identity.implied import hang
from core.identity.model import CONTESTED_ABOVE, Alias, Component, Partition, Rules, SourcePerson
from core.identity.refusals import CONTESTED, MOVED, explain

_BLIND_TO_NAMES = frozenset({"external_id", "proved_email"})  # strata strong enough to bring clashing names together


def partition(component: Component, rules: Rules) -> Partition:
    """Every person of the component is in exactly one customer; `customers` and all lists are sorted."""
    links = link(component, rules)
    verdicts = said(component) if component.verdicts else {}
    circular = _circular(component.aliases)
    firm, differ = _words(set(component.aliases) - circular, verdicts, links.number)
    clusters = Clusters([person.names for person in links.persons], links.external_ids(), differ)
    refused: list[Proposal] = []
    if firm:
        refused = clusters.join([Proposal(by, pair) for by, pair in firm], {DIFFER}, retry=False)
        clusters.equate_ids()
    levels = allowed(links, [pair for _, pair in firm], rules.join)
    for depth, stratum in enumerate(rules.join):
        proposals = _proposals(clusters, links, stratum, depth, levels)
        if proposals:
            clusters.join(proposals, {DIFFER, IDS} if stratum in _BLIND_TO_NAMES else {DIFFER, IDS, NAMES})
    anchors = _anchors(clusters, links.persons)
    leaves = hang(component, links, verdicts, anchors)
    found, contested = explain(links, clusters, anchors, refused, levels is not None)
    members: dict[str, list[str]] = {}
    for person in links.persons:
        members.setdefault(anchors[links.number[person.key]], []).append(person.key)
    for person in links.staff:
        members[person.key] = [person.key]
    for anchor, keys in leaves.hung.items():
        members.setdefault(anchor, []).extend(keys)
    joined_by = {links.persons[at].key: by for at, by in clusters.joined_by.items()} | leaves.joined_by
    return Partition(
        customers={anchor: tuple(sorted(members[anchor])) for anchor in sorted(members)},
        joined_by=dict(sorted(joined_by.items())),
        contested=contested,
        refusals=found,
        candidates=tuple(leaves.candidates),
        circular=tuple(sorted({alias.old for alias in circular})),
    )


def _circular(aliases: Iterable[Alias]) -> set[Alias]:
    """Those from whose end others lead back to their beginning."""
    ways: dict[str, set[str]] = {}
    for alias in aliases:
        ways.setdefault(alias.old, set()).add(alias.new)
    return {alias for alias in aliases if alias.old in _reached(alias.new, ways)}


def _reached(start: str, ways: Mapping[str, set[str]]) -> set[str]:
    found, ahead = {start}, [start]
    while ahead:
        fresh = ways.get(ahead.pop(), set()) - found
        found |= fresh
        ahead += fresh
    return found


def _words(
    aliases: Iterable[Alias], verdicts: Mapping[tuple[str, str], bool], number: Mapping[str, int]
) -> tuple[list[tuple[str, tuple[int, int]]], set[tuple[int, int]]]:
    """Pairs that verdicts and merges put together, and pairs that differ."""
    pairs = {
        (number[a], number[b]): same for (a, b), same in verdicts.items() if a in number and b in number
    }  # fmt: skip
    firm = [("verdict", pair) for pair, same in pairs.items() if same]
    firm += [
        ("merge", (number[alias.old], number[alias.new]))
        for alias in aliases
        if alias.old in number and alias.new in number
    ]
    return firm, {pair for pair, same in pairs.items() if not same}


def _proposals(
    clusters: Clusters, links: Links, stratum: str, depth: int, levels: Sequence[int] | None
) -> list[Proposal]:
    kind, least = READS[stratum]
    prefix = kind + ":"
    found: list[Proposal] = []
    for identifier, holders in links.holders.items():
        if len(holders) < 2 or not identifier.startswith(prefix):
            continue
        held = {
            clusters.home[person]
            for person, how in holders.items()
            if how & 3 >= least and (levels is None or levels[person] > depth)
        }
        if len(held) > 1:
            found += _propose(clusters, identifier, held, holders)
    return found


def _propose(clusters: Clusters, identifier: str, held: set[int], holders: Holders) -> list[Proposal]:
    """Whom one identifier would join."""
    if len(held) > CONTESTED_ABOVE:
        clusters.refuse(identifier, CONTESTED)
        return []
    if clusters.any_clash(held):
        clusters.refuse(identifier, CONTESTED)
        return clusters.by_full_name(identifier, held)
    current = {clusters.home[person] for person, how in holders.items() if how >= CURRENT and joins(how)}
    if not current or held <= current:
        return [Proposal(identifier, tuple(sorted(held)))]
    clusters.refuse(identifier, MOVED)
    named = [each for each in clusters.by_full_name(identifier, held) if not current.issuperset(each.clusters)]
    now = tuple(sorted(held & current))
    return [*named, Proposal(identifier, now)] if len(now) > 1 else named


def _anchors(clusters: Clusters, persons: Sequence[SourcePerson]) -> list[str]:
    """The anchor of each person's customer: the least of its persons by (first, key)."""
    least = {
        number: min((persons[at].first, persons[at].key) for at in cluster.members)[1]
        for number, cluster in clusters.all.items()
    }
    return [least[number] for number in clusters.home]
