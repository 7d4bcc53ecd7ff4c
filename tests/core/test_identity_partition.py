"""Who is who by evidence, case by case."""

from core.identity import Evidence, Refusal, Rules, SourcePerson
from core.identity.model import CONTESTED_ABOVE
from tests.core.identity_cases import DANA, FAMILY, OFFICE, carry, groups, people, reasons, resolve


def test_a_recorded_number_joins_the_tools_of_one_person() -> None:
    result = resolve(people(a="Dana Reyes", b="D. Reyes", c=""), carry(DANA, "a b c"))
    assert groups(result) == {"a b c"}
    assert result.joined_by == {"a": DANA, "b": DANA, "c": DANA}
    assert not result.contested
    assert not result.refusals


def test_an_office_phone_joins_only_those_of_one_full_name() -> None:
    persons = people(a="Ines Ferreira", b="Tom Miller", c="Aiko Sato", d="Inés Ferreira", e="")
    result = resolve(persons, carry(OFFICE, "a b c d e"))
    assert groups(result) == {"a d", "b", "c", "e"}
    assert result.contested == {OFFICE}
    assert result.refusals == (Refusal(OFFICE, (("a", "d"), ("b",), ("c",), ("e",)), "contested: 4 people"),)


def test_two_clashing_names_on_one_address_are_two_people() -> None:
    result = resolve(people(a="Ann Lee", b="Bob Lee"), carry("email:lee@example.com", "a b"))
    assert groups(result) == {"a", "b"}
    assert result.refusals == (Refusal("email:lee@example.com", (("a",), ("b",)), "names clash"),)


def test_a_family_under_one_address_is_split_when_their_customer_numbers_come() -> None:
    persons = people(ben="Ben Ode", bea="B. Ode")
    assert groups(resolve(persons, carry(FAMILY, "ben bea"))) == {"bea ben"}
    numbers = carry("external_id:shop:1", "ben") + carry("external_id:shop:2", "bea")
    result = resolve(persons, carry(FAMILY, "ben bea") + numbers)
    assert groups(result) == {"bea", "ben"}
    assert result.contested == {FAMILY}
    assert result.refusals == (Refusal(FAMILY, (("bea",), ("ben",)), "two external ids"),)


def test_names_in_two_scripts_are_joined_by_what_they_share() -> None:
    result = resolve(people(a="Wei Chen", b="伟 陈"), carry(DANA, "a b"))
    assert groups(result) == {"a b"}


def test_an_external_id_joins_in_its_own_namespace_only() -> None:
    evidence = carry("external_id:shop:7", "a b") + carry("external_id:bank:7", "c")
    assert groups(resolve(people(a="", b="", c=""), evidence)) == {"a b", "c"}


def test_unequal_external_ids_do_not_meet_through_a_third_person() -> None:
    evidence = carry("external_id:shop:1", "a") + carry("external_id:shop:2", "c")
    evidence += carry(DANA, "a b") + carry(FAMILY, "b c")
    result = resolve(people(a="", b="", c=""), evidence)
    assert groups(result) == {"a", "b c"}, "the e-mail is stronger than the phone"
    assert reasons(result) == {DANA: "two external ids"}
    evidence = [each for each in evidence if each.identifier != DANA] + carry("email:x@example.com", "a b")
    assert groups(resolve(people(a="", b="", c=""), evidence)) == {"a", "b", "c"}, "of one strength, neither wins"


def test_people_of_several_names_are_told_apart_only_where_all_clash() -> None:
    married = SourcePerson("a", ("Ann Lee", "Ann Roe"))
    for name, together in (("Ann Roe", True), ("A. Lee", True), ("Ann Fox", False)):
        result = resolve([married, SourcePerson("b", (name,))], carry(DANA, "a b"))
        assert (groups(result) == {"a b"}) is together


def test_what_lies_off_the_path_between_two_ends_still_joins() -> None:
    evidence = carry("external_id:shop:1", "a") + carry("external_id:shop:2", "c")
    for letter, keys in zip("wxyz", ("a b", "b c", "b d", "c e"), strict=True):
        evidence += carry(f"email:{letter}@example.com", keys)
    result = resolve(people(a="", b="", c="", d="", e=""), evidence)
    assert groups(result) == {"a", "b d", "c e"}


def test_what_falls_is_tried_again_by_full_name() -> None:
    persons = people(a="Dana Reyes", b="D. Reyes", x="Dana Reyes")
    evidence = carry("external_id:shop:1", "a") + carry("external_id:shop:2", "b") + carry(DANA, "a b x")
    assert groups(resolve(persons, evidence)) == {"a x", "b"}


def test_clashing_names_meet_by_a_proved_address_and_not_by_a_recorded_one() -> None:
    persons = people(a="Ann Lee", b="", c="Bob Roe")
    for class_, expected in (("proved", {"a b c"}), ("recorded", {"a", "b", "c"})):
        evidence = carry("email:x@example.com", "a b", class_) + carry("email:y@example.com", "b c", class_)
        assert groups(resolve(persons, evidence)) == expected


def test_claimed_evidence_joins_nobody_and_suggests() -> None:
    result = resolve(people(a="Dana Reyes", b="Dana Reyes"), carry(DANA, "a") + carry(DANA, "b", "claimed"))
    assert groups(result) == {"a", "b"}
    assert result.refusals == (Refusal(DANA, (("a",), ("b",)), "claimed only"),)
    assert not result.contested


