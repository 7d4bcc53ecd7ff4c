"""The sections of a declaration: how a source is asked, heard and understood. The descriptions are the manual."""

from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from connectors.http.expressions import Expression
from connectors.http.templates import Body, Template
from core.sdk import Duration, Pause


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Basic(Section):
    """HTTP Basic (RFC 7617)."""

    user: str = Field(description="The user's name, or the key's id.")
    password: SecretStr = Field(description="The password, or the token.")


class Grant(Section):
    """An access token that is fetched and refreshed (RFC 6749)."""

    url: str = Field(description="Where tokens are given: an address, or a path of `api`.")
    form: dict[str, SecretStr] = Field(description="What is posted there: {grant_type: client_credentials, ...}.")


class Auth(Section):
    """How requests prove who asks; several may stand side by side."""

    bearer: SecretStr | None = Field(None, description="A token for `Authorization: Bearer`.")
    basic: Basic | None = Field(None, description="User and password for `Authorization: Basic`.")
    headers: dict[str, SecretStr] = Field({}, description="Headers with secrets: {X-Api-Key: ...}.")
    query: dict[str, SecretStr] = Field({}, description="Parameters with secrets: {api_key: ...}.")
    oauth: Grant | None = Field(None, description="Where an access token is fetched.")


class Request(Section):
    """One kind of request: `get` or `post` with a path."""

    get: Template = Field("", description="The path of a GET request.")
    post: Template = Field("", description="The path of a POST request.")
    params: dict[str, Body] = Field({}, description="Parameters of the query; {since.iso}, {cursor} ... are filled in.")
    body: Body = Field(None, description="JSON that is posted, with the same placeholders.")

    @model_validator(mode="after")
    def _one_path(self) -> "Request":
        if bool(self.get) == bool(self.post):
            raise ValueError("name one path, under `get:` or under `post:`")
        return self


class Paging(Section):
    """How a list goes on after its first page."""

    by: Literal["link", "url", "cursor", "page", "offset"] = Field(
        description="`link`: header Link. `url`: `next` finds the next page's address. `cursor`: `next` finds what to "
        "send as {cursor}. `page`, `offset`: {page} or {offset} counts up."
    )
    rel: str = Field("next", description="link: the relation of the next page.")
    next: Expression | None = Field(None, description="url, cursor: where the answer tells what comes next.")
    size: int = Field(100, ge=1, description="page, offset: rows of a page, {size}; a shorter page is the last.")
    first: int = Field(1, description="page: the first page's number.")
    more: Expression | None = Field(None, description="Whether there are more pages, where the answer tells it.")
    params: dict[str, Body] = Field({}, description="Parameters that tell the page, beside those of the request.")
    restart: bool = Field(
        False, description="page, offset: go on from the last change seen, and count only within one moment. For lists "
        "that are sorted by `since.field` and end at some row without saying so."
    )  # fmt: skip

    @model_validator(mode="after")
    def _next_is_told(self) -> "Paging":
        if self.by in ("url", "cursor") and self.next is None:
            raise ValueError(f"by: {self.by} needs `next:`, the place in the answer that tells what comes next")
        return self


class Since(Section):
    """Of a list that can be asked for what is new: {since} is where it begins."""

    field: Expression | None = Field(
        None, description="A row's time of change: the next poll begins at the latest one. Left out: this poll's start."
    )  # fmt: skip
    lookback: Duration = Field(timedelta(0), description="How much earlier the next poll begins: indexes lag.")
    skew: Duration | None = Field(
        None, description="Go on at least from so long before this poll, also where no row tells a later change."
    )
    everything: bool = Field(
        False, description="The first poll reads all, however old, instead of `since` of hub.yaml."
    )
    deep: Duration | None = Field(None, description="A longer look-back now and then, for rows that change silently.")
    deep_every: Pause = Field(timedelta(hours=1), description="How often that is.")
    most: int | None = Field(
        None, description="Rows that one query can show: a longer window {since}..{until} is halved. "
        "Needs `total`."
    )  # fmt: skip
    smallest: Pause = Field(timedelta(minutes=1), description="A window that is not halved any more.")


class List(Request):
    """One list of the source."""

    rows: Expression = Field(Expression("@"), description="Where the rows stand in the answer.")
    pages: Paging | None = Field(None, description="How it goes on; left out: one page is all.")
    total: Expression | None = Field(None, description="How many rows the whole list has, where the answer tells it.")


