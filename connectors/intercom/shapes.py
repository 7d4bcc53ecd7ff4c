"""Reads Intercom's shapes, which differ between its API versions and between webhooks and REST. Pure.

Times come as seconds (REST), ISO 8601 with milliseconds (contacts and companies in webhooks) and, from some older
endpoints, milliseconds. All are floored to the second, so that one state looks the same from every surface.
"""

import html
from collections.abc import Mapping
from typing import Any

from core.sdk import Maker, NormalizeError, Payload, from_iso, from_ms, plain, to_ms
from schemas.entities import Attachment, Reference

MAKER = Maker("intercom", resolution=1000, mapper=3)
CONTACTS = frozenset({"user", "lead", "contact", "visitor"})  # types of authors who are customers
# A contact's own lists of subscriptions, and which kind of consent the subscriptions in them ask for.
CHOICES = {"opted_in_subscription_types": "opt_in", "opted_out_subscription_types": "opt_out"}
_LATEST_SECONDS = 100_000_000_000  # greater numbers are milliseconds: in seconds this is the year 5138
_PREVIEW = 200

Item = Mapping[str, Any]


def moment(value: Any) -> int | None:
    """Epoch ms, floored to the second. None, empty and 0 ("never") give None; NormalizeError for what is no time."""
    ms = _exact(value)
    return ms - ms % 1000 or None


def _exact(value: Any) -> int:
    if value is None or value == "":
        return 0
    if isinstance(value, str) and not value.strip().isdigit():
        text = from_iso(value)
        return to_ms(text) if text else 0
    if isinstance(value, int | float | str):
        number = int(value)
        return number if abs(number) > _LATEST_SECONDS else number * 1000
    raise NormalizeError(f"not a time: {type(value).__name__}")


def stamp(value: Any) -> str | None:
    return from_ms(moment(value))


def clock(payload: Payload, item: Item) -> int | None:
    """The object's version; where a push shows none, its envelope's time."""
    return moment(item.get("updated_at")) or payload.at


def sequence(payload: Payload, item: Item) -> int | None:
    """Orders pushes within one second: by the milliseconds that only they show, or by how long a conversation or a
    ticket was."""
    if not payload.pushed:
        return None
    parts = part(item, "statistics").get("count_conversation_parts", part(item, "ticket_parts").get("total_count"))
    return parts if isinstance(parts, int) and parts >= 0 else _exact(item.get("updated_at")) % 1000


def part(item: Item, name: str) -> Item:
    """A nested object; empty where it is null, absent or something else."""
    found = item.get(name)
    return found if isinstance(found, dict) else {}


def listed(item: Item, name: str, *inner: str) -> list[Item]:
    """The objects of a list, bare or wrapped as `{"type": "…list", "<inner>": […]}`."""
    found = item.get(name)
    if isinstance(found, dict):
        found = next((found[key] for key in inner if isinstance(found.get(key), list)), None)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def whole(item: Item, name: str, *names: str) -> list[Item] | None:
    """A list whose objects all carry what is named, as Details fills it. None: there is more, or only ids are shown."""
    found = listed(item, name, "data", "tags")
    if (
        item.get(name) is None
        or part(item, name).get("has_more")
        or any(not each.get(key) for each in found for key in names)
    ):
        return None
    return found


def text(value: Any) -> str | None:
    """A body as plain text: HTML up to API version 2.14 and in REST answers, already plain in newer webhooks."""
    if not isinstance(value, str):
        return None
    markup = value.lstrip().startswith("<") and value.rstrip().endswith(">")
    return plain(value if markup else html.escape(value, quote=False))


def preview(value: Any) -> str | None:
    return (text(value) or "")[:_PREVIEW] or None


def present(value: Any) -> str | None:
    """An id or a text; None for null, empty and 0 (how an unassigned id is written from 2.16 on)."""
    return None if value in (None, "", 0, "0") else str(value)


def reference(payload: Payload, kind: str, id: Any, name: Any = None) -> Reference | None:
    known = present(id)
    return Reference(key=MAKER.key(payload, kind, known), name=name or None) if known else None


def author(payload: Payload, item: Item) -> Reference | None:
    """Who wrote a part. Workflows and Fin write as `bot`."""
    who = part(item, "author")
    kind = who.get("type")
    return reference(payload, "contact" if kind in CONTACTS else str(kind or "admin"), who.get("id"), who.get("name"))


def attachments(item: Item, owner: str) -> list[Attachment]:
    """Intercom gives files no ids, and their links expire: they are known by their place in the part."""
    return [
        Attachment(
            id=f"{owner}:{number}",
            name=file.get("name"),
            content_type=file.get("content_type"),
            bytes=size if isinstance(size := file.get("filesize"), int) else None,
        )
        for number, file in enumerate(listed(item, "attachments"))
    ]
