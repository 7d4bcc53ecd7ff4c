"""The entities of customer context in the field's standard terms; a source's own value stays beside the common one.

Every field may be unset, and *unset* is not *empty*: unset says nothing, empty says that there is nothing.
Times are RFC 3339 in UTC with milliseconds and `Z`, so that they sort as text.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from schemas.personal import CONTENT, IDENTIFYING, NONE, SENSITIVE

# [0-9] and not \d, which is any script's digits
Timestamp = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$")
]
Amount = Annotated[str, StringConstraints(pattern=r"^-?[0-9]+(\.[0-9]+)?$")]  # as text: money is never a float
EvidenceClass = Literal["proved", "recorded", "claimed"]
IdentifierKind = Literal["email", "phone", "external_id"]


class Shape(BaseModel):
    """What all shapes have in common: unknown fields are a mistake of ours, never of the source."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Identifier(Shape):
    """By what a person can be recognized; the value as the source wrote it, made canonical by the hub."""

    kind: Annotated[IdentifierKind, NONE]
    value: Annotated[str, IDENTIFYING]
    namespace: Annotated[str | None, NONE] = None  # of external ids: whose numbering this is
    class_: Annotated[EvidenceClass | None, NONE] = None  # set by the engine from the connector's evidence table
    primary: Annotated[bool, NONE] = False
    from_: Annotated[Timestamp | None, NONE] = None
    to: Annotated[Timestamp | None, NONE] = None  # set: a former identifier


class Reference(Shape):
    """Another object by key, with the label that the pointing object showed (never a write to the other)."""

    key: Annotated[str, NONE]
    name: Annotated[str | None, IDENTIFYING] = None


class Membership(Shape):
    """A person's place in an organization."""

    key: Annotated[str, NONE]
    name: Annotated[str | None, IDENTIFYING] = None
    role: Annotated[str | None, NONE] = None
    primary: Annotated[bool, NONE] = False


class Consent(Shape):
    """Whether this person may be contacted on a channel for a purpose, since when."""

    channel: Annotated[str, NONE]
    purpose: Annotated[str | None, NONE] = None
    state: Annotated[Literal["granted", "denied", "unknown"], NONE]
    at: Annotated[Timestamp | None, NONE] = None


class Party(Shape):
    """Somebody in an activity: a source person by key, or only the identifier by which they appeared.

    `requester` and `caller` are whose need it is; `cc`, `follower` and `collaborator` only see it.
    """

    role: Annotated[
        Literal["requester", "caller", "callee", "author", "recipient", "cc", "follower", "collaborator"], NONE
    ]
    person: Annotated[str | None, NONE] = None
    identifier: Annotated[Identifier | None, IDENTIFYING] = None
    name: Annotated[str | None, IDENTIFYING] = None


class Sla(Shape):
    """One promise about time and how it stands."""

    metric: Annotated[str, NONE]
    due_at: Annotated[Timestamp | None, NONE] = None
    state: Annotated[str | None, NONE] = None


class Attachment(Shape):
    """A file by reference: links expire, so the source's id counts and the file is fetched on demand."""

    id: Annotated[str, NONE]
    name: Annotated[str | None, CONTENT] = None
    content_type: Annotated[str | None, NONE] = None
    bytes: Annotated[int | None, NONE] = None


class LineItem(Shape):
    """One line of an order or an invoice."""

    name: Annotated[str, CONTENT]
    sku: Annotated[str | None, NONE] = None
    quantity: Annotated[Amount | None, NONE] = None
    total: Annotated[Amount | None, NONE] = None


class Transfer(Shape):
    """A call that was passed on."""

    by: Annotated[Reference | None, IDENTIFYING] = None
    to: Annotated[Reference | None, IDENTIFYING] = None
    at: Annotated[Timestamp | None, NONE] = None


class Line(Shape):
    """One of our own phone lines."""

    key: Annotated[str | None, NONE] = None
    name: Annotated[str | None, NONE] = None
    number: Annotated[str | None, NONE] = None


class Entity(Shape):
    """What every object may say of itself. The key stands in the event's subject."""

    brand: Annotated[str | None, NONE] = None
    url: Annotated[str | None, NONE] = None  # deep link into the source's own screen
    created_at: Annotated[Timestamp | None, NONE] = None
    updated_at: Annotated[Timestamp | None, NONE] = None
    source_state: Annotated[str | None, NONE] = None
    tags: Annotated[list[str] | None, CONTENT] = None
    visibility: Annotated[Literal["public", "internal", "private"] | None, NONE] = None
    attributes: Annotated[dict[str, Any] | None, SENSITIVE] = None  # custom fields: unknown, so guarded most


