"""Push: in-house systems send states of their objects in the hub's published schema."""

from connectors.push.config import Config
from connectors.push.normalize import normalize
from connectors.push.webhook import WEBHOOK
from core.sdk import Connector, Http


async def _account(http: Http, config: Config) -> str:
    """There is nobody to ask."""
    return config.account


CONNECTOR: Connector[Config] = Connector(
    name="push",
    title="Push",
    category="own",
    config=Config,
    normalize=normalize,
    evidence={},  # `evidence:` of the connection says it, in each event
    base_url=lambda config: config.base_url,
    auth=lambda config: {},
    account=_account,
    webhook=WEBHOOK,
    mock="connectors.push.mock",
)
