"""Calls of Intercom's own telephony. Pure.

Transcripts and recordings are told by reference only: nothing in the API says that the caller agreed to either.
"""

import re
from collections.abc import Iterator

from connectors.intercom.shapes import MAKER, Item, clock, moment, present, reference, stamp
from core.sdk import Payload
from schemas.entities import Attachment, Call, Identifier, Party
from schemas.event import Event

_DIALABLE = re.compile(r"\+?[\d\s().\-]{3,}")


def call(payload: Payload) -> Iterator[Event]:
    item: Item = payload.data
    id = present(item.get("id")) or ""
    began = stamp(item.get("initiated_at")) or stamp(item.get("created_at"))
    shape = Call(
        direction=_direction(item),
        status=_status(item),
        missed_reason=None if item.get("answered_at") else item.get("ended_reason") or None,
        source_state=item.get("state") or None,
        assignee=reference(payload, "admin", item.get("admin_id")),
        at=began,
        answered_at=stamp(item.get("answered_at")),
        ended_at=stamp(item.get("ended_at")),
        ring_seconds=_seconds(item, "initiated_at", "answered_at" if item.get("answered_at") else "ended_at"),
        talk_seconds=_seconds(item, "answered_at", "ended_at"),
        parties=_parties(payload, item),
        recording=Attachment(id=f"recording/{id}", content_type="audio/mpeg") if item.get("recording_url") else None,
        created_at=stamp(item.get("created_at")),
        updated_at=stamp(item.get("updated_at")),
    )
    yield MAKER.upserted(payload, "call", id, shape, clock=clock(payload, item))


def _direction(item: Item) -> str | None:
    return item["direction"] if item.get("direction") in ("inbound", "outbound") else None


def _status(item: Item) -> str:
    """From the moments: the words for `state` and `ended_reason` are an open set."""
    if not item.get("ended_at"):
        return "in_progress" if item.get("answered_at") else "ringing"
    if item.get("answered_at"):
        return "answered"
    if "voicemail" in str(item.get("ended_reason")):
        return "voicemail"
    return "not_connected" if item.get("direction") == "outbound" else "missed"


def _seconds(item: Item, begin: str, end: str) -> int | None:
    first, last = moment(item.get(begin)), moment(item.get(end))
    return max(last - first, 0) // 1000 if first and last else None


def _parties(payload: Payload, item: Item) -> list[Party]:
    """The customer's end; who hides the number, or calls over SIP, has none."""
    contact = present(item.get("contact_id"))
    phone = item["phone"] if _DIALABLE.fullmatch(str(item.get("phone"))) else None
    if not phone and not contact:
        return []
    return [
        Party(
            role="callee" if item.get("direction") == "outbound" else "caller",
            person=MAKER.key(payload, "contact", contact) if contact else None,
            identifier=Identifier(kind="phone", value=phone) if phone else None,
        )
    ]
