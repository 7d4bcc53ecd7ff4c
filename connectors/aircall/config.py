"""The settings of an Aircall connection, and how its credentials are shown and proved."""

import base64
from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field, SecretStr, model_validator

from core.sdk import ConnectorConfig, Http


class Config(ConnectorConfig):
    """An entry with `type: aircall`."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["api_id", "api_token"]}, {"required": ["access_token"]}]}
    )

    account: str = Field(
        description="Any word for your Aircall company, whose webhooks do not name it; part of every key: keep it."
    )
    api_id: str = Field("", description="Dashboard > Integrations & API > API keys: the key's id.")
    api_token: SecretStr | None = Field(None, description="The key's token, shown once when the key is made.")
    access_token: SecretStr | None = Field(
        None, description="OAuth app: the access token of its installation, in the place of a key."
    )
    webhook_token: SecretStr | None = Field(
        None, description="The webhook's token, which each delivery carries in its body; left out: poll only."
    )
    insights: list[Literal["summary", "transcription"]] = Field(
        [],
        description="What Aircall's AI wrote about calls that the hub fetches: `summary`, `transcription`. Only where "
        "callers agreed to both recording and analysis.",
    )

    @model_validator(mode="after")
    def _credentials(self) -> "Config":
        given = bool(self.api_id), bool(self.api_token), bool(self.access_token)
        if not self.mock and given not in ((True, True, False), (False, False, True)):
            raise ValueError("set either `api_id` and `api_token`, or `access_token` of an OAuth app")
        return self


def auth(config: Config) -> Mapping[str, str]:
    """HTTP Basic with a key, Bearer with an OAuth app's token. Some endpoints refuse a request without a content type,
    GET included."""
    if config.access_token:
        shown = f"Bearer {config.access_token.get_secret_value()}"
    else:
        pair = f"{config.api_id}:{config.api_token.get_secret_value() if config.api_token else ''}"
        shown = "Basic " + base64.b64encode(pair.encode()).decode()
    return {"Authorization": shown, "Content-Type": "application/json"}


async def account(http: Http, config: Config) -> str:
    """Aircall names no company, so the ping only proves the credentials."""
    await http.get("/v1/ping")
    return config.account
