"""What we read of HubSpot: its object types, and of each the properties that matter to a support agent.

A property that a portal does not have is passed over by HubSpot. Names marked UNVERIFIED stand in no reference that we
could read; without them a field stays unset.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.hubspot.config import Config
from schemas.entities import (
    BillingSubscription,
    Call,
    Conversation,
    Custom,
    Deal,
    Entity,
    Invoice,
    Note,
    Order,
    Organization,
    Payment,
    Person,
    Rating,
    Task,
)

CONTACTS = ("contacts",)
CUSTOM = re.compile(r"2-\d+")  # type ids of the company's own objects, which are also the names of their kinds


@dataclass(frozen=True, slots=True)
class Kind:
    """One object type. `modified` is the property that searches filter by (the wrong one finds nothing, silently);
    `to` the types whose associations are part of the object; `linked` the kinds that it names besides, as far as they
    are read; `staged`: it stands in a pipeline."""

    name: str
    plural: str
    type_id: str
    entity: type[Entity]
    properties: tuple[str, ...]
    scope: str
    to: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    modified: str = "hs_lastmodifieddate"
    staged: bool = False
    activity: bool = True  # its first fetch goes back to `since`, further only where it is still open

    @property
    def known(self) -> frozenset[str]:
        """Properties that have a place in the schema, or are HubSpot's own bookkeeping: the rest are attributes."""
        return frozenset({*self.properties, "hs_object_id", "createdate", "hs_createdate", self.modified})

    def stage(self, properties: Mapping[str, Any]) -> tuple[str, str]:
        """(pipeline, stage), by which a pipeline's labels are found."""
        names = ("pipeline", "dealstage") if self.name == "deal" else ("hs_pipeline", "hs_pipeline_stage")
        return str(properties.get(names[0])), str(properties.get(names[1]))

    def asked(self, config: Config) -> list[str]:
        """All properties to ask for."""
        own = []
        if self.name == "contact":
            own = [config.external_id_property] if config.external_id_property else []
            own += [opt_out(id) for id in config.subscriptions]
        more = () if CUSTOM.fullmatch(self.name) else config.properties
        return [*dict.fromkeys([*self.properties, *own, *more])]


def opt_out(subscription: str) -> str:
    """The contact's property that says whether they left this subscription type."""
    return f"hs_email_optout_{subscription}"


