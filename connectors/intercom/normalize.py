"""From Intercom's payloads to events. Pure: no I/O, no clock.

Kinds: `contact`, `company`, `conversation`, `ticket`, `call`, `admin`, `team`, `article` and `internal_article` are
objects as the API shows them (contacts filled by connectors.intercom.details, articles with their `collections`).
`<kind>.deleted`, `<kind>.missing`, `contact.archived`, `contact.unarchived` and `contact.merged` are what happened to
one.
"""

from collections.abc import Callable, Iterable, Iterator

from connectors.intercom import calls, conversations, knowledge, people, tickets
from connectors.intercom.shapes import MAKER, Item, moment, present
from core.sdk import NormalizeError, Payload
from schemas.entities import Article, Call, Conversation, Entity, Organization, Person, Staff, Team
from schemas.event import Event

Make = Callable[[Payload], Iterator[Event]]


def normalize(payload: Payload) -> Iterable[Event]:
    """The events of one payload. NormalizeError where it is not an object of its kind; unknown kinds give none."""
    make = KINDS.get(payload.kind)
    if make is None:
        return ()
    if not isinstance(payload.data, dict):
        raise NormalizeError(f"{payload.kind}: not an object but {type(payload.data).__name__}")
    return make(payload)


def _deleted(kind: str, entity: type[Entity], *, final: bool) -> Make:
    """Deletions name the object and little more; their time is `deleted_at` or the envelope's."""

    def make(payload: Payload) -> Iterator[Event]:
        item: Item = payload.data
        id = present(item.get("conversation_id") if kind == "conversation" else None) or present(item.get("id")) or ""
        at = moment(item.get("deleted_at")) or payload.at
        yield MAKER.deleted(payload, kind, id, entity, clock=at, final=final)

    return make


def _missing(kind: str, entity: type[Entity]) -> Make:
    """Looked for and not found: any later read that finds it brings it back."""

    def make(payload: Payload) -> Iterator[Event]:
        yield MAKER.deleted(payload, kind, present(payload.data.get("id")) or "", entity, clock=None)

    return make


KINDS: dict[str, Make] = {
    "contact": people.contact,
    "contact.unarchived": people.unarchived,
    "contact.merged": people.merged,
    # Archived contacts come back with their next message, deleted ones never.
    "contact.archived": _deleted("contact", Person, final=False),
    "contact.deleted": _deleted("contact", Person, final=True),
    "contact.missing": _missing("contact", Person),
    "company": people.company,
    # Deleted companies are created anew by syncs of third parties.
    "company.deleted": _deleted("company", Organization, final=False),
    "company.missing": _missing("company", Organization),
    "conversation": conversations.conversation,
    "conversation.deleted": _deleted("conversation", Conversation, final=True),
    "conversation.missing": _missing("conversation", Conversation),
    "ticket": tickets.ticket,
    "ticket.missing": _missing("ticket", Conversation),
    "call": calls.call,
    "call.missing": _missing("call", Call),
    "admin": people.admin,
    "admin.missing": _missing("admin", Staff),
    "team": people.team,
    "team.missing": _missing("team", Team),
    "article": knowledge.article,
    "article.deleted": _deleted("article", Article, final=True),
    "article.missing": _missing("article", Article),
    "internal_article": knowledge.internal,
    "internal_article.missing": _missing("internal_article", Article),
}
