"""The story: one cast, an opening whose figures come out by themselves, and a show that recurs for ever."""

from collections import Counter
from itertools import islice, pairwise, takewhile

import pytest

from core.identity import Component, Evidence, Partition, Rules, SourcePerson, canonical, is_blocked, partition
from core.sdk.cast import CAST, OFFICE_PHONE, STAFF
from core.sdk.story import CYCLE, KEPT, STRIDE, Beat, beats, guest, number, opening, uuid

CYCLES = 60


def told(cycles: int = CYCLES) -> list[Beat]:
    return [*opening(7), *within(cycles)]


def within(cycles: int) -> list[Beat]:
    return list(takewhile(lambda beat: beat.cycle < cycles, beats(7)))


def who_is_who(played: list[Beat]) -> Partition:
    """The real partition over what the tools know of people, all of it recorded."""
    known: dict[tuple[str, str], dict[str, str]] = {}
    for beat in played:
        if beat.kind == "person.upsert":
            known.setdefault((beat.vendor, beat.ref), {}).update(beat.data)
        elif beat.kind == "person.delete":
            known.pop((beat.vendor, beat.ref), None)
    persons, evidence = [], []
    for (vendor, ref), facts in known.items():
        key = f"{vendor}/example/person/{ref}"
        persons.append(SourcePerson(key, (f"{facts['given']} {facts['family']}",)))
        for kind in ("email", "phone", "external_id"):
            if value := facts.get(kind):
                identifier = canonical(kind, value, Rules(), namespace="customer")
                assert identifier is not None and not is_blocked(identifier, Rules())
                evidence.append(Evidence(key, identifier, "recorded"))
    return partition(Component(persons, evidence=evidence), Rules())


def customer(found: Partition, key: str) -> tuple[str, ...]:
    return next(members for members in found.customers.values() if key in members)


def person(vendor: str, ref: str) -> str:
    return f"{vendor}/example/person/{ref}"


def test_the_opening_has_the_figures_of_the_first_minute() -> None:
    counts = Counter((beat.vendor, beat.kind) for beat in opening(7))
    assert [counts[vendor, "person.upsert"] for vendor in ("intercom", "aircall", "hubspot")] == [12, 9, 14]
    assert counts["intercom", "conversation.open"] == 31
    assert counts["aircall", "call.ring"] == counts["aircall", "call.end"] == 18
    assert counts["hubspot", "deal.upsert"] == 6
    cards = [beat.data["verified"] for beat in opening(7) if beat.kind == "card.upsert"]
    assert (len(cards), sum(cards)) == (22, 19)


def test_35_people_in_three_tools_are_16_customers() -> None:
    found = who_is_who(list(opening(7)))
    assert sum(map(len, found.customers.values())) == 35
    assert len(found.customers) == 16


def test_the_opening_lies_in_the_past_30_days_in_order() -> None:
    found = opening(7)
    assert all(-30 * 86_400 < beat.at < 0 and beat.n < 0 for beat in found)
    assert all(a.at <= b.at and a.n < b.n for a, b in pairwise(found))


def test_dana_has_been_waiting_for_two_days() -> None:
    beats_of = [beat for beat in opening(7) if beat.ref == "v:dana.2"]
    assert [beat.kind for beat in beats_of] == ["conversation.open"]
    assert beats_of[0].data["subject"] == "Bag never arrived"
    assert 2 * 86_400 <= -beats_of[0].at < 2.1 * 86_400


def test_the_same_beat_is_always_the_same() -> None:
    for begin in (0, 1, 250, 7_031):
        assert list(islice(beats(7, begin), 300)) == list(islice(beats(7, begin), 300))
    later = list(islice(beats(7, 1_234), 50))
    assert later == [beat for beat in islice(beats(7), 2_000) if beat.n >= 1_234][:50]
    assert opening(7) == opening(7)


def test_another_seed_tells_it_otherwise() -> None:
    assert list(islice(beats(8), 300)) != list(islice(beats(7), 300))


def test_time_and_numbers_rise_and_no_cycle_overflows() -> None:
    found = within(CYCLES)
    assert all(a.n < b.n and a.at <= b.at for a, b in pairwise(found))
    assert all(beat.cycle * CYCLE <= beat.at < (beat.cycle + 1) * CYCLE for beat in found)
    assert max(beat.n % STRIDE for beat in found) < STRIDE - 1