_KINDS = (
    Kind(
        "contact", "contacts", "0-1", Person,
        ("email", "hs_additional_emails", "phone", "mobilephone", "firstname", "lastname", "lifecyclestage",
         "hubspot_owner_id", "associatedcompanyid", "createdate", "lastmodifieddate", "hs_merged_object_ids",
         "hs_calculated_merged_vids", "hs_email_optout",
         # UNVERIFIED:
         "hs_language", "hs_country_region_code", "hs_lifecyclestage_customer_date"),
        "crm.objects.contacts.read", ("companies",), modified="lastmodifieddate", activity=False,
    ),
    Kind(
        "company", "companies", "0-2", Organization,
        ("name", "domain", "lifecyclestage", "hubspot_owner_id", "createdate", "hs_lastmodifieddate",
         "hs_merged_object_ids",
         # UNVERIFIED:
         "hs_additional_domains", "hs_parent_company_id"),
        "crm.objects.companies.read", activity=False,
    ),
    Kind(
        "deal", "deals", "0-3", Deal,
        ("dealname", "amount", "deal_currency_code", "dealstage", "pipeline", "closedate", "hubspot_owner_id",
         "createdate", "hs_lastmodifieddate", "hs_merged_object_ids"),
        "crm.objects.deals.read", CONTACTS, staged=True,
    ),
    Kind(
        "ticket", "tickets", "0-5", Conversation,
        ("subject", "content", "hs_pipeline", "hs_pipeline_stage", "hs_ticket_priority", "hs_ticket_category",
         "createdate", "closed_date", "hubspot_owner_id", "hs_lastmodifieddate", "hs_merged_object_ids",
         # UNVERIFIED:
         "source_type"),
        "tickets", CONTACTS, linked=("company", "order"), staged=True,
    ),
    Kind(
        "task", "tasks", "0-27", Task,
        ("hs_task_subject", "hs_task_body", "hs_task_status", "hs_task_priority", "hs_task_type", "hs_timestamp",
         "hubspot_owner_id", "hs_createdate", "hs_lastmodifieddate",
         # UNVERIFIED:
         "hs_task_completion_date"),
        "crm.objects.contacts.read", CONTACTS,
    ),
    Kind(
        "call", "calls", "0-48", Call,
        ("hs_timestamp", "hs_call_title", "hs_call_body", "hs_call_direction", "hs_call_status", "hs_call_duration",
         "hs_call_from_number", "hs_call_to_number", "hs_call_recording_url", "hs_call_disposition",
         "hubspot_owner_id", "hs_createdate", "hs_lastmodifieddate"),
        "crm.objects.contacts.read", CONTACTS,
    ),
    Kind(
        "email", "emails", "0-49", Conversation,
        ("hs_timestamp", "hs_email_subject", "hs_email_text", "hs_email_html", "hs_email_direction",
         "hs_email_status", "hubspot_owner_id", "hs_createdate", "hs_lastmodifieddate",
         # UNVERIFIED:
         "hs_email_from_email", "hs_email_to_email"),
        "crm.objects.contacts.read", CONTACTS,
    ),
    Kind(
        "meeting", "meetings", "0-47", Custom,
        ("hs_timestamp", "hs_meeting_title", "hs_meeting_body", "hs_meeting_start_time", "hs_meeting_end_time",
         "hs_meeting_outcome", "hs_meeting_location", "hubspot_owner_id", "hs_createdate", "hs_lastmodifieddate"),
        "crm.objects.contacts.read", CONTACTS,
    ),
    Kind(
        "note", "notes", "0-46", Note,
        ("hs_timestamp", "hs_note_body", "hubspot_owner_id", "hs_createdate", "hs_lastmodifieddate"),
        "crm.objects.contacts.read", CONTACTS,
    ),
    Kind(
        "communication", "communications", "0-18", Conversation,
        ("hs_timestamp", "hs_communication_channel_type", "hs_communication_body", "hs_communication_logged_from",
         "hubspot_owner_id", "hs_createdate", "hs_lastmodifieddate"),
        "crm.objects.contacts.read", CONTACTS,
    ),
    Kind(
        "feedback", "feedback_submissions", "0-19", Rating,
        ("hs_survey_type", "hs_survey_name", "hs_value", "hs_content", "hs_submission_timestamp", "hs_contact_id",
         "hs_ticket_id", "hs_response_group", "hs_survey_channel", "hs_createdate", "hs_lastmodifieddate"),
        "crm.objects.feedback_submissions.read", CONTACTS,
    ),
    Kind(
        "order", "orders", "0-123", Order,
        ("hs_order_name", "hs_currency_code", "hs_fulfillment_status", "hs_pipeline", "hs_pipeline_stage",
         "hs_source_store", "hs_processed_date", "hubspot_owner_id", "hs_createdate", "hs_lastmodifieddate",
         # UNVERIFIED:
         "hs_total_price", "hs_external_order_id", "hs_refund_amount"),
        "crm.objects.orders.read", ("contacts", "line_items"), staged=True,
    ),
    Kind(
        "invoice", "invoices", "0-53", Invoice,
        ("hs_number", "hs_title", "hs_invoice_status", "hs_amount_billed", "hs_currency", "hs_invoice_date",
         "hs_due_date", "hubspot_owner_id", "hs_createdate", "hs_lastmodifieddate",
         # UNVERIFIED:
         "hs_payment_date"),
        "crm.objects.invoices.read", ("contacts", "line_items"),
    ),
    Kind(
        "payment", "commerce_payments", "0-101", Payment,
        ("hs_initial_amount", "hs_initiated_date", "hs_latest_status", "hs_currency_code", "hs_reference_number",
         "hs_customer_email", "hs_createdate", "hs_lastmodifieddate"),
        "crm.objects.commercepayments.read", ("contacts", "invoices"),
    ),
    Kind(
        "subscription", "subscriptions", "0-69", BillingSubscription,
        ("hs_name", "hs_status", "hs_currency_code", "hs_last_payment_amount", "hs_next_payment_amount",
         "hs_next_payment_due_date", "hs_recurring_billing_frequency", "hs_recurring_billing_start_date",
         "hs_createdate", "hs_lastmodifieddate",
         # UNVERIFIED:
         "hs_cancellation_date"),
        "crm.objects.subscriptions.read", CONTACTS,
    ),
)  # fmt: skip
KINDS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}
INBOX = "conversation"  # the threads of the inbox are no CRM objects: they have endpoints and webhooks of their own
LINE_ITEM = "line_item"  # lines are part of what they stand in
LINED = ("order", "invoice")
BY_TYPE_ID = {"0-8": LINE_ITEM, **{kind.type_id: kind.name for kind in KINDS.values()}}
SCOPES = (*dict.fromkeys(kind.scope for kind in _KINDS), "crm.objects.owners.read", "crm.objects.line_items.read",
          "conversations.read")  # fmt: skip


def kinds_of(config: Config) -> dict[str, Kind]:
    """What this connection reads, by name."""
    own = {each.type_id: _custom(each.type_id, (each.title, *each.properties)) for each in config.custom_objects}
    return {name: kind for name, kind in KINDS.items() if name in config.objects} | own


def kind_named(name: str) -> Kind | None:
    """Of one of the company's own objects without its properties, which only the settings know."""
    return _custom(name) if CUSTOM.fullmatch(name) else KINDS.get(name)


def _custom(name: str, properties: tuple[str, ...] = ()) -> Kind:
    return Kind(name, name, name, Custom, properties, "crm.objects.custom.read", CONTACTS)


_LIVING = frozenset({"active", "past_due", "paused", "scheduled", "unpaid"})


def closed(metadata: dict[str, Any]) -> bool:
    """Whether a stage is an end: tickets say so by `ticketState`, deals by `isClosed` (UNVERIFIED) or a probability
    of 0 or 1."""
    if "isClosed" in metadata:
        return str(metadata["isClosed"]).lower() == "true"
    return metadata.get("ticketState") == "CLOSED" or str(metadata.get("probability")) in ("0.0", "1.0", "0", "1")


def still_open(kind: Kind, properties: Mapping[str, Any], stage: Mapping[str, Any] | None) -> bool:
    """Whether something is still to be done or paid: then it counts, however old it is."""
    match kind.name:
        case "task":
            return properties.get("hs_task_status") not in ("COMPLETED", "DELETED")
        case "deal" | "ticket":
            return stage is not None and not closed(stage["metadata"])
        case "invoice":
            return properties.get("hs_invoice_status") == "open"
        case "subscription":
            return properties.get("hs_status") in _LIVING
        case _:
            return False
