"""What a call's snapshot says beside its life: who joined, where it was passed on outside, what the caller chose,
whether it was archived; and what an AI voice agent tells."""

import json
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from connectors.aircall.mock import simulator
from core.sdk import Payload
from core.sdk.mock import Clock, running
from tests.connectors.aircall_source import MS, aircall, folded, normalized, pages, taken
from tests.connectors.test_aircall import named as sample

CALL = "aircall/example/call/6190000001"


def named(name: str, **data: Any) -> Payload:
    payload = sample(name)
    return replace(payload, data={**payload.data, **data})


def call(*payloads: Payload) -> Any:
    return folded([event for payload in payloads for event in normalized(payload)])[CALL]


def test_an_archived_call_is_shown_so_until_it_is_taken_up_again() -> None:
    ended = named("call.ended")
    archived = replace(named("call.ended", archived=True), kind="call.archived", at=ended.at + 60_000)
    for order in permutations((ended, archived)):
        assert (call(*order).get("source_state"), call(*order).get("status")) == ("archived", "answered")
    again = replace(ended, kind="call.commented", at=ended.at + 120_000)
    assert call(ended, archived, again).get("source_state") == "done"


def test_an_archived_call_that_no_webhook_told_is_shown_so_when_it_is_read() -> None:
    read = named("call.read", archived=True)
    (event, *_) = normalized(read)
    assert event.data["source_state"] == "archived"


HOUR = 3_600_000


async def test_archived_or_taken_up_again_without_a_word_a_call_is_shown_so_by_the_hourly_look() -> None:
    """Told first: the call's end. Each change after it is missed, and each next look finds it."""
    clock = Clock(MS, rate=0)
    async with running(simulator(7, {}), pace=0, clock=clock) as mock, aircall(mock) as http:
        bodies = []
        for wait, kind in ((0, "ring"), (20, "miss"), (50, "end")):
            clock.set(MS + wait * 1_000)
            bodies += [push.body for _, push in mock.player.insert(f"call.{kind}", "x", {"phone": "+12025550122"})]
        told = [event for body in bodies for one in taken(body).payloads for event in normalized(one)]
        known, cursor = list(told), (await pages(http, "calls"))[-1].cursor
        for hours, change, state in (
            (2, "archive", "archived"),
            (26, "unarchive", "done"),
            (27, "archive", "archived"),
        ):
            clock.set(MS + hours * HOUR)
            mock.player.insert(f"call.{change}", "x", {})
            read = await pages(http, "calls", cursor)
            cursor = read[-1].cursor
            known += [event for page in read for one in page.payloads for event in normalized(one)]
            for order in (known, known[::-1]):
                assert folded(order)[told[0].subject].get("source_state") == state, hours


def test_a_call_that_was_looked_at_while_it_was_still_is_the_same_event_until_it_was_still_for_a_day() -> None:
    read = named("call.read")
    at = max(event.order.clock for event in normalized(read))

    def looked(later: int) -> list[str]:
        return [event.id for event in normalized(replace(read, received=at + later)) if event.entity == "call"]

    assert looked(HOUR - 1) == looked(0) != looked(HOUR)
    assert looked(HOUR) == looked(24 * HOUR - 1) != looked(24 * HOUR) == looked(300 * HOUR)


def test_an_archiving_that_is_told_counts_from_then_on_whatever_was_read_before() -> None:
    read = named("call.read")
    read = replace(read, received=read.received + 2 * HOUR)
    archived = replace(named("call.ended", archived=True), kind="call.archived", at=read.received + 1_000)
    for order in permutations((named("call.ended"), read, archived)):
        assert call(*order).get("source_state") == "archived"


def test_a_transfer_outside_tells_the_number_and_no_key_does() -> None:
    passed, ended = named("call.external-transferred"), named("call.ended")
    for order in permutations((passed, ended)):
        (transfer,) = call(*order).get("transfers")
        assert transfer["by"]["name"] == "Jonas Petrov" and transfer["to"]["name"] == "+442079460031"
        assert "79460031" not in transfer["to"]["key"]
        assert all("79460031" not in json.dumps(party) for party in call(*order).get("parties"))


