"""What `hub.yaml` may say, apart from the connectors' own settings. The descriptions are the manual."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from phonenumbers import SUPPORTED_REGIONS, NumberParseException, is_valid_number, parse
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from core.sdk import Connector, ConnectorConfig
from schemas.entities import IdentifierKind

_MEANT = {"UK": "GB", "EL": "GR"}  # codes that people write and ISO does not know
_URL = r"^(https?://[^/?#]+[^?#]*|.*\$\{.*|)$"  # for editors, which see ${…} as it stands

Stratum = Literal["external_id", "proved_email", "email", "proved_phone", "phone"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Identity(Section):
    """Who is who."""

    region: str = Field(
        "US",
        description="ISO 3166 country for phone numbers without +; quote it: NO means false.",
        json_schema_extra={"enum": [*sorted(SUPPORTED_REGIONS)]},
    )
    proved: dict[str, list[IdentifierKind]] = Field(
        default_factory=dict, description="Whose word proves control: {hubspot: [email]}."
    )
    join: list[Stratum] = Field(
        default=["external_id", "proved_email", "email", "proved_phone", "phone"],
        description="What joins persons, strongest first.",
        json_schema_extra={"uniqueItems": True},
    )
    block: list[str] = Field(default_factory=list, description="Patterns of addresses and numbers that join nobody.")
    own: list[str] = Field(default_factory=list, description="Our own lines and mailboxes.")

    @field_validator("region")
    @classmethod
    def _region(cls, region: str) -> str:
        if region in SUPPORTED_REGIONS:
            return region
        code = region.upper()
        meant = _MEANT.get(code, code)
        why = f"did you mean `{meant}`?" if meant in SUPPORTED_REGIONS else "such as US, GB or DE"
        raise ValueError(f"not a country's two letters in ISO 3166; {why}")

    @field_validator("join")
    @classmethod
    def _once(cls, join: list[Stratum]) -> list[Stratum]:
        if twice := sorted({each for each in join if join.count(each) > 1}):
            raise ValueError(f"{', '.join(twice)} stands there twice: it joins at one strength, take the other out")
        return join

    @field_validator("own")
    @classmethod
    def _reachable(cls, own: list[str], info: ValidationInfo) -> list[str]:
        region = info.data.get("region")  # None where it is wrong, which is told
        for each in own if region else ():
            if "@" not in each and "*" not in each and not _is_line(each, str(region)):
                raise ValueError(f"{each!r} is no e-mail address and no phone number; of abroad write it with +")
        return own


def _is_line(text: str, region: str) -> bool:
    """Whether identity will know it again."""
    for each in (text, re.sub(r"^00", "+", text.strip())):
        try:
            if is_valid_number(parse(each, region)):
                return True
        except NumberParseException:
            pass
    return False


class Show(Section):
    """Which value of a fact wins; the others stay visible. A list names sources, `newest` or `proved`."""

    default: str = Field("newest", description="For every fact that is not named.")
    name: list[str] = Field(default_factory=list, description="Whose name is shown first.")
    email: list[str] = Field(default_factory=list, description="Whose e-mail address is shown first.")
    phone: list[str] = Field(default_factory=list, description="Whose phone number is shown first.")


class Server(Section):
    """Where the hub listens."""

    api: str = Field("127.0.0.1:8080", description="Page, API and feed: private.")
    webhooks: str = Field("127.0.0.1:8081", description="Webhooks: the only door to publish.")
    public_url: str = Field(
        "",
        description="The address under which sources reach the webhooks, https in production.",
        json_schema_extra={"pattern": _URL},
    )
    names: list[str] = Field(default_factory=list, description="DNS names under which browsers reach the page.")
    metrics: str = Field("", description="/metrics, /healthz and /readyz alone, for every role: private.")

    @field_validator("public_url")
    @classmethod
    def _whole(cls, url: str) -> str:
        if url and not re.fullmatch(_URL, url):
            raise ValueError("write the whole address, such as https://hooks.example.com")
        return url

    @field_validator("webhooks")
    @classmethod
    def _apart(cls, webhooks: str, info: ValidationInfo) -> str:
        if webhooks == info.data.get("api") and not webhooks.endswith(":0"):
            raise ValueError(f"{webhooks} is `api`'s address already: give one of them another port")
        return webhooks


class BusConfig(Section):
    """`embedded`, or Apache Kafka."""

    type: Literal["embedded", "kafka"] = Field("embedded", description="Which bus.")
    servers: str = Field("", description="kafka: bootstrap servers, host:port, comma-separated.")
    prefix: str = Field("", description="kafka: put before every topic's and group's name.")
    disk_cap: int = Field(10_000_000_000, gt=0, description="embedded: bytes on disk above which deliveries get 503.")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="kafka: passed through to aiokafka, such as security_protocol, sasl_mechanism, ssl_cafile.",
    )


class StoreConfig(Section):
    """`sqlite` in the data folder, or PostgreSQL."""

    type: Literal["sqlite", "postgres"] = Field("sqlite", description="Which store.")
    url: SecretStr = Field(SecretStr(""), description="postgres: postgresql://user:password@host/database.")


@dataclass(frozen=True, slots=True)
class Connection:
    """One entry under `connections:` with its connector."""

    name: str
    connector: Connector[Any]
    settings: ConnectorConfig


@dataclass(frozen=True, slots=True)
class HubConfig:
    """The whole file, valid. `demo`: the connections talk to mocks (all of them or none)."""

    path: Path
    data: Path
    connections: dict[str, Connection]
    identity: Identity
    show: Show
    server: Server
    bus: BusConfig
    store: StoreConfig

    @property
    def kind(self) -> str | None:
        """Of the people in it: demo or real; None where no connection says so."""
        return ("demo" if self.demo else "real") if self.connections else None

    @property
    def demo(self) -> bool:
        return any(connection.settings.mock for connection in self.connections.values())
