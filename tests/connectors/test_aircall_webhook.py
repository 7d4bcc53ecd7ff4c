"""Aircall's deliveries: what proves them, what is taken of them, what is cut; and those that the mock sends."""

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from connectors.aircall import CONNECTOR
from connectors.aircall.mock import DEMO, simulator
from core.sdk import Delivery, NormalizeError, SignatureError
from core.sdk.mock import Push
from core.sdk.story import Beat, beats
from tests.connectors.aircall_source import CONFIG, MS, NOW, normalized
from tests.connectors.test_aircall import VENDOR, needs_vendor_data

assert CONNECTOR.webhook is not None
WEBHOOK = CONNECTOR.webhook


def delivery(body: bytes) -> Delivery:
    return Delivery("POST", "https://hooks.example.com/hooks/aircall", {"content-type": "application/json"}, body)


def body(token: Any = DEMO["webhook_token"], **rest: Any) -> dict[str, Any]:
    data = {"id": 6190000001, "recording": "https://media.example.com/1.mp3?s=1"}
    return {"resource": "call", "event": "call.ended", "timestamp": 1768200231, "token": token, "data": data, **rest}


def test_a_delivery_with_the_token_is_taken() -> None:
    raw = body()
    taken = delivery(orjson.dumps(raw))
    WEBHOOK.verify(taken, CONFIG, NOW)
    split = WEBHOOK.split(WEBHOOK.cut(raw), taken, CONFIG, "example", MS)
    assert [(each.kind, each.at) for each in split.payloads] == [("call.ended", 1768200231000)]
    assert DEMO["webhook_token"] not in repr(split) + repr(WEBHOOK.cut(raw))
    assert "media.example.com" not in repr(split)


@pytest.mark.parametrize(
    "raw",
    [b"", b"no json", b"[]", b'"text"', orjson.dumps(body("wrong")), orjson.dumps(body(None)), orjson.dumps(body("")),
     orjson.dumps(body(["demo-aircall-webhook-token"])), orjson.dumps(body())[:-9]],
)  # fmt: skip
def test_a_delivery_without_the_right_token_is_refused(raw: bytes) -> None:
    with pytest.raises(SignatureError):
        WEBHOOK.verify(delivery(raw), CONFIG, NOW)


@pytest.mark.parametrize("odd", [b"\xe9", rb"\ud800", rb"\u0000"])
def test_a_name_that_is_no_text_does_not_cost_the_proof(odd: bytes) -> None:
    raw = orjson.dumps(body(name="ODD")).replace(b"ODD", odd)
    WEBHOOK.verify(delivery(raw), CONFIG, NOW)


CALLBACK = {"event_name": "message.received", "timestamp": 1768200231250, "data": {"id": "m-1"}}


def test_a_message_callback_proves_itself_by_the_token_or_not_at_all() -> None:
    with pytest.raises(SignatureError, match="proxy mode") as refused:
        WEBHOOK.verify(delivery(orjson.dumps(CALLBACK)), CONFIG, NOW)
    assert refused.value.code == "callback without token"
    with pytest.raises(SignatureError, match="wrong token"):
        WEBHOOK.verify(delivery(orjson.dumps({**CALLBACK, "token": "wrong"})), CONFIG, NOW)
    WEBHOOK.verify(delivery(orjson.dumps({**CALLBACK, "token": DEMO["webhook_token"]})), CONFIG, NOW)


@pytest.mark.parametrize(
    ("key", "timestamp"), [("event", 1768200231.25), ("event_name", 1768200231250), ("event_name", 1768200231250.0)]
)
def test_the_key_that_names_the_event_tells_whether_its_time_is_in_seconds_or_milliseconds(
    key: str, timestamp: float
) -> None:
    raw = {key: "message.received", "timestamp": timestamp, "data": {"id": "m-1"}}
    (payload,) = WEBHOOK.split(WEBHOOK.cut(raw), delivery(b""), CONFIG, "example", MS).payloads
    assert (payload.kind, payload.at) == ("message.received", 1768200231250)


def test_what_a_call_was_about_is_cut_whichever_key_names_the_event() -> None:
    for key in ("event", "event_name"):
        assert "said" not in repr(WEBHOOK.cut({key: "summary.created", "data": {"id": 1, "content": "said"}}))


def test_links_that_open_without_a_login_are_cut_wherever_they_stand() -> None:
    media = [{"file_name": "bag.jpg", "presigned_url": "https://media.example.com/?signature=1"}, "odd"]
    cut = WEBHOOK.cut(body(event="call.ended", data={"id": 1, "recording": "https://a.example.com"}))
    assert cut["data"] == {"id": 1, "recording": "(link removed)"}
    cut = WEBHOOK.cut(body(event="message.received", data={"id": 1, "media_details": media}))
    assert cut["data"]["media_details"] == [{"file_name": "bag.jpg", "presigned_url": "(link removed)"}, "odd"]


def test_without_a_token_in_the_settings_nothing_is_proved() -> None:
    poll_only = CONFIG.model_copy(update={"webhook_token": None})
    assert not WEBHOOK.enabled(poll_only)
    with pytest.raises(SignatureError):
        WEBHOOK.verify(delivery(orjson.dumps(body(""))), poll_only, NOW)


def test_events_that_are_not_used_are_counted_and_no_mistake() -> None:
    split = WEBHOOK.split({"event": "analytics.report_created", "data": {}}, delivery(b""), CONFIG, "example", MS)
    assert (split.ignored, split.payloads) == (("analytics.report_created",), ())


@pytest.mark.parametrize("raw", [[], {}, {"event": 7}, {"event": "call.ended"}, {"event": "call.ended", "data": []}])
def test_a_genuine_delivery_of_the_wrong_shape_is_said_so(raw: Any) -> None:
    with pytest.raises(NormalizeError):
        WEBHOOK.split(WEBHOOK.cut(raw), delivery(b""), CONFIG, "example", MS)


def pushes() -> list[Push]:
    world = simulator(7, {})
    return [push for beat in first(3) for push in world.apply(beat, MS + int(beat.at * 1000))]


def first(cycles: int) -> Iterator[Beat]:
    for beat in beats(7):
        if beat.cycle >= cycles:
            return
        if beat.vendor == "aircall":
            yield beat


def test_its_webhooks_prove_themselves_unless_they_are_forged() -> None:
    world = simulator(7, {})
    forged = 0
    for push in pushes():
        url, headers, raw = world.sign(push, "http://127.0.0.1/hooks/aircall", NOW)
        if push.forged:
            forged += 1
            with pytest.raises(SignatureError):
                WEBHOOK.verify(Delivery("POST", url, headers, raw), CONFIG, NOW)
        else:
            WEBHOOK.verify(Delivery("POST", url, headers, raw), CONFIG, NOW)
            split = WEBHOOK.split(WEBHOOK.cut(orjson.loads(raw)), delivery(raw), CONFIG, "example", MS)
            assert all(normalized(payload) for payload in split.payloads)
    assert forged == 3


@needs_vendor_data
def test_the_vendors_own_samples_are_understood() -> None:
    kinds = []
    for path in sorted((VENDOR / "samples").glob("*.json")):
        raw = json.loads(path.read_text())
        if "event" not in raw:
            continue
        split = WEBHOOK.split(WEBHOOK.cut(raw), delivery(b""), CONFIG, "example", MS)
        assert raw["token"] not in repr(split)
        for payload in split.payloads:
            kinds += [event.type for event in normalized(payload)]
    assert set(kinds) == {"call.upserted", "person.upserted", "note.upserted"}
