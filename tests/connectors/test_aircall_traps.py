"""What surprises people about Aircall, a sentence each."""

import itertools
from typing import Any

import pytest

from connectors.aircall.mock import REACHABLE, simulator
from connectors.aircall.poll import LARGEST
from core.sdk import Hint, NormalizeError, Payload, PermanentError, TransientError
from core.sdk.mock import Clock, running
from core.sdk.story import Beat
from tests.connectors.aircall_source import CONFIG, MS, aircall, folded, hydrated, ids, normalized, pages, taken

CALL = {"id": 1, "direction": "inbound", "status": "done", "started_at": 1768200000, "ended_at": 1768200060}


def pushed(event: str, at: int = 1768200060, **data: Any) -> list[Any]:
    (payload,) = taken({"event": event, "timestamp": at, "token": "t", "data": {**CALL, **data}}).payloads
    return normalized(payload)


@pytest.mark.slow
async def test_ten_thousand_calls_within_a_minute_are_all_found() -> None:
    """Windows are halved down to a second: no minute is so full that a query hides what is beyond its 10,000 rows."""
    clock = Clock(MS, rate=0)
    async with running(simulator(7, {}), pace=0, clock=clock, limit=100_000) as mock, aircall(mock) as http:
        for index in range(REACHABLE + 1_500):
            beat = Beat(0, "call.ring", "aircall", f"x{index}", 0, {"phone": "anonymous"})
            mock.simulator.apply(beat, MS - 120_000 + index * 5)
        found = ids(await pages(http, "calls"))
        assert {str(id) for id in found} == set(mock.simulator.truth()["call"])
        assert len(found) > REACHABLE > LARGEST


async def test_a_full_second_ends_too() -> None:
    clock = Clock(MS, rate=0)
    async with running(simulator(7, {}), pace=0, clock=clock, limit=100_000) as mock, aircall(mock) as http:
        for index in range(LARGEST + 100):
            beat = Beat(0, "call.ring", "aircall", f"x{index}", 0, {"phone": "anonymous"})
            mock.simulator.apply(beat, MS - 60_000)
        assert {str(id) for id in ids(await pages(http, "calls"))} == set(mock.simulator.truth()["call"])


async def test_a_backfill_tells_how_many_rows_it_will_bring() -> None:
    async with running(simulator(7, {}), pace=0, clock=Clock(MS, rate=0)) as mock, aircall(mock) as http:
        for index in range(130):
            mock.player.insert("person.upsert", f"x{index}", {"given": "Xu", "family": str(index)})
        for name, kind in (("calls", "call"), ("contacts", "contact"), ("users", "user")):
            assert {page.total for page in await pages(http, name)} == {len(mock.simulator.truth()[kind])}, name


async def test_next_page_links_are_not_followed_because_they_forget_to_fetch_contacts() -> None:
    async with running(simulator(7, {}), pace=0, clock=Clock(MS, rate=0)) as mock, aircall(mock) as http:
        for index in range(60):
            mock.player.insert("call.ring", f"x{index}", {"phone": "+12025550122"})
        read = await pages(http, "calls")
        assert len(read) > 1
        asked = [params for path, params in http.asked if path == "/v1/calls"]
        assert {(each["fetch_contact"], each["fetch_call_timeline"]) for each in asked} == {("true", "true")}
        assert read[-1].payloads[-1].data["contact"]["last_name"] == "Ångström"


async def test_a_webhook_that_aircall_switched_off_is_told_with_the_remedy() -> None:
    async with running(simulator(7, {}), pace=0) as mock, aircall(mock) as http:
        assert [page.payloads for page in await pages(http, "webhook")] == [()]
        mock.player.insert("webhook.off", "", {})
        with pytest.raises(PermanentError, match=r"switched its webhook off: PUT /v1/webhooks/[0-9a-f-]{36}"):
            await pages(http, "webhook")


async def test_a_webhook_token_that_no_webhook_has_is_told() -> None:
    async with running(simulator(7, {"webhook_token": "another"}), pace=0) as mock, aircall(mock) as http:
        with pytest.raises(PermanentError, match="no webhook with this webhook_token"):
            await pages(http, "webhook")


async def test_a_tag_that_no_webhook_told_is_found_within_two_days() -> None:
    clock = Clock(MS, rate=0)
    async with running(simulator(7, {}), pace=0, clock=clock) as mock, aircall(mock) as http:
        mock.player.insert("call.ring", "x", {"phone": "+12025550122"})
        clock.set(MS + 60_000)
        bodies = [{**push.body, "token": "t"} for _, push in mock.player.insert("call.end", "x", {})]
        told = [event for body in bodies for payload in taken(body).payloads for event in normalized(payload)]
        cursor = (await pages(http, "calls"))[-1].cursor
        clock.set(MS + 40 * 3_600_000)
        mock.player.insert("call.tag", "x", {"by": "maya", "tag": "late"})
        found = [event for page in await pages(http, "calls", cursor) for payload in page.payloads
                 for event in normalized(payload)]  # fmt: skip
        for order in ([*told, *found], [*found, *told]):
            assert folded(order)[told[0].subject].get("tags") == ["late"]


