"""HubSpot, against its published signatures and its own mock over real HTTP."""

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.hubspot import CONNECTOR
from connectors.hubspot.config import Config
from connectors.hubspot.mock import DEMO, Portal, simulator
from connectors.hubspot.webhook import signature
from core.errors import (
    AccountError,
    NormalizeError,
    PermanentError,
    SignatureError,
    TransientError,
    UnauthorizedError,
)
from core.sdk import Delivery, Hint, Http, Page, Payload, Split
from core.sdk.mock import Mock, running
from core.sdk.story import Beat
from schemas.entities import Identifier
from schemas.event import Event
from tests.connectors.http import PlainHttp, plain_http

ROOT = Path(__file__).parents[2]
VENDOR = Path(os.environ.get("HUB_VENDOR_DATA", ROOT.parent / "shared" / "vendor-data")) / "crm" / "hubspot"
needs_vendor_data = pytest.mark.skipif(not VENDOR.is_dir(), reason=f"no vendor data at {VENDOR}: set HUB_VENDOR_DATA")
SAMPLES = sorted((ROOT / "connectors" / "hubspot" / "samples").glob("*.payload.json"))

ACCOUNT, NOW = "62515", datetime(2026, 9, 7, 8, 0, tzinfo=UTC)
MS = int(NOW.timestamp() * 1000)
SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URL = "https://hooks.example.com/hooks/hubspot"
WEBHOOK = CONNECTOR.webhook
assert WEBHOOK is not None and CONNECTOR.hydrate is not None
hydrate = CONNECTOR.hydrate


def config(**more: Any) -> Config:
    return Config.model_validate({"type": "hubspot", "token": "t", "client_secret": SECRET} | more)


def delivery(body: bytes = b"[]", *, url: str = URL, at: int = MS, secret: str = SECRET, **more: str) -> Delivery:
    headers = {
        "x-hubspot-signature-v3": signature(secret, "POST", url, body, str(at)),
        "x-hubspot-request-timestamp": str(at),
    }
    return Delivery("POST", url, headers | more, body)


def split(*events: Mapping[str, Any], account: str = ACCOUNT) -> Split:
    body = [{"portalId": 62515, "occurredAt": MS, **event} for event in events]
    assert WEBHOOK is not None
    return WEBHOOK.split(body, delivery(), config(), account, MS)


def normalized(payload: Payload) -> list[Event]:
    return list(CONNECTOR.normalize(payload))


def read(kind: str, row: Mapping[str, Any], **more: Any) -> Payload:
    return Payload(kind, row, ACCOUNT, pushed=False, received=MS, **more)


def contact(id: str = "901", **properties: Any) -> dict[str, Any]:
    moment = "2026-09-07T08:00:00.102Z"
    return {"id": id, "properties": properties, "createdAt": "2026-01-05T10:11:12.345Z", "updatedAt": moment,
            "archived": False, "associations": {"companies": []}}  # fmt: skip


# --- signatures ---


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


# --- taking deliveries apart ---


def changed(id: int, at: int = MS, type: str = "contact.propertyChange", **more: Any) -> dict[str, Any]:
    return {"subscriptionType": type, "objectId": id, "eventId": 1, "occurredAt": at, **more}


def test_an_object_that_changed_often_is_one_hint_at_its_latest_time() -> None:
    found = split(changed(1, MS + 5), changed(1, MS + 9), changed(1, MS), changed(2), changed(1, type="deal.creation"))
    assert found.hints == (Hint("contact", "1", MS + 9), Hint("contact", "2", MS), Hint("deal", "1", MS))
    assert not found.payloads and not found.ignored


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
        changed(6, type="object.creation", objectTypeId="0-123"),
    )
    assert found.hints == (Hint("task", "5", MS),)
    assert found.ignored == ("object 0-123.creation",)


def test_the_older_name_of_the_type_is_read_too() -> None:
    event = changed(7)
    event["eventType"] = event.pop("subscriptionType")
    assert split(event).hints == (Hint("contact", "7", MS),)


def test_a_deletion_is_an_event_that_a_restore_can_undo() -> None:
    found = split(changed(1, type="contact.deletion"), changed(1, type="contact.deletion"))
    (event,) = [event for payload in found.payloads for event in normalized(payload)]
    assert (event.type, event.subject) == ("person.deleted", "hubspot/62515/contact/1")
    assert (event.order.clock, event.final, event.erased) == (MS, False, False)
    assert split(changed(1, MS + 9, "contact.restore")).hints == (Hint("contact", "1", MS + 9, "restored"),)
    assert split(changed(1, MS, "contact.restore"), changed(1, MS + 9)).hints[0].action == "restored"


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
        ("contact", "1004"),
    }  # fmt: skip
    assert [payload.kind for payload in found.payloads] == [
        "contact.merge", "contact.deletion", "contact.privacyDeletion",
    ]  # fmt: skip
    assert found.ignored == ("object 0-123.propertyChange", "conversation.newMessage")


