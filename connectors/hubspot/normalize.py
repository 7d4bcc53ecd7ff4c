"""HubSpot's objects to events. Pure.

The clock is `updatedAt` (ms), of pushed deletions and merges `occurredAt` (ms). Every value of a property is text.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from connectors.hubspot.hydrate import listed
from connectors.hubspot.kinds import KINDS, closed
from connectors.hubspot.labels import owner_name
from connectors.hubspot.webhook import merged_into
from core.sdk import Maker, NormalizeError, Payload, from_iso, from_ms, plain, to_ms
from schemas.entities import (
    Consent,
    Identifier,
    Membership,
    Party,
    Reference,
    Staff,
)
from schemas.event import Event

MAKER = Maker("hubspot", resolution=1, mapper=1)
PREVIEW = 280  # characters

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
PRIORITIES: dict[str, Literal["low", "normal", "high", "urgent"]] = {
    "LOW": "low",
    "MEDIUM": "normal",
    "HIGH": "high",
    "URGENT": "urgent",
}
TASK_STATES: dict[str, Literal["open", "done", "cancelled"]] = {"COMPLETED": "done", "DELETED": "cancelled"}

Properties = Mapping[str, Any]
Fields = dict[str, Any]


def normalize(payload: Payload) -> Iterable[Event]:
    """NormalizeError where the payload is not an object of the kind that it claims to be; unknown kinds give none."""
    name, _, action = payload.kind.partition(".")
    if name == "malformed":
        raise NormalizeError("an event of a webhook without the fields of its kind")
    try:
        if name == "owner":
            return [_owner(payload)]
        if name not in KINDS:
            return []
        match action:
            case "":
                return _object(payload)
            case "deletion" | "gone":
                return [_deleted(payload)]
            case "privacyDeletion":
                return [_deleted(payload, erased=True)]
            case "merge":
                return _merged(payload)
            case _:
                return []
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise NormalizeError(f"{payload.kind}: {type(error).__name__}: {error}") from None


def _object(payload: Payload) -> list[Event]:
    row, kind = payload.data, KINDS[payload.kind]
    moment = from_iso(row["updatedAt"]) or ""
    if row.get("archived"):
        clock = to_ms(from_iso(row.get("archivedAt")) or moment)
        return [MAKER.deleted(payload, kind.name, row["id"], kind.entity, clock=clock)]
    clock = max(to_ms(moment), payload.at or 0)
    properties = row["properties"]
    own = (row.get("external_id") or {}).get("property")
    extra = {name: value for name, value in properties.items() if value is not None and name not in {*kind.known, own}}
    fields = {
        "url": f"https://app.hubspot.com/contacts/{payload.account}/record/{kind.type_id}/{row['id']}",
        "created_at": from_iso(row.get("createdAt")),
        "updated_at": moment,
        "attributes": extra or None,
        **FIELDS[kind.name](payload, row, properties),
    }
    entity = kind.entity(**{name: value for name, value in fields.items() if value is not None})
    # Associations that could not be read leave what is known of them alone.
    mode = "full" if kind.to is None or "associations" in row else "patch"
    event = MAKER.upserted(payload, kind.name, row["id"], entity, clock=clock, mode=mode)
    return [event, *_aliases(payload, row)]


def _contact(payload: Payload, row: Properties, properties: Properties) -> Fields:
    given, family = properties.get("firstname") or None, properties.get("lastname") or None
    stage = properties.get("lifecyclestage") or None
    denied = properties.get("hs_email_optout") == "true"
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
        "owner": _owned(payload, row),
        "customer_since": _time(properties.get("hs_lifecyclestage_customer_date")),
        "consent": [Consent(channel="email", state="denied")] if denied else None,
    }


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


def _company(payload: Payload, row: Properties, properties: Properties) -> Fields:
    domains = [properties.get("domain"), *listed(properties.get("hs_additional_domains"))]
    return {
        "name": properties.get("name") or None,
        "domains": [domain for domain in domains if domain],
        "parent": _reference(payload, "company", properties.get("hs_parent_company_id")),
        "owner": _owned(payload, row),
        "source_state": properties.get("lifecyclestage") or None,
    }


def _deal(payload: Payload, row: Properties, properties: Properties) -> Fields:
    stage = row.get("stage") or {}
    stage_id, pipeline_id = properties.get("dealstage"), properties.get("pipeline")
    return {
        "at": _time(properties.get("createdate")) or from_iso(row.get("createdAt")),
        "title": properties.get("dealname") or None,
        "total": _amount(properties.get("amount")),
        "currency": properties.get("deal_currency_code") or None,
        "status": _deal_status(stage.get("metadata"), stage_id),
        "source_state": stage.get("label") or stage_id or None,
        "pipeline": _reference(payload, "pipeline", pipeline_id, stage.get("pipeline")),
        "stage": _reference(payload, "stage", stage_id, stage.get("label")),
        "owner": _owned(payload, row),
        "closes_at": _time(properties.get("closedate")),
        "parties": _parties(payload, row),
    }


def _deal_status(metadata: dict[str, Any] | None, stage: str | None) -> str | None:
    """open, won or lost. Without the pipeline's word the ids of HubSpot's own pipeline are known."""
    if metadata is None:
        return {"closedwon": "won", "closedlost": "lost"}.get(stage or "", "open" if stage else None)
    if not closed(metadata):
        return "open"
    return "won" if str(metadata.get("probability")) in ("1.0", "1") else "lost"


def _ticket(payload: Payload, row: Properties, properties: Properties) -> Fields:
    stage = row.get("stage") or {}
    stage_id = properties.get("hs_pipeline_stage")
    ended = closed(stage["metadata"]) if "metadata" in stage else bool(properties.get("closed_date"))
    return {
        "kind": "ticket",
        "at": _time(properties.get("createdate")) or from_iso(row.get("createdAt")),
        "channel": (properties.get("source_type") or "").lower() or None,
        "subject": properties.get("subject") or None,
        "preview": (plain(properties.get("content")) or "")[:PREVIEW] or None,
        "status": "closed" if ended else "open",
        "source_state": stage.get("label") or stage_id or None,
        "priority": PRIORITIES.get(properties.get("hs_ticket_priority") or ""),
        "assignee": _owned(payload, row),
        "solved_at": _time(properties.get("closed_date")) if ended else None,
        "tags": listed(properties.get("hs_ticket_category")) or None,
        "parties": _parties(payload, row),
    }


def _task(payload: Payload, row: Properties, properties: Properties) -> Fields:
    status = properties.get("hs_task_status") or ""
    state = TASK_STATES.get(status, "open")
    return {
        "at": _time(properties.get("hs_createdate")) or from_iso(row.get("createdAt")),
        "title": properties.get("hs_task_subject") or None,
        "state": state,
        "source_state": status or None,
        "due_at": _time(properties.get("hs_timestamp")),
        "done_at": _time(properties.get("hs_task_completion_date")) if state == "done" else None,
        "assignee": _owned(payload, row),
        "parties": _parties(payload, row),
    }


FIELDS: dict[str, Callable[[Payload, Properties, Properties], Fields]] = {
    "contact": _contact,
    "company": _company,
    "deal": _deal,
    "ticket": _ticket,
    "task": _task,
}


def _owner(payload: Payload) -> Event:
    row = payload.data
    teams = [_reference(payload, "team", team["id"], team.get("name")) for team in row.get("teams") or ()]
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


def _deleted(payload: Payload, *, erased: bool = False) -> Event:
    name = payload.kind.partition(".")[0]
    id = payload.data["objectId"] if payload.pushed else payload.data["id"]
    return MAKER.deleted(payload, name, id, KINDS[name].entity, clock=payload.at, erased=erased)


def _merged(payload: Payload) -> list[Event]:
    """Every old id is an alias of the one that remains: of a new record since January 2025."""
    event, name = payload.data, payload.kind.partition(".")[0]
    into = merged_into(event)
    old = {str(id) for id in (event.get("primaryObjectId"), *event.get("mergedObjectIds", ())) if id} - {into}
    entity = KINDS[name].entity
    return [MAKER.merged(payload, name, id, entity, into=into, clock=payload.at) for id in sorted(old)]


def _aliases(payload: Payload, row: Properties) -> Iterable[Event]:
    """The same told by the record that remains; of contacts with the time of the merge (`vid:ms`), so that it is the
    same event."""
    properties, kind = row["properties"], KINDS[payload.kind]
    times = dict(part.split(":", 1) for part in listed(properties.get("hs_calculated_merged_vids")) if ":" in part)
    born = to_ms(from_iso(row.get("createdAt")) or from_iso(row["updatedAt"]) or "")
    for old in sorted({*listed(properties.get("hs_merged_object_ids")), *times} - {str(row["id"])}):
        moment = from_ms(times.get(old))
        clock = to_ms(moment) if moment else born
        yield MAKER.merged(payload, kind.name, old, kind.entity, into=row["id"], clock=clock)


def _organizations(payload: Payload, row: Properties, primary: str | None) -> list[Membership] | None:
    found = _associated(row, "companies")
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


def _parties(payload: Payload, row: Properties) -> list[Party] | None:
    found = _associated(row, "contacts")
    if found is None:
        return None
    keys = sorted(MAKER.key(payload, "contact", item["id"]) for item in found)
    return [Party(role="requester", person=key) for key in keys]


def _associated(row: Properties, type: str) -> list[dict[str, Any]] | None:
    associations = row.get("associations")
    return None if associations is None else associations.get(type, [])


def _owned(payload: Payload, row: Properties) -> Reference | None:
    return _reference(payload, "owner", row["properties"].get("hubspot_owner_id"), row.get("owner_name"))


def _reference(payload: Payload, kind: str, id: Any, name: str | None = None) -> Reference | None:
    return Reference(key=MAKER.key(payload, kind, id), name=name) if id else None


def _time(value: str | None) -> str | None:
    """Properties bring ISO 8601, some of them epoch milliseconds as text."""
    if value and value.lstrip("-").isdigit() and len(value) > 8:
        return from_ms(value)
    return from_iso(value)


def _amount(value: str | None) -> str | None:
    if not value:
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise NormalizeError("amount is not a decimal number") from None
    if not amount.is_finite():
        raise NormalizeError("amount is not a finite number")
    return format(amount, "f")
