"""Tickets, tasks, and what was logged on a contact: calls, e-mails, meetings, notes, messages, answers. Pure."""

from typing import Any, Literal

from connectors.hubspot.fields import (
    MAKER,
    PREVIEW,
    Fields,
    Properties,
    Role,
    amount,
    associated,
    began,
    listed,
    owned,
    parties,
    reference,
    time,
)
from connectors.hubspot.kinds import KINDS, closed
from core.sdk import Payload, from_ms, plain, to_ms
from schemas.entities import Attachment, Identifier, Line, Party, Reference

PRIORITIES: dict[str, Literal["low", "normal", "high", "urgent"]] = {
    "LOW": "low",
    "MEDIUM": "normal",
    "HIGH": "high",
    "URGENT": "urgent",
}
TASK_STATES: dict[str, Literal["open", "done", "cancelled"]] = {"COMPLETED": "done", "DELETED": "cancelled"}
RINGING = ("QUEUED", "RINGING", "CONNECTING", "CALLING_CRM_USER")
CHANNELS: dict[str, tuple[Literal["chat", "sms", "social"], str]] = {
    "WHATS_APP": ("chat", "whatsapp"),
    "SMS": ("sms", "sms"),
    "LINKEDIN_MESSAGE": ("social", "linkedin"),
}
SCALES = {"NPS": 10, "CES": 7}  # the best answer; of other surveys it is the portal's own


def ticket(payload: Payload, row: Properties, properties: Properties) -> Fields:
    stage = row.get("stage") or {}
    stage_id = properties.get("hs_pipeline_stage")
    ended = closed(stage["metadata"]) if "metadata" in stage else bool(properties.get("closed_date"))
    return {
        "kind": "ticket",
        "at": began(row, "createdate"),
        "channel": (properties.get("source_type") or "").lower() or None,
        "subject": properties.get("subject") or None,
        "preview": _preview(properties.get("content")),
        "status": "closed" if ended else "open",
        "source_state": stage.get("label") or stage_id or None,
        "priority": PRIORITIES.get(properties.get("hs_ticket_priority") or ""),
        "assignee": owned(payload, row),
        "solved_at": time(properties.get("closed_date")) if ended else None,
        "tags": listed(properties.get("hs_ticket_category")) or None,
        "linked": _linked(payload, row),
        "parties": parties(payload, row),
    }


def _linked(payload: Payload, row: Properties) -> list[Reference] | None:
    """The companies and orders that a ticket is about."""
    found = [
        Reference(key=MAKER.key(payload, name, item["id"]), name=item.get("name"))
        for name in KINDS["ticket"].linked
        for item in associated(row, KINDS[name].plural) or ()
    ]
    return sorted(found, key=lambda each: each.key) or None


def task(payload: Payload, row: Properties, properties: Properties) -> Fields:
    status = properties.get("hs_task_status") or ""
    state = TASK_STATES.get(status, "open")
    return {
        "at": began(row, "hs_createdate"),
        "title": properties.get("hs_task_subject") or None,
        "state": state,
        "source_state": status or None,
        "due_at": time(properties.get("hs_timestamp")),
        "done_at": time(properties.get("hs_task_completion_date")) if state == "done" else None,
        "assignee": owned(payload, row),
        "parties": parties(payload, row),
    }


def call(payload: Payload, row: Properties, properties: Properties) -> Fields:
    inbound = properties.get("hs_call_direction") == "INBOUND"
    state = properties.get("hs_call_status") or None
    theirs, ours = properties.get("hs_call_from_number"), properties.get("hs_call_to_number")
    if not inbound:
        theirs, ours = ours, theirs
    began_at = began(row, "hs_timestamp")
    seconds = _seconds(properties.get("hs_call_duration"))
    ended = state == "COMPLETED" and began_at and seconds is not None
    return {
        "at": began_at,
        "direction": "inbound" if inbound else "outbound" if properties.get("hs_call_direction") else None,
        "status": _call_status(state, inbound=inbound),
        "source_state": state,
        "line": Line(number=ours) if ours else None,
        "assignee": owned(payload, row),
        "talk_seconds": seconds if state == "COMPLETED" else None,
        "ended_at": from_ms(to_ms(began_at) + 1000 * (seconds or 0)) if ended and began_at else None,
        # The link expires, so the call's own id is the reference.
        "recording": Attachment(id=str(row["id"])) if properties.get("hs_call_recording_url") else None,
        "summary": plain(properties.get("hs_call_body")) or properties.get("hs_call_title") or None,
        "parties": _callers(payload, row, "caller" if inbound else "callee", theirs),
    }


