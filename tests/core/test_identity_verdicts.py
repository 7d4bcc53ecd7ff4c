"""Who is who by verdicts, merges and numbers without a contact, case by case."""

from collections.abc import Mapping

import pytest

from core.identity import Alias, Candidate, Component, Implied, Partition, Rules, SourcePerson, partition
from tests.core.identity_cases import DANA, FAMILY, OFFICE, RULES, carry, differ, groups, people, reasons, resolve, same


def test_staff_join_nobody_and_what_they_hold_joins_nobody() -> None:
    persons = [*people(a="Maya Okoye", b="Maya Okoye"), SourcePerson("s", ("Maya Okoye",), staff=True)]
    result = resolve(
        persons,
        carry(FAMILY, "a b s"),
        aliases=[Alias("a", "s")],
        verdicts=[same("a", "s")],
        implied=[Implied("i", FAMILY)],
    )
    assert groups(result) == {"a", "b", "s", "i"}
    assert groups(resolve(persons, carry(FAMILY, "a b") + carry(FAMILY, "s", former=True))) == {"a b", "s"}


def test_a_verdict_outranks_evidence() -> None:
    evidence = carry(DANA, "a b")
    result = resolve(people(a="", b=""), evidence, verdicts=[differ("a", "b")])
    assert groups(result) == {"a", "b"}
    assert reasons(result) == {DANA: "a person said they differ"}
    result = resolve(people(a="Ann Lee", b="Bob Roe"), verdicts=[same("a", "b")])
    assert groups(result) == {"a b"}
    assert result.joined_by == {"a": "verdict", "b": "verdict"}


def test_the_latest_verdict_counts_pair_by_pair() -> None:
    persons = people(a="", b="", c="")
    said = [same("a", "b c", 1), differ("c", "a", 2)]
    assert groups(resolve(persons, verdicts=said)) == {"a b", "c"}
    assert groups(resolve(persons, verdicts=[*said, same("a", "c", 3)])) == {"a b c"}
    assert groups(resolve(persons, verdicts=[same("a", "b", 4), differ("a", "b", 4)])) == {"a", "b", "c"}


def test_different_beats_a_chain_of_same_and_of_merges() -> None:
    persons = people(a="", b="", c="", d="")
    chain = [same("a", "b", 5), same("b", "c", 6), same("c", "d", 7), differ("a", "c", 1)]
    assert groups(resolve(persons, verdicts=chain)) == {"a", "b", "c d"}
    result = resolve(persons, aliases=[Alias("a", "b"), Alias("b", "c")], verdicts=[differ("a", "c")])
    assert groups(result) == {"a", "b", "c", "d"}
    assert set(reasons(result).values()) == {"a person said they differ"}


def test_merges_in_a_circle_join_nobody_and_who_was_merged_into_one_of_them_stays_with_that_one() -> None:
    persons = people(a="Ann Lee", b="Bob Roe", c="", d="Dana Reyes")
    result = resolve(persons, aliases=[Alias("a", "b"), Alias("b", "a"), Alias("c", "a"), Alias("d", "d")])
    assert (groups(result), result.circular) == ({"a c", "b", "d"}, ("a", "b", "d"))


def test_a_merge_of_the_source_yields_to_a_verdict_only() -> None:
    persons = people(a="Ann Lee", b="Bob Roe")
    evidence = carry("external_id:shop:1", "a") + carry("external_id:shop:2", "b")
    result = resolve(persons, evidence, aliases=[Alias("a", "b")])
    assert groups(result) == {"a b"}
    assert result.joined_by == {"a": "merge", "b": "merge"}
    assert groups(resolve(persons, evidence, aliases=[Alias("a", "b")], verdicts=[differ("a", "b")])) == {"a", "b"}


@pytest.mark.parametrize("said", [{"aliases": [Alias("a", "b")]}, {"verdicts": [same("a", "b")]}])
def test_external_ids_that_a_merge_or_verdict_put_together_count_as_one(said: Mapping[str, object]) -> None:
    evidence = carry("external_id:shop:1", "a c") + carry("external_id:shop:2", "b d")
    persons = people(a="", b="", c="", d="")
    assert groups(resolve(persons, evidence)) == {"a c", "b d"}
    assert groups(resolve(persons, evidence, **said)) == {"a b c d"}


