"""What a read repairs of a call whose webhooks were missed, and what it leaves as webhooks told it; in any order."""

from itertools import permutations
from typing import Any

import pytest

from connectors.aircall.mock import TIMELINE, simulator
from core.sdk import Hint, Payload
from core.sdk.cast import STAFF
from core.sdk.mock import Clock, Mock, running
from schemas.event import Event
from tests.connectors.aircall_source import MS, aircall, folded, hydrated, normalized, pages, taken
from tests.connectors.http import PlainHttp

T = MS // 1000
HOUR = 3_600
MAYA, JONAS = {"id": 5, "name": "Maya Lindqvist"}, {"id": 6, "name": "Jonas Petrov"}
RINGING = {"id": 1, "direction": "inbound", "status": "initial", "started_at": T, "user": MAYA, "tags": []}
TALKING = {**RINGING, "status": "answered", "answered_at": T + 9}
ENDED = {**TALKING, "status": "done", "ended_at": T + 100}
MISSED = {**RINGING, "status": "done", "ended_at": T + 40, "missed_call_reason": "agents_did_not_answer"}


def pushed(event: str, second: int, call: dict[str, Any], **data: Any) -> list[Event]:
    at = (T + second) * 1000
    return normalized(Payload(event, {**call, **data}, "example", True, at + 480, at))


def read(second: int, call: dict[str, Any], **data: Any) -> list[Event]:
    return normalized(Payload("call", {**call, **data}, "example", False, (T + second) * 1000))


def said(*told: list[Event]) -> dict[str, Any]:
    """What is shown of the one call, in whatever order all of it came."""
    orders = permutations([event for events in told for event in events])
    shown = [
        {name: fact.value for name, fact in one.facts.items()} for order in orders for one in folded([*order]).values()
    ]
    assert all(each == shown[0] for each in shown)
    return shown[0]


def who(call: dict[str, Any]) -> str | None:
    return (call.get("assignee") or {}).get("name")


async def polled(http: PlainHttp) -> list[Event]:
    return [event for page in await pages(http, "calls") for each in page.payloads for event in normalized(each)]


def heard(mock: Mock, kind: str, **data: Any) -> list[Event]:
    bodies = [{**push.body, "token": "t"} for _, push in mock.player.insert(f"call.{kind}", "x", data)]
    return [event for body in bodies for each in taken(body).payloads for event in normalized(each)]


@pytest.mark.parametrize(
    ("missed", "status"),
    [
        ([("answer", "by"), ("end", "")], "answered"),
        ([("answer", ""), ("transfer", "to"), ("end", "")], "answered"),
        ([("answer", "by")], "in_progress"),
        ([("miss", ""), ("end", "")], "missed"),
        ([("miss", ""), ("voicemail", ""), ("end", "")], "voicemail"),
    ],
    ids=["answered by another", "transferred", "still talking", "missed", "voicemail"],
)
async def test_who_took_a_call_of_which_only_the_ringing_was_heard_is_found_by_a_read(
    missed: list[tuple[str, str]], status: str
) -> None:
    clock = Clock(MS, rate=0)
    async with running(simulator(7, {}), pace=0, clock=clock) as mock, aircall(mock) as http:
        ringing = heard(mock, "ring", phone="+12025550122")
        names = {slug: f"{each.given} {each.family}" for slug, each in STAFF.items()}
        other = next(slug for slug, name in names.items() if name != who(said(ringing)))
        for step, (what, field) in enumerate(missed, 1):
            clock.set(MS + step * 20_000)
            heard(mock, what, **({field: other} if field else {}))
        clock.set(MS + 300_000)
        found = [event for event in await polled(http) if event.subject == ringing[0].subject]
        call = said(ringing, found)
        assert call["status"] == status
        assert who(call) == (None if status in ("missed", "voicemail") else names[other])


def test_what_is_told_after_the_last_moment_that_a_read_knows_stays() -> None:
    """Reads of a source may be behind: what counts is the moment that they tell of."""
    passed = pushed("call.transferred", 60, TALKING, user=JONAS, transferred_by=MAYA, transferred_to=JONAS)
    call = said(pushed("call.ringing_on_agent", 1, RINGING), read(90, TALKING), passed)
    assert (who(call), call["transfers"][0]["by"]["name"]) == ("Jonas Petrov", "Maya Lindqvist")


def test_a_read_of_a_call_that_rings_does_not_hide_at_whom() -> None:
    ringing = pushed("call.ringing_on_agent", 0, RINGING)
    assert who(said(ringing, read(20, RINGING, user=None))) == "Maya Lindqvist"
    assert who(said(ringing, read(20, RINGING, user=JONAS))) == "Jonas Petrov"


