"""Guru: samples, the secret in the URL, and both delivery modes."""

import copy
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.guru import CONNECTOR
from connectors.guru.config import Config
from connectors.guru.mock import DEMO
from connectors.guru.normalize import normalize
from connectors.guru.poll import following
from connectors.guru.webhook import WEBHOOK
from core import deadletter
from core.bus.topics import DEAD, HINTS
from core.config import declared
from core.config.model import Connection
from core.conformance.memory import MemoryBus
from core.ingest import Board, Intake
from core.metrics import Metrics
from core.sdk import Hint, NormalizeError, Payload, Response, SignatureError, Split
from tests.connectors.guru_source import (
    BEGIN,
    CONFIG,
    DECLARED,
    NOW,
    SAMPLES,
    STREAMS,
    VENDOR,
    batch,
    delivery,
    folded,
    named,
    needs_vendor_data,
    sample,
    taken,
    told,
)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.removesuffix(".payload.json"))
def test_samples_normalize_to_the_recorded_events(path: Path) -> None:
    recorded = json.loads(path.with_name(path.name.replace(".payload.", ".events.")).read_text())
    assert [event.model_dump(mode="json") for event in normalize(sample(path))] == recorded


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.removesuffix(".payload.json"))
def test_normalizing_is_pure_and_gives_unique_stable_ids(path: Path) -> None:
    payload = sample(path)
    before = copy.deepcopy(payload)
    events = list(normalize(payload))
    assert payload == before
    assert events == list(normalize(payload))
    assert len({event.id for event in events}) == len(events)


def sprinkled(value: Any, key: str, extra: Any) -> Any:
    """The same payload with an unknown field in each of its objects."""
    match value:
        case dict():
            return {name: sprinkled(part, key, extra) for name, part in value.items()} | {key: extra}
        case list():
            return [sprinkled(part, key, extra) for part in value]
        case _:
            return value


@given(
    path=st.sampled_from(SAMPLES),
    key=st.text(min_size=1).map(lambda name: f"new_{name}"),
    extra=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2)
    ),
)
def test_unknown_fields_change_no_event(path: Path, key: str, extra: Any) -> None:
    payload = sample(path)
    assert list(normalize(replace(payload, data=sprinkled(payload.data, key, extra)))) == list(normalize(payload))


@pytest.mark.parametrize("data", [None, [], "text", {}])
def test_what_is_no_card_is_refused_by_name(data: Any) -> None:
    with pytest.raises(NormalizeError):
        list(normalize(replace(named("card.trusted"), data=data)))


def test_no_address_of_staff_stands_in_a_key() -> None:
    (event,) = normalize(named("card.trusted"))
    assert "@" not in event.subject
    assert "@" not in event.data["owner"]["key"]


def test_a_verification_that_ran_out_is_seen_although_no_clock_moved() -> None:
    before, after = named("card.trusted"), named("card.expired")
    for order in ((before, after), (after, before)):
        (card,) = folded(event for each in order for event in normalize(each)).values()
        assert card.get("verified") is False
        assert card.get("verified_until") == "2026-04-05T10:20:30.000Z"


def test_a_restored_card_lives_again_although_no_clock_moved() -> None:
    first, gone, back = named("card.trusted"), named("card.archived"), named("card.restored")
    for order in ((first, gone, back), (back, gone, first)):
        (card,) = folded(event for each in order for event in normalize(each)).values()
        assert card.state == "live"
    (card,) = folded(event for each in (first, gone) for event in normalize(each)).values()
    assert card.state == "deleted"


def test_a_card_that_may_be_read_again_lives_again_although_nobody_edited_it() -> None:
    card, lost = named("card.trusted"), named("card.missing")
    lost = replace(lost, data={"id": card.data["id"]}, received=card.received + 5_000, at=card.received + 9_000)
    later = replace(card, received=lost.received + 1)
    for order in itertools.permutations((card, lost, later)):
        (shown,) = folded(event for each in order for event in normalize(each)).values()
        assert shown.state == "live" and shown.get("title")
    for order in itertools.permutations((card, lost, card)):  # an answer that was asked for before is no answer to that
        (shown,) = folded(event for each in order for event in normalize(each)).values()
        assert shown.state == "deleted"