def test_one_malformed_event_does_not_take_the_others_with_it() -> None:
    assert WEBHOOK is not None
    body = [changed(1), {"portalId": 62515}, 7, changed(2, type="contact.deletion"), changed(3, objectId=None)]
    found = WEBHOOK.split(body, delivery(), config(), ACCOUNT, MS)
    assert [hint.id for hint in found.hints] == ["1"]
    odd = [payload for payload in found.payloads if payload.kind == "malformed"]
    assert len(odd) == 3 and len(found.payloads) == 4
    for payload in odd:
        with pytest.raises(NormalizeError):
            normalized(payload)
    with pytest.raises(NormalizeError):
        WEBHOOK.split({"not": "an array"}, delivery(), config(), ACCOUNT, MS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
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


# --- objects to events ---


def test_a_contact_becomes_a_person_with_all_that_identifies_them() -> None:
    row = contact(
        email="dana.reyes@example.com", hs_additional_emails="d.reyes@example.com;dana@example.com",
        phone="+12025550143", mobilephone="+12025550144", firstname="Dana", lastname="Reyes", customer_number="1042",
        lifecyclestage="customer", hubspot_owner_id="77", associatedcompanyid="501", vip_level="gold",
    ) | {
        "associations": {"companies": [{"id": "502", "primary": False}, {"id": "501", "primary": False}]},
        "external_id": {"property": "customer_number", "namespace": "customer"},
    }  # fmt: skip
    (event,) = normalized(read("contact", row))
    data = event.data
    assert (event.type, event.mode, event.order.clock, event.order.read) == ("person.upserted", "full", MS + 102, 1)
    identifiers = [Identifier.model_validate(each) for each in data["identifiers"]]
    assert [(each.kind, each.value, each.primary, each.namespace) for each in identifiers] == [
        ("email", "dana.reyes@example.com", True, None), ("email", "d.reyes@example.com", False, None),
        ("email", "dana@example.com", False, None), ("phone", "+12025550143", True, None),
        ("phone", "+12025550144", False, None), ("external_id", "1042", False, "customer"),
    ]  # fmt: skip
    assert (data["role"], data["source_state"], data["display_name"]) == ("customer", "customer", "Dana Reyes")
    assert data["owner"]["key"] == "hubspot/62515/owner/77"
    assert [(each["key"], each["primary"]) for each in data["organizations"]] == [
        ("hubspot/62515/company/501", True), ("hubspot/62515/company/502", False),
    ]  # fmt: skip
    assert data["attributes"] == {"vip_level": "gold"}
    assert data["url"] == "https://app.hubspot.com/contacts/62515/record/0-1/901"


@pytest.mark.parametrize(
    ("stage", "role"),
    [("evangelist", "customer"), ("opportunity", "lead"), ("subscriber", "lead"), ("other", None), ("98765", None)],
)
def test_the_stage_of_life_says_who_is_a_customer_where_it_can(stage: str, role: str | None) -> None:
    (event,) = normalized(read("contact", contact(lifecyclestage=stage)))
    assert event.data.get("role") == role
    assert event.data["source_state"] == stage
    assert CONNECTOR.evidence[role or "customer", "email"] == "recorded"


def test_associations_that_were_not_read_leave_what_is_known_alone() -> None:
    row = contact(email="a@example.com")
    assert normalized(read("contact", row))[0].mode == "full"
    del row["associations"]
    (event,) = normalized(read("contact", row))
    assert event.mode == "patch" and "organizations" not in event.data


def test_an_archived_contact_is_a_deletion() -> None:
    row = contact() | {"archived": True, "archivedAt": "2026-09-07T08:00:01.000Z"}
    (event,) = normalized(read("contact", row))
    assert (event.type, event.order.clock) == ("person.deleted", MS + 1000)


def deal(stage: str, metadata: dict[str, str] | None, amount: str | None = "1200.50") -> dict[str, Any]:
    row = contact("7", dealname="Ovens", amount=amount, deal_currency_code="USD", dealstage=stage, pipeline="default")
    told = {} if metadata is None else {"pipeline": "Sales", "label": "Stage!", "metadata": metadata}
    return row | {"associations": {"contacts": [{"id": "901", "primary": False}]}, "stage": told}


@pytest.mark.parametrize(
    ("stage", "metadata", "status"),
    [
        ("x", {"isClosed": "false", "probability": "0.2"}, "open"),
        ("x", {"isClosed": "true", "probability": "1.0"}, "won"),
        ("x", {"isClosed": "true", "probability": "0.0"}, "lost"),
        ("x", {"probability": "1.0"}, "won"),
        ("closedwon", None, "won"),
        ("closedlost", None, "lost"),
        ("98765", None, "open"),
    ],
)
def test_a_deal_is_open_won_or_lost_by_its_stage(stage: str, metadata: dict[str, str] | None, status: str) -> None:
    (event,) = normalized(read("deal", deal(stage, metadata)))
    assert event.data["status"] == status
    assert event.data["stage"] == {"key": f"hubspot/62515/stage/{stage}", "name": "Stage!" if metadata else None}
    assert (event.data["total"], event.data["currency"]) == ("1200.50", "USD")
    assert [(party["role"], party["person"]) for party in event.data["parties"]] == [
        ("requester", "hubspot/62515/contact/901")
    ]


def test_money_is_a_decimal_or_the_payload_is_refused() -> None:
    assert normalized(read("deal", deal("x", None, "1.2E3")))[0].data["total"] == "1200"
    assert "total" not in normalized(read("deal", deal("x", None, "")))[0].data
    for amount in ("a lot", "NaN", "Infinity"):
        with pytest.raises(NormalizeError, match="amount"):
            normalized(read("deal", deal("x", None, amount)))


def test_a_ticket_becomes_a_conversation_and_a_task_what_was_promised() -> None:
    row = contact("8", subject="Bag", content="<p>Never&nbsp;arrived</p>", hs_pipeline="0", hs_pipeline_stage="4",
                  hs_ticket_priority="MEDIUM", closed_date="2026-09-07T08:00:00Z", source_type="EMAIL")  # fmt: skip
    row |= {"stage": {"pipeline": "Support", "label": "Closed", "metadata": {"ticketState": "CLOSED"}}}
    (ticket,) = normalized(read("ticket", row))
    shown = {name: ticket.data[name] for name in ("kind", "status", "priority", "preview", "source_state", "channel")}
    assert shown == {"kind": "ticket", "status": "closed", "priority": "normal", "preview": "Never arrived",
                     "source_state": "Closed", "channel": "email"}  # fmt: skip
    row = contact("9", hs_task_subject="Call Dana back", hs_task_status="WAITING", hs_timestamp=str(MS))
    (task,) = normalized(read("task", row))
    assert task.data["state"] == "open" and task.data["due_at"] == "2026-09-07T08:00:00.000Z"
    row["properties"] |= {"hs_task_status": "COMPLETED", "hs_task_completion_date": "2026-09-07T09:00:00Z"}
    assert normalized(read("task", row))[0].data["done_at"] == "2026-09-07T09:00:00.000Z"


def test_an_owner_is_staff() -> None:
    row = {"id": "77", "email": "rep@example.com", "firstName": "Rep", "lastName": "One", "archived": True,
           "updatedAt": "2026-01-01T00:00:00.000Z", "teams": [{"id": "9", "name": "EMEA"}]}  # fmt: skip
    (event,) = normalized(read("owner", row))
    assert event.type == "staff.upserted"
    assert (event.data["name"], event.data["source_state"]) == ("Rep One", "archived")
    assert event.data["teams"] == [{"key": "hubspot/62515/team/9", "name": "EMEA"}]


@needs_vendor_data
def test_recorded_lists_are_read() -> None:
    for name, kind, types in (
        ("contacts_list", "contact", ["person.upserted", "person.merged", "person.merged"]),
        ("contacts_list_archived", "contact", ["person.deleted"]),
        ("owners_list", "owner", ["staff.upserted"]),
    ):
        rows = json.loads((VENDOR / "samples" / f"{name}.json").read_text())["results"]
        rows = [{key: value for key, value in row.items() if key != "associations"} for row in rows]
        assert [event.type for row in rows for event in normalized(read(kind, row))] == types


@given(st.sampled_from(["contact", "company", "deal", "ticket", "task", "owner", "contact.merge"]), JSON)
def test_what_is_not_an_object_is_refused_by_name(kind: str, data: Any) -> None:
    with pytest.raises(NormalizeError):
        normalized(read(kind, data))


@given(st.text(max_size=20).filter(lambda kind: kind.partition(".")[0] not in {"owner", "malformed"}), JSON)
def test_unknown_kinds_give_no_events(kind: str, data: Any) -> None:
    if kind.partition(".")[0] not in {"contact", "company", "deal", "ticket", "task"}:
        assert normalized(read(kind, data)) == []


@given(st.dictionaries(st.text(max_size=12), JSON, max_size=4))
def test_unknown_fields_are_harmless_and_the_same_payload_gives_the_same_events(more: dict[str, Any]) -> None:
    row = contact(email="a@example.com")
    (plain,) = normalized(read("contact", row))
    (first,) = normalized(read("contact", {**more, **row}))
    assert first == plain
    assert normalized(read("contact", {**more, **row})) == [first]


def test_ids_of_events_are_stable_and_differ_with_the_state() -> None:
    rows = [contact(email=f"a{number}@example.com") for number in range(3)]
    rows.append(rows[0] | {"updatedAt": "2026-09-07T08:00:00.103Z"})
    ids = [normalized(read("contact", row))[0].id for row in rows]
    assert len(set(ids)) == 4
    assert ids == [normalized(replace(read("contact", row), received=MS + 5))[0].id for row in rows]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.removesuffix(".payload.json"))
