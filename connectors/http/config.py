"""The settings of a connection whose connector is declared in YAML."""

from typing import Literal

from pydantic import Field, SecretStr

from connectors.http.expressions import Expression
from connectors.http.sections import Auth, Fetch, ListingPart, Request, Rule, Section, StreamPart, WebhookPart
from core.sdk import ConnectorConfig, Pause
from schemas.entities import EvidenceClass


class Limit(Section):
    """A limit of the source: so many requests within a time."""

    requests: int = Field(ge=1, description="How many.")
    per: Pause = Field(description="Within which time.")
    path: str = Field("", description="Only requests whose path contains this; left out: all.")


class LimitHeaders(Section):
    """The headers by which the source tells its limit."""

    remaining: str = Field("", description="How many requests are left.")
    reset: str = Field("", description="When the count begins again: seconds, an epoch or a date.")
    limit: str = Field("", description="How many there are in all.")
    interval: str = Field("", description="Within which time, in ms.")


class Proof(Request):
    """A request that only works with the right credentials."""

    account: Expression | None = Field(None, description="The account in the answer, where the source tells it.")


class Config(ConnectorConfig):
    """An entry with `type: http`: a source that is described here instead of by code."""

    file: str = Field("", description="A file with these settings; what stands beside `file:` wins.")
    vendor: str = Field(pattern=r"^[a-z][a-z0-9_-]*$", description="The source's name: the first part of every key.")
    title: str = Field(description="The source's name for people.")
    category: Literal["helpdesk", "telephony", "crm", "knowledge", "own"] = Field(
        description="What kind of tool it is."
    )
    api: str = Field(pattern=r"^https?://\S+$", description="Where the source's API answers.")
    auth: Auth = Field(Auth(), description="How requests prove who asks.")
    headers: dict[str, str] = Field({}, description="Headers of every request that are no secrets.")
    proof: Proof = Field(description="A request that proves the credentials.")
    streams: list[StreamPart] = Field([], description="The lists that are polled.")
    listings: list[ListingPart] = Field([], description="Lists of all ids, to find what was deleted without a word.")
    hydrate: dict[str, Fetch] = Field({}, description="How objects that are only named are fetched, by kind.")
    batch: int = Field(50, ge=1, description="How many of them at a time.")
    webhook: WebhookPart | None = Field(
        None, description="How deliveries are proved and taken apart; left out: poll only."
    )
    let: dict[str, Expression] = Field(
        {}, description="Values of a payload's data that all rules read as let('name'), and one another."
    )
    mapping: dict[str, list[Rule]] = Field(
        description="Which events a payload gives, by its kind; `call.ended` is found under `call`, too."
    )
    tables: dict[str, dict[str, str | int | bool] | list[str]] = Field(
        {}, description="For lookup(), place() and listed()."
    )
    evidence: dict[str, EvidenceClass] = Field(
        {},
        description="What identifiers are worth, by role and kind: {customer.email: recorded}. `proved`: the source "
        "has it confirmed; `recorded`: staff or billing wrote it; both join people. `claimed`, the default: anybody "
        "can type it, so it only suggests.",
    )
    cut: list[str] = Field(
        [], description="Members that never enter the hub, at any depth: secrets, links that open recordings; where "
        "there was something, `true` stands."
    )  # fmt: skip
    resolution: Literal["ms", "s"] = Field("ms", description="The coarsest step of the source's clocks.")
    revision: int = Field(
        1, ge=1, description="Raise it when a change of `mapping` makes other events of the same payload."
    )
    quota: list[Limit] = Field([], description="The source's limits.")
    rate_headers: LimitHeaders = Field(LimitHeaders(), description="Headers that tell how much of it is left.")
    scopes: list[str] = Field([], description="What the credentials must be allowed to do, for people.")
    demo: dict[str, str] = Field(
        {}, repr=False, description="Values of ${...} of the file where `mock: true` stands: for a source that has a "
        "coded connector with a mock."
    )  # fmt: skip

    @property
    def path_secret(self) -> SecretStr | None:
        """The last part of the webhook's address, where that is the proof."""
        token = self.webhook.token if self.webhook else None
        return token.secret if token and token.place == "path" else None