def test_who_joined_a_call_sees_it_and_is_not_taken_for_the_caller() -> None:
    found = call(named("call.conference")).get("parties")
    assert [(party["role"], party.get("person"), (party.get("identifier") or {}).get("value")) for party in found] == [
        ("caller", "aircall/example/contact/731900456", "+12025550122"),
        ("collaborator", "aircall/example/contact/731900457", None),
        ("collaborator", None, "+442079460044"),
    ]


@pytest.mark.parametrize("field", ["participants", "conference_participants"])
def test_pushed_or_read_nobody_joins_twice(field: str) -> None:
    caller = [{"type": "contact", "id": "731900456"}, {"type": "contact", "id": "9", "phone_number": "+1 202-555-0122"}]
    twice = [*caller, *[{"type": "external", "phone_number": "+44 20 7946 0044"}] * 2]
    found = call(named("call.ended", **{"participants": [], field: [*twice, {"type": "user", "id": "1"}, "odd", {}]}))
    assert [party["role"] for party in found.get("parties")] == ["caller", "collaborator"]


def test_what_a_caller_chose_is_kept_although_later_snapshots_forget_it() -> None:
    chosen, later = named("call.conference"), named("call.ended")
    later = replace(later, at=chosen.at + 60_000)
    for order in permutations((chosen, later)):
        assert call(*order).get("attributes") == {"ivr": ["Orders", "Where is my order?"]}


def test_an_agent_that_asked_people_to_take_over_says_why_and_its_end_does_not_hide_it() -> None:
    escalated = named("ai_voice_agent.escalated")
    ended = replace(named("ai_voice_agent.escalated", escalation_reason=None, call_end_reason="escalated"),
                    kind="ai_voice_agent.ended", at=escalated.at + 1_000)  # fmt: skip
    for order in permutations((escalated, ended)):
        (note,) = folded([event for payload in order for event in normalized(payload)]).values()
        assert note.get("body") == "The AI voice agent passed the call on to people: Asked to speak to a person"
        assert note.get("source_state") == "escalated" and note.get("author")["name"] == "Front desk"
        assert note.get("parties")[0]["identifier"]["value"] == "+12025550143"


def test_a_talk_that_ended_says_how_and_nobody_anonymous_is_made_of_it() -> None:
    (event,) = normalized(named("ai_voice_agent.ended", external_caller_number="anonymous"))
    assert (event.data["body"], event.data.get("parties")) == ("The AI voice agent's talk ended: caller hung up", None)
    (event,) = normalized(named("ai_voice_agent.escalated", escalation_reason=None))
    assert event.data["body"] == "The AI voice agent passed the call on to people."


@pytest.mark.parametrize(
    ("reason", "words"),
    [("caller__hung_up", "caller hung up"), ("_disconnected_", "disconnected"), ("_", ""), ("", "")],
)
def test_an_end_without_a_word_says_nothing(reason: str, words: str) -> None:
    (event,) = normalized(named("ai_voice_agent.ended", call_end_reason=reason))
    assert event.data.get("body") == (f"The AI voice agent's talk ended: {words}" if words else None)


@pytest.mark.parametrize(
    ("event", "used"),
    [("ai_voice_agent.escalated", True), ("ai_voice_agent.ended", True), ("ai_voice_agent.ended.v2", True),
     ("ai_voice_agent.started", False), ("ai_voice_agent.summary", False), ("ai_voice_agent.summary.v2", False)],
)  # fmt: skip
def test_of_an_agents_deliveries_what_was_said_is_not_kept(event: str, used: bool) -> None:
    data = {**sample("ai_voice_agent.ended").data, "extracted_data": {"order": "1042"}, "summary": "1042 is late"}
    split = taken({"event": event, "timestamp": MS // 1000, "data": data})
    assert ([payload.kind for payload in split.payloads], list(split.ignored)) == (
        ([event], []) if used else ([], [event])
    )
    assert "1042" not in repr(split)
