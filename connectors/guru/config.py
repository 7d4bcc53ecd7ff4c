"""Settings of a Guru connection."""

import base64
from collections.abc import Mapping

from pydantic import Field, SecretStr

from core.sdk import ConnectorConfig


class Config(ConnectorConfig):
    """An entry with `type: guru`."""

    account: str = Field(
        min_length=1,
        description="A word for the Guru team, which Guru does not name in its answers; part of every key, so never "
        "change it.",
    )
    user: str = Field(description="The e-mail address of the token's user; for a collection token the collection's id.")
    token: SecretStr = Field(description="Team settings > Apps and integrations > API access: the user's token.")
    webhook_secret: SecretStr | None = Field(
        None,
        min_length=16,
        description="A long random word of your own, the last part of the webhook's URL: Guru signs nothing. "
        "Left out: poll only.",
    )


def base_url(config: Config) -> str:
    return config.base_url or "https://api.getguru.com"


def auth(config: Config) -> Mapping[str, str]:
    pair = f"{config.user}:{config.token.get_secret_value()}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}", "Accept": "application/json"}
