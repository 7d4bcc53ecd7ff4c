"""Settings of a Template connection, and how its credentials are shown and proved."""

from collections.abc import Mapping

from pydantic import Field, SecretStr

from core.sdk import ConnectorConfig, Http, PermanentError


class Config(ConnectorConfig):
    """An entry with `type: template`."""

    token: SecretStr = Field(description="Settings > API > Tokens: a token that may read people and tickets.")
    webhook_secret: SecretStr | None = Field(
        None, description="Settings > Webhooks: the secret that signs deliveries; left out: poll only."
    )


def auth(config: Config) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {config.token.get_secret_value()}"}


async def account(http: Http, config: Config) -> str:
    """The source's own account, part of every key; asking for it proves the token."""
    answer = await http.get("/v1/me")
    found = answer.data.get("account") if isinstance(answer.data, dict) else None
    if not found:
        raise PermanentError("the answer to /v1/me names no account")
    return str(found)