def _call_status(state: str | None, *, inbound: bool) -> str | None:
    match state:
        case "COMPLETED":
            return "answered"
        case "IN_PROGRESS":
            return "in_progress"
        case "MISSED":
            return "missed"
        case "NO_ANSWER":
            return "missed" if inbound else "not_connected"
        case "BUSY" | "CANCELED" | "FAILED":
            return "not_connected"
        case _:
            return "ringing" if state in RINGING else None


def _callers(payload: Payload, row: Properties, role: Role, number: str | None) -> list[Party] | None:
    """The contacts that the call was logged on; where there are none, the number."""
    found = parties(payload, row, role)
    if found == [] and number:
        return [Party(role=role, identifier=Identifier(kind="phone", value=number))]
    return found


def email(payload: Payload, row: Properties, properties: Properties) -> Fields:
    """One logged e-mail; HubSpot's own threads are in its inbox."""
    direction = properties.get("hs_email_direction")
    text = properties.get("hs_email_text") or properties.get("hs_email_html")
    role: Role = "requester" if direction == "INCOMING_EMAIL" else "recipient"
    address = properties.get("hs_email_from_email" if role == "requester" else "hs_email_to_email")
    found = parties(payload, row, role)
    if found == [] and address and ";" not in address:
        found = [Party(role=role, identifier=Identifier(kind="email", value=address))]
    return {
        "kind": "email",
        "channel": "email",
        "at": began(row, "hs_timestamp"),
        "subject": properties.get("hs_email_subject") or None,
        "preview": _preview(text),
        "source_state": direction,
        "assignee": owned(payload, row),
        "parties": found,
    }


def meeting(payload: Payload, row: Properties, properties: Properties) -> Fields:
    more = {
        "ends_at": time(properties.get("hs_meeting_end_time")),
        "location": properties.get("hs_meeting_location"),
        "notes": _preview(properties.get("hs_meeting_body")),
        "host": row.get("owner_name"),
    }
    return {
        "kind": "meeting",
        "title": properties.get("hs_meeting_title") or None,
        "at": began(row, "hs_meeting_start_time", "hs_timestamp"),
        "source_state": properties.get("hs_meeting_outcome") or None,
        "attributes": {name: value for name, value in more.items() if value} or None,
        "parties": parties(payload, row),
    }


def custom(payload: Payload, row: Properties, properties: Properties) -> Fields:
    """One of the company's own objects, by what the settings say of it."""
    said = row.get("custom") or {}
    return {
        "kind": said.get("name"),
        "title": properties.get(str(said.get("title"))) or None,
        "at": began(row, "hs_createdate"),
        "parties": parties(payload, row),
    }


def note(payload: Payload, row: Properties, properties: Properties) -> Fields:
    return {
        "at": began(row, "hs_timestamp"),
        "author": owned(payload, row),
        "body": plain(properties.get("hs_note_body")) or None,
        "parties": parties(payload, row),
    }


def communication(payload: Payload, row: Properties, properties: Properties) -> Fields:
    """A message of another channel that staff logged; who wrote to whom is not told."""
    channel = properties.get("hs_communication_channel_type") or ""
    kind, name = CHANNELS.get(channel, ("chat", channel.lower()))
    return {
        "kind": kind,
        "channel": name or None,
        "at": began(row, "hs_timestamp"),
        "preview": _preview(properties.get("hs_communication_body")),
        "source_state": properties.get("hs_communication_logged_from") or None,
        "assignee": owned(payload, row),
        "parties": parties(payload, row, "recipient"),
    }


def feedback(payload: Payload, row: Properties, properties: Properties) -> Fields:
    survey = properties.get("hs_survey_type") or ""
    score = amount(properties.get("hs_value"))
    found = parties(payload, row)
    if found == [] and (contact := properties.get("hs_contact_id")):
        found = [Party(role="requester", person=MAKER.key(payload, "contact", contact))]
    about = reference(payload, "ticket", properties.get("hs_ticket_id"))
    return {
        "at": began(row, "hs_submission_timestamp"),
        "scale": SCALES.get(survey),
        "score": round(float(score)) if score else None,
        "comment": plain(properties.get("hs_content")) or None,
        "subject": about.key if about else None,
        "source_state": properties.get("hs_response_group") or survey or None,
        "tags": [name] if (name := properties.get("hs_survey_name")) else None,
        "parties": found,
    }


def _preview(text: Any) -> str | None:
    return (plain(text) or "")[:PREVIEW] or None


def _seconds(ms: str | None) -> int | None:
    duration = amount(ms)
    return round(float(duration) / 1000) if duration else None
