"""What several parts of the mock's company are told in: envelopes, numbers as people read them, links. Pure."""

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from core.sdk.mock import Push

API = "https://api.aircall.io/v1"
BORN = "2024-01-08T09:00:00.000Z"

Object = dict[str, Any]


def pushed(event: str, second: int, data: Object) -> Push:
    return Push(str(data["id"]), envelope(event, second, data), event)


def envelope(event: str, second: int, data: Mapping[str, Any]) -> Object:
    """Without the token, which is put in when it is sent. The data is copied: the world goes on changing."""
    return {"resource": event.partition(".")[0], "event": event, "timestamp": second, "data": copy.copy(data)}


def display(phone: str) -> str:
    """`+1 202-555-0143`: Aircall shows numbers as people read them; `anonymous` stays as it is."""
    if phone.startswith("+1") and len(phone) == 12:
        return f"+1 {phone[2:5]}-{phone[5:8]}-{phone[8:]}"
    if phone.startswith("+44") and len(phone) == 13:
        return f"+44 {phone[3:5]} {phone[5:9]} {phone[9:]}"
    return phone


def webhook_contact(contact: Object) -> Object:
    moments = {name: datetime.fromtimestamp(contact[name], UTC) for name in ("created_at", "updated_at")}
    return {**contact, **{name: f"{moment:%Y-%m-%dT%H:%M:%SZ}" for name, moment in moments.items()}}


def media(call: Object, kind: str) -> str:
    return f"https://media.example.com/{call['id']}/{kind}.mp3?signature=expires-within-the-hour"


def asset(call: Object, kind: str) -> str:
    return f"https://assets.aircall.io/calls/{call['id']}/{kind}"
