"""What a connector consists of, and what the engine hands it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from core.sdk.times import Duration, Pause
from schemas.entities import EvidenceClass
from schemas.event import Event


class ConnectorConfig(BaseModel):
    """What every entry under `connections:` may say; a connector's own settings are added by its subclass.

    `base_url` and the secrets are filled in by the hub where `mock: true` stands.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = Field(description="The connector's name.")
    mock: bool = Field(False, description="Talk to the connector's own contract mock, started by the hub.")
    account: str | None = Field(None, description="The source's own tenant; part of every key, so never change it.")
    since: Duration = Field(timedelta(days=30), description="How far back the first fetch goes.")
    poll_every: Pause = Field(timedelta(minutes=5), description="Pause between two polls.")
    drop: list[str] = Field(
        [],
        description="Paths of the schema, such as `message.body`, that never enter the hub. `message` alone: all "
        "fields of messages; only that there was one is known (and of a `person` the role).",
    )
    reserve: float = Field(
        0.2, ge=0.0, lt=1.0, description="Share of the source's rate limit that is left to the company's other tools."
    )
    base_url: str = Field("", description="Where the source's API answers; empty: the source's own address.")
    max_body: int = Field(5_000_000, gt=0, description="Largest webhook body in bytes, also after decompression.")


C = TypeVar("C", bound=ConnectorConfig)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook request. `url` is the public address as the source called it; header names are lower-case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes  # decompressed, bounded
    query: Mapping[str, str] = field(default_factory=dict)
    path_secret: str = ""  # the last part of /hooks/<connection>/<secret>, where there is one


@dataclass(frozen=True, slots=True)
class Payload:
    """One raw item from a source. `kind` is the connector's own word and says how to normalize `data`.

    `received` is epoch ms (UTC): when a push arrived, or when the read's request *started*. `at` is the push
    envelope's own time (epoch ms), where it has one.
    """

    kind: str
    data: Any
    account: str
    pushed: bool
    received: int
    at: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hint:
    """A webhook said that this object changed, and little more: it will be fetched in a batch by `hydrate`."""

    kind: str
    id: str
    at: int  # epoch ms, by the source's clock
    action: str = "changed"


@dataclass(frozen=True, slots=True)
class Split:
    """A delivery taken apart. `ignored` names kinds that we do not know or do not need: counted, kept raw. `seen`: the
    parts of the delivery that become hints alone, each with its topic: their shape is looked at, for a change of it.
    `due`: streams by their names, and listings as `all <kind>`, that show what happened to objects that the delivery
    does not name: each is read within `poll_every`, once for all that came until then. `odd` says why parts of the
    delivery cannot be read: it is kept as a dead letter, and all else that it says is taken."""

    payloads: Sequence[Payload] = ()
    hints: Sequence[Hint] = ()
    ignored: Sequence[str] = ()
    seen: Sequence[tuple[str, Any]] = field(default=(), compare=False)
    due: Sequence[str] = ()
    odd: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Webhook(Generic[C]):
    """How deliveries are proved and taken apart. All of it pure: no I/O, and the clock is handed in.

    `parse` makes JSON of a body that is none as it stands; it gets a reader of JSON that takes out what cannot be
    stored and raises ValueError. `needs` names the setting without which nothing can be verified: until it is set the
    connection is poll-only; empty: none. `verify` raises SignatureError with a short `code`; it sees the raw delivery.
    `cut` returns the parsed body without secrets (and runs before anything is published). `split` takes the cut body;
    it raises AccountError for another account's delivery, RefusedError, and NormalizeError where the shape is wrong.
    `account` is the connection's account. `instructions` is what a person pastes and clicks, shown by `hub check`, also
    while `needs` is not set: the source may tell the secret only once it has the address. `path_secret` names the
    setting that is part of the URL, where the source cannot sign. `tells`: the sender is a program of the company's own
    that reads answers: what the normalizer refuses is told there, item by item, and is no dead letter.
    """

    verify: Callable[[Delivery, C, datetime], None]
    split: Callable[[Any, Delivery, C, str, int], Split]  # (body, delivery, config, account, received ms)
    needs: str = ""
    cut: Callable[[Any], Any] = lambda body: body
    parse: Callable[[Delivery, Callable[[bytes], Any]], Any] = lambda delivery, json: json(delivery.body)
    methods: frozenset[str] = frozenset({"POST"})  # HEAD is answered 200 where it is listed
    path_secret: str | None = None
    tells: bool = False
    instructions: str = ""

    def enabled(self, config: C) -> bool:
        """Whether deliveries of this connection can be verified; otherwise none is taken."""
        return not self.needs or getattr(config, self.needs) is not None


@dataclass(frozen=True, slots=True)
class Response:
    """A source's answer with a status below 300; anything else was raised. `started` is epoch ms of the request."""

    status: int
    headers: Mapping[str, str]  # lower-case names
    data: Any  # parsed JSON; None where the body was empty
    started: int


