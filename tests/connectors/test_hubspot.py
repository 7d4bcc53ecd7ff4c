"""HubSpot's webhooks: signatures as published, and deliveries taken apart."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.hubspot import kinds
from connectors.hubspot.webhook import signature, signature_v1
from core.errors import (
    AccountError,
    NormalizeError,
    SignatureError,
)
from core.sdk import Delivery, Hint
from tests.connectors.hubspot_source import (
    ACCOUNT,
    JSON,
    MS,
    NOW,
    SECRET,
    URL,
    VENDOR,
    WEBHOOK,
    changed,
    config,
    contact,
    delivery,
    needs_vendor_data,
    normalized,
    read,
    split,
)


@needs_vendor_data
def test_the_published_signatures_of_version_3_come_out() -> None:
    vectors = json.loads((VENDOR / "signature_vectors.json").read_text())["vectors"]
    checked = [vector for vector in vectors if vector["version"] == "v3"]
    assert len(checked) >= 5
    for vector in checked:
        made = signature(
            vector["secret"], vector["method"], vector["request_uri"], vector["body"].encode(), vector["timestamp"]
        )
        assert made == vector["signature"], vector["name"]


def test_the_signature_of_the_fact_sheet_comes_out() -> None:
    body = b"{'example_field':'example_value'}"
    made = signature(SECRET, "POST", "https://www.example.com/webhook_uri", body, "1693657560000")
    assert made == "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="


@needs_vendor_data
def test_the_published_signatures_of_version_1_come_out() -> None:
    vectors = json.loads((VENDOR / "signature_vectors.json").read_text())["vectors"]
    checked = [vector for vector in vectors if vector["version"] == "v1"]
    assert checked
    for vector in checked:
        assert signature_v1(vector["secret"], vector["body"].encode()) == vector["signature"], vector["name"]


def signed_v1(body: bytes = b"[]", *, given: str = "", version: str = "v1") -> Delivery:
    headers = {"x-hubspot-signature": given or signature_v1(SECRET, body), "x-hubspot-signature-version": version}
    return Delivery("POST", URL, headers, body)


def test_the_old_signature_is_taken_by_leave_only_and_never_instead_of_the_new_one() -> None:
    assert WEBHOOK is not None
    assert signature_v1(SECRET, b"{'example_field':'example_value'}") == (
        "69fc6631a867edd4f9e9e627fc5c1148e3fbdd8b21837b6d2b8901c1fa57f750"
    )
    allowed = config(signature_v1=True)
    WEBHOOK.verify(signed_v1(), allowed, NOW)
    WEBHOOK.verify(delivery(), allowed, NOW)
    with pytest.raises(SignatureError, match="set `signature_v1: true`"):
        WEBHOOK.verify(signed_v1(), config(), NOW)
    lies = {
        "wrong signature": [
            signed_v1(given=signature_v1("another", b"[]")),
            replace(signed_v1(), body=b"[{}]"),
            signed_v1(given="\u00e9"),
            replace(delivery(secret="another"), headers={**delivery(secret="another").headers, **signed_v1().headers}),
        ],
        "missing signature": [
            signed_v1(version="v2"),
            replace(signed_v1(), headers={}),
            replace(signed_v1(), headers={"x-hubspot-signature-version": "v1"}),
        ],
    }
    for reason, tries in lies.items():
        for lie in tries:
            with pytest.raises(SignatureError) as refused:
                WEBHOOK.verify(lie, allowed, NOW)
            assert refused.value.code == reason


def test_a_signed_delivery_is_accepted_and_each_kind_of_lie_refused() -> None:
    assert WEBHOOK is not None
    WEBHOOK.verify(delivery(), config(), NOW)
    WEBHOOK.verify(delivery(at=MS - 299_000), config(), NOW)
    WEBHOOK.verify(delivery(at=MS + 299_000), config(), NOW)
    lies = {
        "stale": delivery(at=MS - 301_000),
        "from the future": delivery(at=MS + 301_000),
        "wrong signature": delivery(secret="another"),
        "missing timestamp": delivery(**{"x-hubspot-request-timestamp": "yesterday"}),
        "missing signature": replace(delivery(), headers={"x-hubspot-request-timestamp": str(MS)}),
    }
    for reason, lie in lies.items():
        with pytest.raises(SignatureError) as refused:
            WEBHOOK.verify(lie, config(), NOW)
        assert refused.value.code == reason


@pytest.mark.parametrize(
    "change",
    [{"body": b"[{}]"}, {"method": "PUT"}, {"url": URL + "?x=1"}, {"url": URL.replace("https", "http")}],
    ids=["body", "method", "query", "scheme"],
)
def test_whatever_is_tampered_with_breaks_the_signature(change: dict[str, Any]) -> None:
    assert WEBHOOK is not None
    with pytest.raises(SignatureError, match="wrong signature"):
        WEBHOOK.verify(replace(delivery(), **change), config(), NOW)


@pytest.mark.parametrize("stamp", ["", "1e12", "-1", "١٧٨٨٧٦٨٠٠٠٠٠٠", "9" * 40, f"{MS}.5", f" {MS}"])
def test_an_odd_timestamp_is_refused_and_breaks_nothing(stamp: str) -> None:
    assert WEBHOOK is not None
    with pytest.raises(SignatureError):
        WEBHOOK.verify(delivery(**{"x-hubspot-request-timestamp": stamp}), config(), NOW)


def test_without_a_client_secret_the_connection_only_polls() -> None:
    assert WEBHOOK is not None
    assert WEBHOOK.enabled(config()) and not WEBHOOK.enabled(config(client_secret=None))
    with pytest.raises(SignatureError):
        WEBHOOK.verify(delivery(), config(client_secret=None), NOW)


def test_an_object_that_changed_often_is_one_hint_at_its_latest_time() -> None:
    found = split(changed(1, MS + 5), changed(1, MS + 9), changed(1, MS), changed(2), changed(1, type="deal.creation"))
    assert found.hints == (Hint("contact", "1", MS + 9), Hint("contact", "2", MS), Hint("deal", "1", MS))
    assert not found.payloads and not found.ignored
    assert [topic for topic, _ in found.seen] == [*["contact.propertyChange"] * 4, "deal.creation"], "for their shape"


def test_an_event_of_another_portal_is_refused_with_all_that_came_along() -> None:
    with pytest.raises(AccountError):
        split(changed(1), changed(2, portalId=777))


def test_an_association_is_a_hint_for_both_sides() -> None:
    ends = {"fromObjectId": 901, "toObjectId": 501}
    old = changed(0, type="contact.associationChange", associationType="CONTACT_TO_COMPANY", **ends)
    types = {"fromObjectTypeId": "0-1", "toObjectTypeId": "0-27"}
    new = changed(0, type="object.associationChange", **types, **ends)
    assert {(hint.kind, hint.id) for hint in split(old).hints} == {("contact", "901"), ("company", "501")}
    assert {(hint.kind, hint.id) for hint in split(new).hints} == {("contact", "901"), ("task", "501")}


def test_generic_events_name_their_object_by_type_id() -> None:
    found = split(
        changed(5, type="object.propertyChange", objectTypeId="0-27"),
        changed(6, type="object.creation", objectTypeId="0-142"),
    )
    assert found.hints == (Hint("task", "5", MS),)
    assert found.ignored == ("object 0-142.creation",)


def test_the_older_name_of_the_type_is_read_too() -> None:
    event = changed(7)
    event["eventType"] = event.pop("subscriptionType")
    assert split(event).hints == (Hint("contact", "7", MS),)


def test_a_deletion_and_a_restore_are_one_hint_because_only_a_read_tells_which_of_them_holds() -> None:
    told = [changed(1, type="contact.deletion"), changed(1, MS + 9, "contact.restore"), changed(1, MS + 5)]
    found = split(*told)
    assert found.hints == (Hint("contact", "1", MS + 9),) and not found.payloads


def test_a_privacy_deletion_empties_the_person_for_good() -> None:
    (payload,) = split(changed(1, type="contact.privacyDeletion")).payloads
    (event,) = normalized(payload)
    assert event.type == "person.deleted" and event.final and event.erased and not event.data


def test_a_merge_makes_every_old_id_an_alias_of_the_new_one_and_fetches_that() -> None:
    merge = changed(1900, type="contact.merge", primaryObjectId=1001, mergedObjectIds=[1001, 1002], newObjectId=1900)
    found = split(merge)
    assert found.hints == (Hint("contact", "1900", MS),)
    events = normalized(found.payloads[0])
    into = "hubspot/62515/contact/1900"
    assert {(event.type, event.subject, event.into) for event in events} == {
        ("person.merged", "hubspot/62515/contact/1001", into), ("person.merged", "hubspot/62515/contact/1002", into),
    }  # fmt: skip


def test_a_merge_of_the_old_kind_keeps_the_primary_id() -> None:
    merge = changed(1001, type="company.merge", primaryObjectId=1001, mergedObjectIds=[1001, 1002])
    (event,) = normalized(split(merge).payloads[0])
    assert (event.subject, event.into) == ("hubspot/62515/company/1002", "hubspot/62515/company/1001")


def test_the_merge_that_the_record_tells_is_the_event_that_the_webhook_told() -> None:
    merge = changed(1900, MS + 102, "contact.merge", primaryObjectId=1001, mergedObjectIds=[1002], newObjectId=1900)
    told = normalized(split(merge).payloads[0])
    times = f"1001:{MS + 102};1002:{MS + 102}"
    row = contact("1900", hs_merged_object_ids="1001;1002", hs_calculated_merged_vids=times)
    assert [event.id for event in normalized(read("contact", row))[1:]] == [event.id for event in told]


@needs_vendor_data
def test_a_recorded_batch_comes_apart_completely() -> None:
    assert WEBHOOK is not None
    body = json.loads((VENDOR / "samples" / "webhook_batch.json").read_text())
    found = WEBHOOK.split(body, delivery(), config(), ACCOUNT, MS)
    assert {(hint.kind, hint.id) for hint in found.hints} == {
        ("contact", "1001"), ("contact", "1900"), ("company", "501"), ("deal", "7001"), ("ticket", "8001"),
        ("contact", "1003"), ("contact", "1004"), ("order", "9001"), ("conversation", "4455"),
    }  # fmt: skip
    assert [payload.kind for payload in found.payloads] == ["contact.merge", "contact.privacyDeletion"]
    assert not found.ignored


def test_one_malformed_event_does_not_take_the_others_with_it() -> None:
    assert WEBHOOK is not None
    body = [changed(1), {"portalId": 62515}, 7, changed(2, type="contact.privacyDeletion"), changed(3, objectId=None)]
    found = WEBHOOK.split(body, delivery(), config(), ACCOUNT, MS)
    assert [hint.id for hint in found.hints] == ["1"]
    assert [payload.kind for payload in found.payloads] == ["contact.privacyDeletion"]
    assert found.odd == ("an event without the fields of its kind",) * 3
    with pytest.raises(NormalizeError):
        WEBHOOK.split({"not": "an array"}, delivery(), config(), ACCOUNT, MS)


FIELDS = ("subscriptionType", "objectId", "occurredAt", "objectTypeId", "mergedObjectIds", "associationType",
          "fromObjectId", "toObjectId", "newObjectId", "primaryObjectId")  # fmt: skip


TYPES = st.sampled_from(["contact.merge", "deal.associationChange", "object.creation", "x.y", "contact.deletion"])


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON | TYPES, max_size=8) | JSON, max_size=4))
def test_whatever_an_array_holds_it_comes_apart_or_is_refused_by_name(events: list[Any]) -> None:
    assert WEBHOOK is not None
    found = WEBHOOK.split(events, delivery(), config(), ACCOUNT, MS)
    for payload in found.payloads:
        try:
            normalized(payload)
        except NormalizeError:
            continue


@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize("action", ["creation", "propertyChange", "restore", "associationChange", "deletion", "merge"])
def test_every_generic_topic_of_every_object_is_understood(kind: str, action: str) -> None:
    type_id = kinds.KINDS[kind].type_id
    more = {
        "merge": {"objectId": 9, "primaryObjectId": 7, "mergedObjectIds": [7, 8], "newObjectId": 9},
        "associationChange": {
            "fromObjectTypeId": type_id,
            "toObjectTypeId": "0-142",
            "fromObjectId": 7,
            "toObjectId": 5,
        },
    }.get(action, {})
    found = split(changed(7, type=f"object.{action}", objectTypeId=type_id, **more))
    assert not found.ignored
    told = [event for payload in found.payloads for event in normalized(payload)]
    if action == "merge":
        assert [event.subject for event in told] == [f"hubspot/62515/{kind}/{id}" for id in (7, 8)]
        assert found.hints == (Hint(kind, "9", MS),)
    else:
        assert found.hints == (Hint(kind, "7", MS),) and not told


@pytest.mark.parametrize("action", ["creation", "newMessage", "propertyChange", "deletion", "privacyDeletion"])
def test_every_topic_of_the_inbox_is_understood(action: str) -> None:
    found = split(changed(4455, type=f"conversation.{action}", messageId="m", messageType="MESSAGE"))
    assert not found.ignored and bool(found.payloads) == (action == "privacyDeletion")
    assert [hint.id for hint in found.hints] == ([] if action == "privacyDeletion" else ["4455"])


def test_topics_without_a_place_in_the_record_are_ignored_by_name() -> None:
    found = split(changed(1, type="product.creation"), changed(2, type="object.creation", objectTypeId="0-14"),
                  changed(3, type="event.completed"))  # fmt: skip
    assert found.ignored == ("product.creation", "object 0-14.creation", "event.completed")
    assert not found.hints and not found.payloads