class StreamPart(List):
    """A list that is polled."""

    name: str = Field(description="Its name in `hub status`.")
    kind: str = Field(description="What its rows are: a name under `mapping`.")
    set: dict[str, Any] = Field({}, description="Members that are put into every row.")
    since: Since | None = Field(None, description="Only what is new; left out: the whole list each time.")
    every: Pause | None = Field(None, description="Pause between two polls; left out: `poll_every`.")
    listing: Pause | None = Field(
        None, description="So often the list is also read whole, for the ids alone: what it lacks was deleted, and "
        "`hydrate` makes sure of it."
    )  # fmt: skip
    pull_only: bool = Field(False, description="No webhook tells of these rows: nothing of them counts as missed.")


class ListingPart(List):
    """A list of all living objects of a kind, read for their ids alone: what it lacks was deleted."""

    kind: str = Field(description="The third part of these objects' keys; `hydrate` fetches what is missing.")
    id: Expression = Field(Expression("id"), description="A row's id.")
    every: Pause = Field(timedelta(days=1), description="Pause between two readings.")
    pull_only: bool = Field(False, description="No webhook tells of these objects.")


class Batch(Request):
    """Many objects with one request: {ids} is the list of their ids."""

    rows: Expression = Field(Expression("@"), description="Where the objects stand in the answer.")
    id: Expression = Field(Expression("id"), description="An object's id.")
    when: Expression | None = Field(None, description="Only rows for which this is true are whole objects.")


class Fetch(Request):
    """How one object that a webhook only named is read: {id} in the path."""

    row: Expression = Field(Expression("@"), description="Where the object stands in the answer.")
    batch: Batch | None = Field(None, description="Tried first; what it does not bring is asked for alone.")
    gone: list[int] = Field([404, 410], description="Statuses of an answer that says that it is not there.")
    missing: str = Field(
        "", description="The kind of the payload {id} that then stands for it; left out: `KIND.missing`. Where "
        "`mapping` says nothing of that either, what a listing lacks or an event `KIND.deleted` named is deleted, and "
        "for any other event it is a dead letter."
    )  # fmt: skip
    kinds: dict[str, str] = Field(
        {}, description="Other kinds by the event that named it: {card-restored: card.restored}."
    )


class Hmac(Section):
    """A signature over the delivery."""

    secret: SecretStr = Field(description="The key that the source signs with.")
    header: str = Field(description="The header that carries the signature.")
    algorithm: Literal["sha1", "sha256", "sha512"] = Field("sha256", description="The hash.")
    encoding: Literal["hex", "base64"] = Field("hex", description="How the signature is written.")
    prefix: str = Field("", description="What stands before it: `sha256=`.")
    part: str = Field("", description="Its name in a header of several parts: `v1` of `t=1768200000,v1=...`.")
    signed: str = Field(
        "{body}", description="What is signed: {body}, {timestamp}, {method}, {url}; for instance {timestamp}.{body}."
    )
    timestamp: str = Field(
        "",
        description="The header, or the part of `header`, that tells when it was signed; `signed` must hold it, or "
        "anybody could renew it.",
    )
    tolerance: Duration = Field(timedelta(minutes=5), description="How old a signature may be.")


class Token(Section):
    """A secret that every delivery carries."""

    secret: SecretStr = Field(description="The secret.")
    place: Literal["header", "query", "body", "path"] = Field(
        description="Where it stands; `path`: the last part of the webhook's address."
    )
    name: str = Field("", description="The header's, the parameter's or the body's member's name.")

    @model_validator(mode="after")
    def _has_a_name(self) -> "Token":
        if self.place != "path" and not self.name:
            raise ValueError(f"name the {self.place}'s member that carries it, under `name:`")
        return self


class Pushed(Section):
    """Rows that are whole objects."""

    data: Expression = Field(Expression("@"), description="The object in the row.")
    at: Expression | None = Field(None, description="When the source sent it, a time in any form.")


class Named(Section):
    """Rows that only name an object, which is fetched."""

    of: list[str] = Field(
        [], description="Where some rows are whole objects (`payload`): the kinds of those that are not."
    )  # fmt: skip
    kind: str = Field(
        "", description="A name under `hydrate`; left out: the row's kind, its first word; others are ignored."
    )
    id: Expression = Field(description="The object's id; rows without are ignored.")
    at: Expression | None = Field(None, description="When it happened, a time in any form.")


