"""Intercom: conversations, tickets and calls, articles, and the people and companies behind them."""

from datetime import timedelta

from connectors.intercom.asking import get
from connectors.intercom.config import REGIONS, Config, auth, base_url
from connectors.intercom.hydrate import hydrate
from connectors.intercom.listings import LISTINGS
from connectors.intercom.normalize import normalize
from connectors.intercom.poll import STREAMS
from connectors.intercom.shapes import part
from connectors.intercom.webhook import WEBHOOK
from core.sdk import Connector, Http, PermanentError, Quota, RateHeaders


async def _account(http: Http, config: Config) -> str:
    """The workspace's own code, as webhooks name it (`app_id`)."""
    app = part((await get(http, "/me")).data, "app")
    if not app.get("id_code"):
        raise PermanentError("GET /me names no workspace: the token belongs to no app")
    region = str(app.get("region") or config.region).lower()
    if region in REGIONS and region != config.region:
        raise PermanentError(f"the workspace is hosted in another region: write `region: {region}`")
    return str(app["id_code"])


CONNECTOR: Connector[Config] = Connector(
    name="intercom",
    title="Intercom",
    category="helpdesk",
    config=Config,
    normalize=normalize,
    # Users are told to Intercom by the company's own systems; leads type their addresses themselves.
    evidence={
        ("customer", "email"): "recorded",
        ("customer", "phone"): "recorded",
        ("customer", "external_id"): "recorded",
        ("lead", "email"): "claimed",
        ("lead", "phone"): "claimed",
    },
    base_url=base_url,
    auth=auth,
    account=_account,
    webhook=WEBHOOK,
    streams=STREAMS,
    hydrate=hydrate,
    listings=LISTINGS,
    batch=20,
    quota=lambda config: (Quota(1_666, timedelta(seconds=10)),),  # 10,000 a minute, spread by Intercom itself
    rate_headers=RateHeaders("x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-limit"),
    scopes=(
        "Read and list users and companies",
        "Read conversations",
        "Read tickets",
        "Read admins",
        "Read one admin",
        "Read and list articles",
        "Read tags",
    ),
    mock="connectors.intercom.mock",
)
