"""Intercom: samples, signatures, topics, and the whole way against its contract mock over real HTTP."""

import copy
import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.intercom import CONNECTOR
from connectors.intercom.config import Config, context
from connectors.intercom.mock import DEMO
from connectors.intercom.normalize import KINDS, normalize
from connectors.intercom.paging import following
from connectors.intercom.webhook import TOPICS, WEBHOOK
from core.sdk import AccountError, Delivery, Hint, NormalizeError, Payload, SignatureError, Split
from tests.connectors.intercom_source import CONFIG, NOW, folded

SAMPLES = sorted((Path(__file__).parents[2] / "connectors/intercom/samples").glob("*.payload.json"))
# The vector that the project's fact sheet on Intercom publishes: 339 bytes, keyed with `test_client_secret`.
VECTOR_BODY = (
    b'{"type":"notification_event","app_id":"abc123def","data":{"type":"notification_event_data","item":'
    b'{"type":"ping","message":"hello"}},"links":{},"id":"notif_00000000-0000-4000-8000-000000000001","topic":"ping",'
    b'"delivery_status":"pending","delivery_attempts":1,"delivered_at":0,"first_sent_at":1760000000,'
    b'"created_at":1760000000,"self":null}'
)
VECTOR_SIGNATURE = "sha1=0a5ae350b05d1aaefa8769928fd0d92043764c22"


def sample(path: Path) -> Payload:
    return Payload(**json.loads(path.read_text()))


def named(name: str) -> Payload:
    return sample(next(path for path in SAMPLES if path.name == f"{name}.payload.json"))


def delivery(body: bytes, signature: str | None) -> Delivery:
    headers = {} if signature is None else {"x-hub-signature": signature}
    return Delivery("POST", "https://hooks.example.com/hooks/intercom", headers, body)


def signed(body: bytes, key: str = DEMO["webhook_secret"]) -> str:
    return "sha1=" + hmac.new(key.encode(), body, hashlib.sha1).hexdigest()


def notification(topic: str, item: Any, app: str = "k7x2m9qa", **rest: Any) -> dict[str, Any]:
    envelope = {"type": "notification_event", "app_id": app, "topic": topic, "created_at": 1768200421}
    return envelope | {"data": {"type": "notification_event_data", "item": item}} | rest


def taken(body: Any, account: str = "k7x2m9qa", config: Config = CONFIG) -> Split:
    return WEBHOOK.split(body, delivery(b"", None), config, account, 1768200422000)


# Normalizing


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.removesuffix(".payload.json"))
def test_samples_normalize_to_the_recorded_events(path: Path) -> None:
    recorded = json.loads(path.with_name(path.name.replace(".payload.", ".events.")).read_text())
    assert [event.model_dump(mode="json") for event in normalize(sample(path))] == recorded


def test_every_kind_has_a_sample() -> None:
    assert {sample(path).kind for path in SAMPLES} >= set(KINDS)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.removesuffix(".payload.json"))
def test_normalizing_is_pure_and_gives_unique_stable_ids(path: Path) -> None:
    payload = sample(path)
    before = copy.deepcopy(payload)
    events = list(normalize(payload))
    assert payload == before
    assert events == list(normalize(payload))
    assert len({event.id for event in events}) == len(events)


FREE = ("custom_attributes", "ticket_attributes")  # what stands in these is data, known or not


def sprinkled(value: Any, key: str, extra: Any) -> Any:
    """The same payload with an unknown field in each of its objects."""
    match value:
        case dict():
            inner = {name: part if name in FREE else sprinkled(part, key, extra) for name, part in value.items()}
            return inner | {key: extra}
        case list():
            return [sprinkled(part, key, extra) if isinstance(part, dict) else part for part in value]
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


def test_unknown_kinds_give_no_event() -> None:
    assert list(normalize(replace(named("contact.read"), kind="segment"))) == []


@pytest.mark.parametrize("data", [None, [], "text", {}])
def test_what_is_no_object_of_its_kind_is_refused_by_name(data: Any) -> None:
    with pytest.raises(NormalizeError):
        list(normalize(replace(named("contact.read"), data=data)))


def test_a_contact_looks_the_same_pushed_and_read() -> None:
    pushed, read = next(iter(normalize(named("contact.pushed")))), next(iter(normalize(named("contact.read"))))
    assert pushed.data == read.data
    assert pushed.id == read.id
    assert pushed.order < read.order  # of one second's two looks the read is the later one


def test_both_api_versions_look_the_same() -> None:
    newer = named("conversation.read")
    older = replace(newer, data={**newer.data, "admin_assignee_id": None, "priority": "priority"})
    changed = replace(newer, data={**newer.data, "admin_assignee_id": 0, "priority": "high"})
    assert next(iter(normalize(older))).data == next(iter(normalize(changed))).data