class Person(Entity):
    """A person as one source knows them."""

    role: Annotated[Literal["customer", "lead", "staff", "bot"] | None, NONE] = None
    given_name: Annotated[str | None, IDENTIFYING] = None
    family_name: Annotated[str | None, IDENTIFYING] = None
    display_name: Annotated[str | None, IDENTIFYING] = None
    identifiers: Annotated[list[Identifier] | None, IDENTIFYING] = None
    organizations: Annotated[list[Membership] | None, IDENTIFYING] = None
    language: Annotated[str | None, NONE] = None
    time_zone: Annotated[str | None, NONE] = None
    country: Annotated[str | None, NONE] = None
    tier: Annotated[str | None, NONE] = None
    owner: Annotated[Reference | None, NONE] = None
    customer_since: Annotated[Timestamp | None, NONE] = None
    blocked: Annotated[bool | None, NONE] = None
    test: Annotated[bool | None, NONE] = None
    consent: Annotated[list[Consent] | None, NONE] = None


class Organization(Entity):
    """A company or household that persons belong to."""

    name: Annotated[str | None, IDENTIFYING] = None
    domains: Annotated[list[str] | None, IDENTIFYING] = None
    parent: Annotated[Reference | None, NONE] = None
    tier: Annotated[str | None, NONE] = None
    owner: Annotated[Reference | None, NONE] = None


class Staff(Entity):
    """One of the company's own people; never becomes a customer."""

    name: Annotated[str | None, IDENTIFYING] = None
    email: Annotated[str | None, IDENTIFYING] = None
    teams: Annotated[list[Reference] | None, NONE] = None
    availability: Annotated[str | None, NONE] = None


class Team(Entity):
    """A group of staff."""

    name: Annotated[str | None, NONE] = None


class Activity(Entity):
    """Something that happened with persons; `at` is when, and where it stands in a timeline."""

    at: Annotated[Timestamp | None, NONE] = None
    parties: Annotated[list[Party] | None, IDENTIFYING] = None


class Conversation(Activity):
    """A ticket, case, chat, e-mail thread, SMS thread or social thread."""

    kind: Annotated[Literal["ticket", "case", "chat", "email", "sms", "social"] | None, NONE] = None
    channel: Annotated[str | None, NONE] = None
    subject: Annotated[str | None, CONTENT] = None
    preview: Annotated[str | None, CONTENT] = None  # the first words, where there is no subject
    status: Annotated[Literal["open", "pending", "snoozed", "solved", "closed"] | None, NONE] = None
    priority: Annotated[Literal["low", "normal", "high", "urgent"] | None, NONE] = None
    assignee: Annotated[Reference | None, NONE] = None
    team: Annotated[Reference | None, NONE] = None
    waiting_since: Annotated[Timestamp | None, NONE] = None  # the customer's oldest unanswered message
    first_response_at: Annotated[Timestamp | None, NONE] = None
    solved_at: Annotated[Timestamp | None, NONE] = None
    reopened_count: Annotated[int | None, NONE] = None
    sla: Annotated[list[Sla] | None, NONE] = None
    merged_into: Annotated[str | None, NONE] = None
    linked: Annotated[list[Reference] | None, NONE] = None


class Message(Activity):
    """One message or internal note of a conversation."""

    conversation: Annotated[str | None, NONE] = None
    author: Annotated[Reference | None, IDENTIFYING] = None
    direction: Annotated[Literal["inbound", "outbound"] | None, NONE] = None
    internal: Annotated[bool | None, NONE] = None
    body: Annotated[str | None, CONTENT] = None
    format: Annotated[Literal["text", "html"] | None, NONE] = None
    attachments: Annotated[list[Attachment] | None, CONTENT] = None
    automated: Annotated[bool | None, NONE] = None
    redacted: Annotated[bool | None, NONE] = None


