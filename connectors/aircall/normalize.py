"""Aircall's payloads to events. Pure.

Kinds: an event's name (`call.ended`) of a push; `call`, `contact`, `user` or `team` of a read, `<kind>.missing` of what
could not be read any more, `summary` or `transcription` of what was read about a call.
"""

from collections.abc import Iterable
from dataclasses import replace

from connectors.aircall.calls import call_of
from connectors.aircall.insights import FAMILIES, insight_of
from connectors.aircall.messages import message_of
from connectors.aircall.people import contact_of, team_of, user_of
from connectors.aircall.shapes import MAKER, identity, unversioned
from connectors.aircall.voice import TOLD, talk_of
from core.sdk import NormalizeError, Payload
from schemas.entities import Call
from schemas.event import Event


def normalize(payload: Payload) -> Iterable[Event]:
    """Raises NormalizeError where the data is not an object with an id. Kinds that we do not know give nothing."""
    data = payload.data
    if not isinstance(data, dict):
        raise NormalizeError(f"{payload.kind}: not an object")
    payload = replace(payload, kind=unversioned(payload.kind))
    family, _, what = payload.kind.partition(".")
    gone = what in ("deleted", "missing")
    match family:
        case "call" if gone:
            clock = None if what == "missing" else payload.received  # a later read may find what was missing
            return [MAKER.deleted(payload, "call", identity(payload), Call, clock=clock)]
        case "call":
            return call_of(payload, data)
        case "contact":
            return contact_of(payload, data, gone=gone)
        case "user":
            return user_of(payload, data, gone=gone)
        case "team":
            return team_of(payload, data, gone=gone)
        case "message":
            return message_of(payload, data)
        case _ if payload.kind in TOLD:
            return talk_of(payload, data)
        case _ if payload.kind in FAMILIES:
            return insight_of(payload, data)
    return []