def test_a_call_that_was_taken_by_nobody_known_is_not_that_of_whom_it_rang_at() -> None:
    assert who(said(pushed("call.ringing_on_agent", 1, RINGING), read(20, TALKING, user=None))) is None


def test_a_call_that_nobody_took_is_that_of_whom_it_was_assigned_to_and_not_of_whom_it_rang_at() -> None:
    ringing = pushed("call.ringing_on_agent", 1, RINGING)
    for over in (read(90, MISSED), pushed("call.ended", 70, MISSED), read(90, MISSED, voicemail="(link removed)")):
        assert who(said(ringing, over)) is None
    assert who(said(ringing, read(90, MISSED, assigned_to=JONAS))) == "Jonas Petrov"
    assert who(said(read(90, MISSED, direction="outbound"))) == "Maya Lindqvist"  # she made it


def test_team_times_and_choices_that_webhooks_missed_are_repaired() -> None:
    told = {"teams": [{"id": 1, "name": "Support"}], "ivr_options_selected": [{"title": "Orders"}]}
    hungup = pushed("call.hungup", 100, ENDED, **told)
    choices = [{"title": "Orders"}, {"title": "Where is my order?"}]
    rest = {"ended_at": T + 130, "teams": [{"id": 2, "name": "Billing"}], "ivr_options_selected": choices}
    call = said(hungup, read(400, ENDED, **rest))
    assert (call["team"]["name"], call["talk_seconds"]) == ("Billing", 121)
    assert call["attributes"] == {"ivr": ["Orders", "Where is my order?"]}


def test_of_what_a_read_knows_less_it_fills_only_what_no_webhook_told() -> None:
    caller = {"raw_digits": "+1 202-555-0122", "contact": {"id": 9, "first_name": "Zoë"}}
    line = {"id": 3, "digits": "202-555-0199", "e164_digits": "+12025550199"}
    outside = pushed("call.external_transferred", 50, TALKING, external_transferred_to="+44 20 7946 0031", number=line,
                     **caller)  # fmt: skip
    known = read(400, ENDED, transferred_by=JONAS, transferred_to=MAYA, raw_digits=caller["raw_digits"],
                 number={"id": 3, "digits": "202-555-0199"})  # fmt: skip
    alone, both = said(outside), said(outside, known)
    for field in ("transfers", "parties", "line"):
        assert both[field] == alone[field] != said(known)[field], field


def test_an_assignment_and_a_tag_taken_away_without_a_word_are_found_once_the_call_was_still() -> None:
    ended = pushed("call.ended", 70, MISSED, tags=[{"name": "late", "created_at": T + 30}])
    late = read(2 * HOUR, MISSED, assigned_to=JONAS)
    found = said(ended, late)
    assert (who(found), found["tags"]) == ("Jonas Petrov", [])
    again = pushed("call.assigned", 3 * HOUR, MISSED, assigned_to=MAYA)
    assert who(said(ended, late, again)) == "Maya Lindqvist"


@pytest.mark.parametrize("told", [0, 1, 2])
async def test_choices_in_the_menu_that_no_webhook_told_are_found_by_a_poll_while_it_rings(told: int) -> None:
    clock = Clock(MS, rate=0)
    async with running(simulator(7, {}), pace=0, clock=clock) as mock, aircall(mock) as http:
        known = heard(mock, "ring", phone="+12025550122")
        for index, title in enumerate(("Orders", "Where is my order?")):
            clock.set(clock.now() + 5_000)
            choice = heard(mock, "choose", title=title, key=str(index))
            known += choice if index < told else []
        clock.set(MS + 60_000)
        found = [event for event in await polled(http) if event.subject == known[0].subject]
        assert said(known, found)["attributes"] == {"ivr": ["Orders", "Where is my order?"]}


async def test_choices_that_aircall_shows_no_more_after_two_months_stay() -> None:
    clock = Clock(MS, rate=0)
    async with running(simulator(7, {}), pace=0, clock=clock) as mock, aircall(mock) as http:
        known = heard(mock, "ring", phone="+12025550122") + heard(mock, "choose", title="Orders", key="2")
        heard(mock, "end")
        id = known[0].subject.rpartition("/")[2]
        fresh = await hydrated(http, Hint("call", id, MS))
        clock.set(MS + TIMELINE * 1000 + 1_000)
        old = await hydrated(http, Hint("call", id, MS))
        assert "attributes" in fresh[0].data and "attributes" not in old[0].data
        for order in ([*fresh, *old], [*old, *fresh], [*known, *old]):
            assert folded(order)[known[0].subject].get("attributes") == {"ivr": ["Orders"]}
