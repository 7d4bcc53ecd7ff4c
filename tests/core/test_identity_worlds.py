"""Who is who, in thousands of random worlds: offices, families, placeholders, several namespaces, verdicts, callers."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations, pairwise
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.identity import Alias, Component, Evidence, Implied, Partition, Rules, SourcePerson, Verdict, partition
from core.identity.blocks import between, biconnected

NAMES = ["", "Unknown", "D. Reyes", "Dana Reyes", "Dan Reyes", "Ben Ode", "Bea Ode", "B. Ode", "Дана Рейес", "Dana"]
IDENTIFIERS = [
    "email:dana@example.com", "email:ode@example.com", "email:x@example.com", "email:info@example.com",
    "phone:+12025550100", "phone:+12025550143", "phone:+12025550121",
    "external_id:shop:1", "external_id:shop:2", "external_id:bank:1", "external_id:bank:2",
]  # fmt: skip
RULES = [
    Rules(),
    Rules(join=("external_id", "proved_email", "phone")),
    Rules(proved={"v": frozenset({"email"})}, own=("+12025550121",)),
]
KEYS = [f"v/acc/contact/{number}" for number in range(9)]
LEAVES = [f"v/acc/phone/{number}" for number in range(3)]
CLASSES = ["recorded", "recorded", "recorded", "proved", "claimed"]

many = settings(max_examples=500, deadline=None)


def world(seed: int, persons: int, carried: int, leaves: int, said: int) -> Component:
    """A component of so many persons, pieces of evidence, callers, verdicts and merges."""
    random = Random(seed)
    keys = KEYS[:persons]
    anybody = keys + LEAVES

    def some() -> frozenset[str]:
        return frozenset(random.choices(anybody, k=random.choice([1, 1, 2])))

    return Component(
        persons=[
            SourcePerson(key, tuple(random.choices(NAMES, k=random.choice([1, 1, 2]))), random.randrange(6),
                         random.random() < 0.05)
            for key in keys
        ],
        implied=[Implied(key, random.choice(IDENTIFIERS[:7]), random.randrange(6)) for key in LEAVES[:leaves]],
        evidence=[
            Evidence(random.choice(keys), random.choice(IDENTIFIERS), random.choice(CLASSES), random.random() < 0.15)
            for _ in range(carried)
        ],
        aliases=[Alias(random.choice(keys), random.choice(keys)) for _ in range(said // 2)],
        verdicts=[Verdict(some(), some(), random.random() < 0.5, random.randrange(1, 6)) for _ in range(said)],
        shared=frozenset(random.choices(IDENTIFIERS, k=random.choice([0, 0, 1]))),
    )  # fmt: skip


def worlds(most_said: int = 4) -> st.SearchStrategy[Component]:
    return st.builds(
        world,
        st.integers(0, 2**32),
        st.integers(1, len(KEYS)),
        st.integers(0, 24),
        st.integers(0, len(LEAVES)),
        st.integers(0, most_said),
    )


rules = st.sampled_from(RULES)


def renamed(component: Component, to: Mapping[str, str]) -> Component:
    def many(keys: frozenset[str]) -> frozenset[str]:
        return frozenset(to.get(key, key) for key in keys)

    return Component(
        [replace(each, key=to.get(each.key, each.key)) for each in component.persons],
        [replace(each, key=to.get(each.key, each.key)) for each in component.implied],
        [replace(each, person=to.get(each.person, each.person)) for each in component.evidence],
        [Alias(to.get(each.old, each.old), to.get(each.new, each.new)) for each in component.aliases],
        [replace(each, left=many(each.left), right=many(each.right)) for each in component.verdicts],
        component.shared,
    )


def shape(result: Partition, to: Mapping[str, str]) -> tuple[Any, ...]:
    """The partition under other keys and without the choice of anchors."""
    whole = {anchor: frozenset(to.get(key, key) for key in members) for anchor, members in result.customers.items()}
    persons = {anchor: frozenset(key for key in members if "/phone/" not in key) for anchor, members in whole.items()}
    return (
        set(whole.values()),
        {to.get(key, key): by for key, by in result.joined_by.items()},
        result.contested,
        {
            (each.identifier, frozenset(frozenset(to.get(key, key) for key in group) for group in each.people),
             each.reason)
            for each in result.refusals
        },
        {
            (to.get(each.implied, each.implied), frozenset(persons[anchor] for anchor in each.anchors), each.reason)
            for each in result.candidates
        },
        {to.get(key, key) for key in result.circular},
    )  # fmt: skip


@many
@given(worlds(), rules, st.integers())
def test_order_and_duplicates_change_nothing(component: Component, rules: Rules, seed: int) -> None:
    random = Random(seed)

    def mixed(items: Any) -> list[Any]:
        doubled = [*items, *random.choices(list(items), k=len(items) // 2)] if items else []
        random.shuffle(doubled)
        return doubled

    lists = ("persons", "implied", "evidence", "aliases", "verdicts")
    again = replace(component, **{name: mixed(getattr(component, name)) for name in lists})
    assert partition(again, rules) == partition(component, rules)


@many
@given(worlds(), rules, st.permutations(KEYS), st.permutations(LEAVES))
def test_other_keys_give_the_same_people(
    component: Component, rules: Rules, keys: list[str], leaves: list[str]
) -> None:
    to = dict(zip(KEYS, keys, strict=True)) | dict(zip(LEAVES, leaves, strict=True))
    assert shape(partition(renamed(component, to), rules), {}) == shape(partition(component, rules), to)


@many
@given(worlds(), rules, st.permutations(KEYS))
def test_the_anchor_follows_the_person_where_no_two_were_heard_of_at_once(
    component: Component, rules: Rules, keys: list[str]
) -> None:
    to = dict(zip(KEYS, keys, strict=True))
    dated = replace(component, persons=[replace(each, first=at) for at, each in enumerate(component.persons)])
    before, after = partition(dated, rules), partition(renamed(dated, to), rules)
    assert {to.get(anchor, anchor) for anchor in before.customers} == set(after.customers)


@many
@given(worlds(), rules)
def test_everybody_is_in_exactly_one_customer_whose_anchor_is_one_of_them(component: Component, rules: Rules) -> None:
    result = partition(component, rules)
    placed = [key for members in result.customers.values() for key in members]
    assert sorted(placed) == sorted({each.key for each in (*component.persons, *component.implied)})
    for anchor, members in result.customers.items():
        assert anchor in members
        assert list(members) == sorted(members)


@many
@given(worlds(), rules)
def test_who_was_said_to_differ_is_never_joined(component: Component, rules: Rules) -> None:
    home = {key: anchor for anchor, members in partition(component, rules).customers.items() for key in members}
    latest: dict[frozenset[str], tuple[int, bool]] = {}
    for verdict in component.verdicts:
        for left in verdict.left:
            for right in verdict.right - {left}:
                pair = frozenset((left, right))
                latest[pair] = max(latest.get(pair, (0, False)), (verdict.sequence, not verdict.same))
    for pair, (_, different) in latest.items():
        if different and pair <= home.keys():
            assert len({home[key] for key in pair}) == 2


@many
@given(worlds(most_said=0), rules)
def test_two_external_ids_of_one_namespace_never_meet(component: Component, rules: Rules) -> None:
    result = partition(component, rules)
    staff = {each.key for each in component.persons if each.staff}
    dead = component.shared | {each.identifier for each in component.evidence if each.person in staff}
    held: dict[str, dict[str, set[str]]] = {}
    for each in component.evidence:
        joins = each.identifier not in dead and each.class_ != "claimed" and not each.former
        if joins and each.identifier.startswith("external_id"):
            space = each.identifier.split(":")[1]
            held.setdefault(each.person, {}).setdefault(space, set()).add(each.identifier)
    for members in result.customers.values():
        for a, b in combinations(members, 2):
            for space in held.get(a, {}).keys() & held.get(b, {}).keys():
                assert held[a][space] & held[b][space]


@many
@given(worlds(), rules)
def test_unknown_callers_glue_nobody(component: Component, rules: Rules) -> None:
    leaves = {each.key for each in component.implied}
    known = {
        tuple(key for key in members if key not in leaves) for members in partition(component, rules).customers.values()
    }
    alone = replace(component, implied=())
    assert known - {()} == set(partition(alone, rules).customers.values())


@many
@given(worlds(), worlds(), rules)
def test_strangers_do_not_matter(one: Component, two: Component, rules: Rules) -> None:
    def elsewhere(identifier: str) -> str:
        return (
            identifier.replace("dana@", "fay@")
            .replace("ode@", "gil@")
            .replace("x@", "y@")
            .replace("info@", "sales@")
            .replace("+1202555", "+1202554")
            .replace("shop", "shop2")
            .replace("bank", "bank2")
        )

    two = renamed(two, {key: key.replace("acc", "other") for key in [*KEYS, *LEAVES]})
    two = replace(
        two,
        implied=[replace(each, identifier=elsewhere(each.identifier)) for each in two.implied],
        evidence=[replace(each, identifier=elsewhere(each.identifier)) for each in two.evidence],
        shared=frozenset(map(elsewhere, two.shared)),
    )
    lists = ("persons", "implied", "evidence", "aliases", "verdicts")
    both = replace(
        one, **{name: [*getattr(one, name), *getattr(two, name)] for name in lists}, shared=one.shared | two.shared
    )
    first, second, result = partition(one, rules), partition(two, rules), partition(both, rules)
    assert result.customers == {**first.customers, **second.customers}
    assert result.joined_by == {**first.joined_by, **second.joined_by}
    assert result.contested == first.contested | second.contested
    assert set(result.refusals) == {*first.refusals, *second.refusals}
    assert set(result.candidates) == {*first.candidates, *second.candidates}
    assert set(result.circular) == {*first.circular, *second.circular}


@many
@given(worlds(), rules, st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True))
def test_merges_that_lead_in_a_circle_count_nothing(component: Component, rules: Rules, ring: list[str]) -> None:
    keys = {each.key for each in component.persons}
    ring = [key for key in ring if key in keys]
    merges = {*component.aliases, *(Alias(*pair) for pair in zip(ring, [*ring[1:], *ring[:1]], strict=True))}
    leads = {(each.old, each.new) for each in merges}
    for middle in keys:
        leads |= {(a, b) for a, near in leads if near == middle for far, b in leads if far == middle}
    straight = [each for each in merges if (each.new, each.old) not in leads and each.old != each.new]
    result = partition(replace(component, aliases=sorted(merges, key=repr)), rules)
    assert set(result.circular) == {each.old for each in merges - {*straight}} >= {*ring}
    assert replace(result, circular=()) == partition(replace(component, aliases=straight), rules)


@many
@given(worlds(), rules, st.sampled_from(IDENTIFIERS), st.data())
def test_a_merge_that_is_taken_back_gives_the_same_customers(
    component: Component, rules: Rules, identifier: str, data: st.DataObject
) -> None:
    before = partition(component, rules)
    pair = data.draw(st.lists(st.sampled_from([each.key for each in component.persons]), min_size=1, max_size=3))
    held = {*component.evidence}
    added = held | {Evidence(key, identifier, "proved") for key in pair}
    merged = partition(replace(component, evidence=sorted(added, key=repr)), rules)
    joined = {frozenset(members) for members in merged.customers.values()}
    parts = {anchor: frozenset(members) for anchor, members in before.customers.items()}
    for anchor, members in merged.customers.items():
        if all(part <= set(members) or not part & set(members) for part in parts.values()):
            assert anchor in parts, "a customer that only grew keeps the id of one of those that it was"
    assert sum(map(len, joined)) == sum(map(len, parts.values()))
    assert partition(replace(component, evidence=sorted(held, key=repr)), rules) == before


@many
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=10), st.integers(0, 6), st.integers(0, 6))
def test_between_two_vertices_lies_what_a_simple_path_can_visit(pairs: list[tuple[int, int]], a: int, b: int) -> None:
    graph: list[list[int]] = [[] for _ in range(7)]
    for x, y in {(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]}:
        graph[x].append(y)
        graph[y].append(x)
    visited: set[int] = set()
    ways = [[a]] if a != b else []
    while ways:
        way = ways.pop()
        if way[-1] == b:
            visited.update(way)
            continue
        ways += [[*way, near] for near in graph[way[-1]] if near not in way]
    assert between(graph, [(a, b)] if a != b else []) == visited
    edges = {frozenset(pair) for pair in pairs if pair[0] != pair[1]}
    blocks = list(map(set, biconnected(graph)))
    assert all(sum(edge <= block for block in blocks) == 1 for edge in edges), "every edge is in one block"


def test_a_path_of_many_thousands_needs_no_recursion() -> None:
    graph: list[list[int]] = [[] for _ in range(20_000)]
    for a, b in pairwise(range(20_000)):
        graph[a].append(b)
        graph[b].append(a)
    assert len(between(graph, [(0, 19_999)])) == 20_000
