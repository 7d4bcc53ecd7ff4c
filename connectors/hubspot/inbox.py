"""Threads of HubSpot's inbox to conversations and messages. Pure.

A thread carries no clock: its state holds from when it was read. Messages carry one (ms).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from connectors.hubspot.fields import MAKER, PREVIEW, Fields, Properties, reference
from connectors.hubspot.kinds import INBOX
from core.sdk import Payload, from_iso, plain, to_ms
from schemas.entities import Attachment, Conversation, Identifier, Message, Party, Reference
from schemas.event import Event

# HubSpot's numbers of its own channels (UNVERIFIED); those of other apps' channels are unknown.
CHANNELS: dict[str, tuple[Literal["chat", "email", "social"], str]] = {
    "1000": ("chat", "chat"),
    "1001": ("social", "messenger"),
    "1002": ("email", "email"),
    "1007": ("chat", "whatsapp"),
}
SHOWN = frozenset({"MESSAGE", "COMMENT", "WELCOME_MESSAGE"})  # the rest tells of assignments and states
DELIVERY: dict[str, Literal["email", "phone"]] = {"HS_EMAIL_ADDRESS": "email", "HS_PHONE_NUMBER": "phone"}

Rows = Sequence[Mapping[str, Any]]


def thread(payload: Payload) -> list[Event]:
    """The conversation and its messages."""
    row = payload.data
    messages = sorted((each for each in row["messages"] if each.get("type") in SHOWN), key=_at)
    incoming = [each for each in messages if each.get("direction") == "INCOMING"]
    kind, channel = CHANNELS.get(str(row.get("originalChannelId")), ("chat", None))
    subjects = [each["subject"] for each in messages if each.get("subject")]
    fields = {
        **_status(payload),
        "kind": kind,
        "channel": channel,
        "at": from_iso(row.get("createdAt")),
        "created_at": from_iso(row.get("createdAt")),
        "subject": subjects[0] if subjects else None,
        "preview": (_body(incoming[0]) or "")[:PREVIEW] or None if incoming else None,
        "waiting_since": _waiting_since(messages) if row.get("status") != "CLOSED" else None,
        "first_response_at": _first_response(messages),
        "linked": _linked(payload),
        "tags": ["spam"] if row.get("spam") else None,
        "parties": _parties(payload, incoming),
    }
    conversation = Conversation(**{name: value for name, value in fields.items() if value is not None})
    events = [MAKER.upserted(payload, INBOX, row["id"], conversation, clock=payload.received)]
    return events + [_message(payload, each) for each in messages]


def status(payload: Payload) -> Event:
    """What the list of threads says, without their messages: who has it, and whether it is done."""
    fields = {name: value for name, value in _status(payload).items() if value is not None}
    fields["waiting_since" if payload.data.get("status") == "CLOSED" else "solved_at"] = None
    conversation = Conversation(**fields)
    return MAKER.upserted(payload, INBOX, payload.data["id"], conversation, clock=payload.received, mode="patch")


def _status(payload: Payload) -> Fields:
    row = payload.data
    done = row.get("status") == "CLOSED"
    return {
        "status": "closed" if done else "open",
        "source_state": row.get("status"),
        "assignee": _staff(payload, row.get("assignedTo")),
        "solved_at": from_iso(row.get("closedAt")) if done else None,
        "url": f"https://app.hubspot.com/live-messages/{payload.account}/inbox/{row['id']}",
    }


def _message(payload: Payload, row: Properties) -> Event:
    moment = from_iso(row.get("updatedAt")) or from_iso(row["createdAt"]) or ""
    sender: Mapping[str, Any] = next(iter(row.get("senders") or ()), {})
    incoming, comment = row.get("direction") == "INCOMING", row.get("type") == "COMMENT"
    files = [_file(row, number, each) for number, each in enumerate(row.get("attachments") or ())]
    fields = {
        "at": from_iso(row["createdAt"]),
        "conversation": MAKER.key(payload, INBOX, payload.data["id"]),
        "author": _author(payload, sender),
        "direction": None if comment else "inbound" if incoming else "outbound",
        "internal": comment,
        "visibility": "internal" if comment else "public",
        "body": _body(row),
        "format": "text",
        "attachments": files or None,
        "automated": row.get("type") == "WELCOME_MESSAGE" or str(sender.get("actorId", "")).startswith(("B-", "S-")),
        "parties": _parties(payload, [row] if incoming else []),
    }
    message = Message(**{name: value for name, value in fields.items() if value is not None})
    return MAKER.upserted(payload, "message", row["id"], message, clock=to_ms(moment))


def _file(row: Properties, number: int, file: Mapping[str, Any]) -> Attachment:
    return Attachment(id=str(file.get("fileId") or f"{row['id']}/{number}"), name=file.get("name"))


def _body(row: Properties) -> str | None:
    """Some messages bring HTML alone."""
    return row.get("text") or plain(row.get("richText")) or None


def _author(payload: Payload, sender: Mapping[str, Any]) -> Reference | None:
    actor, name = str(sender.get("actorId") or ""), sender.get("name")
    if actor.startswith("V-"):
        return Reference(key=MAKER.key(payload, "contact", actor[2:]), name=name)
    return _staff(payload, actor, name)


def _staff(payload: Payload, actor: str | None, name: str | None = None) -> Reference | None:
    """Actors name users (`A-42`), and records owners: which user is which owner came along."""
    prefix, _, user = (actor or "").partition("-")
    owner = (payload.data.get("staff") or {}).get(user) if prefix == "A" else None
    return reference(payload, "owner", (owner or {}).get("id"), (owner or {}).get("name") or name)


def _parties(payload: Payload, incoming: Rows) -> list[Party]:
    """The contact, or where HubSpot knows none the address that wrote."""
    if contact := payload.data.get("associatedContactId"):
        return [Party(role="requester", person=MAKER.key(payload, "contact", contact))]
    found: dict[str, Party] = {}
    for sender in (each for row in incoming for each in row.get("senders") or ()):
        delivery = sender.get("deliveryIdentifier") or {}
        kind, value = DELIVERY.get(delivery.get("type", "")), delivery.get("value")
        if kind and value:
            named = Identifier(kind=kind, value=value)
            found[value] = Party(role="requester", identifier=named, name=sender.get("name"))
    return [found[value] for value in sorted(found)]


def _waiting_since(messages: Rows) -> str | None:
    """The customer's oldest message that nobody has answered."""
    since = None
    for row in messages:
        match row.get("type"), row.get("direction"):
            case "MESSAGE", "INCOMING":
                since = since or from_iso(row["createdAt"])
            case "MESSAGE", "OUTGOING":
                since = None
    return since


def _first_response(messages: Rows) -> str | None:
    asked = False
    for row in messages:
        if row.get("type") == "MESSAGE" and row.get("direction") == "INCOMING":
            asked = True
        elif asked and row.get("type") == "MESSAGE":
            return from_iso(row["createdAt"])
    return None


def _linked(payload: Payload) -> list[Reference] | None:
    ticket = (payload.data.get("threadAssociations") or {}).get("associatedTicketId")
    about = reference(payload, "ticket", ticket)
    return [about] if about else None


def _at(row: Mapping[str, Any]) -> str:
    return from_iso(row["createdAt"]) or ""
