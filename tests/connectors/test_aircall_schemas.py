"""Our requests, the mock's answers and its webhooks beside the published schemas of Aircall's objects, where these are
at hand. Requests are described in words only: what a list takes, and how many rows a page may have."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from connectors.aircall import CONNECTOR
from connectors.aircall.mock import simulator
from core.sdk import Hint
from core.sdk.mock import Clock, Push, running
from core.sdk.story import Beat, beats
from tests.connectors.aircall_source import CONFIG, MS, aircall
from tests.connectors.http import Note, Noted
from tests.connectors.test_aircall import VENDOR, needs_vendor_data

pytestmark = needs_vendor_data
# What an answer holds -> whose schema it keeps to.
ROWS = {
    "call": "Call", "calls": "Call", "contact": "Contact", "contacts": "Contact", "user": "UserV2", "users": "UserV2",
    "team": "Team", "teams": "Team", "webhooks": "Webhook", "summary": "ConversationIntelligence",
    "transcription": "ConversationIntelligence",
}  # fmt: skip
PAGED = {"page", "per_page", "order", "from", "to"}
WHOLE = {"fetch_contact", "fetch_call_timeline"}
TAKES: Mapping[str, set[str]] = {  # path -> parameters
    r"/v1/ping": set(), r"/v1/calls": PAGED | WHOLE, r"/v1/calls/\d+": WHOLE,
    r"/v1/calls/\d+/(summary|transcription)": set(), r"/v1/contacts": PAGED | {"order_by"}, r"/v1/contacts/\d+": set(),
    r"/v2/users": PAGED, r"/v2/users/\d+": set(), r"/v1/teams": PAGED, r"/v1/teams/\d+": set(), r"/v1/webhooks": PAGED,
}  # fmt: skip
CYCLES = 5  # of the story, so that what happens seldom has happened
MORE = (  # what the story has none of
    ("call.ring", "c", {"phone": "+12025550143", "direction": "inbound"}), ("call.answer", "c", {"by": "maya"}),
    ("call.end", "c", {}), ("call.insight", "c", {"what": "summary", "text": "The bag is on its way."}),
    ("call.insight", "c", {"what": "transcription", "text": "Where is my bag?"}),
    ("user.away", "maya", {}),
)  # fmt: skip
PUSHED = {"call": "Call", "contact": "Contact", "message": "Message", "user": "UserV2", "number": "Number",
          "conversation_intelligence": "ConversationIntelligence", "ai_voice_agent": "AIVoiceAgent"}  # fmt: skip


SELDOM = {  # what the story tells seldom, and surely
    "call.archived", "call.external_transferred", "call.ivr_option_selected", "ai_voice_agent.started",
    "ai_voice_agent.escalated", "ai_voice_agent.ended", "message.sent", "message.received", "message.status_updated",
    "message.updated",
}  # fmt: skip


def keeps(name: str, value: Any) -> None:
    Draft202012Validator(json.loads((VENDOR / f"jsonschema/{name}.schema.json").read_text())).validate(value)


def story(world: Any, begin: int) -> Iterator[Push]:
    for beat in beats(7):
        if beat.cycle >= CYCLES:
            break
        if beat.vendor == "aircall":
            yield from world.apply(beat, begin + int(beat.at * 1000))
    for kind, ref, data in MORE:
        yield from world.apply(Beat(0, kind, "aircall", ref, 0, data), begin + 1_000_000)


@pytest.fixture
async def notes() -> list[Note]:
    """All that our connector asks about some cycles of the story, and what the mock answers."""
    world = simulator(7, {})
    async with running(world, pace=0, clock=Clock(MS, rate=0), limit=100_000) as mock, aircall(mock) as http:
        assert list(story(world, MS - 3_600_000))
        noted = Noted(http)
        for stream in CONNECTOR.streams:
            async for _ in stream.poll(noted, CONFIG, "example", None):
                pass
        for listing in CONNECTOR.listings:
            async for _ in listing.ids(noted, CONFIG, "example", None):
                pass
        known = {kind: next(iter(objects)) for kind, objects in world.truth().items()}
        hints = [Hint(kind, id, MS, "missing") for kind, id in known.items()]
        hints += [Hint("call", str(call), MS, what) for call, what in world.company.insights]  # type: ignore[attr-defined]
        assert CONNECTOR.hydrate is not None
        config = CONFIG.model_copy(update={"insights": ["summary", "transcription"]})
        async for _ in CONNECTOR.hydrate(noted, config, "example", hints):
            pass
        return noted.notes


def test_every_request_is_one_that_is_described(notes: list[Note]) -> None:
    for method, path, params, body, *_ in notes:
        (known,) = [names for pattern, names in TAKES.items() if re.fullmatch(pattern, path)]
        assert (method, body) == ("GET", None)
        assert set(params) <= known, path
        assert 1 <= int(params.get("per_page", 20)) <= 50


def test_every_answer_keeps_to_the_schema_of_what_it_holds(notes: list[Note]) -> None:
    checked: Counter[str] = Counter()
    for _, path, _, _, status, answer in notes:
        if answer is None:
            assert status == 404, path
            continue
        for name in answer.keys() & ROWS.keys():
            for row in answer[name] if isinstance(answer[name], list) else [answer[name]]:
                keeps(ROWS[name], row)
                checked[name] += 1
        if any(isinstance(each, list) for each in answer.values()):
            meta = answer["meta"]
            assert meta.keys() == {"count", "total", "current_page", "per_page", "next_page_link", "previous_page_link"}
            assert meta["count"] == len(next(each for each in answer.values() if isinstance(each, list)))
    assert checked.keys() == ROWS.keys()


def test_all_that_lives_keeps_to_its_schema() -> None:
    world = simulator(7, {})
    assert list(story(world, MS))
    truth = json.loads(json.dumps(world.truth()))
    assert truth.keys() == {"call", "contact", "user", "team"} and all(truth.values())
    for kind, objects in truth.items():
        for each in objects.values():
            keeps(ROWS[kind], each)


def test_every_webhook_keeps_to_the_schema_of_what_it_tells() -> None:
    world, told = simulator(7, {}), Counter[str]()
    for push in story(world, MS):
        body = json.loads(json.dumps(push.body))
        if "event_name" in body:  # a message callback
            assert body.keys() == {"event_name", "timestamp", "data"} and body["timestamp"] > MS
            keeps("Message", body["data"])
            told[body["event_name"]] += 1
            continue
        assert body.keys() == {"resource", "event", "timestamp", "data"}  # and the token, when it is sent
        if not push.forged and not body["event"].endswith(".deleted"):
            keeps(PUSHED[body["resource"]], body["data"])
            told[body["event"]] += 1
    assert {name.partition(".")[0] for name in told} >= PUSHED.keys() - {"number", "conversation_intelligence"}
    assert told.keys() >= SELDOM


async def test_choices_in_the_menu_are_read_only_where_they_are_asked_for() -> None:
    world = simulator(7, {})
    async with running(world, pace=0, clock=Clock(MS, rate=0)) as mock, aircall(mock) as http:
        mock.player.insert("call.ring", "x", {"phone": "+12025550122"})
        ((_, told),) = mock.player.insert("call.choose", "x", {"title": "Orders", "key": "2"})
        (chosen,) = told.body["data"]["ivr_options_selected"]
        path = f"/v1/calls/{told.subject}"
        plain = (await http.get(path)).data["call"]
        asked = (await http.get(path, fetch_call_timeline="true")).data["call"]
        assert "ivr_options_selected" not in plain and asked["ivr_options_selected"] == [chosen]
        keeps("IVROption", chosen)
        keeps("Call", asked)
