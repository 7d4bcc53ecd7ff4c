"""Calls with their comments. Pure.

A call has no clock of its own: a push is a snapshot and orders by its envelope's timestamp, within one second by the
call's life. A call that was read has no clock and fills what no push has set; of what it tells as well as a push, its
clock is the last moment that it tells of, or STILL after it. All are patches without nulls, because later snapshots
forget (`transferred_by` of a transfer is null in the `call.ended` that follows). One null says something: nobody has
the call, although it rang at somebody.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from connectors.aircall.shapes import (
    MAKER,
    full_name,
    identity,
    line_of,
    moment_of,
    objects,
    outsider,
    part,
    phone,
    reference,
    second,
    staff,
)
from core.sdk import Payload, from_seconds, to_ms
from schemas.entities import Attachment, Call, Note, Party, Transfer
from schemas.event import Event

# What happens in one second happens in this order. What is not named (a comment, a tag) comes where its snapshot's
# status stands here, else at the end.
LIFE = ("call.created", "call.ivr_option_selected", "call.ringing_on_agent", "call.agent_declined", "initial",
        "call.answered", "call.hold", "call.unhold", "call.unsuccessful_transfer", "call.transferred",
        "call.external_transferred", "answered", "call.hungup", "call.voicemail_left", "call.ended",
        "call.comm_assets_generated")  # fmt: skip
# Of these a read tells as much as a push: it repairs what was missed. Of the others it only fills what no push has set:
# it may lack the contact (`parties`), knows no number in E.164 (`line`), forgets who passed the call on and never tells
# a number outside (`transfers`); what is left never changes once it is told.
REPAIRED = ("status", "source_state", "missed_reason", "answered_at", "ended_at", "ring_seconds", "talk_seconds",
            "assignee", "team", "attributes", "tags")  # fmt: skip
# ms after the last moment of a call: from then on, what a read repairs counts as of then, because no moment of a call
# tells that it was archived, taken up again, assigned, or lost a tag. So it repairs what webhooks told before, and a
# webhook that comes later counts; read again and again it is the same event.
STILL = (3_600_000, 24 * 3_600_000)
OVER = frozenset({"call.hungup", "call.ended", "call.voicemail_left", "call.comm_assets_generated", "call.archived"})
# Nobody took such a call: the user that its snapshots still name is at whom it rang.
UNTAKEN = frozenset({"missed", "voicemail"})


def call_of(payload: Payload, call: Mapping[str, Any]) -> Iterator[Event]:
    id = identity(payload)
    parties, status = parties_of(payload, call), _status(call, payload.kind)
    chosen = [option["title"] for option in objects(call.get("ivr_options_selected")) if option.get("title")]
    facts = {**_times(call), **_people(payload, call, taken=status not in UNTAKEN), **_assets(id, call)}
    facts |= {
        "at": facts.get("created_at"),
        "direction": call.get("direction") if call.get("direction") in ("inbound", "outbound") else None,
        "status": status,
        "source_state": "archived" if call.get("archived") is True else call.get("status"),  # dealt with
        "missed_reason": call.get("missed_call_reason"),
        "parties": [*parties, *_joined(payload, call, parties)] or None,
        "attributes": {"ivr": chosen} if chosen else None,
        "tags": [tag["name"] for tag in objects(call["tags"]) if tag.get("name")]
        if isinstance(call.get("tags"), list)
        else None,
        "url": call.get("asset"),
        "legs": [leg] if (leg := call.get("call_uuid") or call.get("sid")) else None,
    }
    known = {name: value for name, value in facts.items() if value is not None or name == "assignee"}
    if payload.pushed:
        clock, sequence = payload.at or payload.received, _moment(payload.kind, call.get("status"))
        yield MAKER.upserted(payload, "call", id, Call(**known), clock=clock, sequence=sequence, mode="patch")
    else:
        yield from _read(payload, id, call, known)
    for comment in objects(call.get("comments")):
        if comment.get("id"):
            yield _comment(payload, comment, parties, call)


def _read(payload: Payload, id: Any, call: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Event]:
    """The same call, read again and again, is one event: its version is the last thing that happened in it."""
    latest = _latest(call)
    yield MAKER.upserted(
        replace(payload, at=latest), "call", id, Call(**known), clock=None, sequence=latest, mode="patch"
    )
    if latest:
        # While it rings, a read may not tell at whom.
        told = {name: value for name, value in known.items() if value is not None or known["status"] != "ringing"}
        sure = {name: value for name, value in told.items() if name in REPAIRED}
        clock = max((at for still in STILL if (at := latest + still) <= payload.received), default=latest)
        yield MAKER.upserted(payload, "call", id, Call(**sure), clock=clock, mode="patch")


def _moment(event: str, status: Any) -> int:
    name = event if event in LIFE else status
    return LIFE.index(name) if name in LIFE else len(LIFE)


def _latest(call: Mapping[str, Any]) -> int:
    """Epoch ms of the last moment that the call tells of: its own, a comment's, a tag's or a choice's in the menu."""
    marks = [call.get(name) for name in ("started_at", "answered_at", "ended_at")]
    marks += [item.get("posted_at") for item in objects(call.get("comments"))]
    marks += [item.get("created_at") for item in objects(call.get("tags"))]
    moments = [moment_of(item.get("created_at")) for item in objects(call.get("ivr_options_selected"))]
    return max([0, *((second(mark) or 0) * 1000 for mark in marks), *(to_ms(moment) for moment in moments if moment)])


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


