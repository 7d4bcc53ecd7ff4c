"""The unified record of one customer, as it is stored and fed, and what the API joins to it when it is read.

A record holds only what events say; nothing in it depends on our clock. What does (`Signals`, `Freshness`, `knowledge`,
labels of references) is joined at read, each with its `as_of`. Absent and null are the same; lists default to empty.
"""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field

from schemas.entities import (
    Article,
    BillingSubscription,
    Call,
    Consent,
    Conversation,
    Custom,
    Deal,
    EvidenceClass,
    IdentifierKind,
    Invoice,
    Note,
    Order,
    Payment,
    Rating,
    Reference,
    Shape,
    Task,
    Timestamp,
)
from schemas.personal import CONTENT, IDENTIFYING, NONE, SENSITIVE

T = TypeVar("T")
CARDS_AT_MOST = 10  # per list of cards in a record: open ones first, then the newest
TIMELINE_AT_MOST = 20
CONTACTS_AT_MOST = 20


class Said(Shape, Generic[T]):
    """One value of a fact: which source said it about which of its persons, by which event, and when."""

    value: Annotated[T, IDENTIFYING]
    source: Annotated[str, NONE] = Field(description="vendor/account")
    person: Annotated[str, NONE] = Field(description="the source person's key")
    event: Annotated[str, NONE]
    observed: Annotated[Timestamp, NONE]


class Fact(Said[T], Generic[T]):
    """The value that the rules of `show:` in hub.yaml chose; all others stay beside it."""

    others: Annotated[list[Said[T]], IDENTIFYING] = Field([])


class Profile(Shape):
    """What is known about the customer. A fact that nobody said is absent."""

    name: Annotated[Fact[str] | None, IDENTIFYING] = None
    email: Annotated[Fact[str] | None, IDENTIFYING] = None
    phone: Annotated[Fact[str] | None, IDENTIFYING] = None
    organization: Annotated[Fact[Reference] | None, IDENTIFYING] = None
    language: Annotated[Fact[str] | None, NONE] = None
    time_zone: Annotated[Fact[str] | None, NONE] = None
    country: Annotated[Fact[str] | None, NONE] = None
    tier: Annotated[Fact[str] | None, NONE] = None
    owner: Annotated[Fact[Reference] | None, NONE] = None
    customer_since: Annotated[Fact[str] | None, NONE] = None
    tags: Annotated[Fact[list[str]] | None, CONTENT] = None


class Held(Shape):
    """An identifier that a source person carries, canonical (`+12025550143`, without its kind before it)."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, serialize_by_alias=True)

    kind: Annotated[IdentifierKind, NONE]
    value: Annotated[str, IDENTIFYING]
    class_: Annotated[EvidenceClass, NONE] = Field(alias="class")
    former: Annotated[bool, NONE] = False


class Behind(Shape):
    """A source person behind the customer. `implied`: a number or address without a contact. `joined_by` is the
    identifier (`email:a@example.com`), `merge` or `verdict` that brought it here; `aliases` keys merged into it."""

    key: Annotated[str, NONE]
    source: Annotated[str, NONE]
    role: Annotated[str | None, NONE] = None
    name: Annotated[str | None, IDENTIFYING] = None
    url: Annotated[str | None, NONE] = None
    identifiers: Annotated[list[Held], IDENTIFYING] = Field([])
    implied: Annotated[bool, NONE] = False
    joined_by: Annotated[str | None, IDENTIFYING] = None
    aliases: Annotated[list[str], NONE] = Field([])


class Contested(Shape):
    """An identifier of this customer that others hold, too, and that therefore joined nobody."""

    identifier: Annotated[str, IDENTIFYING] = Field(description="kind:value")
    people: Annotated[int, NONE]


class Match(Shape):
    """A customer in short: for candidates and lists."""

    id: Annotated[str, NONE]
    name: Annotated[str | None, IDENTIFYING] = None
    organization: Annotated[str | None, IDENTIFYING] = None
    reason: Annotated[str | None, NONE] = None


class Candidates(Shape):
    """Who this might be, or might be one with, and was not joined to. `customers` is joined at read."""

    persons: Annotated[list[str], NONE] = Field(description="keys of source persons, one per customer")
    reason: Annotated[str, NONE]
    customers: Annotated[list[Match], IDENTIFYING] = Field([])


class Card(Shape):
    """What every card tells beside its entity's own fields."""

    key: Annotated[str, NONE]
    entity: Annotated[str, NONE]
    source: Annotated[str, NONE] = Field(description="vendor/account")
    event: Annotated[str, NONE] = Field(description="the newest event that wrote to it")
    observed: Annotated[Timestamp, NONE]
    title: Annotated[str | None, CONTENT] = Field(None, description="what it is about, in one line")
    status: Annotated[str | None, NONE] = None
    open: Annotated[bool, NONE] = Field(False, description="it still needs somebody")


class ConversationCard(Conversation, Card):
    """A conversation on a record."""


class CallCard(Call, Card):
    """A call on a record."""


class TaskCard(Task, Card):
    """A task on a record."""


class DealCard(Deal, Card):
    """A deal on a record."""


class OrderCard(Order, Card):
    """An order on a record."""


class InvoiceCard(Invoice, Card):
    """An invoice on a record."""


class PaymentCard(Payment, Card):
    """A payment on a record."""