class Call(Activity):
    """A phone call. `status` moves one way: ringing, in_progress, then one of the terminal states."""

    direction: Annotated[Literal["inbound", "outbound"] | None, NONE] = None
    line: Annotated[Line | None, NONE] = None
    status: Annotated[
        Literal["ringing", "in_progress", "answered", "missed", "not_connected", "voicemail"] | None, NONE
    ] = None
    missed_reason: Annotated[str | None, NONE] = None
    assignee: Annotated[Reference | None, NONE] = None
    team: Annotated[Reference | None, NONE] = None
    answered_at: Annotated[Timestamp | None, NONE] = None
    ended_at: Annotated[Timestamp | None, NONE] = None
    ring_seconds: Annotated[int | None, NONE] = None
    talk_seconds: Annotated[int | None, NONE] = None
    transfers: Annotated[list[Transfer] | None, NONE] = None
    voicemail: Annotated[Attachment | None, SENSITIVE] = None
    recording: Annotated[Attachment | None, SENSITIVE] = None
    transcript: Annotated[str | None, SENSITIVE] = None
    summary: Annotated[str | None, SENSITIVE] = None
    transcript_consent: Annotated[bool | None, NONE] = None
    legs: Annotated[list[str] | None, NONE] = None


class Rating(Activity):
    """What a customer thought of it."""

    scale: Annotated[int | None, NONE] = None
    score: Annotated[int | None, NONE] = None
    comment: Annotated[str | None, CONTENT] = None
    subject: Annotated[str | None, NONE] = None
    staff: Annotated[Reference | None, NONE] = None
    requested_at: Annotated[Timestamp | None, NONE] = None


class Task(Activity):
    """What was promised."""

    title: Annotated[str | None, CONTENT] = None
    state: Annotated[Literal["open", "done", "cancelled"] | None, NONE] = None
    due_at: Annotated[Timestamp | None, NONE] = None
    done_at: Annotated[Timestamp | None, NONE] = None
    assignee: Annotated[Reference | None, NONE] = None


class Note(Activity):
    """What staff wrote down about a customer."""

    author: Annotated[Reference | None, NONE] = None
    body: Annotated[str | None, CONTENT] = None


class _Money(Activity):
    number: Annotated[str | None, NONE] = None
    total: Annotated[Amount | None, NONE] = None
    currency: Annotated[str | None, NONE] = None
    status: Annotated[str | None, NONE] = None


class Order(_Money):
    """Something bought."""

    items: Annotated[list[LineItem] | None, CONTENT] = None
    fulfilment: Annotated[str | None, NONE] = None
    refunded: Annotated[Amount | None, NONE] = None


class Invoice(_Money):
    """Something owed."""

    items: Annotated[list[LineItem] | None, CONTENT] = None
    due_at: Annotated[Timestamp | None, NONE] = None
    paid_at: Annotated[Timestamp | None, NONE] = None
    disputed: Annotated[bool | None, NONE] = None


class Payment(_Money):
    """Something paid."""

    invoice: Annotated[str | None, NONE] = None
    disputed: Annotated[bool | None, NONE] = None


class Deal(_Money):
    """A sale that is hoped for; `status` is open, won or lost."""

    title: Annotated[str | None, CONTENT] = None
    pipeline: Annotated[Reference | None, NONE] = None
    stage: Annotated[Reference | None, NONE] = None
    owner: Annotated[Reference | None, NONE] = None
    closes_at: Annotated[Timestamp | None, NONE] = None


class BillingSubscription(_Money):
    """Something paid again and again."""

    plan: Annotated[str | None, NONE] = None
    renews_at: Annotated[Timestamp | None, NONE] = None
    cancelled_at: Annotated[Timestamp | None, NONE] = None


class Article(Entity):
    """A piece of knowledge with its verification."""

    title: Annotated[str | None, NONE] = None
    body: Annotated[str | None, NONE] = None  # plain text
    locale: Annotated[str | None, NONE] = None
    audience: Annotated[Literal["public", "internal"] | None, NONE] = None
    collection: Annotated[Reference | None, NONE] = None
    verified: Annotated[bool | None, NONE] = None
    verified_at: Annotated[Timestamp | None, NONE] = None
    verified_until: Annotated[Timestamp | None, NONE] = None
    owner: Annotated[Reference | None, NONE] = None


class Custom(Activity):
    """Any other object of the company's own."""

    kind: Annotated[str | None, NONE] = None
    title: Annotated[str | None, CONTENT] = None


ENTITIES: dict[str, type[Entity]] = {
    "person": Person,
    "organization": Organization,
    "staff": Staff,
    "team": Team,
    "conversation": Conversation,
    "message": Message,
    "call": Call,
    "rating": Rating,
    "task": Task,
    "note": Note,
    "order": Order,
    "invoice": Invoice,
    "payment": Payment,
    "deal": Deal,
    "billing_subscription": BillingSubscription,
    "article": Article,
    "custom": Custom,
}
NAMES: dict[type[Entity], str] = {model: name for name, model in ENTITIES.items()}
ACTIVITIES = frozenset(name for name, model in ENTITIES.items() if issubclass(model, Activity))
