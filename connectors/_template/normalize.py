"""Template's payloads to events. Pure: no I/O, no clock. Kinds: `person`, `ticket`, and their `.gone`.

Every object is read whole, with the source's own clock in `changed_at`: pushed or read, the same state is one event.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from core.sdk import Maker, NormalizeError, Payload, from_iso, to_ms
from schemas.entities import Conversation, Entity, Identifier, Party, Person, Reference
from schemas.event import Event

MAKER = Maker("template")  # mapper=2 when the same payload gives other events than before
_ENTITIES: Mapping[str, type[Entity]] = {"person": Person, "ticket": Conversation}
_ROLES = {"customer": "customer", "visitor": "lead"}
_STATES = {"open": "open", "waiting": "pending", "done": "closed"}


def normalize(payload: Payload) -> Iterator[Event]:
    """Raises NormalizeError where the data is not an object with an id. Kinds that we do not know give nothing."""
    kind, _, gone = payload.kind.partition(".")
    entity = _ENTITIES.get(kind)
    if entity is None or gone not in ("", "gone"):
        return
    item = payload.data
    if not isinstance(item, dict) or not isinstance(item.get("id"), int | str):
        raise NormalizeError(f"{payload.kind}: not an object with an id")
    if gone:
        yield MAKER.deleted(payload, kind, item["id"], entity, clock=payload.at, final=True)
        return
    changed = from_iso(item.get("changed_at"))
    state = _person(item, changed) if kind == "person" else _ticket(payload, item, changed)
    yield MAKER.upserted(payload, kind, item["id"], state, clock=to_ms(changed) if changed else payload.at)


def _person(item: Mapping[str, Any], changed: str | None) -> Person:
    given, family = _text(item.get("first_name")), _text(item.get("last_name"))
    held = ((kind, _text(item.get(kind))) for kind in ("email", "phone"))
    return Person(
        role=_known(_ROLES, item.get("role")),
        given_name=given,
        family_name=family,
        display_name=" ".join(filter(None, (given, family))) or None,
        identifiers=[Identifier(kind=kind, value=value) for kind, value in held if value],
        source_state=_text(item.get("role")),
        created_at=from_iso(item.get("created_at")),
        updated_at=changed,
    )


def _ticket(payload: Payload, item: Mapping[str, Any], changed: str | None) -> Conversation:
    person, agent = item.get("person_id"), _text(item.get("agent"))
    return Conversation(
        kind="ticket",
        at=from_iso(item.get("created_at")),
        subject=_text(item.get("subject")),
        status=_known(_STATES, item.get("state")),
        source_state=_text(item.get("state")),
        # The requester is a reference: an event writes only its own object.
        parties=[Party(role="requester", person=MAKER.key(payload, "person", person))] if person else [],
        assignee=Reference(key=MAKER.key(payload, "agent", agent), name=agent) if agent else None,
        url=_text(item.get("link")),
        created_at=from_iso(item.get("created_at")),
        updated_at=changed,
    )


def _text(value: Any) -> str | None:
    """Texts as they are; an empty one and anything else says nothing."""
    return value if isinstance(value, str) and value else None


def _known(words: Mapping[str, str], value: Any) -> Any:
    """The common word; None for one that the source has invented since, which `source_state` keeps."""
    return words.get(value) if isinstance(value, str) else None
