"""Template: people and tickets, by webhook and by poll."""

from datetime import timedelta

from connectors._template.config import Config, account, auth
from connectors._template.hydrate import hydrate
from connectors._template.normalize import normalize
from connectors._template.poll import LISTINGS, STREAMS
from connectors._template.webhook import WEBHOOK
from core.sdk import Connector, Quota

CONNECTOR: Connector[Config] = Connector(
    name="template",
    title="Template",
    category="helpdesk",
    config=Config,
    normalize=normalize,
    # Who can have typed the address? Staff wrote a customer's, anybody a visitor's.
    evidence={("customer", "email"): "recorded", ("customer", "phone"): "recorded", ("lead", "email"): "claimed"},
    base_url=lambda config: config.base_url or "https://api.template.example.com",
    auth=auth,
    account=account,
    webhook=WEBHOOK,
    streams=STREAMS,
    listings=LISTINGS,
    hydrate=hydrate,
    quota=lambda config: (Quota(300, timedelta(minutes=1)),),
    scopes=("people:read", "tickets:read"),
    mock="connectors._template.mock",
)
