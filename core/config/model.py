"""What `hub.yaml` may say, apart from the connectors' own settings. The descriptions are the manual."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from core.sdk import Connector, ConnectorConfig

Stratum = Literal["external_id", "proved_email", "email", "proved_phone", "phone"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Identity(Section):
    """Who is who."""

    region: str = Field("US", description="ISO 3166 country for phone numbers without +; quote it: NO means false.")
    proved: dict[str, list[str]] = Field(
        default_factory=dict, description="Whose word proves control: {zendesk: [email]}."
    )
    join: list[Stratum] = Field(
        default=["external_id", "proved_email", "email", "proved_phone", "phone"],
        description="What joins persons, strongest first.",
    )
    block: list[str] = Field(default_factory=list, description="Patterns of addresses and numbers that join nobody.")
    own: list[str] = Field(default_factory=list, description="Our own lines and mailboxes.")


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
    public_url: str = Field("", description="The address under which sources reach the webhooks, https in production.")
    names: list[str] = Field(default_factory=list, description="DNS names under which browsers reach the page.")
    metrics: str = Field("", description="/metrics, /healthz and /readyz alone, for every role: private.")


class BusConfig(Section):
    """`embedded`, or Apache Kafka."""

    type: Literal["embedded", "kafka"] = Field("embedded", description="Which bus.")
    servers: str = Field("", description="kafka: bootstrap servers, host:port, comma-separated.")
    prefix: str = Field("", description="kafka: put before every topic's and group's name.")
    disk_cap: int = Field(10_000_000_000, description="embedded: bytes on disk above which deliveries get 503.")
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
