"""How clusters of source persons join: all proposals of a stratum at once, so that no order decides. Pure.

Persons are numbered from 0, clusters by one of their persons; nothing depends on which number that is.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import NamedTuple

from core.identity.blocks import between, connected
from core.identity.names import clash, full, words

DIFFER, IDS, NAMES = "a person said they differ", "two external ids", "names clash"  # why two must not meet


class Proposal(NamedTuple):
    """`by` (an identifier, `verdict`, `merge`) would join all these clusters."""

    by: str
    clusters: tuple[int, ...]


class Cluster:
    """Source persons who are one so far. `names` without the empty ones; `ids` per namespace: the external ids of each
    person that has any there."""

    __slots__ = ("full", "ids", "members", "names")

    def __init__(self, members: list[int], names: frozenset[str], ids: dict[str, set[frozenset[str]]]) -> None:
        self.members = members
        self.names = names
        self.ids = ids
        self.full = {name for each in names if (name := full(each))}

    def clashes(self, other: "Cluster") -> bool:
        """Whether both have names, and no two of them fit."""
        return any(_clashing((self.names, other.names)))

    def unequal(self, other: "Cluster") -> bool:
        """Whether two persons carry ids in one namespace and have none in common."""
        return any(
            a.isdisjoint(b) for space in self.ids.keys() & other.ids.keys() for a in self.ids[space]
            for b in other.ids[space]
        )  # fmt: skip


class Clusters:
    """The clusters as they grow. `home` is each person's cluster; `joined_by` the first that joined a person;
    `refused` why a `by` was dropped, for the gravest reason."""

    def __init__(
        self,
        names: Sequence[Sequence[str]],
        ids: Mapping[int, Mapping[str, set[str]]],
        differ: Iterable[tuple[int, int]] = (),
    ) -> None:
        self.home = list(range(len(names)))
        self.all = {
            person: Cluster(
                [person],
                frozenset(name for name in mine if words(name)),
                {space: {frozenset(values)} for space, values in ids[person].items()} if person in ids else {},
            )
            for person, mine in enumerate(names)
        }
        self.differ = set(differ)
        self.joined_by: dict[int, str] = {}
        self.refused: dict[str, str] = {}

    def join(self, proposals: Sequence[Proposal], but_not: Collection[str], retry: bool = True) -> list[Proposal]:
        """Apply all at once, except those between clusters that must not meet for a reason of `but_not`; these are
        tried again by full name where `retry` says so. Returns what was refused at first."""
        accepted: list[Proposal] = []
        refused: list[Proposal] = []
        for piece in _pieces(proposals):
            dropped = self._dropped(piece, but_not)
            if not dropped:
                accepted += piece
                continue
            for proposal, reason in dropped.items():
                self.refuse(proposal.by, reason)
            refused += dropped
            kept = [each for each in piece if each not in dropped]
            if retry:
                again = {each for by, clusters in dropped for each in self.by_full_name(by, clusters)} - set(kept)
                # What was kept stands: a way between two that must not meet leads through something tried again.
                bad = self._dropped([*kept, *again], but_not)
                kept += [each for each in again if each not in bad]
            accepted += kept
        self._apply(accepted)
        return refused

    def by_full_name(self, by: str, clusters: Iterable[int]) -> list[Proposal]:
        """Proposals to join only those with equal full names."""
        groups: dict[str, list[int]] = {}
        for cluster in clusters:
            for name in self.all[cluster].full:
                groups.setdefault(name, []).append(cluster)
        return [Proposal(by, tuple(sorted(group))) for group in groups.values() if len(group) > 1]

    def any_clash(self, clusters: Iterable[int]) -> bool:
        """Whether all names of one clash with all names of another."""
        # Those of equal names are looked at once: most have few names between them.
        return any(_clashing({self.all[cluster].names for cluster in clusters}))

    def refuse(self, by: str, reason: str) -> None:
        self.refused[by] = min(self.refused.get(by, reason), reason, key=_gravity)

    def equate_ids(self) -> None:
        """A verdict or a merge has put unequal external ids into one cluster: from now on they count as one."""
        groups = [
            sorted(set().union(*held))
            for cluster in self.all.values()
            if len(cluster.members) > 1
            for held in cluster.ids.values()
            if len(held) > 1
        ]
        same: dict[str, str] = {}
        for piece in connected(groups):
            values = {value for at in piece for value in groups[at]}
            same.update(dict.fromkeys(values, min(values)))
        if same:
            for cluster in self.all.values():
                cluster.ids = {
                    space: {frozenset(same.get(value, value) for value in values) for values in held}
                    for space, held in cluster.ids.items()
                }

    def _dropped(self, proposals: Sequence[Proposal], but_not: Collection[str]) -> dict[Proposal, str]:
        """The proposals on any path between two clusters that must not meet, with the gravest reason."""
        clusters = sorted({cluster for proposal in proposals for cluster in proposal.clusters})
        ends = self._ends(clusters, but_not)
        if not ends:
            return {}
        number = {cluster: at for at, cluster in enumerate(clusters)}
        graph: list[list[int]] = [[] for _ in range(len(clusters) + len(proposals))]
        for at, proposal in enumerate(proposals, len(clusters)):
            graph[at] = [number[cluster] for cluster in proposal.clusters]
            for near in graph[at]:
                graph[near].append(at)
        dropped: dict[Proposal, str] = {}
        for reason in sorted(ends, key=_gravity):
            for vertex in between(graph, [(number[a], number[b]) for a, b in ends[reason]]):
                if vertex >= len(clusters):
                    dropped.setdefault(proposals[vertex - len(clusters)], reason)
        return dropped

    def _ends(self, clusters: Sequence[int], but_not: Collection[str]) -> dict[str, list[tuple[int, int]]]:
        """The pairs that must not meet, by reason."""
        ends: dict[str, list[tuple[int, int]]] = {}
        if self.differ:
            apart = {(self.home[a], self.home[b]) for a, b in self.differ}
            ends[DIFFER] = [pair for pair in apart if pair[0] in clusters and pair[1] in clusters]
        if IDS in but_not:
            carrying = [cluster for cluster in clusters if self.all[cluster].ids]
            ends[IDS] = [(a, b) for a, b in combinations(carrying, 2) if self.all[a].unequal(self.all[b])]
        if NAMES in but_not:
            named: dict[frozenset[str], list[int]] = {}
            for cluster in clusters:
                named.setdefault(self.all[cluster].names, []).append(cluster)
            ends[NAMES] = [pair for a, b in _clashing(named) for pair in product(named[a], named[b])]
        return {reason: pairs for reason, pairs in ends.items() if pairs}

    def _apply(self, accepted: Sequence[Proposal]) -> None:
        by: dict[int, str] = {}
        for proposal in accepted:
            for cluster in proposal.clusters:
                if len(self.all[cluster].members) == 1:
                    by[cluster] = min(by.get(cluster, proposal.by), proposal.by, key=_strength)
        self.joined_by.update(by)
        for piece in _pieces(accepted):
            numbers = sorted({cluster for proposal in piece for cluster in proposal.clusters})
            parts = [self.all.pop(number) for number in numbers]
            ids: dict[str, set[frozenset[str]]] = {}
            for part in parts:
                for space, held in part.ids.items():
                    ids.setdefault(space, set()).update(held)
            whole = Cluster(
                [person for part in parts for person in part.members],
                frozenset().union(*(part.names for part in parts)),
                ids,
            )
            self.all[numbers[0]] = whole
            for person in whole.members:
                self.home[person] = numbers[0]


def _clashing(names: Iterable[frozenset[str]]) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    for one, two in combinations(names, 2):
        if one and two and all(clash(a, b) for a in one for b in two):
            yield one, two


def _gravity(reason: str) -> int:
    return (DIFFER, IDS, NAMES).index(reason) if reason in (DIFFER, IDS, NAMES) else 3


def _strength(by: str) -> tuple[bool, bool, str]:
    return by != "verdict", by != "merge", by


def _pieces(proposals: Sequence[Proposal]) -> Iterator[list[Proposal]]:
    for piece in connected([proposal.clusters for proposal in proposals]):
        yield [proposals[at] for at in piece]
