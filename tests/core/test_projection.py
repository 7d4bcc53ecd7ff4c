"""Registers and records: any order, any number of times, the same bytes."""

import itertools
import random
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.projection import Carried, Choice, Member, Registers, base, card, fold, person_state, place
from core.projection.registers import RANKS
from core.sdk import Maker, Payload
from core.store import ActivityRow
from schemas.entities import Person
from schemas.event import Event

FIELDS = ("subject", "status", "priority", "tags")


class Write(NamedTuple):
    id: str
    action: str
    order: tuple[int, int, int, int]
    received: int
    mode: str
    data: dict[str, Any]
    into: str | None = None
    final: bool = False
    erased: bool = False


@st.composite
def writes(draw: st.DrawFn) -> list[Write]:
    """Events of one object as sources send them: few clock values, so that ties are common; the same id is the same
    content, perhaps seen again with another order key and another time of arrival. A deletion that was read without a
    clock is none that was pushed, and has another id."""
    found: list[Write] = []
    for number in range(draw(st.integers(1, 8))):
        if draw(st.integers(0, 4)) == 0:
            began = draw(st.integers(1, 5))
            found.append(Write(f"{number}", "deleted", (0, 1, began, 1), began, "full", {}))
            continue
        action = draw(st.sampled_from(["upserted"] * 6 + ["deleted", "merged"]))
        data = (
            draw(st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(["a", "b", None])))
            if (action == "upserted")
            else {}
        )
        erased = action == "deleted" and draw(st.integers(0, 9)) == 0
        base = Write(
            id=f"{number}",
            action=action,
            order=(draw(st.integers(0, 3)), 0, draw(st.integers(0, 2)), 1),
            received=draw(st.integers(1, 5)),
            mode=draw(st.sampled_from(["full", "patch"])),
            data=data,
            into="k/a/p/2" if action == "merged" else None,
            final=erased or (action == "deleted" and draw(st.booleans())),
            erased=erased,
        )
        found.append(base)
        clock, _, sequence, mapper = base.order
        if draw(st.booleans()) and (clock or action != "deleted"):
            found.append(base._replace(order=(clock, 1, sequence, mapper), received=draw(st.integers(1, 5))))
    return found


def applied(entity: str, events: list[Write]) -> bytes:
    registers = Registers(entity)
    for event in events:
        registers.apply(event)
        registers = Registers.load(registers.dump())
    return registers.dump()


@pytest.mark.slow
@given(writes(), st.randoms(use_true_random=False))
@settings(max_examples=1_500, deadline=None)
def test_any_order_and_any_number_of_times_give_the_same_registers(events: list[Write], chance: random.Random) -> None:
    shuffled = events + chance.choices(events, k=len(events))
    chance.shuffle(shuffled)
    assert applied("conversation", shuffled) == applied("conversation", events)


@pytest.mark.slow
@given(writes(), st.randoms(use_true_random=False))
@settings(max_examples=500, deadline=None)
def test_ranked_fields_converge_too(events: list[Write], chance: random.Random) -> None:
    states = list(RANKS["call"]["status"])
    calls = [each._replace(data={"status": states[hash(each.id) % len(states)]}) for each in events]
    shuffled = chance.sample(calls, len(calls))
    assert applied("call", shuffled) == applied("call", calls)


MAKER = Maker("push")
STATES = ("live", "deleted", "final", "erased")


def told(state: str, clock: int, name: str = "Dana Reyes") -> Event:
    """A person's state as a source pushes it, all of them in one moment."""
    payload = Payload("test", {}, "acme", True, 5_000)
    if state == "live":
        return MAKER.upserted(payload, "person", 1, Person(display_name=name), clock=clock)
    return MAKER.deleted(payload, "person", 1, Person, clock=clock, final=state == "final", erased=state == "erased")


