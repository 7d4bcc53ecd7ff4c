"""HubSpot: the CRM's objects and the inbox's threads; webhooks are hints, objects are read in batches."""

from datetime import timedelta

from connectors.hubspot.account import account
from connectors.hubspot.config import HOST, Config, auth
from connectors.hubspot.hydrate import hydrate
from connectors.hubspot.kinds import SCOPES
from connectors.hubspot.labels import BATCH
from connectors.hubspot.normalize import normalize
from connectors.hubspot.poll import LISTINGS, STREAMS
from connectors.hubspot.webhook import INSTRUCTIONS, split, verify
from core.sdk import Connector, Quota, RateHeaders, Webhook

# The least of all plans, before the headers tell; a search is limited by itself and tells nothing.
QUOTAS = (Quota(100, timedelta(seconds=10)), Quota(5, timedelta(seconds=1), path="/search"))
DAILY = Quota(  # of tokens, not of OAuth apps; from midnight to midnight in the account's time zone
    250_000,
    timedelta(days=1),
    headers=RateHeaders(remaining="x-hubspot-ratelimit-daily-remaining", limit="x-hubspot-ratelimit-daily"),
    policy="DAILY",
)

CONNECTOR = Connector(
    name="hubspot",
    title="HubSpot",
    category="crm",
    config=Config,
    normalize=normalize,
    # Staff and billing write contacts, and forms on the company's own pages: neither proves control.
    evidence={(role, kind): "recorded" for role in ("customer", "lead") for kind in ("email", "phone", "external_id")},
    base_url=lambda config: config.base_url or HOST,
    auth=auth,
    account=account,
    webhook=Webhook(
        needs="client_secret",
        verify=verify,
        split=split,
        instructions=INSTRUCTIONS,
    ),
    streams=STREAMS,
    hydrate=hydrate,
    batch=BATCH,
    oauth=lambda config: config.oauth(),
    quota=lambda config: QUOTAS if config.oauth() else (*QUOTAS, DAILY),
    rate_headers=RateHeaders(  # when the window ends is not told
        remaining="x-hubspot-ratelimit-remaining",
        limit="x-hubspot-ratelimit-max",
        interval="x-hubspot-ratelimit-interval-milliseconds",
    ),
    listings=LISTINGS,
    scopes=SCOPES,
    mock="connectors.hubspot.mock",
)
