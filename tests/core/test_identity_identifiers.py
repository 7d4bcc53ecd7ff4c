"""Identifiers: one spelling each, nobody for what identifies nobody, blocked for what is not one person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.identity import Rules, canonical, is_blocked

US = Rules()
GB = Rules(region="GB")


@pytest.mark.parametrize(
    ("value", "rules"),
    [
        ("+12025550143", US),
        ("+1 202-555-0143", US),
        ("(202) 555-0143", US),
        ("202.555.0143", US),
        ("1 202 555 0143", US),
        ("001 202 555 0143", GB),
        ("0012025550143", US),
        ("00 1 (202) 555-0143", US),
        ("tel:+1-202-555-0143", GB),
        ("whatsapp:+12025550143", GB),
        ("\u202a+1 202 555 0143\u202c", US),
        ("+1 202 555 0143 ext. 5", US),
        ("  +1 202 555 0143\n", US),
    ],
)
def test_a_number_is_one_number_however_it_is_written(value: str, rules: Rules) -> None:
    assert canonical("phone", value, rules) == "phone:+12025550143"


@pytest.mark.parametrize("value", ["020 7946 0018", "+44 (0)20 7946 0018", "0044 20 7946 0018"])
def test_a_number_without_plus_is_read_as_in_the_region_of_the_rules(value: str) -> None:
    assert canonical("phone", value, GB) == "phone:+442079460018"


def test_a_prefix_for_abroad_is_known_by_region() -> None:
    assert canonical("phone", "011 44 20 7946 0018", US) == "phone:+442079460018"
    assert canonical("phone", "0011 44 20 7946 0018", Rules(region="AU")) == "phone:+442079460018"
    assert canonical("phone", "2025550143", Rules(region="ZZ")) is None


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "anonymous", "Anonymous", "unknown", "restricted", "private number", "unavailable",
        "+266696687", "+7378742833", "+2562533", "+86282452253",  # ANONYMOUS, RESTRICTED, BLOCKED, UNAVAILABLE, dialed
        "sip:12025550143@example.com", "sips:dana@example.com", "12025550143@example.com", "client:12025550143",
        "ext. 12", "x 2025550143", "#5", "112", "911", "555-0143", "0", "+", "+1", "+1 202 555", "+1 111 555 0143",
        "+1 202 555 0143 0143", "202555\x000143", "+1202\x85" + "5550143", "+1\ud800", "1" * 600,
    ],
)  # fmt: skip
def test_what_is_no_line_identifies_nobody(value: str) -> None:
    assert canonical("phone", value, US) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Dana.Reyes@Example.COM", "dana.reyes@example.com"),
        (" dana@example.com\n", "dana@example.com"),
        ("\u200bdana@example.com", "dana@example.com"),
        ("dana+shop@example.com", "dana+shop@example.com"),
        ("DANA@BÜCHER.example.com", "dana@bücher.example.com"),
        ("dana@xn--bcher-kva.example.com", "dana@bücher.example.com"),
        ("ÄNNE@example.com", "änne@example.com"),
        ("A\u0308NNE@example.com", "änne@example.com"),
        ("dana@mail.test", "dana@mail.test"),
    ],
)
def test_an_address_is_one_address_however_it_is_written(value: str, expected: str) -> None:
    assert canonical("email", value, US) == f"email:{expected}"


@pytest.mark.parametrize(
    "value",
    ["", "dana", "dana@", "@example.com", "dana@localhost", "dana@@example.com", "dana reyes@example.com", "n/a",
     "da\x00na@example.com", "dana@exam\nple.com", "dana@[192.0.2.1]", "Dana <dana@example.com>", "\ud800@example.com",
     "a" * 600 + "@example.com"],
)  # fmt: skip
def test_what_is_no_address_identifies_nobody(value: str) -> None:
    assert canonical("email", value, US) is None


def test_an_external_id_needs_a_namespace_and_keeps_its_case() -> None:
    assert canonical("external_id", " aB:42 ", US, namespace="shop") == "external_id:shop:aB:42"
    assert canonical("external_id", "42", US) is None
    assert canonical("external_id", "42", US, namespace="") is None
    assert canonical("external_id", "4\x002", US, namespace="shop") is None
    assert canonical("loyalty", "42", US, namespace="shop") is None


def test_no_two_external_ids_are_written_alike() -> None:
    made = {canonical("external_id", value, US, namespace=space) for space, value in [("a:b", "c"), ("a", "b:c")]}
    assert len(made) == 2


@given(st.text(max_size=40), st.sampled_from(["email", "phone", "external_id"]))
def test_canonical_takes_any_text_and_is_at_rest_with_its_own_words(value: str, kind: str) -> None:
    first = canonical(kind, value, US, namespace="shop")
    if first is not None:
        bare = first.removeprefix(f"{kind}:").removeprefix("shop:" if kind == "external_id" else "")
        assert canonical(kind, bare, US, namespace="shop") == first
        assert "\x00" not in first
        is_blocked(first, US)


@pytest.mark.parametrize(
    "value",
    ["noreply@example.com", "no-reply@example.com", "no_reply@example.com", "noreply-orders@example.com",
     "do-not-reply@example.com", "DoNotReply@example.com", "postmaster@example.com", "Info@example.com",
     "support@example.com", "support+eu@example.com", "admin@example.com", "unknown@example.com", "test@example.com",
     "mailer-daemon@example.com"],
)  # fmt: skip
def test_role_mailboxes_and_placeholders_join_nobody(value: str) -> None:
    identifier = canonical("email", value, US)
    assert identifier is not None
    assert is_blocked(identifier, US)


@pytest.mark.parametrize(
    "value", ["dana@example.com", "information.smith@example.com", "norepl@example.com", "notest@example.com"]
)
def test_a_persons_own_mailbox_is_not_blocked(value: str) -> None:
    assert not is_blocked(f"email:{value}", US)


def test_numbers_of_one_digit_and_placeholder_ids_join_nobody() -> None:
    assert is_blocked("phone:+12222222222", US)
    assert is_blocked("phone:+44999999999", US)
    assert not is_blocked("phone:+12025550143", US)
    for value in ("0", "null", "None", "undefined", "n/a"):
        assert is_blocked(f"external_id:shop:{value}", US)
    assert not is_blocked("external_id:shop:42", US)


def test_patterns_of_the_rules_block_by_the_bare_value() -> None:
    rules = Rules(block=("temp*@*", "*@Spam.example.com", "+1 202 555 01*", "guest-*"))
    blocked = ["email:temp42@example.com", "email:dana@spam.example.com", "phone:+12025550143"]
    assert all(is_blocked(each, rules) for each in [*blocked, "external_id:shop:guest-7"])
    assert not is_blocked("email:dana@example.com", rules)
    assert not is_blocked("phone:+12025560143", rules)
    assert not is_blocked("email:phone@example.com", Rules(block=("phone:*",)))


def test_our_own_lines_and_mailboxes_are_known_in_any_spelling() -> None:
    rules = Rules(own=("Orders.EU@example.com", "(202) 555-0199", "*@staff.example.com"), block=("(202) 555-0198",))
    for each in (
        "email:orders.eu@example.com",
        "phone:+12025550199",
        "phone:+12025550198",
        "email:x@staff.example.com",
    ):
        assert is_blocked(each, rules)
        assert not is_blocked(each, US)
