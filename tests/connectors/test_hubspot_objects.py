"""HubSpot's objects to events."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.hubspot import CONNECTOR
from core.errors import (
    NormalizeError,
)
from core.sdk import Payload
from schemas.entities import Identifier
from tests.connectors.hubspot_source import (
    JSON,
    KINDS,
    MS,
    SAMPLES,
    VENDOR,
    contact,
    deal,
    needs_vendor_data,
    normalized,
    read,
)


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


def test_an_archived_contact_is_a_deletion_at_the_date_that_it_may_still_have_when_it_is_restored() -> None:
    row = contact() | {"archived": True, "archivedAt": "2026-09-07T08:00:01.000Z"}
    (event,) = normalized(read("contact", row))
    assert (event.type, event.order.clock, event.final) == ("person.deleted", MS + 102, False)


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


def test_there_is_a_sample_of_every_kind_and_of_every_way_to_go() -> None:
    samples = {json.loads(path.read_text())["kind"] for path in SAMPLES}
    gone = {"contact.merge", "company.merge", "contact.gone", "conversation.gone"}
    erased = {"contact.privacyDeletion", "conversation.privacyDeletion"}
    assert samples >= {*KINDS.values(), "owner", "conversation", "conversation.status", *gone, *erased}