def test_samples_normalize_to_the_recorded_events_and_stay_as_they_are(path: Path) -> None:
    wanted = json.loads(path.with_name(path.name.replace(".payload.", ".events.")).read_text())
    payload = Payload(**json.loads(path.read_text()))
    assert [event.model_dump(mode="json") for event in normalized(payload)] == wanted
    assert payload == Payload(**json.loads(path.read_text()))


def test_there_is_a_sample_of_every_kind() -> None:
    kinds = {json.loads(path.read_text())["kind"] for path in SAMPLES}
    assert kinds >= {
        "contact",
        "company",
        "deal",
        "ticket",
        "task",
        "owner",
        "contact.merge",
        "contact.privacyDeletion",
    }


# --- against the mock ---


@dataclass
class Bench:
    """A running mock, a client for it, and the connector's settings."""

    mock: Mock
    portal: Portal
    http: PlainHttp
    config: Config
    account: str

    def tell(self, kind: str, ref: str, **data: Any) -> list[Mapping[str, Any]]:
        """Something happens in the portal now; returns the events of its webhooks."""
        queued = self.mock.player.insert(kind, ref, data)
        return [event for _, push in queued for event in push.body]

    def later(self, **span: float) -> None:
        self.mock.player.clock.set(self.mock.player.clock.now() + int(timedelta(**span).total_seconds() * 1000))

    async def poll(self, name: str, cursor: dict[str, Any] | None = None, most: int = 1000) -> list[Page]:
        (stream,) = [stream for stream in CONNECTOR.streams if stream.name == name]
        pages: list[Page] = []
        async for page in stream.poll(self.http, self.config, self.account, cursor):
            pages.append(page)
            if len(pages) == most:
                break
        return pages

    async def hydrated(self, hints: list[Hint]) -> list[Payload]:
        return [payload async for payload in hydrate(self.http, self.config, self.account, hints)]