class WebhookPart(Section):
    """How deliveries are proved and taken apart."""

    hmac: Hmac | None = Field(None, description="Proved by a signature.")
    token: Token | None = Field(None, description="Proved by a secret word.")
    basic: Basic | None = Field(None, description="Proved by HTTP Basic.")
    rows: Expression = Field(Expression("[@]"), description="Where the events stand in the body.")
    decode: bool = Field(False, description="Rows that are texts are JSON once more.")
    kind: Expression = Field(description="A row's kind of event: a name under `mapping`, and the word in reports.")
    events: list[str] = Field(
        [], description="The kinds that the hub wants, `call` for all of `call.*`; others are counted as ignored, and "
        "their `payload` is not kept, for which it must not stand in a text (`decode`); left out: all."
    )  # fmt: skip
    take: Expression | None = Field(None, description="Whether the hub wants it; other events are counted as ignored.")
    due: dict[str, str] = Field(
        {}, description="Kinds of events that name none of the objects they change, and the stream, or the listing as "
        "`all KIND`, that shows them: it is read within `poll_every`."
    )  # fmt: skip
    keep: dict[str, list[str]] = Field(
        {}, description="All that enters the hub of the objects of a kind: {summary: [call_id]}."
    )
    payload: Pushed | None = Field(None, description="The rows are whole objects.")
    hint: Named | None = Field(None, description="The rows only name what changed.")
    head: bool = Field(False, description="Answer HEAD requests, by which some sources try the address.")
    instructions: str = Field("", description="What a person clicks and pastes; shown by `hub check`.")

    @model_validator(mode="after")
    def _whole(self) -> "WebhookPart":
        if sum(each is not None for each in (self.hmac, self.token, self.basic)) != 1:
            raise ValueError("say how deliveries are proved: `hmac:`, `token:` or `basic:`")
        if self.payload is None and self.hint is None:
            raise ValueError("say what the rows are: `payload:` (whole objects) or `hint:` (names of objects)")
        if self.payload and self.hint and not self.hint.of:
            raise ValueError("`payload:` and `hint:` both stand here: say under `hint: of:` which kinds are only named")
        if self.events and self.payload and self.decode:
            raise ValueError(
                "`events:` keeps nothing of other events' `payload:`, and cannot where `decode:` reads them from "
                "texts: choose by `take:`, after which they are kept as they came, or name objects by `hint:` alone"
            )
        if self.keep and (self.payload is None or self.decode):
            raise ValueError("`keep:` needs `payload:`, whose objects it cuts, and works without `decode:` only")
        return self


class Rule(Section):
    """One event that a payload gives. Expressions see the item; payload() is the whole payload around it."""

    entity: str = Field(description="Which entity it is: person, call, article, ...")
    each: Expression | None = Field(None, description="A list in the payload: an event per item; left out: one.")
    when: Expression | None = Field(None, description="Only where this is true.")
    let: dict[str, Expression] = Field({}, description="Values as under `let:` of the whole file, of this rule alone.")
    kind: str = Field(
        "", description="The third part of the object's key; left out: the payload's kind, its first word."
    )
    id: Expression = Field(Expression("id"), description="The object's id.")
    clock: Expression | None = Field(None, description="When this state came about by the source's clock, in any form.")
    version: Expression | None = Field(None, description="Without a clock: the time that tells two states apart.")
    sequence: Expression | None = Field(None, description="A number that orders states of one clock.")
    mode: Literal["full", "patch"] = Field(
        "full", description="`full`: fields that are not here are gone. `patch`: they stay, and nulls say nothing."
    )
    fields: dict[str, Expression] = Field(
        {}, description="The entity's fields. Times may have any form; one item makes a list of one."
    )
    same: list[str] = Field([], description="Fields that the object has under the same name.")
    only: list[str] = Field([], description="Of `fields:` these alone: where two rules share them.")
    constants: dict[str, Any] = Field({}, description="Fields that are always the same.")
    deleted: bool = Field(
        False, description="The object is gone; of a read without `clock`: until a later one finds it."
    )
    final: bool = Field(False, description="deleted: for good; its id never comes back.")
    erased: bool = Field(False, description="deleted: for good, and everything that was known of it.")
    merged_into: Expression | None = Field(None, description="The id of the object into which the source merged it.")