def _times(call: Mapping[str, Any]) -> dict[str, Any]:
    """`duration` counts ringing, so ring and talk are taken from the moments, never below 0."""
    started, answered, ended = (second(call.get(name)) for name in ("started_at", "answered_at", "ended_at"))
    rung = answered or ended
    return {
        "created_at": from_seconds(started),
        "answered_at": from_seconds(answered),
        "ended_at": from_seconds(ended),
        "ring_seconds": max(int(rung - started), 0) if rung and started else None,
        "talk_seconds": max(int(ended - answered), 0) if ended and answered else None,
    }


def _people(payload: Payload, call: Mapping[str, Any], *, taken: bool) -> dict[str, Any]:
    teams = objects(call.get("teams"))
    by, to = staff(payload, call.get("transferred_by")), staff(payload, call.get("transferred_to"))
    if outside := outsider(payload, call.get("external_transferred_to")):
        by, to = by or staff(payload, call.get("user")), outside
    return {
        "line": line_of(payload, call.get("number")),
        "assignee": (staff(payload, call.get("user")) if taken else None) or staff(payload, call.get("assigned_to")),
        "team": reference(payload, "team", teams[0]) if teams else None,
        # Without its sender a transfer is half forgotten: an earlier snapshot knew more.
        "transfers": [Transfer(by=by, to=to)] if by or outside else None,
    }


def _assets(id: Any, call: Mapping[str, Any]) -> dict[str, Any]:
    """By (kind, call): the links expire within an hour and are fetched on demand."""
    return {
        kind: Attachment(id=f"{kind}/{id}", content_type="audio/mpeg") if call.get(kind) else None
        for kind in ("recording", "voicemail")
    }


def parties_of(payload: Payload, call: Mapping[str, Any]) -> list[Party]:
    """The customer's end of a call or a message; an anonymous caller without contact is nobody."""
    contact, number = part(call.get("contact")), phone(call.get("raw_digits"))
    person = MAKER.key(payload, "contact", contact["id"]) if contact.get("id") else None
    if not person and not number:
        return []
    facts: dict[str, Any] = {"role": "callee" if call.get("direction") == "outbound" else "caller"}
    if person:
        facts |= {"person": person, "name": full_name(contact)}
    if number:
        facts["identifier"] = number
    return [Party(**facts)]


def _joined(payload: Payload, call: Mapping[str, Any], parties: list[Party]) -> Iterator[Party]:
    """Who else was in a conference: it happened to them, too, and is not their need. The caller is among the
    participants, with their number or as the contact; staff are no parties."""
    known = {party.person for party in parties} | {party.identifier.value for party in parties if party.identifier}
    for one in objects(call.get("participants") or call.get("conference_participants")):
        number, kind = phone(one.get("phone_number")), one.get("type")
        if kind not in ("contact", "external") or (number and number.value in known):
            continue
        facts: dict[str, Any] = {"role": "collaborator"}
        if kind == "contact" and one.get("id"):
            facts["person"] = who = MAKER.key(payload, "contact", one["id"])
        elif number:
            facts["identifier"], who = number, number.value
        else:
            continue
        if who not in known:
            known.add(who)
            yield Party(**facts, **({"name": one["name"]} if one.get("name") else {}))


def _comment(payload: Payload, comment: Mapping[str, Any], parties: list[Party], call: Mapping[str, Any]) -> Event:
    """A comment is written once: the moment of posting is its clock, and each snapshot of the call tells it again."""
    at = from_seconds(comment.get("posted_at")) or from_seconds(call.get("started_at"))
    author = staff(payload, comment.get("posted_by"))
    facts = {"at": at, "created_at": at, "author": author, "body": comment.get("content"), "parties": parties or None}
    note = Note(**{name: value for name, value in facts.items() if value is not None})
    clock, sequence = to_ms(at) if at else None, payload.at if payload.pushed else None
    return MAKER.upserted(payload, "comment", comment["id"], note, clock=clock, sequence=sequence, mode="patch")