def test_a_text_keeps_its_signs_whether_it_came_as_markup_or_plain() -> None:
    payload = named("conversation.pushed")
    plain = {**payload.data["source"], "body": "a < b & c > d"}
    markup = {**payload.data["source"], "body": "<p>a &lt; b &amp; c &gt; d</p>"}
    bodies = [
        next(event.data["body"] for event in normalize(replace(payload, data={**payload.data, "source": source}))
             if event.subject.endswith(":source"))
        for source in (plain, markup)
    ]  # fmt: skip
    assert bodies == ["a < b & c > d"] * 2


def test_a_redaction_beats_the_text_whose_clock_it_shares() -> None:
    payload = named("conversation.pushed")
    (part,) = payload.data["conversation_parts"]["conversation_parts"]
    later = {**payload.data, "updated_at": payload.data["updated_at"] + 60}
    gone = {**part, "redacted": True, "body": None}
    redacted = replace(payload, data={**later, "conversation_parts": {"conversation_parts": [gone]}})
    for order in ((payload, redacted), (redacted, payload)):
        message = folded(event for each in order for event in normalize(each))[f"{subject(payload)}:{part['id']}"]
        assert message.get("body") == ""


def subject(payload: Payload) -> str:
    return f"intercom/{payload.account}/part/{payload.data['id']}"


def test_of_two_pushes_within_one_second_the_later_one_wins() -> None:
    payload = named("contact.pushed")
    first = replace(payload, data={**payload.data, "name": "Old", "updated_at": "2026-01-12T06:47:00.120+00:00"})
    then = replace(payload, data={**payload.data, "name": "New", "updated_at": "2026-01-12T06:47:00.640+00:00"})
    for order in ((first, then), (then, first)):
        (state,) = folded(event for each in order for event in normalize(each)).values()
        assert state.get("display_name") == "New"


def test_a_leads_made_up_external_id_is_no_identifier() -> None:
    lead = next(iter(normalize(named("contact.lead"))))
    assert [item["kind"] for item in lead.data["identifiers"]] == ["email"]


def test_the_namespace_of_external_ids_is_a_setting() -> None:
    config = CONFIG.model_copy(update={"external_id_namespace": "shop"})
    (payload,) = taken(notification("contact.user.updated", named("contact.pushed").data), config=config).payloads
    (own,) = [item for item in next(iter(normalize(payload))).data["identifiers"] if item["kind"] == "external_id"]
    assert own["namespace"] == "shop"


def test_an_unarchived_contact_lives_again() -> None:
    archived, back = named("contact.archived"), named("contact.unarchived")
    first = named("contact.pushed")
    state = folded(event for payload in (first, archived, back) for event in normalize(payload))
    assert state[f"intercom/{first.account}/contact/{first.data['id']}"].state == "live"


def test_a_deleted_contact_stays_deleted_whatever_comes_later() -> None:
    gone, first = named("contact.deleted"), named("contact.pushed")
    later = replace(first, data={**first.data, "updated_at": "2026-02-01T00:00:00.000+00:00"})
    state = folded(event for payload in (gone, later) for event in normalize(payload))
    assert state[f"intercom/{first.account}/contact/{first.data['id']}"].state == "deleted"


# Deliveries


def test_the_published_vector_is_accepted() -> None:
    config = CONFIG.model_copy(update={"webhook_secret": type(CONFIG.token)("test_client_secret")})
    assert len(VECTOR_BODY) == 339
    WEBHOOK.verify(delivery(VECTOR_BODY, VECTOR_SIGNATURE), config, NOW)


@pytest.mark.parametrize(
    "bad",
    [
        delivery(b'{"a":1}', None),
        delivery(b'{"a":1}', ""),
        delivery(b'{"a":1}', "sha1="),
        delivery(b'{"a":1}', signed(b'{"a":1}').removeprefix("sha1=")),
        delivery(b'{"a":1}', signed(b'{"a":1}', "another key")),
        delivery(b'{"a":2}', signed(b'{"a":1}')),
        delivery(b'{"a":1} ', signed(b'{"a":1}')),
        delivery(b'{"a":1}', "sha1=ü" + "0" * 39),
        delivery(b'{"a":1}', "sha256=" + hmac.new(DEMO["webhook_secret"].encode(), b'{"a":1}', "sha256").hexdigest()),
    ],
    ids=["unsigned", "empty", "no digest", "no scheme", "other key", "tampered", "longer", "not hex", "other hash"],
)
def test_a_delivery_that_does_not_prove_itself_is_refused(bad: Delivery) -> None:
    with pytest.raises(SignatureError):
        WEBHOOK.verify(bad, CONFIG, NOW)


def test_without_the_client_secret_the_connection_only_polls() -> None:
    config = Config(type="intercom", token="t")
    assert not WEBHOOK.enabled(config)
    with pytest.raises(SignatureError):
        WEBHOOK.verify(delivery(b"{}", signed(b"{}", "")), config, NOW)
    assert WEBHOOK.enabled(CONFIG)


