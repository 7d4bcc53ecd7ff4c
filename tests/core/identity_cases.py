"""Small components, written in a line each, for the tests of who is who."""

from collections.abc import Iterable

from core.identity import Component, Evidence, Partition, Rules, SourcePerson, Verdict, partition

OFFICE = "phone:+12025550100"
DANA = "phone:+12025550143"
FAMILY = "email:ode@example.com"
RULES = Rules()


def people(**names: str) -> list[SourcePerson]:
    """`a="Dana Reyes"`; first heard of in this order."""
    return [SourcePerson(key, (name,) if name else (), first) for first, (key, name) in enumerate(names.items())]


def carry(identifier: str, keys: str, class_: str = "recorded", *, former: bool = False) -> list[Evidence]:
    return [Evidence(key, identifier, class_, former) for key in keys.split()]  # type: ignore[arg-type]


def same(left: str, right: str, sequence: int = 1) -> Verdict:
    return Verdict(frozenset(left.split()), frozenset(right.split()), True, sequence)


def differ(left: str, right: str, sequence: int = 1) -> Verdict:
    return Verdict(frozenset(left.split()), frozenset(right.split()), False, sequence)


def groups(result: Partition) -> set[str]:
    return {" ".join(members) for members in result.customers.values()}


def reasons(result: Partition) -> dict[str, str]:
    return {refusal.identifier: refusal.reason for refusal in result.refusals}


def resolve(persons: Iterable[SourcePerson], evidence: Iterable[Evidence] = (), **more: object) -> Partition:
    rules = more.pop("rules", RULES)
    return partition(Component(list(persons), evidence=list(evidence), **more), rules)  # type: ignore[arg-type]
