"""Aircall's payloads to events. Pure. Kinds: an event's name (`call.ended`) of a push, `call`, `contact`, `user` or
`team` of a read.

A call has no clock of its own: a push is a snapshot and orders by its envelope's timestamp, within one second by the
call's life; a call that was read has no clock and fills only what no push has set. Both are patches without nulls,
because later snapshots forget (`transferred_by` of a transfer is null in the `call.ended` that follows).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from core.sdk import Maker, NormalizeError, Payload, dialable, from_iso, from_seconds, to_ms
from schemas.entities import (
    Attachment,
    Call,
    Identifier,
    IdentifierKind,
    Line,
    Membership,
    Note,
    Party,
    Person,
    Reference,
    Staff,
    Team,
    Transfer,
)
from schemas.event import Event

MAKER = Maker("aircall", resolution=1000)

# What happens in one second happens in this order; what is not named comes at the end of a call's life.
LIFE = ("call.created", "call.ivr_option_selected", "call.ringing_on_agent", "call.agent_declined", "call.answered",
        "call.hold", "call.unhold", "call.unsuccessful_transfer", "call.transferred", "call.external_transferred",
        "call.hungup", "call.voicemail_left", "call.ended", "call.comm_assets_generated")  # fmt: skip
OVER = frozenset({"call.hungup", "call.ended", "call.voicemail_left", "call.comm_assets_generated", "call.archived"})


def normalize(payload: Payload) -> Iterable[Event]:
    """Raises NormalizeError where the data is not an object with an id. Kinds that we do not know give nothing."""
    if not isinstance(payload.data, dict):
        raise NormalizeError(f"{payload.kind}: not an object")
    family, _, what = payload.kind.partition(".")
    match family:
        case "call":
            return _call(payload, payload.data)
        case "contact":
            return _contact(payload, payload.data, gone=what == "deleted")
        case "user":
            return _user(payload, payload.data, gone=what.startswith("deleted"))
        case "team":
            team = Team(name=payload.data.get("name"), created_at=from_iso(payload.data.get("created_at")))
            return [MAKER.upserted(payload, "team", _id(payload), team, clock=payload.received)]
    return []


def _id(payload: Payload) -> Any:
    if not (id := payload.data.get("id")):
        raise NormalizeError(f"{payload.kind}: no id")
    return id


def _call(payload: Payload, call: Mapping[str, Any]) -> Iterator[Event]:
    id = _id(payload)
    parties = _parties(payload, call)
    facts = {**_times(call), **_people(payload, call), **_assets(id, call)}
    facts |= {
        "at": facts.get("created_at"),
        "direction": call.get("direction") if call.get("direction") in ("inbound", "outbound") else None,
        "status": _status(call, payload.kind),
        "source_state": call.get("status"),
        "missed_reason": call.get("missed_call_reason"),
        "parties": parties or None,
        "tags": [tag["name"] for tag in call["tags"] if tag.get("name")]
        if isinstance(call.get("tags"), list)
        else None,
        "url": call.get("asset"),
        "legs": [leg] if (leg := call.get("call_uuid") or call.get("sid")) else None,
    }
    known = {name: value for name, value in facts.items() if value is not None}
    if payload.pushed:
        clock, sequence = payload.at or payload.received, _moment(payload.kind)
        yield MAKER.upserted(payload, "call", id, Call(**known), clock=clock, sequence=sequence, mode="patch")
    else:
        # The same call, read again and again, is one event: its version is the last thing that happened in it.
        latest = _latest(call)
        read = replace(payload, at=latest)
        yield MAKER.upserted(read, "call", id, Call(**known), clock=None, sequence=latest, mode="patch")
    for comment in call.get("comments") or ():
        if comment.get("id"):
            yield _comment(payload, comment, parties, call)


def _moment(event: str) -> int:
    return LIFE.index(event) if event in LIFE else len(LIFE)


def _latest(call: Mapping[str, Any]) -> int:
    """Epoch ms of the last moment that the call tells of: its own, a comment's or a tag's."""
    marks = [call.get(name) for name in ("started_at", "answered_at", "ended_at")]
    marks += [item.get("posted_at") for item in call.get("comments") or ()]
    marks += [item.get("created_at") for item in call.get("tags") or ()]
    return max((int(at) * 1000 for mark in marks if (at := _number(mark)) is not None), default=0)


def _status(call: Mapping[str, Any], event: str) -> str | None:
    """Aircall's own status knows no missed call: `answered_at` is the only sure sign (its state is only `done`)."""
    over = bool(call.get("ended_at")) or call.get("status") == "done" or event in OVER
    if call.get("answered_at"):
        return "answered" if over else "in_progress"
    if not over:
        return "in_progress" if call.get("status") == "answered" else "ringing"
    if call.get("direction") == "outbound":
        return "not_connected"
    return "voicemail" if call.get("voicemail") or event == "call.voicemail_left" else "missed"


def _number(value: Any) -> float | None:
    """Aircall sends numbers; what passes through others may have made text of them."""
    match value:
        case bool():
            return None
        case int() | float():
            return value
        case str() if value.strip().isdecimal():
            return int(value)
    return None


def _times(call: Mapping[str, Any]) -> dict[str, Any]:
    """`duration` counts ringing, so ring and talk are taken from the moments, never below 0."""
    started, answered, ended = (_number(call.get(name)) for name in ("started_at", "answered_at", "ended_at"))
    rung = answered or ended
    return {
        "created_at": from_seconds(started),
        "answered_at": from_seconds(answered),
        "ended_at": from_seconds(ended),
        "ring_seconds": max(int(rung - started), 0) if rung and started else None,
        "talk_seconds": max(int(ended - answered), 0) if ended and answered else None,
    }


