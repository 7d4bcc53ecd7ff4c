"""The settings of an Aircall connection, and how its credentials are shown and proved."""

import base64
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, SecretStr

from core.sdk import ConnectorConfig, Http


class Config(ConnectorConfig):
    """An entry with `type: aircall`."""

    account: str = Field(
        description="Any word for your Aircall company, whose webhooks do not name it; part of every key: keep it."
    )
    api_id: str = Field(description="Dashboard > Integrations & API > API keys: the key's id.")
    api_token: SecretStr = Field(description="The key's token, shown once when the key is made.")
    webhook_token: SecretStr | None = Field(
        None, description="The webhook's token, which each delivery carries in its body; left out: poll only."
    )
    insights: list[Literal["summary", "transcription"]] = Field(
        [],
        description="What Aircall's AI wrote about calls that the hub fetches: `summary`, `transcription`. Only where "
        "callers agreed to both recording and analysis.",
    )


def auth(config: Config) -> Mapping[str, str]:
    """HTTP Basic. Some endpoints refuse a request without a content type, GET included."""
    pair = f"{config.api_id}:{config.api_token.get_secret_value()}"
    return {
        "Authorization": "Basic " + base64.b64encode(pair.encode()).decode(),
        "Content-Type": "application/json",
    }


async def account(http: Http, config: Config) -> str:
    """Aircall names no company, so the ping only proves the credentials."""
    await http.get("/v1/ping")
    return config.account
