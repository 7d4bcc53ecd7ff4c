"""Reads Aircall's shapes. Pure. Times come as Unix seconds in calls, as ISO text elsewhere, in contacts as either."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from core.sdk import Maker, NormalizeError, Payload, dialable, from_iso, from_seconds
from schemas.entities import Identifier, Line, Reference

MAKER = Maker("aircall", resolution=1000, mapper=4)


def identity(payload: Payload) -> Any:
    if not (id := payload.data.get("id")):
        raise NormalizeError(f"{payload.kind}: no id")
    return id


def unversioned(event: str) -> str:
    """`user.deleted` of `user.deleted.v2`: another version of an event tells the same."""
    return ".".join(event.split(".")[:2])


def second(value: Any) -> int | None:
    """Unix seconds, also as text. None and empty stay None; NormalizeError for anything else."""
    if value is None or value == "":
        return None
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        raise NormalizeError(f"not a time in Unix seconds: {value!r}") from None


def moment_of(value: Any) -> str | None:
    """Contacts tell time in Unix seconds when read, and as ISO text in webhooks."""
    return from_iso(value) if isinstance(value, str) and not value.isdigit() else from_seconds(value)


def objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; none where it is null, absent or something else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def part(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def compact(digits: Any) -> str | None:
    """`+1 800-123-4567`, as people read it, without what separates."""
    return re.sub(r"[\s().\-]", "", digits) if isinstance(digits, str) else None


def phone(digits: Any) -> Identifier | None:
    """None for `anonymous`, SIP addresses and other ends that nobody could call back."""
    if not isinstance(digits, str) or not dialable(digits):
        return None
    return Identifier(kind="phone", value=compact(digits) or "")


def staff(payload: Payload, user: Any) -> Reference | None:
    return reference(payload, "user", user)


def reference(payload: Payload, kind: str, thing: Any) -> Reference | None:
    if not isinstance(thing, dict) or not thing.get("id"):
        return None
    return Reference(key=MAKER.key(payload, kind, thing["id"]), name=thing.get("name"))


def outsider(payload: Payload, digits: Any) -> Reference | None:
    """A number outside of the company, such as a carrier's. PRIVACY: keys are shown and logged, so its has a digest."""
    if not (number := phone(digits)):
        return None
    digest = hashlib.sha256(number.value.encode()).hexdigest()[:16]
    return Reference(key=MAKER.key(payload, "outside", digest), name=number.value)


def line_of(payload: Payload, number: Any) -> Line | None:
    """One of the company's own numbers; webhooks alone tell it in E.164."""
    known = part(number)
    if not known.get("id"):
        return None
    digits = known.get("e164_digits") or compact(known.get("digits"))
    return Line(key=MAKER.key(payload, "number", known["id"]), name=known.get("name"), number=digits)


def full_name(contact: Mapping[str, Any]) -> str | None:
    return " ".join(filter(None, (contact.get("first_name"), contact.get("last_name")))) or contact.get("company_name")