def _people(payload: Payload, call: Mapping[str, Any]) -> dict[str, Any]:
    teams, number = call.get("teams") or (), call.get("number") or {}
    by, to = _staff(payload, call.get("transferred_by")), _staff(payload, call.get("transferred_to"))
    line = None
    if number.get("id"):
        digits = number.get("e164_digits") or _compact(number.get("digits"))
        line = Line(key=MAKER.key(payload, "number", number["id"]), name=number.get("name"), number=digits)
    return {
        "line": line,
        "assignee": _staff(payload, call.get("user")) or _staff(payload, call.get("assigned_to")),
        "team": _reference(payload, "team", teams[0]) if teams else None,
        # Without its sender a transfer is half forgotten: an earlier snapshot knew more.
        "transfers": [Transfer(by=by, to=to)] if by else None,
    }


def _assets(id: Any, call: Mapping[str, Any]) -> dict[str, Any]:
    """By (kind, call): the links expire within an hour and are fetched on demand."""
    return {
        kind: Attachment(id=f"{kind}/{id}", content_type="audio/mpeg") if call.get(kind) else None
        for kind in ("recording", "voicemail")
    }


def _parties(payload: Payload, call: Mapping[str, Any]) -> list[Party]:
    """The customer's end of the call; an anonymous caller without contact is nobody."""
    contact = call.get("contact") or {}
    person = MAKER.key(payload, "contact", contact["id"]) if contact.get("id") else None
    digits = call.get("raw_digits")
    known = isinstance(digits, str) and dialable(digits)
    if not person and not known:
        return []
    facts: dict[str, Any] = {"role": "callee" if call.get("direction") == "outbound" else "caller"}
    if person:
        facts |= {"person": person, "name": _name(contact)}
    if known:
        facts["identifier"] = Identifier(kind="phone", value=_compact(digits))
    return [Party(**facts)]


def _comment(payload: Payload, comment: Mapping[str, Any], parties: list[Party], call: Mapping[str, Any]) -> Event:
    """A comment is written once: the moment of posting is its clock, and each snapshot of the call tells it again."""
    at = from_seconds(comment.get("posted_at")) or from_seconds(call.get("started_at"))
    author = _staff(payload, comment.get("posted_by"))
    facts = {"at": at, "created_at": at, "author": author, "body": comment.get("content"), "parties": parties or None}
    note = Note(**{name: value for name, value in facts.items() if value is not None})
    clock, sequence = to_ms(at) if at else None, payload.at if payload.pushed else None
    return MAKER.upserted(payload, "comment", comment["id"], note, clock=clock, sequence=sequence, mode="patch")


def _contact(payload: Payload, contact: Mapping[str, Any], *, gone: bool) -> Iterator[Event]:
    id = _id(payload)
    if gone:
        # An id is never given again, so that a late update must not bring the contact back.
        clock = payload.at or payload.received
        yield MAKER.deleted(payload, "contact", id, Person, clock=clock, final=True)
        return
    updated = _moment_of(contact.get("updated_at"))
    company = contact.get("company_name")
    yield MAKER.upserted(
        payload,
        "contact",
        id,
        Person(
            role="customer",
            given_name=contact.get("first_name"),
            family_name=contact.get("last_name"),
            display_name=_name(contact),
            identifiers=[
                *_identifiers("phone", contact.get("phone_numbers")),
                *_identifiers("email", contact.get("emails")),
            ],
            organizations=[Membership(key=MAKER.key(payload, "company", company), name=company)] if company else [],
            created_at=_moment_of(contact.get("created_at")),
            updated_at=updated,
            attributes={name: contact[name] for name in ("description", "information") if contact.get(name)},
        ),
        clock=to_ms(updated) if updated else payload.at,
    )


def _identifiers(kind: IdentifierKind, listed: Any) -> list[Identifier]:
    values = [str(item["value"]) for item in listed or () if isinstance(item, dict) and item.get("value")]
    return [Identifier(kind=kind, value=_compact(value) if kind == "phone" else value) for value in values]


def _user(payload: Payload, user: Mapping[str, Any], *, gone: bool) -> Iterator[Event]:
    """Users carry no clock: pushes order by their envelope, reads by when they were asked."""
    clock = (payload.at or payload.received) if payload.pushed else payload.received
    if gone:
        yield MAKER.deleted(payload, "user", _id(payload), Staff, clock=clock, final=True)
        return
    facts = {
        "name": user.get("name"),
        "email": user.get("email"),
        "availability": user.get("availability_status"),
        "created_at": from_iso(user.get("created_at")),
    }
    staff = Staff(**{name: value for name, value in facts.items() if value is not None})
    yield MAKER.upserted(payload, "user", _id(payload), staff, clock=clock, mode="patch")


def _staff(payload: Payload, user: Any) -> Reference | None:
    return _reference(payload, "user", user)


def _reference(payload: Payload, kind: str, thing: Any) -> Reference | None:
    if not isinstance(thing, dict) or not thing.get("id"):
        return None
    return Reference(key=MAKER.key(payload, kind, thing["id"]), name=thing.get("name"))


def _name(contact: Mapping[str, Any]) -> str | None:
    return " ".join(filter(None, (contact.get("first_name"), contact.get("last_name")))) or contact.get("company_name")


def _moment_of(value: Any) -> str | None:
    """Contacts tell time in Unix seconds when read, and as ISO text in webhooks."""
    return from_iso(value) if isinstance(value, str) and not value.isdigit() else from_seconds(value)


def _compact(digits: Any) -> str | None:
    """`+1 800-123-4567`, as people read it, without what separates."""
    return re.sub(r"[\s().\-]", "", digits) if isinstance(digits, str) else None