@asynccontextmanager
async def bench(seed: int = 7, **settings: Any) -> AsyncIterator[Bench]:
    portal = simulator(seed, {})
    portal.api.search_rate = 1000
    async with running(portal, pace=0, limit=100_000) as mock:
        mock.player.clock.set(rate=0)
        made = Config.model_validate({"type": "hubspot", "mock": True, **DEMO, **settings})
        async with plain_http(mock.url, CONNECTOR.auth(made), now_ms=mock.player.clock.now) as http:
            yield Bench(mock, portal, http, made, str(portal.world.portal))


def ids(pages: list[Page]) -> list[str]:
    return [payload.data["id"] for page in pages for payload in page.payloads]


KINDS = {"contacts": "contact", "companies": "company", "deals": "deal", "tickets": "ticket", "tasks": "task"}


async def test_the_account_is_the_portal_that_the_token_belongs_to() -> None:
    async with bench() as hub:
        assert await CONNECTOR.account(hub.http, hub.config) == hub.account
        with pytest.raises(PermanentError, match="belongs to portal"):
            await CONNECTOR.account(hub.http, hub.config.model_copy(update={"account": "1"}))
        async with plain_http(hub.mock.url, {"Authorization": "Bearer wrong"}) as stranger:
            with pytest.raises(UnauthorizedError):
                await CONNECTOR.account(stranger, hub.config)


class NoAccount:
    """A portal that answers everything but who it is."""

    def __init__(self, http: Http) -> None:
        self.request, self.now, self._http = http.request, http.now, http

    async def get(self, path: str, **params: str | int) -> Any:
        if "account-info" in path:
            raise PermanentError("404", status=404)
        return await self._http.get(path, **params)


async def test_an_account_that_is_not_told_must_be_written_down() -> None:
    async with bench() as hub:
        with pytest.raises(PermanentError, match="`account:`"):
            await CONNECTOR.account(NoAccount(hub.http), hub.config)
        written = hub.config.model_copy(update={"account": "12345"})
        assert await CONNECTOR.account(NoAccount(hub.http), written) == "12345"


@pytest.mark.parametrize("version", ["2026-03", "v3"])
async def test_the_whole_portal_arrives_with_its_associations(version: str) -> None:
    async with bench(api_version=version) as hub:
        hub.tell("ticket.upsert", "old", person="dana", properties={"hs_pipeline": "0", "hs_pipeline_stage": "1"})
        truth = hub.portal.truth()
        for name, kind in KINDS.items():
            pages = await hub.poll(name)
            assert sorted(ids(pages)) == sorted(truth[kind]) != []
            events = [event for page in pages for payload in page.payloads for event in normalized(payload)]
            assert {event.mode for event in events} == {"full"}
            if kind in ("deal", "ticket", "task"):
                assert all(event.data["parties"] for event in events)
        assert len(ids(await hub.poll("owners"))) == 5
        assert all(path.startswith("/crm/") for path, _ in hub.http.asked)
        assert any(version in path for path, _ in hub.http.asked)


