"""Deals, orders, invoices, payments and subscriptions to what is sold, owed, paid and renewed. Pure."""

from typing import Any

from connectors.hubspot.fields import (
    MAKER,
    Fields,
    Properties,
    amount,
    associated,
    began,
    items,
    owned,
    parties,
    reference,
    time,
)
from connectors.hubspot.kinds import closed
from core.sdk import Payload
from schemas.entities import Identifier, Party

CANCELLED = frozenset({"canceled", "cancelled", "expired"})
SPELLINGS = {"canceled": "cancelled"}


def deal(payload: Payload, row: Properties, properties: Properties) -> Fields:
    stage = row.get("stage") or {}
    stage_id, pipeline_id = properties.get("dealstage"), properties.get("pipeline")
    return {
        "at": began(row, "createdate"),
        "title": properties.get("dealname") or None,
        "total": amount(properties.get("amount")),
        "currency": properties.get("deal_currency_code") or None,
        "status": _deal_status(stage.get("metadata"), stage_id),
        "source_state": stage.get("label") or stage_id or None,
        "pipeline": reference(payload, "pipeline", pipeline_id, stage.get("pipeline")),
        "stage": reference(payload, "stage", stage_id, stage.get("label")),
        "owner": owned(payload, row),
        "closes_at": time(properties.get("closedate")),
        "parties": parties(payload, row),
    }


def _deal_status(metadata: dict[str, Any] | None, stage: str | None) -> str | None:
    """open, won or lost. Without the pipeline's word the ids of HubSpot's own pipeline are known."""
    if metadata is None:
        return {"closedwon": "won", "closedlost": "lost"}.get(stage or "", "open" if stage else None)
    if not closed(metadata):
        return "open"
    return "won" if str(metadata.get("probability")) in ("1.0", "1") else "lost"


def order(payload: Payload, row: Properties, properties: Properties) -> Fields:
    state = (row.get("stage") or {}).get("label") or properties.get("hs_pipeline_stage") or None
    return {
        "at": began(row, "hs_processed_date"),
        "number": properties.get("hs_order_name") or properties.get("hs_external_order_id") or None,
        "total": amount(properties.get("hs_total_price")),
        "currency": properties.get("hs_currency_code") or None,
        "status": state,
        "source_state": state,
        "fulfilment": properties.get("hs_fulfillment_status") or None,
        "refunded": amount(properties.get("hs_refund_amount")),
        "brand": properties.get("hs_source_store") or None,
        "items": items(row),
        "parties": parties(payload, row),
    }


def invoice(payload: Payload, row: Properties, properties: Properties) -> Fields:
    state = properties.get("hs_invoice_status") or None
    return {
        "at": began(row, "hs_invoice_date"),
        "number": properties.get("hs_number") or None,
        "total": amount(properties.get("hs_amount_billed")),
        "currency": properties.get("hs_currency") or None,
        "status": state and state.lower(),
        "source_state": state,
        "due_at": time(properties.get("hs_due_date")),
        "paid_at": time(properties.get("hs_payment_date")),
        "items": items(row),
        "parties": parties(payload, row),
    }


def payment(payload: Payload, row: Properties, properties: Properties) -> Fields:
    state = properties.get("hs_latest_status") or None
    invoices = sorted(item["id"] for item in associated(row, "invoices") or ())
    payers = parties(payload, row)
    address = properties.get("hs_customer_email")
    if payers == [] and address:  # paid without a contact: the address is what is known
        payers = [Party(role="requester", identifier=Identifier(kind="email", value=address))]
    return {
        "at": began(row, "hs_initiated_date"),
        "number": properties.get("hs_reference_number") or None,
        "total": amount(properties.get("hs_initial_amount")),
        "currency": properties.get("hs_currency_code") or None,
        "status": state,
        "source_state": state,
        "invoice": MAKER.key(payload, "invoice", invoices[0]) if invoices else None,
        "disputed": state == "disputed" if state else None,
        "parties": payers,
    }


def subscription(payload: Payload, row: Properties, properties: Properties) -> Fields:
    state = properties.get("hs_status") or None
    return {
        "at": began(row, "hs_recurring_billing_start_date"),
        "number": str(row["id"]),
        "plan": properties.get("hs_name") or None,
        "total": amount(properties.get("hs_next_payment_amount") or properties.get("hs_last_payment_amount")),
        "currency": properties.get("hs_currency_code") or None,
        "status": state and SPELLINGS.get(state, state),
        "source_state": state,
        "renews_at": None if state in CANCELLED else time(properties.get("hs_next_payment_due_date")),
        "cancelled_at": time(properties.get("hs_cancellation_date")),
        "parties": parties(payload, row),
    }
