"""Settings of an Intercom connection."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, SecretStr

from core.sdk import ConnectorConfig

_API = {"us": "https://api.intercom.io", "eu": "https://api.eu.intercom.io", "au": "https://api.au.intercom.io"}
_APP = {"us": "https://app.intercom.com", "eu": "https://app.eu.intercom.com", "au": "https://app.au.intercom.com"}

REGIONS = frozenset(_API)


class Config(ConnectorConfig):
    """An entry with `type: intercom`."""

    token: SecretStr = Field(description="Developer Hub > your app > Configure > Authentication: the access token.")
    webhook_secret: SecretStr | None = Field(
        None,
        description="Developer Hub > your app > Configure > Basic information: the client secret, with which "
        "Intercom signs webhooks. Left out: poll only.",
    )
    region: Literal["us", "eu", "au"] = Field("us", description="Where the workspace is hosted.")
    api_version: str = Field(
        "2.16",
        pattern=r"^\d+\.\d+$",
        description="Version of the API that is asked for, whatever the app's own settings say. Before 2.16 Intercom "
        "tells nobody whom a merged contact absorbed.",
    )
    external_id_namespace: str = Field(
        "customer",
        min_length=1,
        description="Whose numbering a user's external id is. Sources that carry the same numbers share the name, "
        "and equal numbers then join people.",
    )


def base_url(config: Config) -> str:
    return config.base_url or _API[config.region]


def auth(config: Config) -> Mapping[str, str]:
    return {
        "Authorization": f"Bearer {config.token.get_secret_value()}",
        "Accept": "application/json",
        "Intercom-Version": config.api_version,
    }


def context(config: Config) -> dict[str, str]:
    """What `normalize` must know of the settings; it travels with each payload as its headers."""
    return {"namespace": config.external_id_namespace, "app": _APP[config.region]}