async def test_members_of_a_company_arrive_with_it() -> None:
    async with bench() as hub:
        pages = await hub.poll("contacts")
        people = [normalized(payload)[0].data for page in pages for payload in page.payloads]
        (bakery,) = {
            each["key"] for person in people for each in person["organizations"]
            if "bakery.example.com" in str(person["identifiers"])
        }  # fmt: skip
        companies = [normalized(payload)[0] for page in await hub.poll("companies") for payload in page.payloads]
        assert {event.subject: event.data["name"] for event in companies}[bakery] == "Example Bakery"
        members = [person for person in people if bakery in str(person["organizations"])]
        assert len(members) == 3
        assert {str(person["organizations"]) for person in members} == {
            str([{"key": bakery, "name": "Example Bakery", "primary": True}])
        }


async def crowd(hub: Bench, number: int, begin: int = 0) -> None:
    for index in range(begin, begin + number):
        hub.tell("person.upsert", f"x{index}", given="Ana", family="Berg", email=f"x{index}@example.com")
    hub.later(seconds=10)


@pytest.mark.parametrize("name", ["contacts", "archived", "owners"])
async def test_a_walk_that_stops_after_any_page_goes_on_to_the_same_set(name: str) -> None:
    async with bench() as hub:
        await crowd(hub, 130)
        for index in range(110):
            hub.tell("person.delete", f"x{index}")
        await crowd(hub, 140, begin=200)
        whole = await hub.poll(name)
        assert len(whole) > 1
        for stop in range(1, len(whole)):
            begun = await hub.poll(name, most=stop)
            rest = await hub.poll(name, json.loads(json.dumps(begun[-1].cursor)))
            assert ids(begun) + ids(rest) == ids(whole)
            assert rest[-1].cursor == whole[-1].cursor


async def test_what_changes_behind_a_long_walk_is_found_after_it() -> None:
    async with bench() as hub:
        await crowd(hub, 130)
        (begun,) = await hub.poll("contacts", most=1)
        hub.later(hours=3)  # the hub was down
        (told, *_) = hub.tell("person.upsert", "dana", family="Reyes-Berg")
        behind = begun.payloads[0].data["id"]
        ref = next(index for index in range(130) if hub.portal.world.id("contacts", f"x{index}") == behind)
        hub.tell("person.upsert", f"x{ref}", family="Berger")
        hub.later(hours=3)
        (*_, last) = await hub.poll("contacts", begun.cursor)
        found = {payload.data["id"] for page in await hub.poll("contacts", last.cursor) for payload in page.payloads}
        assert {behind, str(told["objectId"])} <= found


async def test_a_search_that_stops_after_any_page_goes_on_to_the_same_set() -> None:
    async with bench() as hub:
        (*_, last) = await hub.poll("contacts")
        hub.later(minutes=10)
        await crowd(hub, 450)
        whole = await hub.poll("contacts", last.cursor)
        assert len(ids(whole)) == len(set(ids(whole))) == 450
        for stop in range(1, len(whole)):
            begun = await hub.poll("contacts", last.cursor, most=stop)
            hub.later(seconds=30)
            rest = await hub.poll("contacts", begun[-1].cursor)
            assert ids(begun) + ids(rest) == ids(whole)


async def test_more_changes_than_a_search_gives_out_all_arrive() -> None:
    async with bench() as hub:
        (*_, last) = await hub.poll("contacts")
        hub.later(minutes=10)
        await crowd(hub, 450)
        hub.portal.api.search_cap = 200
        with pytest.raises(PermanentError, match="400"):
            await hub.http.request("POST", "/crm/v3/objects/contacts/search", json={"limit": 200, "after": "200"})
        assert len(ids(await hub.poll("contacts", last.cursor))) == 450


CHANGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "contacts": ("person.upsert", "dana", {"family": "Reyes-Berg"}),
    "companies": ("company.upsert", "bakery", {"properties": {"name": "Example Bakery Ltd"}}),
    "deals": ("deal.upsert", "d:1", {"title": "More ovens"}),
    "tickets": ("ticket.upsert", "old", {"properties": {"subject": "Changed"}}),
    "tasks": ("task.upsert", "t:0", {"state": "done"}),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_what_changed_since_arrives_and_nothing_else(name: str) -> None:
    kind, ref, data = CHANGES[name]
    async with bench() as hub:
        hub.tell("ticket.upsert", "old", person="dana", properties={"subject": "Bag"})
        (*_, last) = await hub.poll(name)
        hub.later(hours=1)
        (*_, last) = await hub.poll(name, last.cursor)  # looks back once more over the first minutes
        hub.later(hours=1)
        quiet = await hub.poll(name, last.cursor)
        assert ids(quiet) == []
        (told, *_) = hub.tell(kind, ref, **data)
        hub.later(seconds=5)
        pages = await hub.poll(name, quiet[-1].cursor)
        assert ids(pages) == [str(told["objectId"])]
        assert pages[-1].cursor["since"] > quiet[-1].cursor["since"]


