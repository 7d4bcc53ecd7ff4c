"""How often who is who comes out right, against people whom we invented and therefore know."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from random import Random

import pytest

from core.identity import Component, Evidence, Partition, Rules, SourcePerson, canonical, partition
from core.identity.blocks import connected
from core.sdk.cast import CAST, OFFICE_PHONE
from tests.fixtures_figures import Tell

GIVEN = """
Dana Daniel Ben Bea Ann Anna Tom Maya Omar Inés Łukasz Zoë Wei Ravi Noa Ada Aiko Amara Bruno Carla Chen Elif Emil Farid
Grace Hana Ivo Jonas Kofi Lena Malik Nora Olek Priya Rosa Sofía Tariq Uma Vera Yusuf
"""
FAMILY = """
Reyes Ode Lee Roe Miller Sato Okafor Núñez Wójcik Chen Levi Weber Hill Haddad Ferreira Natarajan Bondar O’Neill Ångström
Kim Adler Baker Costa Duarte Egede Fofana Gruber Hansen Ivanova Jansen Kaya Lindt Moreau Nagy Olsen
"""
NAMELESS = {"": 6, "Unknown caller": 4}  # of a hundred
VENDORS = {
    "shop": ("recorded", True),
    "crm": ("recorded", False),
    "desk": ("proved", False),
    "dial": ("recorded", False),
}
PEOPLE = 3_000


@dataclass
class Town:
    """Source persons, what they carry, and who each of them truly is."""

    random: Random
    shared: float  # how many people use a phone or a mailbox together with others
    persons: list[SourcePerson] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    truth: dict[str, int] = field(default_factory=dict)
    taken: set[tuple[str, str]] = field(default_factory=set)

    def settle(self) -> None:
        given_names, family_names = GIVEN.split(), FAMILY.split()
        offices = [f"phone:+1202555{number:04}" for number in range(1, 200)]
        for human in range(PEOPLE):
            given, family = self.random.choice(given_names), self.random.choice(family_names)
            phone, email = f"phone:+1303{human:07}", f"email:p{human}@example.com"
            if self.random.random() < self.shared:
                # An office, or a household in which two or three answer under one address and one family name.
                if self.random.random() < 0.5:
                    phone = self.random.choice(offices)
                else:
                    email = f"email:home{human // 3}@example.com"
                    given = given_names[human % len(given_names)]
                    family = family_names[human // 3 % len(family_names)]
            for vendor in self.random.sample(sorted(VENDORS), self.random.choice([1, 2, 2, 3, 4])):
                self.write_down(human, f"{vendor}/acc/contact/{human}", given, family, phone, email)

    def write_down(self, human: int, key: str, given: str, family: str, phone: str, email: str) -> None:
        vendor = key.partition("/")[0]
        name = self.random.choices(
            [f"{given} {family}", f"{given[0]}. {family}", f"{family}, {given}", given, *NAMELESS],
            [66, 8, 8, 8, *NAMELESS.values()],
        )[0]
        class_, numbered = VENDORS[vendor]
        self.truth[key] = human
        self.persons.append(SourcePerson(key, (name,) if name else (), len(self.persons)))
        # A tool knows an address once; the rest of a household is written down there without it.
        if vendor != "dial" and self.random.random() < 0.9 and (vendor, email) not in self.taken:
            self.taken.add((vendor, email))
            self.evidence.append(Evidence(key, email, class_))  # type: ignore[arg-type]
        if vendor == "dial" or self.random.random() < 0.6:
            self.evidence.append(Evidence(key, phone, "recorded"))
        if numbered or (vendor == "crm" and self.random.random() < 0.3):
            self.evidence.append(Evidence(key, f"external_id:shop:{human}", "recorded"))
        if self.random.random() < 0.03:  # somebody typed the number of another
            other = self.random.randrange(PEOPLE)
            self.evidence.append(Evidence(key, f"phone:+1303{other:07}", "claimed"))
        if self.random.random() < 0.03:  # a number that was another's before
            other = self.random.randrange(PEOPLE)
            self.evidence.append(Evidence(key, f"phone:+1303{other:07}", "recorded", former=True))

    def judge(self, result: Partition) -> tuple[float, float]:
        """Precision over all pairs that were joined; recall over those that hang together by what they share."""
        joined = {pair for members in result.customers.values() for pair in combinations(members, 2)}
        right = sum(self.truth[a] == self.truth[b] for a, b in joined)
        return right / len(joined), right / len(self.reachable() | {p for p in joined if self._same(p)})

    def reachable(self) -> set[tuple[str, str]]:
        """Pairs of one person's records that a chain of shared identifiers, all within that person, connects."""
        holders: dict[tuple[str, int], list[str]] = {}
        for each in self.evidence:
            if each.class_ != "claimed" and not each.former:
                holders.setdefault((each.identifier, self.truth[each.person]), []).append(each.person)
        groups = list(holders.values())
        found: set[tuple[str, str]] = set()
        for piece in connected(groups):
            found.update(combinations(sorted({key for at in piece for key in groups[at]}), 2))
        return found

    def _same(self, pair: tuple[str, str]) -> bool:
        return self.truth[pair[0]] == self.truth[pair[1]]


@pytest.mark.parametrize("shared", [0.05, 0.2, 0.5])
def test_nearly_all_that_is_joined_belongs_together(shared: float, tell: Tell) -> None:
    town = Town(Random(20), shared)
    town.settle()
    counts = Counter(each.identifier for each in town.evidence)
    crowded = frozenset(identifier for identifier, count in counts.items() if count > 20)
    customers: dict[str, tuple[str, ...]] = {}
    for persons, evidence in pieces(town, crowded):
        customers.update(partition(Component(persons, evidence=evidence, shared=crowded), Rules()).customers)
    precision, recall = town.judge(Partition(customers))
    tell(f"[identity] {shared:.0%} share: precision {precision:.4f}, recall of the reachable {recall:.3f}")
    assert precision >= 0.99
    assert recall >= 0.9


def pieces(town: Town, crowded: frozenset[str]) -> list[tuple[list[SourcePerson], list[Evidence]]]:
    """The town in closed components."""
    holders: dict[str, list[str]] = {person.key: [person.key] for person in town.persons}
    for each in town.evidence:
        if each.identifier not in crowded:
            holders.setdefault(each.identifier, []).append(each.person)
    groups = list(holders.values())
    persons = {person.key: person for person in town.persons}
    carried: dict[str, list[Evidence]] = {}
    for each in town.evidence:
        carried.setdefault(each.person, []).append(each)
    found = []
    for piece in connected(groups):
        keys = sorted({key for at in piece for key in groups[at]})
        found.append(([persons[key] for key in keys], [one for key in keys for one in carried.get(key, [])]))
    return found


def test_the_cast_of_the_demo_are_sixteen_customers_and_one_office() -> None:
    persons, evidence = [], []
    for slug, actor in CAST.items():
        for tool, facts in actor.known.items():
            key = f"{tool}/example/contact/{slug}"
            persons.append(SourcePerson(key, (f"{facts['given']} {facts['family']}",), len(persons)))
            for kind in facts.keys() & {"email", "phone"}:
                identifier = canonical(kind, facts[kind], Rules())
                assert identifier
                evidence.append(Evidence(key, identifier, "recorded"))
    result = partition(Component(persons, evidence=evidence), Rules())
    assert (len(persons), len(result.customers)) == (35, 16)
    assert [(each.identifier, each.reason) for each in result.refusals] == [
        (f"phone:{OFFICE_PHONE}", "contested: 3 people")
    ]