class SubscriptionCard(BillingSubscription, Card):
    """A billing subscription on a record."""


class RatingCard(Rating, Card):
    """A rating on a record."""


class NoteCard(Note, Card):
    """A note on a record."""


class CustomCard(Custom, Card):
    """Any other object on a record."""


class ArticleCard(Article, Card):
    """An article that may answer what is open, with its verification. `body` is cut."""


class Moment(Shape):
    """One entry of the timeline over all channels."""

    at: Annotated[Timestamp, NONE]
    entity: Annotated[str, NONE]
    key: Annotated[str, NONE]
    title: Annotated[str | None, CONTENT] = None
    role: Annotated[str | None, NONE] = None
    open: Annotated[bool, NONE] = False
    status: Annotated[str | None, NONE] = None
    waiting_since: Annotated[Timestamp | None, NONE] = None


class ContactPolicy(Consent):
    """Whether they may be contacted, and who said so."""

    source: Annotated[str, NONE]


class Record(Shape):
    """One customer, as the store keeps it. A merged one has only `id`, `status` and `merged_into`; an erased one only
    `id` and `status`."""

    id: Annotated[str, NONE]
    status: Annotated[Literal["live", "merged", "erased"], NONE] = "live"
    merged_into: Annotated[str | None, NONE] = None
    profile: Annotated[Profile, IDENTIFYING] = Profile()
    people: Annotated[list[Behind], IDENTIFYING] = Field([])
    contested: Annotated[list[Contested], IDENTIFYING] = Field([])
    candidates: Annotated[list[Candidates], IDENTIFYING] = Field([])
    ringing: Annotated[list[CallCard], SENSITIVE] = Field([])
    conversations: Annotated[list[ConversationCard], CONTENT] = Field([])
    calls: Annotated[list[CallCard], SENSITIVE] = Field([])
    tasks: Annotated[list[TaskCard], CONTENT] = Field([])
    deals: Annotated[list[DealCard], CONTENT] = Field([])
    orders: Annotated[list[OrderCard], CONTENT] = Field([])
    invoices: Annotated[list[InvoiceCard], CONTENT] = Field([])
    payments: Annotated[list[PaymentCard], CONTENT] = Field([])
    subscriptions: Annotated[list[SubscriptionCard], CONTENT] = Field([])
    ratings: Annotated[list[RatingCard], CONTENT] = Field([])
    notes: Annotated[list[NoteCard], CONTENT] = Field([])
    custom: Annotated[list[CustomCard], SENSITIVE] = Field([])
    timeline: Annotated[list[Moment], CONTENT] = Field([], description="the newest 20")
    contact_policy: Annotated[list[ContactPolicy], NONE] = Field([])
    waiting_since: Annotated[Timestamp | None, NONE] = Field(
        None, description="the oldest unanswered message of the customer on any channel"
    )
    contacts: Annotated[list[Timestamp], NONE] = Field([], description="when the newest 20 contacts were")
    sources: Annotated[list[str], NONE] = Field([], description="vendor/account of everything above")


class Change(Record):
    """A record as feed and topic bring it."""

    version: Annotated[str, NONE] = Field(description="<generation>-<seq>; per customer it only rises")
    cause: Annotated[dict[str, Any], NONE] = Field({}, description="why this version came to be and what moved")


class Since(Shape):
    """A signal about a moment. `since_seconds` counts from `value` to `as_of`."""

    value: Annotated[Timestamp | None, NONE] = None
    since_seconds: Annotated[int | None, NONE] = None
    as_of: Annotated[Timestamp, NONE]


class Count(Shape):
    """A signal that counts within a window that ends at `as_of`."""

    value: Annotated[int, NONE]
    as_of: Annotated[Timestamp, NONE]


class Signals(Shape):
    """What a good agent would want to know first, computed from the record alone."""

    waiting_since: Annotated[Since, NONE]
    contacts_7d: Annotated[Count, NONE]


class Backfill(Shape):
    """How far the first fetch of a source has come: rows, and of how many where the source tells; then also the seconds
    that are left at today's speed."""

    fetched: Annotated[int, NONE]
    total: Annotated[int | None, NONE] = None
    seconds_left: Annotated[int | None, NONE] = None


class Freshness(Shape):
    """When a source was last heard (a delivery or a poll that ended); null: never since this hub began. Up to
    `complete_up_to` nothing of it is missing: the slowest of its streams was read to its end then; null: not yet.
    `received`, `missing` (webhooks did not tell it) and of it `repaired` count the source's events of the last 24
    hours, whichever customer they were of; `/v1/sources` tells them by stream, its ledger by hour."""

    heard: Annotated[Timestamp | None, NONE] = None
    complete_up_to: Annotated[Timestamp | None, NONE] = None
    backfill: Annotated[Backfill | None, NONE] = Field(None, description="while the past is being fetched")
    received: Annotated[int, NONE] = 0
    missing: Annotated[int, NONE] = 0
    repaired: Annotated[int, NONE] = 0
    as_of: Annotated[Timestamp, NONE]


class Customer(Record):
    """A record as the API answers it: with all that is joined at read."""

    version: Annotated[str, NONE] = Field(description="<generation>-<seq>; per customer it only rises")
    signals: Annotated[Signals, NONE]
    freshness: Annotated[dict[str, Freshness], NONE] = Field({})
    knowledge: Annotated[list[ArticleCard], NONE] = Field([], description="at most three")
