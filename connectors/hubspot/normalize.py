"""HubSpot's objects to events. Pure.

The clock is `updatedAt` (ms), also of what lies in the recycle bin: whether archiving and restoring move it is not
known, so of two reads with one date the later one counts. Of merges and privacy deletions it is `occurredAt` (ms).
The inbox's threads have a module of their own.
"""

from collections.abc import Callable, Iterable

from connectors.hubspot import activities, inbox, people, sales
from connectors.hubspot.fields import MAKER, Fields, Properties, listed
from connectors.hubspot.kinds import INBOX, Kind, kind_named
from connectors.hubspot.webhook import merged_into
from core.sdk import NormalizeError, Payload, from_iso, from_ms, to_ms
from schemas.entities import Conversation
from schemas.event import Event

FIELDS: dict[str, Callable[[Payload, Properties, Properties], Fields]] = {
    "contact": people.contact,
    "company": people.company,
    "deal": sales.deal,
    "order": sales.order,
    "invoice": sales.invoice,
    "payment": sales.payment,
    "subscription": sales.subscription,
    "ticket": activities.ticket,
    "task": activities.task,
    "call": activities.call,
    "email": activities.email,
    "meeting": activities.meeting,
    "note": activities.note,
    "communication": activities.communication,
    "feedback": activities.feedback,
}


def normalize(payload: Payload) -> Iterable[Event]:
    """NormalizeError where the payload is not an object of the kind that it claims to be; unknown kinds give none."""
    name, _, action = payload.kind.partition(".")
    kind = kind_named(name)
    if name == "malformed":  # a row of an answer, see `odd`
        raise NormalizeError("without the fields of its kind")
    try:
        match name, action:
            case "owner", "":
                return [people.owner(payload)]
            case "conversation", "":
                return inbox.thread(payload)
            case "conversation", "status":
                return [inbox.status(payload)]
            case _, "gone" if kind or name == INBOX:
                return [_deleted(payload, kind)]
            case _, "privacyDeletion" if kind or name == INBOX:
                return [_deleted(payload, kind, erased=True)]
            case _, "merge" if kind:
                return _merged(payload, kind)
            case _, "" if kind:
                return _object(payload, kind)
            case _:
                return []
    except (ArithmeticError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise NormalizeError(f"{payload.kind}: {type(error).__name__}: {error}") from None


def _object(payload: Payload, kind: Kind) -> list[Event]:
    row = payload.data
    moment = from_iso(row["updatedAt"]) or ""
    clock = to_ms(moment)
    if row.get("archived"):
        return [MAKER.deleted(payload, kind.name, row["id"], kind.entity, clock=clock)]
    properties = row["properties"]
    own = (row.get("external_id") or {}).get("property"), (row.get("custom") or {}).get("title")
    left = {f"hs_email_optout_{id}" for id in row.get("subscriptions") or {}}
    placed = {*kind.known, *own, *left}
    extra = {name: value for name, value in properties.items() if value is not None and name not in placed}
    fields = {
        "url": f"https://app.hubspot.com/contacts/{payload.account}/record/{kind.type_id}/{row['id']}",
        "created_at": from_iso(row.get("createdAt")),
        "updated_at": moment,
        **FIELDS.get(kind.name, activities.custom)(payload, row, properties),
    }
    if extra:
        fields["attributes"] = {**extra, **(fields.get("attributes") or {})}
    entity = kind.entity(**{name: value for name, value in fields.items() if value is not None})
    # Associations that could not be read leave what is known of them alone.
    mode = "full" if not kind.to or "associations" in row else "patch"
    event = MAKER.upserted(payload, kind.name, row["id"], entity, clock=clock, mode=mode)
    return [event, *_aliases(payload, row, kind)]


def _deleted(payload: Payload, kind: Kind | None, *, erased: bool = False) -> Event:
    name, entity = (kind.name, kind.entity) if kind else (INBOX, Conversation)
    id = payload.data["objectId"] if payload.pushed else payload.data["id"]
    return MAKER.deleted(payload, name, id, entity, clock=payload.at, erased=erased)


def _merged(payload: Payload, kind: Kind) -> list[Event]:
    """Every old id is an alias of the one that remains: of a new record since January 2025."""
    event = payload.data
    into = merged_into(event)
    old = {str(id) for id in (event.get("primaryObjectId"), *event.get("mergedObjectIds", ())) if id} - {into}
    return [MAKER.merged(payload, kind.name, id, kind.entity, into=into, clock=payload.at) for id in sorted(old)]


def _aliases(payload: Payload, row: Properties, kind: Kind) -> Iterable[Event]:
    """The same told by the record that remains; of contacts with the time of the merge (`vid:ms`), so that it is the
    same event."""
    properties = row["properties"]
    times = dict(part.split(":", 1) for part in listed(properties.get("hs_calculated_merged_vids")) if ":" in part)
    born = to_ms(from_iso(row.get("createdAt")) or from_iso(row["updatedAt"]) or "")
    for old in sorted({*listed(properties.get("hs_merged_object_ids")), *times} - {str(row["id"])}):
        moment = from_ms(times.get(old))
        clock = to_ms(moment) if moment else born
        yield MAKER.merged(payload, kind.name, old, kind.entity, into=row["id"], clock=clock)