@given(
    st.lists(st.tuples(st.sampled_from(STATES), st.sampled_from(["Dana Reyes", "Dana Ode"])), min_size=1, max_size=6),
    st.sampled_from([1_000, 3_000]),
)
def test_of_what_is_told_of_one_moment_the_strongest_counts_in_any_order(
    said: list[tuple[str, str]], other: int
) -> None:
    registers = Registers("person")
    for each in [told("live", 1_000), *(told(state, 2_000, name) for state, name in said), told("live", other)]:
        registers.apply(each)
        registers = Registers.load(registers.dump())
    strongest = max((state for state, _ in said), key=STATES.index)
    back = strongest == "deleted" and other == 3_000
    assert registers.state == ("live" if back else "deleted" if strongest == "final" else strongest)
    assert (b"Dana" in registers.dump()) == (strongest != "erased")


def written(*events: Write, entity: str = "conversation") -> Registers:
    registers = Registers(entity)
    for event in events:
        registers.apply(event)
    return registers


def test_a_full_event_unsets_what_it_does_not_bring_and_what_is_older() -> None:
    old = Write("1", "upserted", (1, 0, 0, 1), 1, "full", {"subject": "a", "status": "open"})
    new = Write("2", "upserted", (2, 0, 0, 1), 2, "full", {"subject": "b"})
    assert written(new, old).visible().get("status") is None


def test_a_patch_leaves_the_rest_alone() -> None:
    old = Write("1", "upserted", (1, 0, 0, 1), 1, "full", {"subject": "a", "status": "open"})
    new = Write("2", "upserted", (2, 0, 0, 1), 2, "patch", {"subject": "b"})
    visible = written(new, old).visible()
    assert (visible.get("subject"), visible.get("status")) == ("b", "open")


def test_a_read_of_the_same_second_beats_a_push() -> None:
    push = Write("9", "upserted", (1000, 0, 999, 1), 1, "full", {"subject": "pushed"})
    read = Write("1", "upserted", (1000, 1, 5, 1), 2, "full", {"subject": "read"})
    assert written(read, push).visible().get("subject") == "read"


def test_a_terminal_call_is_never_left() -> None:
    ended = Write("1", "upserted", (1, 0, 0, 1), 1, "patch", {"status": "answered"})
    late = Write("2", "upserted", (9, 0, 0, 1), 2, "patch", {"status": "ringing"})
    assert written(ended, late, entity="call").visible().get("status") == "answered"


def test_an_erasure_empties_the_registers_for_good() -> None:
    told = Write("1", "upserted", (1, 0, 0, 1), 1, "full", {"subject": "private"})
    erased = Write("2", "deleted", (2, 0, 0, 1), 2, "full", {}, final=True, erased=True)
    later = Write("3", "upserted", (9, 1, 0, 1), 3, "full", {"subject": "private again"})
    registers = written(told, erased, later)
    assert registers.visible().state == "erased"
    assert b"private" not in registers.dump()


def test_a_deletion_that_is_not_final_can_be_taken_back() -> None:
    gone = Write("1", "deleted", (2, 0, 0, 1), 1, "full", {})
    back = Write("2", "upserted", (3, 0, 0, 1), 2, "full", {"subject": "back"})
    assert written(back, gone).visible().state == "live"


def look(received: int) -> Write:
    """Somebody looked for it and did not find it."""
    return Write(f"look {received}", "deleted", (0, 1, received, 1), received, "full", {})


def found_at(received: int, clock: int = 5) -> Write:
    return Write(f"state of {clock}", "upserted", (clock, 1, received, 1), received, "full", {"subject": "a"})


PUSHED = Write("pushed", "upserted", (1_500, 0, 0, 1), 1_501, "patch", {"subject": "b"})


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([found_at(900), look(1_000)], "deleted"),
        ([found_at(1_000), look(1_000)], "deleted"),
        ([found_at(900), look(1_000), found_at(1_100)], "live"),
        ([found_at(900), look(1_000), found_at(1_100, clock=3)], "live"),
        ([found_at(900), look(1_000), found_at(1_100), look(1_200)], "deleted"),
        ([found_at(900), look(1_000), PUSHED], "live"),
        ([look(1_600), PUSHED], "deleted"),
        ([look(1_000)], "deleted"),
        (
            [found_at(900), Write("gone", "deleted", (7, 0, 0, 1), 7, "full", {}), look(1_000), found_at(1_100)],
            "deleted",
        ),
    ],
)
def test_what_a_look_did_not_find_is_gone_until_it_is_seen_later(events: list[Write], state: str) -> None:
    """However old the state that is seen: where a right comes back, nothing was edited."""
    for order in itertools.permutations(events):
        registers = written(*order)
        assert registers.state == registers.visible().state == state, order
        assert registers.visible().departed == (state != "live")
        assert registers.dump() == written(*events, *order).dump()