def test_a_missed_call_belongs_to_nobody_although_it_rang_at_somebody() -> None:
    ringing = pushed(
        "call.ringing_on_agent", 1768200001, status="initial", ended_at=None, user={"id": 5, "name": "Maya"}
    )
    missed = pushed("call.hungup", user=None, missed_call_reason="agents_did_not_answer")
    assert folded(ringing)["aircall/example/call/1"].get("assignee")["name"] == "Maya"
    for order in itertools.permutations([*ringing, *missed]):
        shown = folded(list(order))["aircall/example/call/1"]
        assert (shown.get("assignee"), shown.get("status")) == (None, "missed")


def test_a_comment_in_the_second_of_the_hang_up_does_not_bring_the_call_back() -> None:
    comment = pushed("call.commented", status="answered", answered_at=1768200010, ended_at=None)
    hungup = pushed("call.hungup", answered_at=1768200010)
    for order in ([*comment, *hungup], [*hungup, *comment]):
        assert folded(order)["aircall/example/call/1"].get("source_state") == "done"


def test_an_outbound_call_that_nobody_took_has_no_reason() -> None:
    (event,) = pushed("call.ended", direction="outbound", missed_call_reason=None)
    assert (event.data["status"], event.data.get("missed_reason")) == ("not_connected", None)


def test_duration_counts_ringing_and_is_not_used() -> None:
    (event,) = pushed("call.ended", answered_at=1768200012, duration=60)
    assert (event.data["ring_seconds"], event.data["talk_seconds"]) == (12, 48)


def test_numbers_that_come_as_text_are_numbers() -> None:
    as_text = pushed("call.ended", started_at="1768200000", ended_at="1768200060")
    assert [event.data for event in as_text] == [event.data for event in pushed("call.ended")]


@pytest.mark.parametrize("value", ["soon", [], {"at": 1}])
def test_what_is_no_time_is_kept_with_its_reason(value: Any) -> None:
    with pytest.raises(NormalizeError, match="not a time"):
        pushed("call.ended", started_at=value)


@pytest.mark.parametrize("digits", ["anonymous", "sip:desk@example.com", "client:12", None])
def test_anonymous_and_sip_callers_without_contact_are_nobody(digits: str | None) -> None:
    (event,) = pushed("call.ended", raw_digits=digits, contact=None)
    assert "parties" not in event.data


def test_who_is_closed_twice_is_in_two_states() -> None:
    """With a substatus Aircall sends user.closed twice: the later one counts."""
    user = {"id": 5, "name": "Maya", "email": "maya@example.com"}
    found = [event for index, state in enumerate(("unavailable", "custom"))
             for event in normalized(Payload("user.closed.v2", {**user, "availability_status": state}, "example", True,
                                             MS, MS + index * 1000))]  # fmt: skip
    assert len({event.id for event in found}) == 2
    assert folded(found)["aircall/example/user/5"].get("availability") == "custom"


def test_a_contact_tells_time_as_text_when_pushed_and_as_a_number_when_read() -> None:
    contact = {"id": 5, "first_name": "Zoë", "emails": [], "phone_numbers": [{"id": 1, "value": "+1 202-555-0122"}]}
    push = normalized(
        Payload("contact.updated", {**contact, "updated_at": "2026-01-12T06:40:00Z"}, "example", True, MS, MS)
    )
    read = normalized(Payload("contact", {**contact, "updated_at": 1768200000}, "example", False, MS))
    assert push[0].id == read[0].id
    assert push[0].data["identifiers"][0]["value"] == "+12025550122"


async def test_a_list_without_its_rows_is_not_taken_for_empty() -> None:
    """Else a wrong answer with status 200 would end a poll early, or have everybody taken for deleted."""
    async with running(simulator(7, {}), pace=0) as mock, aircall(mock) as http:
        with pytest.raises(TransientError):
            await hydrated(_Hollow(http), Hint("contact", "5", MS))  # type: ignore[arg-type]
        with pytest.raises(TransientError):
            await pages(_Hollow(http), "contacts")  # type: ignore[arg-type]


class _Hollow:
    """Every answer says 200 and has an error inside."""

    def __init__(self, http: Any) -> None:
        self._http = http

    async def get(self, path: str, **params: Any) -> Any:
        response = await self._http.get("/v1/ping")
        return type(response)(200, response.headers, {"error": "Server error"}, response.started)

    def now(self) -> Any:
        return self._http.now()


def test_the_settings_ask_for_no_insights_by_themselves() -> None:
    assert CONFIG.insights == []
