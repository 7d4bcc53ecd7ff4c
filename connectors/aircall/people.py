"""Contacts, users and teams. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from connectors.aircall.shapes import MAKER, compact, full_name, identity, moment_of, objects
from core.sdk import Payload, from_iso, to_ms
from schemas.entities import Identifier, IdentifierKind, Membership, Person, Staff, Team
from schemas.event import Event


def contact_of(payload: Payload, contact: Mapping[str, Any], *, gone: bool) -> Iterator[Event]:
    id = identity(payload)
    if gone:
        # An id is never given again, so that a late update must not bring the contact back. What a list lacks may
        # only have ceased to be shared, and be shared again without a newer `updated_at`.
        clock = (payload.at or payload.received) if payload.pushed else None
        yield MAKER.deleted(payload, "contact", id, Person, clock=clock, final=payload.pushed)
        return
    updated = moment_of(contact.get("updated_at"))
    company = contact.get("company_name")
    yield MAKER.upserted(
        payload,
        "contact",
        id,
        Person(
            role="customer",
            given_name=contact.get("first_name"),
            family_name=contact.get("last_name"),
            display_name=full_name(contact),
            identifiers=[
                *_identifiers("phone", contact.get("phone_numbers")),
                *_identifiers("email", contact.get("emails")),
            ],
            organizations=[Membership(key=MAKER.key(payload, "company", company), name=company)] if company else [],
            created_at=moment_of(contact.get("created_at")),
            updated_at=updated,
            attributes={name: contact[name] for name in ("description", "information") if contact.get(name)},
        ),
        clock=to_ms(updated) if updated else payload.at,
    )


def _identifiers(kind: IdentifierKind, listed: Any) -> list[Identifier]:
    values = [str(item["value"]) for item in objects(listed) if item.get("value")]
    return [Identifier(kind=kind, value=compact(value) if kind == "phone" else value) for value in values]


def user_of(payload: Payload, user: Mapping[str, Any], *, gone: bool) -> Iterator[Event]:
    """Users carry no clock: pushes order by their envelope, reads by when they were asked."""
    clock = (payload.at or payload.received) if payload.pushed else payload.received
    if gone:
        at = clock if payload.pushed else None
        yield MAKER.deleted(payload, "user", identity(payload), Staff, clock=at, final=payload.pushed)
        return
    facts = {
        "name": user.get("name"),
        "email": user.get("email"),
        "availability": user.get("availability_status"),
        "created_at": from_iso(user.get("created_at")),
    }
    staff = Staff(**{name: value for name, value in facts.items() if value is not None})
    yield MAKER.upserted(payload, "user", identity(payload), staff, clock=clock, mode="patch")


def team_of(payload: Payload, team: Mapping[str, Any], *, gone: bool) -> Iterator[Event]:
    """Teams carry no clock and have no events: the time of the look orders them."""
    if gone:
        yield MAKER.deleted(payload, "team", identity(payload), Team, clock=None)
        return
    shape = Team(name=team.get("name"), created_at=from_iso(team.get("created_at")))
    yield MAKER.upserted(payload, "team", identity(payload), shape, clock=payload.received)
