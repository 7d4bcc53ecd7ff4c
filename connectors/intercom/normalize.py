"""From Intercom's payloads to events. Pure: no I/O, no clock.

Kinds: `contact`, `company`, `conversation`, `ticket`, `admin`, `team`, `article` are objects as the API shows them;
`<kind>.deleted`, `contact.archived`, `contact.unarchived` and `contact.merged` are what happened to one.
"""

from collections.abc import Callable, Iterable, Iterator

from connectors.intercom import conversations, people
from connectors.intercom.shapes import MAKER, Item, clock, moment, present, reference, stamp, text
from core.sdk import NormalizeError, Payload
from schemas.entities import Article, Conversation, Entity, Organization, Person
from schemas.event import Event


def normalize(payload: Payload) -> Iterable[Event]:
    """The events of one payload. NormalizeError where it is not an object of its kind; unknown kinds give none."""
    make = KINDS.get(payload.kind)
    if make is None:
        return ()
    if not isinstance(payload.data, dict):
        raise NormalizeError(f"{payload.kind}: not an object but {type(payload.data).__name__}")
    return make(payload)


def _deleted(kind: str, entity: type[Entity], *, final: bool) -> Callable[[Payload], Iterator[Event]]:
    """Deletions name the object and little more; their time is `deleted_at` or the envelope's."""

    def make(payload: Payload) -> Iterator[Event]:
        item: Item = payload.data
        id = present(item.get("conversation_id") if kind == "conversation" else None) or present(item.get("id")) or ""
        at = moment(item.get("deleted_at")) or payload.at
        yield MAKER.deleted(payload, kind, id, entity, clock=at, final=final)

    return make


def _article(payload: Payload) -> Iterator[Event]:
    item: Item = payload.data
    article = Article(
        title=item.get("title") or None,
        body=text(item.get("body")),
        locale=item.get("default_locale") or None,
        audience="public" if item.get("state") == "published" else "internal",
        source_state=item.get("state") or None,
        owner=reference(payload, "admin", item.get("author_id")),
        url=item.get("url") or None,
        created_at=stamp(item.get("created_at")),
        updated_at=stamp(item.get("updated_at")),
    )
    yield MAKER.upserted(payload, "article", present(item.get("id")) or "", article, clock=clock(payload, item))


KINDS: dict[str, Callable[[Payload], Iterator[Event]]] = {
    "contact": people.contact,
    "contact.unarchived": people.unarchived,
    "contact.merged": people.merged,
    # Archived contacts come back with their next message, deleted ones never.
    "contact.archived": _deleted("contact", Person, final=False),
    "contact.deleted": _deleted("contact", Person, final=True),
    "contact.missing": _deleted("contact", Person, final=False),
    "company": people.company,
    # Deleted companies are created anew by syncs of third parties.
    "company.deleted": _deleted("company", Organization, final=False),
    "conversation": conversations.conversation,
    "conversation.deleted": _deleted("conversation", Conversation, final=True),
    "conversation.missing": _deleted("conversation", Conversation, final=False),
    "ticket": conversations.ticket,
    "ticket.missing": _deleted("ticket", Conversation, final=False),
    "admin": people.admin,
    "team": people.team,
    "article": _article,
    "article.deleted": _deleted("article", Article, final=True),
}
