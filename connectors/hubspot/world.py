"""The portal that the mock plays: objects, associations and what its webhooks say of every change. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.sdk import from_ms
from core.sdk.cast import ORGANIZATIONS, STAFF
from core.sdk.story import STAGES, number

MODIFIED = {"contacts": "lastmodifieddate"}  # of all others: hs_lastmodifieddate
CREATED = {"contacts": "createdate", "companies": "createdate", "deals": "createdate", "tickets": "createdate"}
TYPE_IDS = {
    "contacts": "0-1", "companies": "0-2", "deals": "0-3", "tickets": "0-5", "tasks": "0-27", "calls": "0-48",
    "emails": "0-49", "meetings": "0-47", "notes": "0-46", "communications": "0-18", "feedback_submissions": "0-19",
    "orders": "0-123", "invoices": "0-53", "commerce_payments": "0-101", "subscriptions": "0-69", "line_items": "0-8",
    "2-3465404": "2-3465404",  # an object of the company's own: subscription boxes
}  # fmt: skip
SINGULAR = {type: type.removesuffix("s") for type in TYPE_IDS} | {
    "companies": "company", "feedback_submissions": "feedback", "commerce_payments": "payment",
}  # fmt: skip
# Those have webhooks under their own names, all others under `object`.
NAMED = {
    "contacts": "contact", "companies": "company", "deals": "deal", "tickets": "ticket", "line_items": "line_item",
    "threads": "conversation",
}  # fmt: skip
# (from, to) to (id of the plain association, id of the primary one)
ASSOCIATIONS = {
    ("contacts", "companies"): (279, 1), ("companies", "contacts"): (280, 2), ("deals", "contacts"): (3, None),
    ("contacts", "deals"): (4, None), ("tickets", "contacts"): (16, None), ("contacts", "tickets"): (15, None),
    ("tasks", "contacts"): (204, None), ("contacts", "tasks"): (203, None), ("contacts", "orders"): (508, None),
    ("contacts", "subscriptions"): (296, None), ("tickets", "companies"): (339, 26),
    ("tickets", "orders"): (526, None),
}  # fmt: skip
# The other pairs: their numbers are made up, nothing reads them.
for _first, _second in (
    *((type, "contacts") for type in ("calls", "emails", "meetings", "notes", "communications", "feedback_submissions",
                                      "orders", "invoices", "commerce_payments", "subscriptions", "2-3465404")),
    ("orders", "line_items"), ("invoices", "line_items"), ("commerce_payments", "invoices"), ("tickets", "companies"),
    ("tickets", "orders"),
):  # fmt: skip
    ASSOCIATIONS.setdefault((_first, _second), (900 + len(ASSOCIATIONS), None))
    ASSOCIATIONS.setdefault((_second, _first), (900 + len(ASSOCIATIONS), None))
PIPELINES = {
    "deals": (("default", "Sales Pipeline", tuple(zip(
        STAGES, ("Appointment scheduled", "Qualified to buy", "Contract sent", "Closed won", "Closed lost"),
        ({"isClosed": "false", "probability": "0.2"}, {"isClosed": "false", "probability": "0.4"},
         {"isClosed": "false", "probability": "0.9"}, {"isClosed": "true", "probability": "1.0"},
         {"isClosed": "true", "probability": "0.0"}), strict=True))),),
    "tickets": (("0", "Support Pipeline", tuple(
        (str(index + 1), label, {"ticketState": "CLOSED" if label == "Closed" else "OPEN"})
        for index, label in enumerate(("New", "Waiting on contact", "Waiting on us", "Closed")))),),
    "orders": (("orders", "Order Pipeline", tuple(
        (stage, stage.title(), {}) for stage in ("open", "processed", "shipped", "delivered", "cancelled"))),),
}  # fmt: skip

Event = dict[str, Any]


@dataclass(slots=True)
class Record:
    """One object. Times are epoch ms; `merged` maps the ids that it swallowed to when that happened."""

    id: str
    created: int
    updated: int
    properties: dict[str, str | None] = field(default_factory=dict)
    archived: int | None = None
    merged: dict[str, int] = field(default_factory=dict)


class World:
    """One portal. Its methods change it and return the webhook events that the change causes. `archiving_moves` (set by
    tests): what comes into the recycle bin has a new modified date; out of it nothing has."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.portal = number(seed, "portal", 8)
        self.objects: dict[str, dict[str, Record]] = {type: {} for type in TYPE_IDS}
        self.names: dict[str, set[str]] = {type: set() for type in TYPE_IDS}  # of all properties that were ever set
        self.aliases: dict[str, str] = {}  # merged contact ids to what remains of them
        self.links: dict[tuple[str, str], dict[str, dict[str, bool]]] = {pair: {} for pair in ASSOCIATIONS}
        self.archiving_moves = True
        self._events = 0

    def id(self, type: str, ref: str) -> str:
        """The id that a ref of the story has here."""
        return str(number(self.seed, f"{type}:{ref}", 8 if type == "owners" else 10))

    def put(self, type: str, ref: str, properties: Mapping[str, str | None], now: int) -> list[Event]:
        """Creates or changes an object; only the given properties change."""
        id, modified = self.id(type, ref), MODIFIED.get(type, "hs_lastmodifieddate")
        record = self.objects[type].get(id)
        changed = {key: value for key, value in properties.items() if not record or record.properties.get(key) != value}
        events = []
        if record is None:
            record = self.objects[type][id] = Record(id, now, now)
            record.properties = {"hs_object_id": id, CREATED.get(type, "hs_createdate"): from_ms(now)}
            events.append(self.event(type, "creation", now, objectId=int(id), changeFlag="CREATED"))
        elif not changed or record.archived is not None:
            return []
        else:
            record.updated = max(now, record.updated + 1)
        record.properties |= changed
        record.properties[modified] = from_ms(record.updated)
        self.names[type] |= record.properties.keys()
        return events + [
            self.event(type, "propertyChange", record.updated, objectId=int(id), propertyName=key,
                       propertyValue=value or "")
            for key, value in changed.items()
        ]  # fmt: skip

    def link(self, type: str, ref: str, to: str, to_ref: str, now: int, *, primary: bool = False) -> list[Event]:
        """Associates two objects, both ways; their modified dates stay as they are."""
        other = self.id(to, to_ref)
        return self.associate(type, self.id(type, ref), to, self.aliases.get(other, other), now, primary=primary)

    def associate(self, type: str, id: str, to: str, other: str, now: int, *, primary: bool = False) -> list[Event]:
        """The same by ids."""
        if other in self.links[type, to].get(id, {}):
            return []
        self.links[type, to].setdefault(id, {})[other] = primary
        self.links[to, type].setdefault(other, {})[id] = primary
        return [self._linked(type, id, to, other, now, primary), self._linked(to, other, type, id, now, primary)]

    def unlink(self, type: str, ref: str, to: str, to_ref: str, now: int) -> list[Event]:
        """Takes an association away, both ways; the modified dates stay as they are here, too."""
        id, other = self.id(type, ref), self.id(to, to_ref)
        if self.links[type, to].get(id, {}).pop(other, None) is None:
            return []
        self.links[to, type].get(other, {}).pop(id, None)
        gone = {"associationRemoved": True}
        return [event | gone for event in (
            self._linked(type, id, to, other, now, False), self._linked(to, other, type, id, now, False)
        )]  # fmt: skip

    def archive(self, type: str, ref: str, now: int) -> list[Event]:
        """To the recycle bin: associations go, most properties, too."""
        record = self.objects[type].get(self.id(type, ref))
        if record is None or record.archived is not None:
            return []
        record.archived = max(now, record.updated + 1)
        if self.archiving_moves:
            record.updated = record.archived
        self._unlink(type, record.id)
        return [self.event(type, "deletion", record.archived, objectId=int(record.id), changeFlag="DELETED")]

    def restore(self, type: str, ref: str, now: int) -> list[Event]:
        """Out of the recycle bin, with the modified date of before."""
        record = self.objects[type].get(self.id(type, ref))
        if record is None or record.archived is None:
            return []
        record.archived = None
        return [self.event(type, "restore", now, objectId=int(record.id), changeFlag="RESTORED")]

    def erase(self, ref: str, now: int) -> list[list[Event]]:
        """A privacy deletion: nothing is left; told twice of one moment, in deliveries of their own, in any order."""
        id = self.id("contacts", ref)
        if self.objects["contacts"].pop(id, None) is None:
            return []
        self._unlink("contacts", id)
        told = {"objectId": int(id), "changeFlag": "DELETED"}
        privacy = self.event("contacts", "privacyDeletion", now, **told)
        return [[privacy], [self.event("contacts", "deletion", now, **told)]]

    def merge(self, ref: str, into: str, new: str, now: int) -> list[Event]:
        """Two contacts become a third with a new id; both old ids lead there."""
        contacts = self.objects["contacts"]
        gone, primary, id = self.id("contacts", ref), self.id("contacts", into), self.id("contacts", new)
        if gone not in contacts or primary not in contacts:
            return []
        other, first = contacts.pop(gone), contacts.pop(primary)
        record = contacts[id] = Record(id, now, now, {**other.properties, **set_only(first.properties)})
        record.merged = {**other.merged, **first.merged, primary: now, gone: now}
        emails = dict.fromkeys([*addresses(first), *addresses(other)])
        record.properties |= {
            "hs_object_id": id,
            "lastmodifieddate": from_ms(now),
            "hs_additional_emails": ";".join(email for email in emails if email != record.properties.get("email")),
            "hs_merged_object_ids": ";".join(record.merged),
            "hs_calculated_merged_vids": ";".join(f"{old}:{at}" for old, at in record.merged.items()),
        }
        self.names["contacts"] |= record.properties.keys()
        self.aliases |= dict.fromkeys(record.merged, id)
        for old in (primary, gone):
            self._move_links(old, id)
        return [
            self.event("contacts", "merge", now, objectId=int(id), primaryObjectId=int(primary), newObjectId=int(id),
                       mergedObjectIds=[int(primary), int(gone)], numberOfPropertiesMoved=len(other.properties))
        ]  # fmt: skip

    def event(self, type: str, action: str, at: int, **rest: Any) -> Event:
        """One event of a webhook's array. Most types have only the generic form."""
        self._events += 1
        name = None if "fromObjectTypeId" in rest else NAMED.get(type)
        generic = {} if name or "fromObjectTypeId" in rest else {"objectTypeId": TYPE_IDS[type], "isSensitive": False}
        return {
            "eventId": number(self.seed, f"event:{self._events}", 9), "subscriptionId": 3401, "portalId": self.portal,
            "appId": 54321, "occurredAt": at, "subscriptionType": f"{name or 'object'}.{action}", "attemptNumber": 0,
            "changeSource": "CRM", "sourceId": "userId:42", **generic, **rest,
        }  # fmt: skip

    def _linked(self, type: str, id: str, to: str, other: str, at: int, primary: bool) -> Event:
        rest: dict[str, Any] = {
            "fromObjectId": int(id), "toObjectId": int(other), "associationRemoved": False,
            "isPrimaryAssociation": primary,
        }  # fmt: skip
        if type in NAMED and to in NAMED:
            rest["associationType"] = f"{NAMED[type]}_TO_{NAMED[to]}".upper()
        else:
            rest |= {"fromObjectTypeId": TYPE_IDS[type], "toObjectTypeId": TYPE_IDS[to]}
            rest |= {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": ASSOCIATIONS[type, to][0]}
        return self.event(type, "associationChange", at, **rest)

    def _unlink(self, type: str, id: str) -> None:
        for (first, second), links in self.links.items():
            if first == type:
                links.pop(id, None)
            if second == type:
                for targets in links.values():
                    targets.pop(id, None)

    def _move_links(self, old: str, new: str) -> None:
        for (first, second), links in self.links.items():
            if first == "contacts" and old in links:
                links.setdefault(new, {}).update(links.pop(old))
            if second == "contacts":
                for targets in links.values():
                    if old in targets:
                        targets[new] = targets.pop(old)


def set_only(properties: Mapping[str, str | None]) -> dict[str, str | None]:
    return {key: value for key, value in properties.items() if value}


def addresses(record: Record) -> Iterable[str]:
    found = [record.properties.get("email"), *(record.properties.get("hs_additional_emails") or "").split(";")]
    return [address for address in found if address]


def owners(seed: int) -> list[dict[str, Any]]:
    """The portal's users: the story's staff, and one who has left."""
    began = "2024-01-01T00:00:00.000Z"
    found = [
        {
            "id": str(number(seed, f"owners:{colleague.slug}", 8)), "email": colleague.email, "type": "PERSON",
            "firstName": colleague.given, "lastName": colleague.family, "userId": 40 + index,
            "userIdIncludingInactive": 40 + index, "createdAt": began, "updatedAt": began, "archived": False,
            "teams": [{"id": str(len(colleague.team)), "name": colleague.team.title(), "primary": True}],
        }
        for index, colleague in enumerate(STAFF.values())
    ]  # fmt: skip
    left: dict[str, Any] = {"id": str(number(seed, "owners:left", 8)), "email": "former@example.com", "type": "PERSON",
            "firstName": "Robin", "lastName": "Vale", "userId": None, "userIdIncludingInactive": 39, "createdAt": began,
            "updatedAt": began, "archived": True, "teams": []}  # fmt: skip
    return [*found, left]


def contact(data: Mapping[str, Any], owner: str | None) -> dict[str, str | None]:
    """A contact's properties from what a beat says of a person."""
    names = {"given": "firstname", "family": "lastname", "email": "email", "phone": "phone", "language": "hs_language",
             "country": "hs_country_region_code", "external_id": "customer_number"}  # fmt: skip
    found: dict[str, str | None] = {names[key]: str(value) for key, value in data.items() if key in names}
    return found | ({"hubspot_owner_id": owner} if owner else {})


def deal(data: Mapping[str, Any], owner: str | None, now: int) -> dict[str, str | None]:
    names = {"title": "dealname", "amount": "amount", "currency": "deal_currency_code", "stage": "dealstage"}
    found: dict[str, str | None] = {names[key]: str(value) for key, value in data.items() if key in names}
    if "closes_in_days" in data:
        found["closedate"] = from_ms(now + int(data["closes_in_days"]) * 86_400_000)
    return found | ({"hubspot_owner_id": owner} if owner else {})


def task(data: Mapping[str, Any], owner: str | None, now: int) -> dict[str, str | None]:
    found: dict[str, str | None] = {"hubspot_owner_id": owner} if owner else {}
    if "title" in data:
        found["hs_task_subject"] = str(data["title"])
    if "state" in data:
        done = data["state"] == "done"
        found["hs_task_status"] = "COMPLETED" if done else "NOT_STARTED"
        found["hs_task_completion_date"] = from_ms(now) if done else None
    if "due_in" in data:
        found["hs_timestamp"] = from_ms(now + int(data["due_in"] * 1000))
    return found


def sale(
    ref: str, deal: Mapping[str, str | None], now: int
) -> Iterable[tuple[str, str, dict[str, str | None], list[tuple[str, str]]]]:
    """What follows from a deal that is won: (type, ref, properties, associated)."""
    money, amount = deal.get("deal_currency_code"), deal.get("amount")
    line = {"name": deal.get("dealname"), "hs_sku": "SKU-1", "quantity": "1", "amount": amount}
    order = {"hs_order_name": f"#{ref}", "hs_total_price": amount, "hs_currency_code": money, "hs_pipeline": "orders",
             "hs_pipeline_stage": "processed", "hs_fulfillment_status": "packed"}  # fmt: skip
    invoice = {"hs_number": f"INV-{ref}", "hs_invoice_status": "paid", "hs_amount_billed": amount,
               "hs_currency": money, "hs_invoice_date": from_ms(now), "hs_payment_date": from_ms(now)}  # fmt: skip
    payment = {"hs_initial_amount": amount, "hs_currency_code": money, "hs_latest_status": "succeeded",
               "hs_initiated_date": from_ms(now), "hs_reference_number": f"PAY-{ref}"}  # fmt: skip
    yield "line_items", f"l:{ref}", line, []
    yield "orders", f"o:{ref}", order, [("line_items", f"l:{ref}")]
    yield "invoices", f"i:{ref}", invoice, [("line_items", f"l:{ref}")]
    yield "commerce_payments", f"p:{ref}", payment, [("invoices", f"i:{ref}")]


def company(slug: str) -> dict[str, str | None]:
    organization = ORGANIZATIONS[slug]
    return {"name": organization.name, "domain": organization.domain, "lifecyclestage": "customer"}