def test_the_address_may_be_validated_with_head() -> None:
    assert "HEAD" in WEBHOOK.methods


@pytest.mark.parametrize("topic", ["contact.user.updated", "ping", "something.new"])
def test_another_workspaces_delivery_is_refused(topic: str) -> None:
    with pytest.raises(AccountError):
        taken(notification(topic, named("contact.pushed").data, app="other"))


@pytest.mark.parametrize("topic", ["ping", "segment.created", "content_stat.news_item", "event.created"])
def test_topics_that_are_not_needed_are_ignored(topic: str) -> None:
    assert taken(notification(topic, {"type": "whatever"}, id=None)) == Split(ignored=[topic])


@pytest.mark.parametrize(
    "body", [None, [], "x", {}, {"topic": 3}, notification("contact.user.created", None),
             notification("contact.merged", {}), notification("company.created", {"name": "x"})],
)  # fmt: skip
def test_a_wrong_shape_is_named(body: Any) -> None:
    if isinstance(body, dict) and "app_id" not in body and "topic" in body:
        body["app_id"] = "k7x2m9qa"
    with pytest.raises(NormalizeError):
        taken(body)


@given(
    item=st.dictionaries(st.sampled_from(["id", "type", "contact", "conversation", "ticket"]), st.none() | st.text())
)
def test_no_item_breaks_the_split_in_an_unnamed_way(item: dict[str, Any]) -> None:
    for topic in TOPICS:
        try:
            taken(notification(topic, item))
        except NormalizeError:
            continue


def test_the_envelopes_time_travels_with_its_payload() -> None:
    (payload,) = taken(notification("conversation.deleted", {"type": "conversation", "conversation_id": "9"})).payloads
    assert payload.at == 1768200421000
    (event,) = normalize(payload)
    assert (event.type, event.subject) == ("conversation.deleted", "intercom/k7x2m9qa/conversation/9")
    assert event.order.clock == 1768200421000


@pytest.mark.parametrize(
    ("topic", "item", "hint"),
    [
        ("company.contact.attached", {"company": {"id": "c"}, "contact": {"id": "p"}}, ("contact", "p")),
        ("conversation.contact.attached", {"conversation": {"model": {"id": 12}}, "contact": {"id": 3}},
         ("conversation", "12")),
        ("contact.subscribed", {"type": "contact", "id": "p"}, ("contact", "p")),
        ("ticket.contact.attached", {"ticket": {"id": "t"}, "contact": {}}, ("ticket", "t")),
        ("conversation_part.redacted", {"type": "conversation_part", "conversation_id": 7}, ("conversation", "7")),
    ],
)  # fmt: skip
def test_what_comes_in_an_internal_shape_is_fetched(topic: str, item: Any, hint: tuple[str, str]) -> None:
    assert [(each.kind, each.id) for each in taken(notification(topic, item)).hints] == [hint]


@pytest.mark.parametrize("topic", ["conversation_part.redacted", "conversation_part.tag.created"])
def test_a_redaction_is_read_too_for_it_may_move_no_clock(topic: str) -> None:
    split = taken(notification(topic, {"type": "conversation", "id": "7", "updated_at": 1768200400}))
    assert [payload.kind for payload in split.payloads] == ["conversation"]
    assert [(hint.kind, hint.id) for hint in split.hints] == [("conversation", "7")]


def test_a_merge_brings_the_survivor_and_asks_whom_it_absorbed() -> None:
    split = taken(notification("contact.merged", named("contact.pushed").data))
    assert [payload.kind for payload in split.payloads] == ["contact"]
    assert split.hints == [Hint("contact", "6962f1c19b981fb5a0b90aaa", 1768200421000, "merged")]


@pytest.mark.parametrize(
    ("pages", "params"),
    [
        ({"type": "pages", "next": {"per_page": 5, "starting_after": "WzE"}}, {"starting_after": "WzE"}),
        ({"next": "https://api.intercom.io/conversations/deleted?per_page=2&order=desc&page=2"},
         {"per_page": "2", "order": "desc", "page": "2"}),
        ({"next": None}, {}),
        ({"next": {"starting_after": None}}, {}),
        ({"type": "pages", "page": 1}, {}),
        (None, {}),
    ],
)  # fmt: skip
def test_the_next_page_is_found_in_every_scheme(pages: Any, params: dict[str, str]) -> None:
    assert following({"data": [], "pages": pages}) == params


def test_requests_carry_the_pinned_version_and_what_normalize_needs() -> None:
    assert CONNECTOR.auth(CONFIG)["Intercom-Version"] == "2.16"
    assert CONNECTOR.base_url(CONFIG.model_copy(update={"region": "eu"})) == "https://api.eu.intercom.io"
    assert CONNECTOR.base_url(CONFIG.model_copy(update={"base_url": "http://127.0.0.1:1"})) == "http://127.0.0.1:1"
    assert context(CONFIG) == {"namespace": "customer", "app": "https://app.intercom.com"}
