"""The settings of a HubSpot connection, and where each version of HubSpot's API has its endpoints."""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from core.sdk import ConnectorConfig, OAuth

HOST = "https://api.hubapi.com"
ObjectName = Literal[
    "contact", "company", "deal", "ticket", "task", "call", "email", "meeting", "note", "communication", "feedback",
    "order", "invoice", "payment", "subscription", "conversation",
]  # fmt: skip

# The inbox has a dated path in beta only.
INBOX = {
    "threads": "/conversations/v3/conversations/threads",
    "thread": "/conversations/v3/conversations/threads/{id}",
    "messages": "/conversations/v3/conversations/threads/{id}/messages",
}
# HubSpot moves from /v3/ and /v4/ to versions with a date, a new one each March and September, each supported for 18
# months; so the date is a setting.
DATED = {
    "list": "/crm/objects/{version}/{type}",
    "search": "/crm/objects/{version}/{type}/search",
    "batch": "/crm/objects/{version}/{type}/batch/read",
    "associations": "/crm/associations/{version}/{type}/{to}/batch/read",
    "owners": "/crm/owners/{version}",
    "pipelines": "/crm/v3/pipelines/{type}",  # its dated path is UNVERIFIED
    "account": "/account-info/{version}/details",
    "token": "/oauth/{version}/token",
    **INBOX,
}
V3 = {
    "list": "/crm/v3/objects/{type}",
    "search": "/crm/v3/objects/{type}/search",
    "batch": "/crm/v3/objects/{type}/batch/read",
    "associations": "/crm/v4/associations/{type}/{to}/batch/read",
    "owners": "/crm/v3/owners",
    "pipelines": "/crm/v3/pipelines/{type}",
    "account": "/account-info/v3/details",
    "token": "/oauth/v3/token",
    **INBOX,
}


class CustomObject(BaseModel):
    """An object of the company's own. Its scope is `crm.objects.custom.read`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type_id: str = Field(
        pattern=r"^2-\d+$", description="Its number, such as `2-3465404`; it stands in the address of its list."
    )
    name: str = Field(description="What it is called in the record, such as `subscription box`.")
    title: str = Field(description="The property that names one of them.")
    properties: list[str] = Field([], description="Further properties to fetch, shown as attributes.")


class Config(ConnectorConfig):
    """An entry with `type: hubspot`."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": ["token"]}, {"required": ["client_id", "client_secret", "refresh_token"]}]
        }
    )

    token: SecretStr | None = Field(
        None,
        description="Service key or private app token (`pat-...`); an OAuth app has `client_id`, `client_secret` and "
        "`refresh_token` instead.",
    )
    client_secret: SecretStr | None = Field(
        None, description="The app's client secret, which signs its webhooks; left out: poll only."
    )
    signature_v1: bool = Field(
        False,
        description="Also take webhooks that bear only the old signature (v1), which proves neither their address nor "
        "their time: who gets hold of one can repeat it for ever.",
    )
    client_id: str = Field("", description="OAuth app: its client id.")
    refresh_token: SecretStr | None = Field(None, description="OAuth app: the refresh token of its installation.")
    api_version: str = Field(
        "2026-03",
        pattern=r"^(v3|20\d\d-(0[1-9]|1[0-2]))$",
        description="Which version of HubSpot's API to talk to: one with a date, such as `2026-09`, or `v3`.",
    )
    objects: list[ObjectName] = Field(
        list(get_args(ObjectName)),
        description="What to read; leave out what the account does not use, or what another connection brings.",
    )
    custom_objects: list[CustomObject] = Field([], description="Objects of your own to read.")
    properties: list[str] = Field(
        [], description="Further properties to fetch, shown as attributes, such as `vip_level`."
    )
    external_id_property: str = Field(
        "customer_number", description="The contact property that holds your own customer number; empty: none."
    )
    external_id_namespace: str = Field(
        "customer", description="Whose numbering that is; equal numbers of one namespace are one customer."
    )

    subscriptions: dict[str, str] = Field(
        {}, description="Ids of subscription types and what they are for (`'6125111': newsletter`): who left them."
    )

    @model_validator(mode="after")
    def _credentials(self) -> "Config":
        app = bool(self.client_id and self.client_secret and self.refresh_token)
        if not self.mock and app == bool(self.token):
            raise ValueError("set either `token`, or `client_id`, `client_secret` and `refresh_token` of an OAuth app")
        return self

    def oauth(self) -> OAuth | None:
        """None where a token that does not expire is set."""
        if self.token or not self.client_secret or not self.refresh_token:
            return None
        form = {
            "grant_type": "refresh_token",
            "client_id": self.client_id,
            "client_secret": self.client_secret.get_secret_value(),
            "refresh_token": self.refresh_token.get_secret_value(),
        }
        return OAuth(self.path("token"), form)

    def path(self, what: str, **parts: str) -> str:
        paths = V3 if self.api_version == "v3" else DATED
        return paths[what].format(version=self.api_version, **parts)


def auth(config: Config) -> dict[str, str]:
    """Nothing where the engine adds the token of an OAuth app."""
    return {"Authorization": f"Bearer {config.token.get_secret_value()}"} if config.token else {}