def test_the_secret_in_the_url_is_accepted() -> None:
    WEBHOOK.verify(delivery(DEMO["webhook_secret"]), CONFIG, NOW)


@pytest.mark.parametrize("secret", ["", "wrong", DEMO["webhook_secret"] + "x", DEMO["webhook_secret"][:-1], "ü"])
def test_any_other_url_is_refused(secret: str) -> None:
    with pytest.raises(SignatureError):
        WEBHOOK.verify(delivery(secret), CONFIG, NOW)


def test_without_a_secret_the_connection_only_polls() -> None:
    config = CONFIG.model_copy(update={"webhook_secret": None})
    assert WEBHOOK.enabled(CONFIG)
    assert not WEBHOOK.enabled(config)
    with pytest.raises(SignatureError):
        WEBHOOK.verify(delivery(""), config, NOW)
    assert WEBHOOK.path_secret in Config.model_fields


def test_an_account_and_a_secret_that_cannot_be_guessed_are_required() -> None:
    with pytest.raises(ValidationError, match="account"):
        Config(type="guru", user="u", token="t")
    with pytest.raises(ValidationError, match="webhook_secret"):
        Config(type="guru", account="example", user="u", token="t", webhook_secret="short")


def test_a_single_event_is_a_hint_at_its_card() -> None:
    assert taken(told("card-updated")) == Split(hints=(Hint("card", "c1", 1767608430125, "card-updated"),))


def test_a_batch_is_decoded_twice() -> None:
    split = taken(batch(told("card-created", "c1"), told("card-verified", "c2"), told("card-viewed", "c3")))
    assert [(hint.id, hint.action) for hint in split.hints] == [("c1", "card-created"), ("c2", "card-verified")]
    assert split.ignored == ("card-viewed",)


@pytest.mark.parametrize(
    "kind", ["card-viewed", "login", "collection-created", "something-new", "card-comment-created"]
)
def test_events_that_change_no_card_are_ignored(kind: str) -> None:
    assert taken(told(kind)) == Split(ignored=(kind,))


def test_an_event_that_names_no_card_is_ignored() -> None:
    assert taken(told("card-updated", card=None)) == Split(ignored=("card-updated",))
    assert [kind for kind, _ in taken(told("card-updated", card=None)).seen] == ["card-updated"], (
        "a new shape is noticed"
    )
    assert not taken(told("card-viewed", card=None)).seen


@pytest.mark.parametrize(
    ("kind", "due"),
    [
        ("collection-deleted", "all card"),
        ("tag-merged", "all cards"),
        ("tag-deleted", "all cards"),
        ("tag-updated", "all cards"),
    ],
)
def test_an_event_of_many_cards_makes_the_list_due_that_shows_them(kind: str, due: str) -> None:
    assert taken(batch(told(kind, card=None), told(kind))) == Split(due=(due,))
    lists = [*STREAMS, *(f"all {listing.kind}" for listing in CONNECTOR.listings)]
    assert due in lists


def test_of_a_batch_what_cannot_be_read_is_refused_alone_with_its_reason() -> None:
    body = batch(told("card-updated", "c1"), {"id": "e2"}, told("card-deleted", "c2"), told("card-updated", at="soon"))
    body["items"][0]["data"]["messages"].append({"data": "{"})
    body["items"].append({"data": {}})
    split = taken(body)
    assert [(hint.id, hint.action) for hint in split.hints] == [("c1", "card-updated"), ("c2", "card-deleted")]
    assert split.odd == (
        "a Guru event without eventType",
        "not an ISO 8601 time: 'soon'",
        "a message of a BATCH delivery is not JSON",
        "a Guru event without eventType",
    )