async def test_a_row_that_the_index_shows_late_is_found_by_looking_back() -> None:
    async with bench() as hub:
        hub.portal.api.lag = 120_000
        (*_, last) = await hub.poll("contacts")
        hub.later(hours=1)
        hub.tell("person.upsert", "dana", family="Reyes-Berg")
        hub.later(seconds=60)
        early = await hub.poll("contacts", last.cursor)
        assert ids(early) == []
        hub.later(seconds=90)
        assert len(ids(await hub.poll("contacts", early[-1].cursor))) == 1


async def test_deletions_are_found_in_the_recycle_bin() -> None:
    async with bench() as hub:
        before = await hub.poll("archived")
        assert ids(before) == []
        hub.later(hours=1)
        (told,) = hub.tell("person.delete", "dana")
        hub.tell("deal.delete", "d:1")
        hub.later(seconds=5)
        pages = await hub.poll("archived", before[-1].cursor)
        events = [event for page in pages for payload in page.payloads for event in normalized(payload)]
        assert [event.type for event in events] == ["person.deleted", "deal.deleted"]
        assert events[0].order.clock == told["occurredAt"]
        hub.later(hours=1)
        again = await hub.poll("archived", pages[-1].cursor)
        assert ids(again) == ids(pages)  # the look-back; from then on there is nothing new
        hub.later(hours=1)
        assert ids(await hub.poll("archived", again[-1].cursor)) == []


async def test_old_work_arrives_only_where_it_is_still_open() -> None:
    async with bench(since=timedelta(days=1)) as hub:
        for ref, stage in (("open", "1"), ("closed", "4")):
            hub.tell("ticket.upsert", ref, properties={"hs_pipeline": "0", "hs_pipeline_stage": stage})
            hub.tell("task.upsert", ref, title=ref, state="open" if ref == "open" else "done", person="dana")
        hub.later(days=3)
        (ticket,) = [payload for page in await hub.poll("tickets") for payload in page.payloads]
        assert ticket.data["id"] == hub.portal.world.id("tickets", "open")
        tasks = ids(await hub.poll("tasks"))
        assert hub.portal.world.id("tasks", "open") in tasks
        assert hub.portal.world.id("tasks", "closed") not in tasks


async def test_hints_are_fetched_a_hundred_at_a_time_with_their_associations() -> None:
    async with bench() as hub:
        await crowd(hub, 250)
        hints = [Hint("contact", hub.portal.world.id("contacts", f"x{index}"), MS) for index in range(250)]
        hints.append(Hint("deal", hub.portal.world.id("deals", "d:1"), MS))
        hub.http.asked.clear()
        payloads = await hub.hydrated(hints)
        assert len(payloads) == 251
        asked = [path.removeprefix("/crm/").replace("/batch/read", "") for path, _ in hub.http.asked]
        assert asked == [
            *["objects/2026-03/contacts", "associations/2026-03/contacts/companies"] * 3,
            "objects/2026-03/deals", "associations/2026-03/deals/contacts", "owners/2026-03", "v3/pipelines/deals",
        ]  # fmt: skip
        (made,) = [event for payload in payloads if payload.kind == "deal" for event in normalized(payload)]
        assert made.data["stage"]["name"] == "Contract sent" and made.data["parties"]
        assert made.data["owner"]["name"] == "Jonas Petrov"
        too_many = {"inputs": [{"id": "1"}] * 101}
        with pytest.raises(PermanentError, match="400"):
            await hub.http.request("POST", "/crm/v3/objects/contacts/batch/read", json=too_many)


async def test_what_was_hydrated_and_what_was_listed_are_the_same_events() -> None:
    async with bench() as hub:
        for name, kind in KINDS.items():
            listed = [payload for page in await hub.poll(name) for payload in page.payloads]
            hints = [Hint(kind, payload.data["id"], MS) for payload in listed]
            fetched = await hub.hydrated(hints)
            assert {event.id for payload in fetched for event in normalized(payload)} == {
                event.id for payload in listed for event in normalized(payload)
            }


async def test_what_is_not_there_any_more_is_a_deletion_at_the_time_of_the_hint() -> None:
    async with bench() as hub:
        payloads = await hub.hydrated([Hint("contact", "424242", MS)])
        (event,) = [event for payload in payloads for event in normalized(payload)]
        assert (event.type, event.order.clock, event.final) == ("person.deleted", MS, False)
        assert event.subject == f"hubspot/{hub.account}/contact/424242"


