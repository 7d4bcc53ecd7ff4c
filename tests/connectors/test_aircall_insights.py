"""What was said: text messages, and what Aircall's AI wrote about calls where callers agreed."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from connectors.aircall.mock import simulator
from core import registry
from core.conformance.bench import bench
from core.conformance.simulated import simulated
from core.conformance.subject import Subject
from core.sdk import Hint, NormalizeError
from core.sdk.mock import Clock, Mock, running
from tests.connectors.aircall_source import CONFIG, MS, aircall, folded, hydrated, normalized, taken

ALLOWED = CONFIG.model_copy(update={"insights": ["summary", "transcription"]})


def told(mock: Mock, kind: str, ref: str, **data: Any) -> dict[str, Any]:
    """The body of the webhook that a beat lets the mock send."""
    ((_, push),) = mock.player.insert(kind, ref, data)
    return json.loads(json.dumps({**push.body, "token": "t"}))  # type: ignore[no-any-return]


@pytest.mark.parametrize("what", ["summary", "transcription"])
async def test_an_insight_is_fetched_where_the_settings_allow_it(what: str) -> None:
    async with running(simulator(7, {}), pace=0, clock=Clock(MS, rate=0)) as mock, aircall(mock) as http:
        body = told(mock, "call.insight", "c:16", what=what, text="The bag never arrived.")
        split = taken(body, ALLOWED)
        assert split.hints == (Hint("call", body["data"]["call_id"], MS, what),)
        (event,) = await hydrated(http, *split.hints, config=ALLOWED)
        assert event.subject == f"aircall/example/call/{body['data']['call_id']}"
        wanted = {"summary": "The bag never arrived."}
        if what == "transcription":
            wanted = {"transcript": "Customer: The bag never arrived.", "transcript_consent": True}  # type: ignore[dict-item]
        assert event.data == wanted


@pytest.mark.parametrize("what", ["summary", "transcription"])
async def test_without_leave_an_insight_is_neither_read_nor_kept(what: str) -> None:
    async with running(simulator(7, {}), pace=0, clock=Clock(MS, rate=0)) as mock, aircall(mock) as http:
        body = told(mock, "call.insight", "c:16", what=what, text="Secret of Dana")
        split = taken(body)
        assert (split.ignored, split.hints, split.payloads) == ((f"{what}.created",), (), ())
        # Not even after the connection has lost the leave that it had.
        found = await hydrated(http, Hint("call", body["data"]["call_id"], MS, what))
        assert "Secret" not in str(found)


@pytest.mark.parametrize(
    "event", ["transcription.created", "summary.created", "realtime_transcription.utterances_received",
              "sentiment.created", "call_evaluation.created", "action_item.created"],
)  # fmt: skip
def test_what_a_call_was_about_is_cut_out_of_every_delivery(event: str) -> None:
    from connectors.aircall.webhook import cut

    said = {
        "id": 1,
        "call_id": "2",
        "content": "Secret",
        "participants": [{"value": "Secret"}],
        "utterances": ["Secret"],
    }
    assert cut({"event": event, "token": "t", "data": said}) == {"event": event, "data": {"id": 1, "call_id": "2"}}


def test_two_insights_of_one_call_are_both_fetched_in_whatever_order_they_are_told() -> None:
    async def told_together(kinds: Sequence[str]) -> None:
        given = {**registry.mock("aircall").DEMO, "account": "example", "insights": ["summary", "transcription"]}
        async with bench(Subject(registry.load("aircall"), None, registry.mock("aircall"), given)) as each:
            async with each.ingesting():
                await each.polled()
                for what in kinds:
                    each.mock.send(
                        each.mock.player.insert("call.insight", "c:16", {"what": what, "text": f"A {what}."})
                    )
                await each.settled()
            said = [facts for _, facts, _ in each.objects().values() if "summary" in facts]
            assert [(one["summary"], one["transcript"]) for one in said] == [
                ("A summary.", "Customer: A transcription.")
            ]

    for kinds in (("summary", "transcription"), ("transcription", "summary")):
        simulated(lambda kinds=kinds: told_together(kinds))  # type: ignore[misc]


async def test_a_call_or_plan_without_insights_is_no_mistake() -> None:
    async with running(simulator(7, {}), pace=0) as mock, aircall(mock) as http:
        assert await hydrated(http, Hint("call", "42", MS, "summary"), config=ALLOWED) == []


async def test_an_insight_says_nothing_else_of_its_call() -> None:
    async with running(simulator(7, {}), pace=0, clock=Clock(MS, rate=0)) as mock, aircall(mock) as http:
        body = told(mock, "call.insight", "c:16", what="summary", text="Short.")
        key = f"aircall/example/call/{body['data']['call_id']}"
        call = await hydrated(http, Hint("call", body["data"]["call_id"], MS))
        insight = await hydrated(http, *taken(body, ALLOWED).hints, config=ALLOWED)
        for order in ([*call, *insight], [*insight, *call]):
            shown = folded(order)[key]
            assert (shown.get("summary"), shown.get("status")) == ("Short.", "answered")
            assert shown.get("parties")[0]["identifier"]["value"] == "+12025550143"


async def test_what_a_customer_and_a_line_write_to_one_another_is_one_conversation() -> None:
    async with running(simulator(7, {}), pace=0, clock=Clock(MS, rate=0)) as mock:
        bodies = [
            told(mock, "message.write", "m1", phone="+12025550122", text="Where is my bag?"),
            told(mock, "message.write", "m2", phone="+12025550122", text="On its way.", direction="outbound"),
            told(mock, "message.write", "m3", phone="+12025550122", text="Hola", channel="whatsapp"),
            told(mock, "message.write", "m4", phone="+442079460099", text="Hello"),
        ]
        found = [event for body in bodies for payload in taken(body).payloads for event in normalized(payload)]
        threads = {event.subject: event.data for event in found if event.entity == "conversation"}
        assert sorted(data["kind"] for data in threads.values()) == ["sms", "sms", "social"]
        said = [event.data for event in found if event.entity == "message"]
        assert [each["direction"] for each in said] == ["inbound", "outbound", "inbound", "inbound"]
        assert said[0]["conversation"] == said[1]["conversation"] in threads
        (party,) = threads[said[0]["conversation"]]["parties"]
        assert (party["role"], party["name"], party["identifier"]["value"]) == (
            "requester",
            "Zoë Ångström",
            "+12025550122",
        )


def test_a_message_that_names_nobody_is_kept_with_its_reason() -> None:
    with pytest.raises(NormalizeError, match="neither which line"):
        (payload,) = taken({"event": "message.received", "timestamp": 1, "data": {"id": "1", "body": "?"}}).payloads
        normalized(payload)