def conversation(key: str, at: str, waiting: str | None = None) -> ActivityRow:
    data = {"subject": f"about {key}", "status": "open", "at": at, "waiting_since": waiting}
    registers = written(Write(key, "upserted", (1, 0, 0, 1), 1, "full", data))
    where, visible = f"intercom/x/conversation/{key}", registers.visible()
    at_ = place("conversation", visible)
    made = card(where, registers, visible, at_)
    return ActivityRow("intercom/x/contact/1", where, "requester", "conversation", at_.at, at_.open, made)


def person(key: str, name: str, clock: int, email: str) -> Member:
    data = {"display_name": name, "role": "customer", "identifiers": [{"kind": "email", "value": email}]}
    registers = written(Write(key, "upserted", (clock, 0, 0, 1), 1, "full", data), entity="person")
    state = person_state(registers.visible(), [Carried(f"email:{email}", "recorded", False, True)])
    return Member(key, None, None, False, state.dump())


AT = [f"2026-01-0{day}T00:00:00.000Z" for day in range(1, 8)]


@given(st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_record_does_not_depend_on_the_order_of_its_parts(chance: random.Random) -> None:
    members = [person(f"hubspot/1/contact/{n}", f"Dana {n}", n, f"d{n}@example.com") for n in range(5)]
    pieces = [conversation(str(n), AT[n % 3]) for n in range(7)]
    show = Choice(facts={"name": ["intercom", "hubspot"]})
    shuffled = fold("c", base(chance.sample(members, 5), {}, show), chance.sample(pieces, 7))
    assert shuffled == fold("c", base(members, {}, show), pieces)


def test_the_oldest_unanswered_message_says_since_when_the_customer_waits() -> None:
    pieces = [conversation("1", AT[5], AT[4]), conversation("2", AT[6], AT[2]), conversation("3", AT[6])]
    record = orjson.loads(fold("c", base([person("h/1/c/1", "Dana", 1, "d@example.com")], {}, Choice()), pieces).record)
    assert record["waiting_since"] == AT[2]


def test_a_conversation_stands_once_in_the_timeline_however_many_messages_it_has() -> None:
    thread = conversation("1", AT[5])
    messages = [thread._replace(object=f"i/x/message/{n}", entity="message", at=AT[6]) for n in range(9)]
    record = orjson.loads(
        fold("c", base([person("h/1/c/1", "Dana", 1, "d@example.com")], {}, Choice()), [thread, *messages]).record
    )
    assert [line["key"] for line in record["timeline"]] == [thread.object]


def test_the_rules_choose_what_is_shown_and_the_rest_stays_visible() -> None:
    members = [
        person("hubspot/1/contact/1", "Dana Reyes", 1, "a@example.com"),
        person("intercom/1/contact/1", "dana", 2, "b@example.com"),
    ]
    by_source = orjson.loads(fold("c", base(members, {}, Choice(facts={"name": ["hubspot"]})), []).record)["profile"][
        "name"
    ]
    newest = orjson.loads(fold("c", base(members, {}, Choice()), []).record)["profile"]["name"]
    assert (by_source["value"], [each["value"] for each in by_source["others"]]) == ("Dana Reyes", ["dana"])
    assert newest["value"] == "dana"


def test_a_person_who_is_gone_says_nothing_but_stays_among_the_people_of_the_past() -> None:
    gone = person("hubspot/1/contact/1", "Dana Reyes", 1, "a@example.com")
    left = Member(gone.key, None, None, True, gone.state)
    record = orjson.loads(fold("c", base([left], {}, Choice()), []).record)
    assert record["profile"] == {}
    assert record["people"] == []