class Http(Protocol):
    """The engine's HTTP client for one connection: base URL, authentication, retries, limits and clock are its own.

    `path` is relative to the connection's base URL or a whole URL on the same host (another host is refused). Raises
    RateLimitedError, UnauthorizedError (401) and TransientError after its own retries; PermanentError with `status`
    and `headers` for other 4xx answers (403, 404 and 410 included).
    """

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response: ...

    async def get(self, path: str, **params: str | int) -> Response: ...

    def now(self) -> datetime:
        """The time of day, UTC: connectors take it from here and nowhere else."""
        ...


Cursor = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Payloads and the cursor with which to go on *after* them; the engine saves it once they are on the bus.

    `total`: how many rows this whole poll will bring, from its beginning on, where the source tells it: for the
    progress of a backfill. `past`: the page is of a first fetch, although the stream as a whole had one before: it
    reads several lists, and this one was added since.
    """

    payloads: Sequence[Payload]
    cursor: Cursor
    total: int | None = None
    past: bool = False


@dataclass(frozen=True, slots=True)
class Ids:
    """One page of a listing: ids (not keys) of objects that live, and the cursor with which to go on after them."""

    ids: Sequence[str]
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Stream(Generic[C]):
    """One list of a source. `poll(http, config, account, cursor)` ends by itself; the same cursor twice is an error.

    Cursor None: the first fetch, back to `config.since`. Later calls get the last saved cursor and yield what changed
    since, with an overlap where the source's index lags. No page at all: the settings leave its objects out; the first
    page that ever comes is that of a first fetch. `every` overrides `poll_every`. `pull_only`: no webhook tells of what
    it brings, so that nothing of it counts as missed.
    """

    name: str
    poll: Callable[[Http, C, str, Cursor | None], AsyncIterator[Page]]
    every: timedelta | None = None
    pull_only: bool = False


@dataclass(frozen=True, slots=True)
class Listing(Generic[C]):
    """All living objects of one kind, by their ids alone: what the hub knows and a listing lacks was deleted without a
    word, or moved between pages; so the engine has it fetched by `hydrate` as a Hint with action `missing`.

    `kind` is the third part of the objects' keys and the kind of those hints. `ids(http, config, account, cursor)` ends
    by itself; cursor None begins. One without any page, for a kind that the settings leave out, is not compared with
    what the hub knows; an empty page says that there is nothing. `pull_only` as of a Stream. `whole`: the streams bring
    every object of this kind, however old, so that what is listed and not known was passed over; it is fetched, too.
    """

    kind: str
    ids: Callable[[Http, C, str, Cursor | None], AsyncIterator[Ids]]
    every: timedelta = timedelta(days=1)
    pull_only: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """Lower-case names of the headers that tell a limit; empty: not told. `reset` holds seconds, an epoch in s or ms or
    an HTTP date; `interval` is the window's length in ms."""

    remaining: str = ""
    reset: str = ""
    limit: str = ""
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Quota:
    """The source's limit for one account: so many requests within `per`, whoever of the company sends them. `path`: it
    counts only requests whose path contains this. `headers`: it begins anew at a time of the clock, such as midnight,
    and they tell how it stands; `policy`: what the body of a refusal (429) calls it."""

    requests: int
    per: timedelta
    path: str = ""
    headers: RateHeaders | None = None
    policy: str = ""


@dataclass(frozen=True, slots=True)
class OAuth:
    """How to get an access token (RFC 6749, 6): `form` is posted to `url` (absolute, or a path of the base URL), form-
    encoded; the answer's `access_token` goes into `Authorization: Bearer`, until `expires_in` (s) or a 401."""

    url: str
    form: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Connector(Generic[C]):
    """The whole contract.

    `evidence` maps (person's role, identifier kind) to its class, over what the event says itself; `join` of the class
    decides: proved and recorded join, claimed suggests. `account` proves the credentials and returns the source's own
    account (with no `account` in the config), asked once. `auth` gives the request headers; where `oauth` gives an
    OAuth for this config, the engine adds its token. `quota` tells the limits that hold before the source's own
    headers tell better: `rate_headers` of the first Quota without `path` and `headers`.

    Where `of` stands the connector is declared by its settings: each connection gets the one that `of` makes of them
    (raising SettingsError), with a name of its own; the one that the registry knows is empty.
    """

    name: str
    title: str
    category: Literal["helpdesk", "telephony", "crm", "knowledge", "own"]
    config: type[C]
    normalize: Callable[[Payload], Iterable[Event]]
    evidence: Mapping[tuple[str, str], EvidenceClass]
    base_url: Callable[[C], str]
    auth: Callable[[C], Mapping[str, str]]
    account: Callable[[Http, C], Awaitable[str]]
    webhook: Webhook[C] | None = None
    streams: Sequence[Stream[C]] = ()
    hydrate: Callable[[Http, C, str, Sequence[Hint]], AsyncIterator[Payload]] | None = None
    batch: int = 100  # how many objects one hydrate call takes; there is a hint for each action of one
    listings: Sequence[Listing[C]] = ()
    oauth: Callable[[C], OAuth | None] = lambda config: None
    quota: Callable[[C], Sequence[Quota]] = lambda config: ()
    rate_headers: RateHeaders = RateHeaders()
    scopes: Sequence[str] = ()
    mock: str = ""  # the module of its contract mock, `connectors.<name>.mock`
    of: "Callable[[C], Connector[C]] | None" = None
