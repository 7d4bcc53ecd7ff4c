"""Who reads which partition: the consumer groups of one process. Pure: members are opaque, nothing is awaited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Place = tuple[str, int]
M = TypeVar("M")


@dataclass(slots=True)
class Group(Generic[M]):
    """Partitions are dealt out in turn, per topic, to the members in order of joining. A partition that should move
    stays with its owner until the owner lets go of it, so that it is never with two."""

    members: list[tuple[M, frozenset[str]]] = field(default_factory=list)
    owners: dict[Place, M] = field(default_factory=dict)

    def join(self, member: M, topics: Sequence[str]) -> None:
        self.members.append((member, frozenset(topics)))

    def leave(self, member: M) -> None:
        self.members = [pair for pair in self.members if pair[0] is not member]
        self.owners = {place: owner for place, owner in self.owners.items() if owner is not member}

    def settle(self, member: M, counts: Mapping[str, int]) -> tuple[set[Place], set[Place]]:
        """Let go of what others should have and take what is free: (taken, let go)."""
        wanted = self._wanted(member, counts)
        gone = {place for place, owner in self.owners.items() if owner is member and place not in wanted}
        for place in gone:
            del self.owners[place]
        taken = {place for place in wanted if place not in self.owners}
        self.owners.update(dict.fromkeys(taken, member))
        return taken, gone

    def _wanted(self, member: M, counts: Mapping[str, int]) -> set[Place]:
        wanted = set()
        for topic, count in counts.items():
            readers = [other for other, topics in self.members if topic in topics]
            wanted |= {(topic, number) for number in range(count) if readers[number % len(readers)] is member}
        return wanted
