"""Text messages (SMS, MMS, WhatsApp). Pure.

Aircall knows no threads: what one of our lines and one customer write to one another is a conversation, on WhatsApp
another one. It can be heard and not be read back: the API has no list of messages.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from connectors.aircall.calls import parties_of
from connectors.aircall.shapes import MAKER, compact, identity, objects, part
from core.sdk import NormalizeError, Payload, from_iso
from schemas.entities import Attachment, Conversation, Message
from schemas.event import Event

_PREVIEW = 200


def message_of(payload: Payload, message: Mapping[str, Any]) -> Iterator[Event]:
    """The message, and its thread, whose time is that of its newest message."""
    id, digits = identity(payload), compact(message.get("raw_digits"))
    line = part(message.get("number")).get("id")
    if not digits or not line:
        raise NormalizeError(f"{payload.kind}: says neither which line nor which number wrote")
    whatsapp = message.get("channel") == "whatsapp"
    thread = f"{line}:{digits}{':whatsapp' if whatsapp else ''}"
    body, at = str(message.get("body") or ""), from_iso(message.get("sent_at") or message.get("created_at"))
    inbound = message.get("direction") == "inbound"
    parties = [party.model_copy(update={"role": "requester"}) for party in parties_of(payload, message)]
    clock = payload.at or payload.received
    if not payload.kind.endswith("updated"):  # `message.updated` where the number is in proxy mode
        facts = {"kind": "social" if whatsapp else "sms", "channel": "whatsapp" if whatsapp else "sms", "at": at,
                 "preview": body[:_PREVIEW] or None, "parties": parties or None}  # fmt: skip
        shape = Conversation(**{name: value for name, value in facts.items() if value is not None})
        yield MAKER.upserted(payload, "thread", thread, shape, clock=clock, mode="patch")
    said = Message(
        conversation=MAKER.key(payload, "thread", thread), direction="inbound" if inbound else "outbound",
        internal=False, visibility="public", body=body, format="text", attachments=_files(id, message), at=at,
        created_at=from_iso(message.get("created_at")), source_state=message.get("status"), parties=parties,
    )  # fmt: skip
    yield MAKER.upserted(payload, "message", id, said, clock=clock)


def _files(id: Any, message: Mapping[str, Any]) -> list[Attachment]:
    """By their place: their links expire."""
    return [
        Attachment(id=f"{id}:{index}", name=file.get("file_name"), content_type=file.get("file_type"))
        for index, file in enumerate(objects(message.get("media_details")))
    ]
