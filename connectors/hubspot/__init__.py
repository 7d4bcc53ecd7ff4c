"""HubSpot: contacts, companies, deals, tickets, tasks and owners; webhooks are hints, objects are read in batches."""

from connectors.hubspot.account import account
from connectors.hubspot.config import HOST, Config
from connectors.hubspot.hydrate import hydrate
from connectors.hubspot.labels import BATCH
from connectors.hubspot.normalize import normalize
from connectors.hubspot.poll import STREAMS
from connectors.hubspot.webhook import INSTRUCTIONS, split, verify
from core.sdk import Connector, Webhook

CONNECTOR = Connector(
    name="hubspot",
    title="HubSpot",
    category="crm",
    config=Config,
    normalize=normalize,
    # Staff and billing write contacts, and forms on the company's own pages: neither proves control.
    evidence={(role, kind): "recorded" for role in ("customer", "lead") for kind in ("email", "phone", "external_id")},
    base_url=lambda config: config.base_url or HOST,
    auth=lambda config: {"Authorization": f"Bearer {config.token.get_secret_value()}"},
    account=account,
    webhook=Webhook(
        enabled=lambda config: config.client_secret is not None,
        verify=verify,
        split=split,
        instructions=INSTRUCTIONS,
    ),
    streams=STREAMS,
    hydrate=hydrate,
    batch=BATCH,
    rate_headers=("x-hubspot-ratelimit-remaining", ""),  # when the window ends is not told
    scopes=(
        "crm.objects.contacts.read",
        "crm.objects.companies.read",
        "crm.objects.deals.read",
        "crm.objects.owners.read",
        "tickets",
    ),
    mock="connectors.hubspot.mock",
)
