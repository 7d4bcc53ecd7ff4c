"""Aircall: calls, text messages and contacts; a webhook brings a snapshot, proved by the token in its body."""

from datetime import timedelta

from connectors.aircall.config import Config, account, auth
from connectors.aircall.hydrate import hydrate
from connectors.aircall.listings import LISTINGS
from connectors.aircall.normalize import normalize
from connectors.aircall.poll import STREAMS
from connectors.aircall.webhook import INSTRUCTIONS, cut, split, verify
from core.sdk import Connector, Quota, RateHeaders, Webhook

CONNECTOR = Connector(
    name="aircall",
    title="Aircall",
    category="telephony",
    config=Config,
    normalize=normalize,
    # Staff write the shared contacts. A caller's number alone is no person: it stays an implied one.
    evidence={("customer", "phone"): "recorded", ("customer", "email"): "recorded"},
    base_url=lambda config: config.base_url or "https://api.aircall.io",
    auth=auth,
    account=account,
    webhook=Webhook(
        needs="webhook_token",
        verify=verify,
        split=split,
        cut=cut,
        instructions=INSTRUCTIONS,
    ),
    streams=STREAMS,
    hydrate=hydrate,
    listings=LISTINGS,
    batch=20,
    quota=lambda config: (Quota(60, timedelta(minutes=1)),),  # the least of all published figures
    rate_headers=RateHeaders("x-aircallapi-remaining", "x-aircallapi-reset", "x-aircallapi-limit"),
    mock="connectors.aircall.mock",
)
