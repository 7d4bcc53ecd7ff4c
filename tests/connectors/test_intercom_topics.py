"""Every topic of Intercom that bears on the record, each delivered once in the shape that its item has there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors.intercom.normalize import normalize
from connectors.intercom.webhook import TOPICS, WEBHOOK
from core.sdk import Delivery, NormalizeError, Split
from tests.connectors.intercom_source import CONFIG

SAMPLES = Path(__file__).parents[2] / "connectors/intercom/samples"
AT = 1768200421
ACCOUNT = "k7x2m9qa"


def shown(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.payload.json").read_bytes())["data"]


CONVERSATION, CONTACT, TICKET, ARTICLE = map(
    shown, ("conversation.pushed", "contact.pushed", "ticket.pushed", "article")
)
COMPANY, CALL = shown("company.read"), shown("call.answered")
PERSON = {"type": "contact", "id": "p"}
DELETED = {"type": "contact", "id": "p", "external_id": "cust-8812", "deleted": True}
PARTICIPANTS = {"conversation": {"parts": [], "options": {}, "model": {"id": 12}}, "contact": {"id": 3}}
MEMBERSHIP = {"company": {"id": "c"}, "contact": {"id": "p"}}
TAGGED = {"type": "contact_tag", "tag": {"type": "tag", "id": "7", "name": "vip"}, "contact": PERSON}
SUBSCRIBED = {"type": "subscription", "id": "91", "contact": PERSON}
SEAT = {"type": "admin", "id": "9608799"}
PART = {"type": "conversation_part", "id": "1", "conversation_id": "12"}

READ_CONTACT, READ_ADMIN, READ_THREAD = ["read contact p"], ["read admin 9608799"], ["read conversation 12"]
OPENED, KNOWN = ["conversation.upserted"], ["person.upserted"]

# What is delivered with a topic, and what it comes to: types of events, or what is read.
EXPECTED: Mapping[str, tuple[Any, list[str]]] = {
    "conversation.user.created": (CONVERSATION, OPENED),
    "conversation.user.replied": (CONVERSATION, OPENED),
    "conversation.admin.replied": (CONVERSATION, OPENED),
    "conversation.admin.replied.translated": (CONVERSATION, OPENED),
    "conversation.admin.single.created": (CONVERSATION, OPENED),
    "conversation.admin.assigned": (CONVERSATION, OPENED),
    "conversation.admin.open.assigned": (CONVERSATION, OPENED),
    "conversation.admin.noted": (CONVERSATION, OPENED),
    "conversation.admin.closed": (CONVERSATION, OPENED),
    "conversation.admin.opened": (CONVERSATION, OPENED),
    "conversation.admin.snoozed": (CONVERSATION, OPENED),
    "conversation.admin.unsnoozed": (CONVERSATION, OPENED),
    "conversation.operator.replied": (CONVERSATION, OPENED),
    "conversation.priority.updated": (CONVERSATION, OPENED),
    "conversation.rating.added": (CONVERSATION, OPENED),
    "conversation.read": (CONVERSATION, OPENED),
    "conversation.company.updated": (CONVERSATION, OPENED),
    "conversation.deleted": ({"type": "conversation", "conversation_id": "12"}, ["conversation.deleted"]),
    "conversation.contact.attached": (PARTICIPANTS, READ_THREAD),
    "conversation.contact.detached": (PARTICIPANTS, READ_THREAD),
    "conversation_part.redacted": (PART | {"redacted": True}, READ_THREAD),
    "conversation_part.tag.created": (PART, READ_THREAD),
    "contact.user.created": (CONTACT, KNOWN),
    "contact.user.updated": (CONTACT, KNOWN),
    "contact.lead.created": (CONTACT, KNOWN),
    "contact.lead.updated": (CONTACT, KNOWN),
    "contact.lead.added_email": (CONTACT, KNOWN),
    "contact.lead.signed_up": (CONTACT, KNOWN),
    "contact.email.updated": (CONTACT, KNOWN),
    "contact.merged": (PERSON | {"updated_at": AT, "merged_from": {"type": "contact", "id": "a"}},
                       ["person.merged", "person.upserted", "read contact p (merged)"]),
    "contact.deleted": (DELETED, ["person.deleted"]),
    "contact.archived": (PERSON | {"archived": True}, ["person.deleted"]),
    "contact.unarchive": (PERSON | {"archived": False}, KNOWN),
    "contact.subscribed": (PERSON, READ_CONTACT),
    "contact.unsubscribed": (PERSON, READ_CONTACT),
    "contact.unsubscribed_from_sms": (PERSON, READ_CONTACT),
    "contact.user.tag.created": (TAGGED, READ_CONTACT),
    "contact.user.tag.deleted": (TAGGED, READ_CONTACT),
    "contact.lead.tag.created": (TAGGED, READ_CONTACT),
    "contact.lead.tag.deleted": (TAGGED, READ_CONTACT),
    "granular.subscribe": (SUBSCRIBED, READ_CONTACT),
    "granular.unsubscribe": (SUBSCRIBED, READ_CONTACT),
    "visitor.signed_up": ({"type": "visitor", "id": "p"}, READ_CONTACT),
    "company.created": (COMPANY, ["organization.upserted"]),
    "company.updated": (COMPANY, ["organization.upserted"]),
    "company.deleted": ({"type": "company", "id": "c", "deleted": True}, ["organization.deleted"]),
    "company.contact.attached": (MEMBERSHIP, READ_CONTACT),
    "company.contact.detached": (MEMBERSHIP, READ_CONTACT),
    "ticket.created": (TICKET, OPENED),
    "ticket.state.updated": (TICKET, OPENED),
    "ticket.note.created": (TICKET, OPENED),
    "ticket.admin.assigned": (TICKET, OPENED),
    "ticket.team.assigned": (TICKET, OPENED),
    "ticket.contact.attached": (TICKET, OPENED),
    "ticket.contact.detached": (TICKET, OPENED),
    "ticket.attribute.updated": (TICKET, OPENED),
    "ticket.admin.replied": (TICKET, OPENED),
    "ticket.contact.replied": (TICKET, OPENED),
    "ticket.closed": ({"ticket": TICKET}, OPENED),
    "ticket.rating.provided": ({"ticket": {"id": "t"}}, ["read ticket t"]),
    "ticket.resolved": (TICKET, OPENED),
    "call.started": (CALL, ["call.upserted"]),
    "call.ended": (CALL, ["call.upserted"]),
    "call.transcription_available": (CALL, ["call.upserted"]),
    "call.recording_available": (CALL, ["call.upserted"]),
    "admin.added_to_workspace": (SEAT, READ_ADMIN),
    "admin.away_mode_updated": (SEAT, READ_ADMIN),
    "admin.removed_from_workspace": (SEAT, READ_ADMIN),
    "article.created": (ARTICLE, ["article.upserted"]),
    "article.updated": (ARTICLE, ["article.upserted"]),
    "article.published": (ARTICLE, ["article.upserted"]),
    "article.unpublished": (ARTICLE, ["article.upserted"]),
    "article.deleted": ({"type": "article", "id": "5"}, ["article.deleted"]),
    # Names of before 2.0.
    **dict.fromkeys(
        ("contact.added_email", "contact.created", "contact.signed_up", "user.created", "user.deleted",
         "user.email.updated", "user.unsubscribed"),
        (PERSON, READ_CONTACT),
    ),
    **dict.fromkeys(
        ("contact.tag.created", "contact.tag.deleted", "user.tag.created", "user.tag.deleted"), (TAGGED, READ_CONTACT)
    ),
}  # fmt: skip


def taken(topic: str, item: Any) -> Split:
    body = {"type": "notification_event", "app_id": ACCOUNT, "topic": topic, "created_at": AT,
            "data": {"type": "notification_event_data", "item": item}}  # fmt: skip
    delivery = Delivery("POST", "https://hooks.example.com/hooks/intercom", {}, b"")
    return WEBHOOK.split(body, delivery, CONFIG, ACCOUNT, AT * 1000)


def results(split: Split) -> list[str]:
    """What a notification comes to: messages and identifiers of an object go with it."""
    made = {event.type for payload in split.payloads for event in normalize(payload)} - {"message.upserted"}
    read = [f"read {it.kind} {it.id}" + f" ({it.action})" * (it.action != "changed") for it in split.hints]
    return [*sorted(made), *read, *(f"ignored {topic}" for topic in split.ignored)]


def test_exactly_the_topics_of_the_list_are_taken() -> None:
    assert set(TOPICS) == set(EXPECTED)


@pytest.mark.parametrize("topic", EXPECTED)
def test_every_topic_comes_to_what_it_must(topic: str) -> None:
    item, expected = EXPECTED[topic]
    assert results(taken(topic, item)) == expected


@pytest.mark.parametrize("topic", EXPECTED)
def test_a_notification_that_names_nothing_is_refused_and_never_forgotten(topic: str) -> None:
    """So that it becomes a dead letter: a redaction, of which the text must be erased, like any other."""
    with pytest.raises(NormalizeError):
        for payload in taken(topic, {"type": "conversation_part", "redacted": True}).payloads:
            list(normalize(payload))


def test_what_becomes_a_read_alone_is_shown_by_its_topic_so_that_a_change_of_its_shape_is_noticed() -> None:
    assert taken("contact.subscribed", PERSON).seen == [("contact.subscribed", PERSON)]
    assert not taken("contact.user.created", CONTACT).seen, "payloads are looked at themselves"