async def test_a_restore_brings_back_what_a_deletion_took() -> None:
    async with bench() as hub:
        hub.later(seconds=5)
        (deletion,) = hub.tell("person.delete", "dana")
        hub.later(seconds=5)
        found = split_as(hub, hub.tell("person.restore", "dana"))
        (payload,) = await hub.hydrated(list(found.hints))
        event = normalized(payload)[0]
        assert event.type == "person.upserted" and event.order.clock > deletion["occurredAt"]


def split_as(hub: Bench, events: list[Mapping[str, Any]]) -> Split:
    assert WEBHOOK is not None
    return WEBHOOK.split(list(events), delivery(), hub.config, hub.account, MS)


async def test_a_merge_with_a_new_id_aliases_both_old_ones_by_webhook_and_by_reading() -> None:
    async with bench() as hub:
        world = hub.portal.world
        for ref in ("a", "b", "c"):
            hub.tell("person.upsert", ref, given="Ana", family="Berg", email=f"{ref}@example.com")
            hub.later(seconds=1)
        told = split_as(hub, hub.tell("person.merge", "b", into="a", new="ab"))
        hub.later(seconds=1)
        again = split_as(hub, hub.tell("person.merge", "c", into="ab", new="abc"))
        aliases = [event for part in (told, again) for payload in part.payloads for event in normalized(payload)]
        old = {
            ref: f"hubspot/{hub.account}/contact/{world.id('contacts', ref)}" for ref in ("a", "b", "c", "ab", "abc")
        }
        assert {(event.subject, event.into) for event in aliases} == {
            (old["a"], old["ab"]), (old["b"], old["ab"]), (old["ab"], old["abc"]), (old["c"], old["abc"]),
        }  # fmt: skip
        (payload,) = await hub.hydrated(list(again.hints))
        person, *read_aliases = normalized(payload)
        assert {event.subject for event in read_aliases} == {old["a"], old["b"], old["c"], old["ab"]}
        assert {event.into for event in read_aliases} == {old["abc"]}
        assert {each["value"] for each in person.data["identifiers"]} == {f"{x}@example.com" for x in "abc"}
        # An old id in a late hint leads to the record that remains and deletes nothing.
        late = await hub.hydrated([Hint("contact", world.id("contacts", "a"), MS)])
        assert [normalized(each)[0].subject for each in late] == [old["abc"]]


async def test_a_privacy_deletion_is_told_whatever_comes_first() -> None:
    async with bench() as hub:
        found = split_as(hub, hub.tell("person.erase", "dana"))
        events = [event for payload in found.payloads for event in normalized(payload)]
        assert sorted((event.erased, event.final) for event in events) == [(False, False), (True, True)]
        assert hub.portal.world.id("contacts", "dana") not in ids(await hub.poll("contacts"))


async def test_long_lists_of_associations_are_read_to_their_end() -> None:
    async with bench() as hub:
        hub.portal.api.inline, hub.portal.api.association_page = 2, 3
        for index in range(8):
            hub.tell("person.upsert", f"x{index}", given="Ana")
            hub.tell("deal.upsert", "big", title="Big", person=f"x{index}")
        id = hub.portal.world.id("deals", "big")
        (listed,) = [
            payload for page in await hub.poll("deals") for payload in page.payloads if payload.data["id"] == id
        ]
        (fetched,) = await hub.hydrated([Hint("deal", id, MS)])
        for payload in (listed, fetched):
            assert len(normalized(payload)[0].data["parties"]) == 8


async def test_the_settings_choose_the_customer_number_and_further_properties() -> None:
    async with bench(properties=["vip_level"], external_id_property="member", external_id_namespace="club") as hub:
        hub.tell("person.upsert", "dana", properties={"member": "42", "vip_level": "gold", "unasked": "x"})
        hub.later(seconds=5)
        id = hub.portal.world.id("contacts", "dana")
        (payload,) = await hub.hydrated([Hint("contact", id, MS)])
        data = normalized(payload)[0].data
        numbers = [each for each in data["identifiers"] if each["kind"] == "external_id"]
        assert [(each["value"], each["namespace"]) for each in numbers] == [("42", "club")]
        assert data["attributes"] == {"vip_level": "gold"}


async def test_the_mock_limits_searches_and_tells_no_limits_there() -> None:
    async with bench() as hub:
        hub.portal.api.search_rate = 1
        search: Callable[[], Any] = lambda: hub.http.request("POST", "/crm/v3/objects/deals/search", json={})  # noqa: E731
        assert "x-hubspot-ratelimit-remaining" not in (await search()).headers
        listed = await hub.http.get("/crm/v3/objects/deals", limit=1)
        assert int(listed.headers["x-hubspot-ratelimit-remaining"]) > 0
        with pytest.raises(Exception, match="429"):
            await search()


