"""What the tests of HubSpot share: deliveries, rows as it sends them, and its mock over real HTTP."""

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from connectors.hubspot import CONNECTOR, kinds
from connectors.hubspot.config import Config
from connectors.hubspot.mock import DEMO, Portal, simulator
from connectors.hubspot.webhook import signature
from core.projection import Registers
from core.sdk import Delivery, Hint, Page, Payload, Split
from core.sdk.mock import Mock, running
from schemas.event import Event
from tests.connectors.http import PlainHttp, plain_http

ROOT = Path(__file__).parents[2]
VENDOR = Path(os.environ.get("HUB_VENDOR_DATA", ROOT.parent / "shared" / "vendor-data")) / "crm" / "hubspot"
needs_vendor_data = pytest.mark.skipif(not VENDOR.is_dir(), reason=f"no vendor data at {VENDOR}: set HUB_VENDOR_DATA")
SAMPLES = sorted((ROOT / "connectors" / "hubspot" / "samples").glob("*.payload.json"))
ACCOUNT, NOW = "62515", datetime(2026, 9, 7, 8, 0, tzinfo=UTC)
MS = int(NOW.timestamp() * 1000)
SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URL = "https://hooks.example.com/hooks/hubspot"
WEBHOOK = CONNECTOR.webhook
assert WEBHOOK is not None and CONNECTOR.hydrate is not None
hydrate = CONNECTOR.hydrate


def config(**more: Any) -> Config:
    return Config.model_validate({"type": "hubspot", "token": "t", "client_secret": SECRET} | more)


def delivery(body: bytes = b"[]", *, url: str = URL, at: int = MS, secret: str = SECRET, **more: str) -> Delivery:
    headers = {
        "x-hubspot-signature-v3": signature(secret, "POST", url, body, str(at)),
        "x-hubspot-request-timestamp": str(at),
    }
    return Delivery("POST", url, headers | more, body)


def split(*events: Mapping[str, Any], account: str = ACCOUNT) -> Split:
    body = [{"portalId": 62515, "occurredAt": MS, **event} for event in events]
    assert WEBHOOK is not None
    return WEBHOOK.split(body, delivery(), config(), account, MS)


def normalized(payload: Payload) -> list[Event]:
    return list(CONNECTOR.normalize(payload))


def read(kind: str, row: Mapping[str, Any], **more: Any) -> Payload:
    return Payload(kind, row, ACCOUNT, pushed=False, received=MS, **more)


def contact(id: str = "901", **properties: Any) -> dict[str, Any]:
    moment = "2026-09-07T08:00:00.102Z"
    return {"id": id, "properties": properties, "createdAt": "2026-01-05T10:11:12.345Z", "updatedAt": moment,
            "archived": False, "associations": {"companies": []}}  # fmt: skip


def changed(id: int, at: int = MS, type: str = "contact.propertyChange", **more: Any) -> dict[str, Any]:
    return {"subscriptionType": type, "objectId": id, "eventId": 1, "occurredAt": at, **more}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def deal(stage: str, metadata: dict[str, str] | None, amount: str | None = "1200.50") -> dict[str, Any]:
    row = contact("7", dealname="Ovens", amount=amount, deal_currency_code="USD", dealstage=stage, pipeline="default")
    told = {} if metadata is None else {"pipeline": "Sales", "label": "Stage!", "metadata": metadata}
    return row | {"associations": {"contacts": [{"id": "901", "primary": False}]}, "stage": told}


