"""What HubSpot's objects have in common, read: every value of a property is text. Pure."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from core.sdk import Maker, NormalizeError, Payload, from_iso, from_ms
from schemas.entities import LineItem, Party, Reference

MAKER = Maker("hubspot", resolution=1, mapper=2)
PREVIEW = 280  # characters

Properties = Mapping[str, Any]
Fields = dict[str, Any]
Role = Literal["requester", "caller", "callee", "recipient"]


def listed(value: str | None) -> list[str]:
    """The parts of a property that HubSpot separates by semicolons."""
    return [part.strip() for part in (value or "").split(";") if part.strip()]


def associated(row: Properties, type: str) -> list[dict[str, Any]] | None:
    """None where nobody has read them."""
    associations = row.get("associations")
    return None if associations is None else associations.get(type, [])


def parties(payload: Payload, row: Properties, role: Role = "requester") -> list[Party] | None:
    found = associated(row, "contacts")
    if found is None:
        return None
    keys = sorted(MAKER.key(payload, "contact", item["id"]) for item in found)
    return [Party(role=role, person=key) for key in keys]


def items(row: Properties) -> list[LineItem] | None:
    """The lines of an order or an invoice, which are objects of their own."""
    found = associated(row, "line_items")
    if not found:
        return None
    return [
        LineItem(
            name=line.get("name") or "",
            sku=line.get("hs_sku"),
            quantity=amount(line.get("quantity")),
            total=amount(line.get("amount")),
        )
        for line in sorted(found, key=lambda line: (len(line["id"]), line["id"]))
    ]


def owned(payload: Payload, row: Properties) -> Reference | None:
    return reference(payload, "owner", row["properties"].get("hubspot_owner_id"), row.get("owner_name"))


def reference(payload: Payload, kind: str, id: Any, name: str | None = None) -> Reference | None:
    return Reference(key=MAKER.key(payload, kind, id), name=name) if id else None


def began(row: Properties, *names: str) -> str | None:
    """The first of these properties that is set, else when the object was created."""
    properties = row["properties"]
    value = next((properties[name] for name in names if properties.get(name)), None)
    return time(value) or from_iso(row.get("createdAt"))


def time(value: str | None) -> str | None:
    """Properties bring ISO 8601 (a date alone is midnight UTC), some of them epoch milliseconds as text."""
    if value and value.lstrip("-").isdigit() and len(value) > 8:
        return from_ms(value)
    return from_iso(value)


def amount(value: str | None) -> str | None:
    if not value:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise NormalizeError("amount is not a decimal number") from None
    if not number.is_finite():
        raise NormalizeError("amount is not a finite number")
    return format(number, "f")