def test_the_anchor_is_whom_we_heard_of_first() -> None:
    persons = [SourcePerson("a", first=5), SourcePerson("b", first=3), SourcePerson("c", first=3)]
    result = resolve(persons, carry(DANA, "a b c"), implied=[Implied("i", DANA, 1)])
    assert dict(result.customers) == {"b": ("a", "b", "c", "i")}


def test_an_unknown_caller_hangs_on_the_one_customer_that_holds_the_number() -> None:
    persons = people(a="Dana Reyes", b="", c="")
    for evidence in (carry(DANA, "a"), carry(DANA, "a", "claimed"), carry(DANA, "a", former=True)):
        result = resolve(persons, evidence, implied=[Implied("i", DANA), Implied("j", DANA)])
        assert groups(result) == {"a i j", "b", "c"}
        assert result.joined_by == {"i": DANA, "j": DANA}
        assert not result.candidates
    moved = carry(DANA, "a") + carry(DANA, "b", former=True)
    assert "a i" in groups(resolve(persons, moved, implied=[Implied("i", DANA)]))


def test_an_unknown_caller_glues_nobody() -> None:
    result = resolve(
        people(a="Ann Lee", b="Bob Roe"),
        carry(OFFICE, "a") + carry(OFFICE, "b", "claimed"),
        implied=[Implied("i", OFFICE), Implied("j", OFFICE)],
    )
    assert groups(result) == {"a", "b", "i", "j"}
    assert result.candidates == (
        Candidate("i", ("a", "b"), "contested: 2 people"),
        Candidate("j", ("a", "b"), "contested: 2 people"),
    )


def test_the_same_unknown_caller_is_one_unknown_customer() -> None:
    callers = [Implied("i", DANA, 4), Implied("j", DANA, 3), Implied("k", OFFICE, 1)]
    result = resolve([], implied=callers)
    assert dict(result.customers) == {"j": ("i", "j"), "k": ("k",)}
    assert groups(resolve([], implied=callers, verdicts=[differ("i", "j")])) == {"i", "j", "k"}


def test_callers_from_shared_or_blocked_lines_stand_alone() -> None:
    callers = [Implied("i", OFFICE), Implied("j", OFFICE)]
    result = resolve(people(a=""), carry(OFFICE, "a"), implied=callers, shared=frozenset({OFFICE}))
    assert groups(result) == {"a", "i", "j"}
    assert result.candidates[0] == Candidate("i", (), "contested: more than 20 people")
    result = resolve(people(a=""), carry(OFFICE, "a"), implied=callers, rules=Rules(own=("+12025550100",)))
    assert groups(result) == {"a", "i", "j"}
    assert not result.candidates


def test_a_verdict_speaks_about_an_unknown_caller_too() -> None:
    persons, leaf = people(a="Ann Lee", b="Bob Roe"), [Implied("i", DANA)]
    assert groups(resolve(persons, carry(DANA, "a b"), implied=leaf, verdicts=[same("i", "b")])) == {"a", "b i"}
    result = resolve(persons, carry(DANA, "a"), implied=leaf, verdicts=[differ("i", "a")])
    assert groups(result) == {"a", "b", "i"}
    two = resolve(persons, carry(DANA, "a b"), implied=leaf, verdicts=[same("i", "a b")])
    assert groups(two) == {"a", "b", "i"}, "a caller glues nobody"


def test_evidence_and_words_about_people_who_are_not_there_count_nothing() -> None:
    result = resolve(
        people(a="", b=""),
        carry(DANA, "a gone") + carry(FAMILY, "gone b"),
        aliases=[Alias("gone", "a"), Alias("a", "a")],
        verdicts=[same("a", "gone"), same("gone", "b")],
    )
    assert groups(result) == {"a", "b"}
    assert partition(Component([]), RULES) == Partition({})