@dataclass
class Bench:
    """A running mock, a client for it, and the connector's settings."""

    mock: Mock
    portal: Portal
    http: PlainHttp
    config: Config
    account: str

    def tell(self, kind: str, ref: str, **data: Any) -> list[Mapping[str, Any]]:
        """Something happens in the portal now; returns the events of its webhooks."""
        queued = self.mock.player.insert(kind, ref, data)
        return [event for _, push in queued for event in push.body]

    def later(self, **span: float) -> None:
        self.mock.player.clock.set(self.mock.player.clock.now() + int(timedelta(**span).total_seconds() * 1000))

    async def poll(self, name: str, cursor: dict[str, Any] | None = None, most: int = 1000) -> list[Page]:
        (stream,) = [stream for stream in CONNECTOR.streams if stream.name == name]
        pages: list[Page] = []
        async for page in stream.poll(self.http, self.config, self.account, cursor):
            pages.append(page)
            if len(pages) == most:
                break
        return pages

    async def listed(self, kind: str) -> list[str]:
        """All ids that the listing of a kind gives."""
        (listing,) = [listing for listing in CONNECTOR.listings if listing.kind == kind]
        return [id async for page in listing.ids(self.http, self.config, self.account, None) for id in page.ids]

    async def hydrated(self, hints: list[Hint]) -> list[Payload]:
        return [payload async for payload in hydrate(self.http, self.config, self.account, hints)]


@asynccontextmanager
async def bench(seed: int = 7, **settings: Any) -> AsyncIterator[Bench]:
    portal = simulator(seed, {})
    portal.api.search_rate = 1000
    async with running(portal, pace=0, limit=100_000) as mock:
        mock.player.clock.set(rate=0)
        made = Config.model_validate({"type": "hubspot", "mock": True, **DEMO, **settings})
        async with plain_http(mock.url, CONNECTOR.auth(made), now_ms=mock.player.clock.now) as http:
            yield Bench(mock, portal, http, made, str(portal.world.portal))


def ids(pages: list[Page]) -> list[str]:
    return [payload.data["id"] for page in pages for payload in page.payloads]


KINDS = {kind.plural: name for name, kind in kinds.KINDS.items()}
OPEN: dict[str, dict[str, Any]] = {  # one object of each kind that the story has none of
    "ticket": {"subject": "Bag", "hs_pipeline": "0", "hs_pipeline_stage": "1"},
    "call": {"hs_call_direction": "INBOUND", "hs_call_status": "COMPLETED", "hs_call_duration": "61000"},
    "email": {"hs_email_subject": "Bag", "hs_email_direction": "INCOMING_EMAIL"},
    "meeting": {"hs_meeting_title": "Renewal"},
    "note": {"hs_note_body": "Prefers calls"},
    "communication": {"hs_communication_channel_type": "SMS", "hs_communication_body": "On its way"},
    "feedback": {"hs_survey_type": "NPS", "hs_value": "9"},
    "order": {"hs_order_name": "#1", "hs_pipeline": "orders", "hs_pipeline_stage": "shipped"},
    "invoice": {"hs_number": "INV-1", "hs_invoice_status": "open"},
    "payment": {"hs_initial_amount": "5.00"},
    "subscription": {"hs_name": "Care plan", "hs_status": "active"},
}


def stock(hub: "Bench") -> None:
    """One object of every kind, named `one`, all of them Dana's."""
    for kind, properties in OPEN.items():
        hub.tell(f"{kind}.upsert", "one", person="dana", properties=properties)
    hub.later(seconds=5)


async def crowd(hub: Bench, number: int, begin: int = 0) -> None:
    for index in range(begin, begin + number):
        hub.tell("person.upsert", f"x{index}", given="Ana", family="Berg", email=f"x{index}@example.com")
    hub.later(seconds=10)


def split_as(hub: Bench, events: list[Mapping[str, Any]]) -> Split:
    assert WEBHOOK is not None
    return WEBHOOK.split(list(events), delivery(), hub.config, hub.account, MS)


def recorded(name: str) -> Any:
    return json.loads((VENDOR / "samples" / f"{name}.json").read_text())


def states(events: Sequence[Event]) -> set[str]:
    """What one object is after these events, in every order in which they may come."""
    found = set()
    for told in permutations(events):
        registers = Registers(events[0].entity)
        for event in told:
            registers.apply(event)
        found.add(registers.state)
    return found