def test_a_claim_does_not_make_an_identifier_contested() -> None:
    evidence = carry(DANA, "a b") + carry(DANA, "c", "claimed")
    result = resolve(people(a="Dana Reyes", b="Dana", c="Mallory Moe"), evidence)
    assert groups(result) == {"a b", "c"}
    assert not result.contested


def test_the_word_of_a_trusted_vendor_is_proof() -> None:
    persons = people(**{"zendesk/acme/user/1": "Ann Lee", "zendesk/acme/user/2": "", "crm/acme/user/3": "Bob Roe"})
    one, two, three = (person.key for person in persons)
    evidence = carry("email:x@example.com", f"{one} {two}") + carry("email:y@example.com", f"{two} {three}")
    assert len(resolve(persons, evidence).customers) == 3
    trusting = Rules(proved={"zendesk": frozenset({"email"})})
    assert groups(resolve(persons, evidence, rules=trusting)) == {f"{one} {two}", three}, "crm's word is not proof"
    everyone = Rules(proved={"zendesk": frozenset({"email"}), "crm": frozenset({"email"})})
    assert len(resolve(persons, evidence, rules=everyone).customers) == 1
    phones = Rules(proved={"zendesk": frozenset({"phone"}), "crm": frozenset({"phone"})})
    assert len(resolve(persons, evidence, rules=phones).customers) == 3
    claims = carry("email:x@example.com", f"{one} {two}", "claimed")
    assert len(resolve(persons, claims, rules=everyone).customers) == 3, "a claim is not lifted"


def test_a_former_identifier_joins_until_somebody_else_has_it() -> None:
    left = carry(DANA, "a", former=True)
    assert groups(resolve(people(a="", b=""), left + carry(DANA, "b", former=True))) == {"a b"}
    result = resolve(people(a="", b=""), left + carry(DANA, "b"))
    assert groups(result) == {"a", "b"}
    assert not result.contested
    assert result.refusals == (Refusal(DANA, (("a",), ("b",)), "somebody else has it now"),)


def test_whoever_bears_the_same_full_name_is_not_somebody_else() -> None:
    evidence = carry(DANA, "a", former=True) + carry(DANA, "b c")
    assert groups(resolve(people(a="Dana Reyes", b="Dana Reyes", c="D. Reyes"), evidence)) == {"a b c"}


def test_a_departed_holder_of_a_shared_phone_stays_a_witness() -> None:
    persons = people(a="Ann Lee", b="Bob Roe", c="")
    assert groups(resolve(persons, carry(OFFICE, "a b c"))) == {"a", "b", "c"}
    result = resolve(persons, carry(OFFICE, "b c") + carry(OFFICE, "a", former=True))
    assert groups(result) == {"a", "b", "c"}
    assert result.contested == {OFFICE}


def test_blocked_identifiers_join_nobody() -> None:
    rules = Rules(block=("desk@*",), own=("+1 202 555 0143",))
    for identifier in ("email:info@example.com", "email:desk@example.com", DANA):
        result = resolve(people(a="", b=""), carry(identifier, "a b"), rules=rules)
        assert groups(result) == {"a", "b"}
        assert not result.contested
        assert not result.refusals


def test_a_shared_identifier_joins_nobody_and_is_contested() -> None:
    result = resolve(people(a="", b=""), carry(OFFICE, "a b"), shared=frozenset({OFFICE, DANA}))
    assert groups(result) == {"a", "b"}
    assert result.contested == {OFFICE}


def test_above_twenty_holders_not_even_equal_full_names_join() -> None:
    for count in (CONTESTED_ABOVE, CONTESTED_ABOVE + 1):
        persons = [SourcePerson(f"p{number}", ("Dana Reyes",)) for number in range(count)]
        result = resolve(persons, carry(OFFICE, " ".join(person.key for person in persons)))
        assert len(result.customers) == (1 if count == CONTESTED_ABOVE else count)


def test_the_rules_say_which_strata_join() -> None:
    persons, evidence = people(a="", b="", c=""), carry(DANA, "a b") + carry(FAMILY, "b c")
    result = resolve(persons, evidence, rules=Rules(join=("external_id", "email")))
    assert groups(result) == {"a", "b c"}
    assert reasons(result) == {DANA: "no rule joins by it"}
    assert groups(resolve(persons, evidence, rules=Rules(join=("proved_email", "phone")))) == {"a b", "c"}


def test_above_five_hundred_the_weakest_stratum_is_dropped_whole() -> None:
    persons = [SourcePerson(f"p{number:03}") for number in range(502)]
    chain = [Evidence(p.key, f"email:{at // 2}x@example.com", "recorded") for at, p in enumerate(persons)]
    links = [f"phone:+1202555{1000 + (at + 1) // 2}" for at in range(502)]
    phones = [Evidence(p.key, number, "recorded") for p, number in zip(persons, links, strict=True)]
    assert len(resolve(persons[:500], chain[:500] + phones[:500]).customers) == 1
    apart = resolve(persons, chain + phones)
    assert len(apart.customers) == 251, "pairs by e-mail remain"
    assert {refusal.reason for refusal in apart.refusals} == {"too many people hang together"}
    beside = resolve([*persons, *people(a="", b="")], [*chain, *phones, *carry(DANA, "a b")])
    assert "a b" in groups(beside), "whoever does not hang with them keeps every stratum"