async def test_the_mock_signs_what_the_connector_accepts_and_forges_what_it_refuses() -> None:
    assert WEBHOOK is not None
    portal = simulator(7, {"client_secret": SECRET})
    (push, *_) = portal.apply(Beat(0, "person.upsert", "hubspot", "z", 0, {"given": "Zoe"}), MS)
    for forged in (False, True):
        url, headers, body = portal.sign(replace(push, forged=forged), URL + "?a=%2Fb%20c", NOW)
        made = Delivery("POST", url, {name.lower(): value for name, value in headers.items()}, body)
        if not forged:
            WEBHOOK.verify(made, config(), NOW)
            continue
        with pytest.raises(SignatureError, match="wrong signature"):
            WEBHOOK.verify(made, config(), NOW)


def shape(value: Any) -> Any:
    """The keys of nested objects, without the values; of lists the first item, properties are free."""
    match value:
        case dict():
            return {key: shape(inner) for key, inner in sorted(value.items()) if key not in ("properties", "paging")}
        case list():
            return [shape(item) for item in value[:1]]
        case bool() | int() | float():
            return type(value).__name__
        case _:
            return "text"


def recorded(name: str) -> Any:
    return json.loads((VENDOR / "samples" / f"{name}.json").read_text())


@needs_vendor_data
async def test_the_mock_answers_in_the_recorded_shapes() -> None:
    async with bench() as hub:
        hub.tell("person.delete", "dana")
        hub.later(seconds=5)
        ines = hub.portal.world.id("contacts", "ines")
        listed = (await hub.http.get("/crm/v3/objects/contacts", limit=100, associations="companies")).data
        listed["results"] = [row for row in listed["results"] if row["id"] == ines]
        answers = {
            "contacts_list": listed,
            "contacts_list_archived": (await hub.http.get("/crm/v3/objects/contacts", archived="true")).data,
            "owners_list": (await hub.http.get("/crm/v3/owners", limit=1)).data,
        }
        inputs = {"inputs": [{"id": ines}, {"id": "424242"}]}
        for name, path in (
            ("batch_read_207", "/crm/v3/objects/contacts/batch/read"),
            ("associations_v4_batch_read", "/crm/v4/associations/contacts/companies/batch/read"),
            ("search_response", "/crm/v3/objects/contacts/search"),
        ):
            body = recorded("search_request") | {"filterGroups": []} if "search" in name else inputs
            answers[name] = (await hub.http.request("POST", path, json=body)).data
        answers["error_429"] = hub.portal.failure(429)
        for name, answer in answers.items():
            wanted = shape(recorded(name))
            assert shape(answer) == wanted, name
        assert "after" in (await hub.http.get("/crm/v3/objects/contacts", limit=1)).data["paging"]["next"]
        (push, *_) = hub.portal.apply(Beat(0, "person.upsert", "hubspot", "z", 0, {"given": "Zoe"}), MS)
        creation, change = (recorded("webhook_batch")[index] for index in (0, 1))
        assert shape(push.body[0]) == shape(creation)
        assert shape(change).items() <= shape(push.body[1]).items()


@pytest.mark.parametrize(("status", "wait", "seconds"), [(423, None, 2), (477, "7200", 7200), (477, None, 3600)])
async def test_hubspots_own_words_for_later_are_not_the_end(status: int, wait: str | None, seconds: int) -> None:
    class Busy:
        now: Any = None
        get: Any = None

        async def request(self, method: str, path: str, **rest: Any) -> Any:
            raise PermanentError(str(status), status=status, headers={"retry-after": wait} if wait else {})

    with pytest.raises(TransientError) as caught:
        [payload async for payload in hydrate(Busy(), config(), ACCOUNT, [Hint("contact", "1", MS)])]
    assert caught.value.retry_after == timedelta(seconds=seconds)


def standing(events: list[Event]) -> set[str]:
    """The subjects that exist after these events, in whatever order they came; aliases do not stand."""
    last: dict[str, Event] = {}
    gone = {event.subject for event in events if event.action == "merged" or event.final}
    for event in events:
        if event.action == "merged":
            continue
        known = last.get(event.subject)
        if known is None or (event.order, event.id) > (known.order, known.id):
            last[event.subject] = event
    return {subject for subject, event in last.items() if event.action == "upserted"} - gone


async def test_webhooks_keep_up_with_a_story_of_many_days() -> None:
    async with bench() as hub:
        events = [
            event for name in KINDS for page in await hub.poll(name) for payload in page.payloads
            for event in normalized(payload)
        ]  # fmt: skip
        for _ in range(1200):
            hub.later(seconds=2)
            told = [event for _, push in hub.mock.player.step(1) for event in push.body]
            found = split_as(hub, told)
            assert not found.ignored
            payloads = [*found.payloads, *await hub.hydrated(list(found.hints))]
            events += [event for payload in payloads for event in normalized(payload)]
        truth = {
            f"hubspot/{hub.account}/{kind}/{id}" for kind, rows in hub.portal.truth().items() for id in rows
        }  # fmt: skip
        assert {event.action for event in events} == {"upserted", "merged", "deleted"}
        assert standing(events) == standing(events[::-1]) == truth
