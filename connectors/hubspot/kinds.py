"""What we read of HubSpot: its object types, and of each the properties that matter to a support agent.

A property that a portal does not have is passed over by HubSpot. Names marked UNVERIFIED stand in no reference that we
could read; without them a field stays unset.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.hubspot.config import Config
from schemas.entities import Conversation, Deal, Entity, Organization, Person, Task


@dataclass(frozen=True, slots=True)
class Kind:
    """One object type. `modified` is the property that searches filter by (the wrong one finds nothing, silently);
    `to` the type whose associations are part of the object; `staged`: it stands in a pipeline."""

    name: str
    plural: str
    type_id: str
    entity: type[Entity]
    properties: tuple[str, ...]
    to: str | None = None
    modified: str = "hs_lastmodifieddate"
    staged: bool = False
    activity: bool = True  # its first fetch goes back to `since`, further only where it is still open

    @property
    def known(self) -> frozenset[str]:
        """Properties that have a place in the schema, or are HubSpot's own bookkeeping: the rest are attributes."""
        return frozenset({*self.properties, "hs_object_id", "createdate", "lastmodifieddate"})

    def stage(self, properties: Mapping[str, Any]) -> tuple[str, str]:
        """(pipeline, stage), by which a pipeline's labels are found."""
        names = ("pipeline", "dealstage") if self.name == "deal" else ("hs_pipeline", "hs_pipeline_stage")
        return str(properties.get(names[0])), str(properties.get(names[1]))

    def asked(self, config: Config) -> list[str]:
        """All properties to ask for."""
        own = [config.external_id_property] if self.name == "contact" and config.external_id_property else []
        return [*dict.fromkeys([*self.properties, *own, *config.properties])]


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "contact", "contacts", "0-1", Person,
            ("email", "hs_additional_emails", "phone", "mobilephone", "firstname", "lastname", "lifecyclestage",
             "hubspot_owner_id", "associatedcompanyid", "createdate", "lastmodifieddate", "hs_merged_object_ids",
             "hs_calculated_merged_vids",
             # UNVERIFIED:
             "hs_language", "hs_country_region_code", "hs_lifecyclestage_customer_date", "hs_email_optout"),
            to="companies", modified="lastmodifieddate", activity=False,
        ),
        Kind(
            "company", "companies", "0-2", Organization,
            ("name", "domain", "lifecyclestage", "hubspot_owner_id", "createdate", "hs_lastmodifieddate",
             "hs_merged_object_ids",
             # UNVERIFIED:
             "hs_additional_domains", "hs_parent_company_id"),
            activity=False,
        ),
        Kind(
            "deal", "deals", "0-3", Deal,
            ("dealname", "amount", "deal_currency_code", "dealstage", "pipeline", "closedate", "hubspot_owner_id",
             "createdate", "hs_lastmodifieddate", "hs_merged_object_ids"),
            to="contacts", staged=True,
        ),
        Kind(
            "ticket", "tickets", "0-5", Conversation,
            ("subject", "content", "hs_pipeline", "hs_pipeline_stage", "hs_ticket_priority", "hs_ticket_category",
             "createdate", "closed_date", "hubspot_owner_id", "hs_lastmodifieddate", "hs_merged_object_ids",
             # UNVERIFIED:
             "source_type"),
            to="contacts", staged=True,
        ),
        Kind(
            "task", "tasks", "0-27", Task,  # its type id is UNVERIFIED
            ("hs_task_subject", "hs_task_body", "hs_task_status", "hs_task_priority", "hs_task_type", "hs_timestamp",
             "hubspot_owner_id", "hs_createdate", "hs_lastmodifieddate",
             # UNVERIFIED:
             "hs_task_completion_date"),
            to="contacts",
        ),
    )
}  # fmt: skip
BY_TYPE_ID = {kind.type_id: kind.name for kind in KINDS.values()}


def closed(metadata: dict[str, Any]) -> bool:
    """Whether a stage is an end: tickets say so by `ticketState`, deals by `isClosed` (UNVERIFIED) or a probability
    of 0 or 1."""
    if "isClosed" in metadata:
        return str(metadata["isClosed"]).lower() == "true"
    return metadata.get("ticketState") == "CLOSED" or str(metadata.get("probability")) in ("0.0", "1.0", "0", "1")