@pytest.mark.parametrize("cycle", [0, 1, 2, 21, 59])
def test_the_first_half_of_every_cycle_shows_ring_merge_shared_split_and_refusal(cycle: int) -> None:
    half = [beat for beat in within(cycle + 1) if beat.cycle == cycle and beat.at < (cycle + 0.5) * CYCLE]
    before = [*opening(7), *within(cycle)]
    who = guest(cycle)
    ring, shared = [beat for beat in half if beat.kind == "call.ring"][:2]
    assert ring.data["phone"] == who.phone
    assert shared.data["phone"] == OFFICE_PHONE
    assert {"call.answer", "call.miss", "call.end", "refuse"} <= {beat.kind for beat in half}
    known, merged = who_is_who(before), who_is_who([*before, *half])
    assert person("aircall", who.slug) not in [each for members in known.customers.values() for each in members]
    assert person("hubspot", who.slug) in customer(merged, person("aircall", who.slug))
    one, other = (person("intercom", ref) for ref in who.couple)
    assert other in customer(known, one)
    assert other not in customer(merged, one)
    assert "two external ids" in {refusal.reason for refusal in merged.refusals}


def test_whoever_rings_is_known_by_the_number_when_they_ring() -> None:
    numbers: dict[str, str] = {}
    for beat in told():
        if beat.kind == "person.upsert" and "phone" in beat.data:
            numbers[beat.data["phone"]] = beat.ref
        if beat.kind == "call.ring" and beat.data["phone"] != "anonymous":
            assert beat.data["phone"] in numbers


def test_nobody_of_the_office_is_merged() -> None:
    found = who_is_who(told(3))
    office = [customer(found, person("hubspot", slug)) for slug in ("ines", "tom", "aiko")]
    assert len(set(office)) == 3
    assert f"phone:{OFFICE_PHONE}" in found.contested


def test_people_of_long_ago_are_deleted_so_that_the_cast_stays_bounded() -> None:
    alive: dict[tuple[str, str], str] = {}
    most = 0
    for beat in told(3 * KEPT):
        if beat.kind == "person.upsert":
            alive[beat.vendor, beat.ref] = beat.data.get("phone", alive.get((beat.vendor, beat.ref), ""))
        elif beat.kind == "person.delete":
            del alive[beat.vendor, beat.ref]
        elif beat.kind == "person.merge":
            del alive[beat.vendor, beat.ref]
            if "new" in beat.data:
                alive[beat.vendor, beat.data["new"]] = alive.pop((beat.vendor, beat.data["into"]))
        most = max(most, len(alive))
    assert most < 35 + 6 * (KEPT + 3)


def test_numbers_and_addresses_are_made_for_fiction() -> None:
    for beat in told():
        phone, email = beat.data.get("phone"), beat.data.get("email", "example.com")
        assert phone in (None, "anonymous") or phone.startswith(("+12025550", "+442079460"))
        assert phone in (None, "anonymous") or len(phone) in (12, 13)
        assert email.endswith("example.com")


def test_each_beat_speaks_of_what_is_there() -> None:
    families = {"conversation": "conversation.open", "call": "call.ring", "deal": "deal.upsert", "card": "card.upsert"}
    begun: set[tuple[str, str]] = set()
    people: set[tuple[str, str]] = set()
    for beat in told():
        family = beat.kind.partition(".")[0]
        if beat.kind == "person.upsert":
            people.add((beat.vendor, beat.ref))
        if beat.kind == families.get(family):
            begun.add((family, beat.ref))
        elif family in families:
            assert (family, beat.ref) in begun, beat
        if "person" in beat.data:
            assert (beat.vendor, beat.data["person"]) in people, beat
        for field in ("by", "to", "owner", "assignee"):
            if field in beat.data and beat.kind != "person.merge":
                assert beat.data[field] in {*STAFF, "customer"}, beat


def test_ids_are_stable_and_of_their_length() -> None:
    assert number(7, "call:1") == number(7, "call:1") != number(8, "call:1")
    assert {len(str(number(7, f"x{index}", 6))) for index in range(500)} == {6}
    assert uuid(7, "a") == uuid(7, "a") != uuid(7, "b")
    many = {number(7, f"call:{index}") for index in range(20_000)}
    assert len(many) == 20_000


def test_names_are_as_diverse_as_life() -> None:
    names = " ".join(actor.name for actor in CAST.values())
    assert "<b>" in names
    assert any("\u0590" <= letter <= "\u06ff" for letter in names)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in names)
    assert "é" in names
