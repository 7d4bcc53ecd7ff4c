"""Why source persons that share an identifier are not one customer: said for people, after all is joined. Pure."""

from collections.abc import Iterable, Sequence
from itertools import combinations

from core.identity.clusters import DIFFER, IDS, NAMES, Clusters, Proposal
from core.identity.evidence import CURRENT, Holders, Links, joins
from core.identity.model import Refusal

CONTESTED, MOVED = "contested", "somebody else has it now"
CLAIMED_ONLY, TOO_MANY, NO_RULE = "claimed only", "too many people hang together", "no rule joins by it"


def explain(
    links: Links, clusters: Clusters, anchors: Sequence[str], refused: Iterable[Proposal], large: bool
) -> tuple[tuple[Refusal, ...], frozenset[str]]:
    """All refusals, and the identifiers that several customers hold now (if nobody does: held formerly).

    `refused` are verdicts and merges that another verdict forbade; `large`: a stratum was dropped somewhere.
    """
    tell = _Telling(links, clusters, anchors)
    contested = set(links.shared)
    for identifier, holders in links.holders.items():
        if len({clusters.home[person] for person in holders}) < 2:
            continue
        joining = {clusters.home[person] for person, how in holders.items() if joins(how)}
        now = {clusters.home[person] for person, how in holders.items() if joins(how) and how >= CURRENT} or joining
        if len(now) > 1:
            contested.add(identifier)
            tell.refusal(identifier, now, _reason(clusters, identifier, now, joining, large))
        if joining > now:
            tell.refusal(identifier, joining, MOVED)
        claims = _claiming(clusters, holders) - joining
        if claims and len(claims | joining) > 1:
            tell.refusal(identifier, claims | joining, CLAIMED_ONLY)
    for by, pair in refused:
        ends = {clusters.home[person] for person in pair}
        if len(ends) > 1:
            tell.refusal(by, ends, DIFFER)
    found = sorted(set(tell.found), key=lambda each: (each.identifier, each.people, each.reason))
    return tuple(found), frozenset(contested)


def _claiming(clusters: Clusters, holders: Holders) -> set[int]:
    return {clusters.home[person] for person, how in holders.items() if not joins(how) and how >= CURRENT}


def _reason(clusters: Clusters, identifier: str, now: set[int], joining: set[int], large: bool) -> str:
    pairs = [(clusters.all[a], clusters.all[b]) for a, b in combinations(sorted(now), 2)]
    known = clusters.refused.get(identifier)
    if len(joining) > 2 and known == CONTESTED:
        return f"{CONTESTED}: {len(joining)} people"
    differ = {frozenset((clusters.home[a], clusters.home[b])) for a, b in clusters.differ}
    if known == DIFFER or any(pair <= now for pair in differ):
        return DIFFER
    if known == IDS or any(a.unequal(b) for a, b in pairs):
        return IDS
    if known in (NAMES, CONTESTED) or any(a.clashes(b) for a, b in pairs):
        return NAMES
    return TOO_MANY if large else NO_RULE


class _Telling:
    """Writes clusters as people: each group begins with its anchor, and the groups are in the order of these."""

    def __init__(self, links: Links, clusters: Clusters, anchors: Sequence[str]) -> None:
        self.found: list[Refusal] = []
        self._links, self._clusters, self._anchors = links, clusters, anchors

    def refusal(self, identifier: str, clusters: Iterable[int], reason: str) -> None:
        self.found.append(Refusal(identifier, tuple(sorted(map(self._group, clusters))), reason))

    def _group(self, cluster: int) -> tuple[str, ...]:
        members = self._clusters.all[cluster].members
        anchor = self._anchors[members[0]]
        return anchor, *sorted(key for each in members if (key := self._links.persons[each].key) != anchor)
