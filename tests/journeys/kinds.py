"""What the story has none of: so that of each kind that the mocks can play one is there before an outage, and one
changes during it."""

from collections.abc import Sequence
from typing import Any

from tests.connectors.hubspot_source import OPEN
from tests.hubs import Tools

Beat = tuple[str, str, str, dict[str, Any]]  # source, kind, ref, data

BOX = "2-3465404"
_BOX = {"type_id": BOX, "name": "subscription box", "title": "box_name", "properties": ["size"]}
# The opening is 30 days old, and who comes a day later must find all of it.
SETTINGS: dict[str, dict[str, Any]] = {
    "aircall": {"since": "60d"},
    "guru": {"since": "60d"},
    "hubspot": {"since": "60d", "custom_objects": [_BOX]},
    "intercom": {"since": "60d"},
}
_PHONE = "+12025550126"  # Sofía's
_MAIL = {"person": "dana", "address": "dana.reyes@example.com"}

STOCK: Sequence[Beat] = (
    ("aircall", "person.upsert", "brief", {"given": "Ana", "family": "Berg", "phone": "+12025550155"}),
    *(
        ("hubspot", f"{kind}.upsert", "one", {"person": "dana", "properties": properties})
        for kind, properties in {**OPEN, BOX: {"box_name": "Autumn box", "size": "L"}}.items()
    ),
    ("hubspot", "thread.open", "one", {**_MAIL, "subject": "Bag", "text": "Where is it?"}),
    ("intercom", "ticket.open", "one", {"person": "dana", "subject": "Bag", "text": "It never came.",
                                        "team": "support", "assignee": "maya"}),
    ("intercom", "phone.ring", "one", {"person": "dana", "phone": "+12025550143"}),
)  # fmt: skip

# Heard of before the outage, and in its midst when that begins.
BEGUN: Sequence[Beat] = (("aircall", "call.ring", "one", {"phone": _PHONE, "direction": "inbound"}),)

# Each told by a webhook that is lost although nothing is wrong; nothing happens to them afterwards.
STRAY: Sequence[Beat] = (
    ("aircall", "person.upsert", "ines", {"given": "Inês"}),
    ("guru", "card.upsert", "k:9", {"text": "Ask for a picture first."}),
    ("hubspot", "person.upsert", "noa", {"country": "DE"}),
    ("intercom", "article.upsert", "a:1", {"text": "Print the label; it is in your account for 30 days."}),
)

_CHANGED: dict[str, dict[str, str]] = {
    "ticket": {"subject": "Bag, once more"},
    "call": {"hs_call_duration": "62000"},
    "email": {"hs_email_subject": "Bag, once more"},
    "meeting": {"hs_meeting_title": "Renewal, moved"},
    "note": {"hs_note_body": "Prefers mail"},
    "communication": {"hs_communication_body": "Arrived"},
    "feedback": {"hs_value": "4"},
    "order": {"hs_pipeline_stage": "delivered"},
    "invoice": {"hs_invoice_status": "paid"},
    "payment": {"hs_initial_amount": "6.00"},
    "subscription": {"hs_status": "canceled"},
    BOX: {"size": "XL"},
}
CHANGES: Sequence[Beat] = (
    ("aircall", "call.answer", "one", {"by": "jonas"}),
    ("aircall", "call.comment", "one", {"by": "leila", "text": "Wants a call back."}),
    ("aircall", "call.tag", "one", {"by": "leila", "tag": "delivery"}),
    ("aircall", "call.end", "one", {}),
    ("aircall", "person.delete", "brief", {}),
    ("aircall", "user.away", "sam", {}),
    ("guru", "card.file", "k:8", {"folder": "Returns"}),
    ("guru", "card.share", "k:10", {"status": "PUBLIC"}),
    *(("hubspot", f"{kind}.upsert", "one", {"properties": properties}) for kind, properties in _CHANGED.items()),
    ("hubspot", "company.upsert", "bakery", {"properties": {"name": "Example Bakery & Sons"}}),
    ("hubspot", "task.link", "t:0", {"to": ["contacts", "ines"]}),
    ("hubspot", "person.delete", "max", {}),
    ("hubspot", "thread.message", "one", {"by": "maya", "text": "On its way."}),
    ("hubspot", "thread.close", "one", {}),
    ("intercom", "ticket.reply", "one", {"by": "maya", "text": "The carrier looks for it."}),
    ("intercom", "ticket.state", "one", {"state": "resolved"}),
    ("intercom", "phone.end", "one", {"by": "maya", "seconds": 30}),
    ("intercom", "article.upsert", "a:0", {"text": "Open the link in the mail that we sent."}),
    ("intercom", "article.upsert", "new", {"title": "Sizes", "text": "One smaller.", "state": "published"}),
    ("intercom", "admin.away", "sam", {}),
    ("intercom", "person.tag", "dana", {"tag": "vip"}),
    ("intercom", "person.note", "dana", {"by": "maya", "text": "Prefers mail."}),
    ("intercom", "conversation.tag", "v:7", {"tag": "lost"}),
    ("intercom", "conversation.redact", "v:23", {}),
    ("intercom", "conversation.delete", "v:5", {}),
)

# Whom neither the story nor a beat can change.
STILL = {("aircall", "team"), ("intercom", "company"), ("intercom", "team"), ("intercom", "internal_article")}


async def happen(tools: Tools, beats: Sequence[Beat]) -> None:
    for name, kind, ref, data in beats:
        await tools.beat(name, kind, ref, data)
