"""Contacts, companies and owners to persons, organizations and staff. Pure."""

from collections.abc import Iterable
from typing import Literal

from connectors.hubspot.fields import MAKER, Fields, Properties, associated, listed, owned, reference, time
from connectors.hubspot.kinds import opt_out
from connectors.hubspot.labels import owner_name
from core.sdk import Payload, from_iso, to_ms
from schemas.entities import Consent, Identifier, Membership, Staff
from schemas.event import Event

# A stage that says nothing about being a customer (`other`, one of the portal's own) leaves the role unset.
ROLES: dict[str, Literal["customer", "lead"]] = {
    "customer": "customer",
    "evangelist": "customer",
    "opportunity": "lead",
    "salesqualifiedlead": "lead",
    "marketingqualifiedlead": "lead",
    "lead": "lead",
    "subscriber": "lead",
}


def contact(payload: Payload, row: Properties, properties: Properties) -> Fields:
    given, family = properties.get("firstname") or None, properties.get("lastname") or None
    stage = properties.get("lifecyclestage") or None
    return {
        "role": ROLES.get(stage or ""),
        "source_state": stage,
        "given_name": given,
        "family_name": family,
        "display_name": " ".join(filter(None, (given, family))) or None,
        "identifiers": list(_identifiers(row, properties)),
        "organizations": _organizations(payload, row, properties.get("associatedcompanyid")),
        "language": properties.get("hs_language") or None,
        "country": properties.get("hs_country_region_code") or None,
        "owner": owned(payload, row),
        "customer_since": time(properties.get("hs_lifecyclestage_customer_date")),
        "consent": _consent(row, properties) or None,
    }


def _consent(row: Properties, properties: Properties) -> list[Consent]:
    """Who left all e-mail, or one type of it. Not having left is no consent."""
    purposes = {"hs_email_optout": None} | {opt_out(id): name for id, name in (row.get("subscriptions") or {}).items()}
    return [
        Consent(channel="email", state="denied", **({"purpose": purpose} if purpose else {}))
        for name, purpose in purposes.items()
        if properties.get(name) == "true"
    ]


def _identifiers(row: Properties, properties: Properties) -> Iterable[Identifier]:
    first, *more = [properties.get("email"), *listed(properties.get("hs_additional_emails"))]
    if first:
        yield Identifier(kind="email", value=first, primary=True)
    for address in more:
        yield Identifier(kind="email", value=address)
    for name in ("phone", "mobilephone"):
        if number := properties.get(name):
            yield Identifier(kind="phone", value=number, primary=name == "phone")
    external = row.get("external_id")
    if external and (value := properties.get(external["property"])):
        yield Identifier(kind="external_id", value=value, namespace=external["namespace"])


def _organizations(payload: Payload, row: Properties, primary: str | None) -> list[Membership] | None:
    found = associated(row, "companies")
    if found is None:
        return None
    members = [
        Membership(
            key=MAKER.key(payload, "company", item["id"]),
            name=item.get("name"),
            primary=item["primary"] or item["id"] == primary,
        )
        for item in found
    ]
    return sorted(members, key=lambda member: (not member.primary, member.key))


def company(payload: Payload, row: Properties, properties: Properties) -> Fields:
    domains = [properties.get("domain"), *listed(properties.get("hs_additional_domains"))]
    return {
        "name": properties.get("name") or None,
        "domains": [domain for domain in domains if domain],
        "parent": reference(payload, "company", properties.get("hs_parent_company_id")),
        "owner": owned(payload, row),
        "source_state": properties.get("lifecyclestage") or None,
    }


def owner(payload: Payload) -> Event:
    row = payload.data
    teams = [reference(payload, "team", team["id"], team.get("name")) for team in row.get("teams") or ()]
    fields: Fields = {
        "name": owner_name(row) or None,
        "email": row.get("email") or None,
        "teams": teams,
        "source_state": "archived" if row.get("archived") else None,
        "created_at": from_iso(row.get("createdAt")),
        "updated_at": from_iso(row["updatedAt"]),
    }
    staff = Staff(**{name: value for name, value in fields.items() if value is not None})
    return MAKER.upserted(payload, "owner", row["id"], staff, clock=to_ms(fields["updated_at"]))