@pytest.mark.parametrize(
    "body",
    [None, [], "x", {}, {"items": {}}, {"items": [1]}, {"items": [{}]}, {"items": [{"data": {"messages": [{}]}}]},
     {"items": [{"data": {"messages": [{"data": "{"}]}}]}, batch("text"), told("card-updated", at="yesterday")],
)  # fmt: skip
def test_a_wrong_shape_is_named(body: Any) -> None:
    try:
        found = taken(body)
    except NormalizeError:
        return
    assert found == Split(odd=found.odd) and found.odd


@pytest.mark.parametrize("name", ["coded", "declared"])
async def test_a_deletion_is_taken_although_a_message_beside_it_cannot_be_read(name: str) -> None:
    connection = Connection("guru", CONNECTOR, CONFIG) if name == "coded" else declared(DECLARED)
    bus, board = MemoryBus(lambda: NOW), Board([connection], Metrics(), lambda: NOW)
    intake = Intake(bus, {connection.name: connection}, board, lambda: NOW)
    body = batch(told("card-created", "c1"), told("card-deleted", "c2"))
    body["items"][0]["data"]["messages"].insert(1, {"id": "m:1", "data": '{"eventType": "card-deleted"'})
    outcome = await intake.delivery(connection.name, delivery(DEMO["webhook_secret"], json.dumps(body).encode()), BEGIN)
    assert (outcome.status, outcome.hints, outcome.dead) == (202, 2, 1)
    assert [json.loads(hint.value or b"")["id"] for hint in bus.records(HINTS)] == ["c1", "c2"]
    (letter,) = map(deadletter.decode, bus.records(DEAD))
    assert letter.reason.startswith("1 of its parts cannot be read: ") and "JSON" in letter.reason
    again = await intake.replay(letter)
    assert (again.hints, again.dead) == (2, 1), "replayed, the whole delivery is split again"
    assert [deadletter.decode(record).id for record in bus.records(DEAD)] == [letter.id, letter.id]


@needs_vendor_data
def test_the_composed_deliveries_are_understood() -> None:
    single = taken(json.loads((VENDOR / "samples/composed.webhook.single.json").read_text()))
    several = taken(json.loads((VENDOR / "samples/composed.webhook.batch.json").read_text()))
    assert [hint.action for hint in single.hints] == ["card-verified"]
    assert [hint.action for hint in several.hints] == ["card-verified", "card-updated"]
    assert {hint.id for hint in (*single.hints, *several.hints)} == {"5a1e2f30-1111-4222-8333-444455556666"}


@needs_vendor_data
def test_the_composed_answer_of_a_search_is_understood() -> None:
    composed = json.loads((VENDOR / "samples/composed.api.search_query.response.json").read_text())
    headers = {name.lower(): value for name, value in composed["headers"].items()}
    after = following(Response(200, headers, composed["body"], BEGIN))
    assert after == "https://api.getguru.com/api/v1/search/query?token=opaque123"
    (event,) = normalize(Payload("card", composed["body"][0], "example", False, BEGIN))
    assert event.data["title"] == "Refund policy"
    assert event.data["body"] == "Refunds within 30 days."
    assert (event.data["verified"], event.data["verified_until"]) == (True, "2026-04-05T10:20:30.000Z")


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ('< https://a.example.com/x?token=1 >; rel="next-page"', "https://a.example.com/x?token=1"),
        ('<https://a.example.com/x?token=1>; rel="next-page"', "https://a.example.com/x?token=1"),
        ("<https://a.example.com/x>; rel=next-page", "https://a.example.com/x"),
        (
            '<https://a.example.com/p>; rel="prev", < https://a.example.com/n >; rel="next-page"',
            "https://a.example.com/n",
        ),
        ('<https://a.example.com/p>; rel="prev"', None),
        ("", None),
    ],
)
def test_the_next_page_is_found_with_and_without_blanks(header: str, url: str | None) -> None:
    assert following(Response(200, {"link": header}, [], BEGIN)) == url
