"""Guru: cards of knowledge with their verification."""

from datetime import timedelta

from connectors.guru.config import Config, auth, base_url
from connectors.guru.hydrate import hydrate
from connectors.guru.normalize import normalize
from connectors.guru.poll import LISTINGS, STREAMS
from connectors.guru.webhook import WEBHOOK
from core.sdk import Connector, Http, Quota


async def _account(http: Http, config: Config) -> str:
    """Guru's answers name no tenant that webhooks would name, too, so this only proves the credentials."""
    await http.get("/api/v1/whoami")
    return config.account


CONNECTOR: Connector[Config] = Connector(
    name="guru",
    title="Guru",
    category="knowledge",
    config=Config,
    normalize=normalize,
    evidence={},  # cards are about nobody
    base_url=base_url,
    auth=auth,
    account=_account,
    webhook=WEBHOOK,
    streams=STREAMS,
    listings=LISTINGS,
    hydrate=hydrate,
    batch=50,
    quota=lambda config: (Quota(900, timedelta(minutes=1)),),  # no limit is published
    scopes=("A user token with read access to the collections that support needs",),
    mock="connectors.guru.mock",
)
