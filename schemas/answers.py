"""What the API answers beside the record itself. Published as OpenAPI; every error is a `Problem`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.customer import Customer, Match, Moment
from schemas.entities import Shape, Timestamp
from schemas.personal import CONTENT, IDENTIFYING, NONE, SENSITIVE


class Lookup(Shape):
    """Who is behind an identifier: never a guess. `customer` only with `one`, `candidates` (at most five) only with
    `candidates`; `reason` says why it is not `one`."""

    result: Annotated[Literal["one", "candidates", "none"], NONE]
    customer: Annotated[Customer | None, SENSITIVE] = None
    candidates: Annotated[list[Match], IDENTIFYING] = Field([])
    reason: Annotated[str | None, NONE] = None


class Listed(Match):
    """A customer in a list."""

    email: Annotated[str | None, IDENTIFYING] = None
    phone: Annotated[str | None, IDENTIFYING] = None
    waiting_since: Annotated[Timestamp | None, NONE] = None
    open: Annotated[int, NONE] = Field(0, description="open conversations, calls, tasks and deals on the record")
    ringing: Annotated[bool, NONE] = False
    shared: Annotated[int, NONE] = Field(0, description="people who use its number, where nobody knows which one it is")
    sources: Annotated[list[str], NONE] = Field([])
    version: Annotated[str, NONE]


class Found(Shape):
    """One page of a search; `next` goes into `after`, null on the last page."""

    customers: Annotated[list[Listed], IDENTIFYING]
    next: Annotated[str | None, NONE] = None


class Entry(Moment):
    """A moment of the timeline with its whole card (its entity's fields, see the cards of a Customer)."""

    card: Annotated[dict[str, Any], SENSITIVE]


class Timeline(Shape):
    """One page of a customer's timeline, newest first; `next` goes into `cursor`, null on the last page."""

    customer: Annotated[str, NONE] = Field(description="the id that the asked one is now")
    entries: Annotated[list[Entry], CONTENT]
    next: Annotated[str | None, NONE] = None


class Budget(Shape):
    """How many requests the source allows within `per` seconds, for everybody of the company together."""

    limit: Annotated[int | None, NONE] = Field(None, description="null: nobody has told it")
    per: Annotated[float | None, NONE] = None
    reserve: Annotated[int, NONE] = Field(0, description="of the limit, left to the company's other tools")
    left: Annotated[int | None, NONE] = Field(None, description="what the hub may still send now")
    waiting: Annotated[dict[str, int], NONE] = Field({}, description="requests that wait for their turn, by purpose")
    paused_until: Annotated[Timestamp | None, NONE] = Field(None, description="the source asked for silence")


class Progress(Shape):
    """A poll that is under way: rows so far, and of how many where the source tells; then also seconds that are left,
    at today's speed."""

    way: Annotated[Literal["backfill", "sweep", "listing"], NONE]
    fetched: Annotated[int, NONE]
    total: Annotated[int | None, NONE] = None
    per_second: Annotated[float | None, NONE] = None
    seconds_left: Annotated[int | None, NONE] = None


class Counts(Shape):
    """Events that came, and what webhooks should have told and did not: `missing`, of it `repaired`; `early` ones were
    read within a minute of the change, when their webhook may still have been on its way."""

    received: Annotated[int, NONE] = 0
    missing: Annotated[int, NONE] = 0
    early: Annotated[int, NONE] = 0
    repaired: Annotated[int, NONE] = 0


class StreamState(Counts):
    """A stream of a source; the counts are of the last 24 hours. A `listing` is all ids of one kind, read now and then
    to find what was deleted without a word."""

    listing: Annotated[bool, NONE] = False
    complete_up_to: Annotated[Timestamp | None, NONE] = None
    problem: Annotated[str | None, NONE] = None
    progress: Annotated[Progress | None, NONE] = None


class Drifted(Shape):
    """A field of a source's payloads that is new or of another type. Never a value."""

    kind: Annotated[str, NONE] = Field(description="of payload, in the connector's own words")
    what: Annotated[str, NONE]
    at: Annotated[Timestamp, NONE]


class SourceState(Shape):
    """One connection: when it was last heard, what was refused and why, how many dead letters wait, what to do."""

    connection: Annotated[str, NONE]
    source: Annotated[str | None, NONE] = Field(None, description="vendor/account, once it is known")
    state: Annotated[
        Literal["ok", "waiting", "down", "throttled", "unauthorized", "misconfigured", "unattended"], NONE
    ] = Field(
        "waiting",
        description="waiting: configured, and not heard yet; unattended: no process reports it; the last five: "
        "`remedy` says what to do",
    )
    webhook: Annotated[bool, NONE] = Field(False, description="it takes webhooks; otherwise it is only polled")
    last_delivery: Annotated[Timestamp | None, NONE] = None
    last_poll: Annotated[Timestamp | None, NONE] = None
    heard: Annotated[Timestamp | None, NONE] = Field(None, description="the later of the two")
    complete_up_to: Annotated[dict[str, Timestamp], NONE] = Field({}, description="polled completely, by stream")
    streams: Annotated[dict[str, StreamState], NONE] = Field({}, description="what is read of it, by stream")
    counts: Annotated[dict[str, Counts], NONE] = Field({}, description="events of the last 24 hours, by way")
    refused: Annotated[dict[str, int], NONE] = Field({}, description="deliveries refused, by reason")
    last_refusal: Annotated[str | None, NONE] = None
    refusal_remedy: Annotated[str | None, NONE] = None
    dead: Annotated[int, NONE] = Field(0, description="open dead letters")
    lag: Annotated[int | None, NONE] = Field(
        None, description="events on the bus that process has still to take, about; left out where nobody can say"
    )
    objects: Annotated[dict[str, int], NONE] = Field({}, description="live objects by entity")
    budget: Annotated[Budget | None, NONE] = None
    drift: Annotated[list[Drifted], NONE] = Field([], description="what changed in its payloads, until acknowledged")
    problem: Annotated[str | None, NONE] = None
    broken_since: Annotated[Timestamp | None, NONE] = None
    remedy: Annotated[str | None, NONE] = None


class Sources(Shape):
    """All connections, and the hub's own position."""

    sources: Annotated[list[SourceState], NONE]
    titles: Annotated[dict[str, str], NONE] = Field({}, description="how the sources write their names, by vendor")
    customers: Annotated[int, NONE]
    unfolded: Annotated[int, NONE] = Field(0, description="open dead letters of records that could not be folded")
    version: Annotated[str, NONE] = Field(description="<generation>-<seq>: the head of the feed")
    kind: Annotated[Literal["demo", "real"], NONE]
    as_of: Annotated[Timestamp, NONE]


class LedgerHour(Counts):
    """One hour of one stream (empty: what was pushed or a webhook named), by the way in which events came."""

    hour: Annotated[Timestamp, NONE]
    stream: Annotated[str, NONE] = ""
    way: Annotated[str, NONE]


class Repair(Shape):
    """An object that a sweep or a listing repaired: it was new to us, newer than what webhooks had told, or gone."""

    key: Annotated[str, IDENTIFYING]
    at: Annotated[Timestamp, NONE]
    stream: Annotated[str, NONE]
    found: Annotated[Literal["new", "newer", "gone"], NONE]


class Ledger(Shape):
    """What a connection brought, hour by hour, and what was repaired; both the newest first."""

    connection: Annotated[str, NONE]
    hours: Annotated[list[LedgerHour], NONE]
    repaired: Annotated[list[Repair], IDENTIFYING]


class BackfillOrder(Shape):
    """Which stream (all, where none is named) is read again from its beginning."""

    stream: Annotated[str | None, NONE] = None
    since: Annotated[str | None, NONE] = Field(
        None, pattern=r"^[0-9]+[smhdw]$", examples=["90d"], description="how far back; else as far as hub.yaml says"
    )
    accept: Annotated[bool, NONE] = Field(False, description="of a listing: take it, however much it lacks")


class Ordered(Shape):
    """The streams that begin anew."""

    connection: Annotated[str, NONE]
    streams: Annotated[list[str], NONE]


class Acknowledged(Shape):
    """What has changed in this connection's payloads is no news any more."""

    connection: Annotated[str, NONE]


class PurgeOrder(Shape):
    """Without `confirmed` it is only told what there is. `at` is the answer's: the next step goes on from there."""

    source: Annotated[str | None, NONE] = Field(None, description="vendor/account, where the hub does not know it")
    confirmed: Annotated[bool, NONE] = False
    at: Annotated[dict[str, dict[str, int]] | None, NONE] = None


class Purging(Shape):
    """How far the purge of a connection is. `objects` are those that still are there, by entity; `unread` messages of
    the bus that are still to be looked at."""

    connection: Annotated[str, NONE]
    source: Annotated[str, NONE]
    objects: Annotated[dict[str, int], NONE]
    letters: Annotated[int, NONE] = Field(description="open dead letters")
    unread: Annotated[int, NONE] = 0
    at: Annotated[dict[str, dict[str, int]] | None, NONE] = None
    done: Annotated[bool, NONE] = False


class DeadLetter(Shape):
    """An input that could not be handled. In lists `payload` is cut at 4,000 characters."""

    id: Annotated[str, NONE]
    connection: Annotated[str, NONE]
    stage: Annotated[str, NONE]
    reason: Annotated[str, CONTENT]
    payload: Annotated[str, SENSITIVE]
    at: Annotated[Timestamp, NONE]
    state: Annotated[Literal["open", "replayed", "discarded"], NONE]
    times: Annotated[int, NONE]


class DeadLetters(Shape):
    """One page of dead letters; `next` goes into `after`, null on the last page."""

    letters: Annotated[list[DeadLetter], SENSITIVE]
    next: Annotated[str | None, NONE] = None


class Handled(Shape):
    """What became of a dead letter."""

    id: Annotated[str, NONE]
    state: Annotated[Literal["replayed", "discarded"], NONE]


class TokenOrder(Shape):
    """A token to make."""

    name: Annotated[str, NONE] = Field(min_length=1, max_length=80)
    scopes: Annotated[list[str], NONE] = Field(description="of read, feed, admin")


class NewToken(Shape):
    """A token's secret, which nobody can read again."""

    name: Annotated[str, NONE]
    scopes: Annotated[list[str], NONE]
    token: Annotated[str, SENSITIVE]


class Token(Shape):
    """An access token as the hub remembers it: without its secret."""

    name: Annotated[str, NONE]
    scopes: Annotated[list[str], NONE]
    created: Annotated[Timestamp, NONE]
    expires: Annotated[Timestamp | None, NONE] = None


class Tokens(Shape):
    """All access tokens, the oldest first."""

    tokens: Annotated[list[Token], NONE]


class Revoked(Shape):
    """A token that is no more."""

    name: Annotated[str, NONE]


class LoginLink(Shape):
    """A link that logs a browser in, once."""

    url: Annotated[str, SENSITIVE]
    expires: Annotated[Timestamp, NONE]


class RingOrder(Shape):
    """Whom to let ring. Left out: somebody out of the story."""

    phone: Annotated[str | None, IDENTIFYING] = Field(
        None, pattern=r"^(\+[1-9][0-9]{6,14}|anonymous)$", examples=["+12025550143"], description="E.164, or anonymous"
    )


class Ringing(Shape):
    """A mocked customer is calling."""

    phone: Annotated[str, IDENTIFYING]
    connection: Annotated[str, NONE]


class Alive(Shape):
    """The process answers."""

    status: Annotated[Literal["ok"], NONE] = "ok"


class Ready(Shape):
    """Whether requests should be sent here; per check null or what is wrong."""

    ready: Annotated[bool, NONE]
    checks: Annotated[dict[str, str | None], NONE] = Field({})


class Problem(Shape):
    """What went wrong and what to do about it (RFC 9457)."""

    type: Annotated[str, NONE] = "about:blank"
    title: Annotated[str, NONE] = Field(description="the status in words")
    status: Annotated[int, NONE]
    detail: Annotated[str, NONE]
    remedy: Annotated[str | None, NONE] = Field(None, description="what to do")
    errors: Annotated[dict[str, str], NONE] = Field({}, description="per parameter what is wrong with it")
    instance: Annotated[str | None, NONE] = Field(None, description="finds the line in the hub's log")


__all__ = [
    "Alive", "DeadLetter", "DeadLetters", "Entry", "Found", "Handled", "Listed", "LoginLink", "Lookup",
    "NewToken", "Problem", "Ready", "Revoked", "RingOrder", "Ringing", "SourceState", "Sources", "Timeline", "Token",
    "TokenOrder", "Tokens",
]  # fmt: skip
