"""What became of a caller's talk with one of Aircall's AI voice agents. Pure.

Its end and the moment in which it passed the call on to people are heard by webhook; each talk is a note of its own.
Reads can list a call's agents (`fetch_aiva_conv`), but name no session, so that nothing joins them to what was heard.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from connectors.aircall.shapes import MAKER, identity, moment_of, phone
from core.sdk import Payload
from schemas.entities import Note, Party, Reference
from schemas.event import Event

FAMILY = "ai_voice_agent"
TOLD = frozenset({f"{FAMILY}.ended", f"{FAMILY}.escalated"})
# PRIVACY: what callers said to it (`extracted_data`) is not among them.
NAMES = ("id", "call_id", "call_uuid", "ai_voice_agent_id", "ai_voice_agent_name", "ai_voice_agent_session_id",
         "number_id", "external_caller_number", "call_end_reason", "escalation_reason", "created_at", "started_at",
         "ended_at")  # fmt: skip


def talk_of(payload: Payload, talk: Mapping[str, Any]) -> Iterator[Event]:
    """A note by the agent, at the moment that the delivery tells of."""
    id, agent = talk.get("ai_voice_agent_session_id") or identity(payload), talk.get("ai_voice_agent_id")
    caller, clock = phone(talk.get("external_caller_number")), payload.at or payload.received
    facts = {
        "at": moment_of(talk.get("started_at") or talk.get("created_at")),
        "author": Reference(key=MAKER.key(payload, FAMILY, agent), name=talk.get("ai_voice_agent_name"))
        if agent
        else None,
        "body": _told(payload.kind, talk),
        "source_state": talk.get("call_end_reason"),
        "parties": [Party(role="caller", identifier=caller)] if caller else None,
    }
    note = Note(**{name: value for name, value in facts.items() if value is not None})
    yield MAKER.upserted(payload, "ai_talk", id, note, clock=clock, mode="patch")


def _told(event: str, talk: Mapping[str, Any]) -> str | None:
    """None where the end says less than the escalation before it."""
    ended, reason = talk.get("call_end_reason"), talk.get("escalation_reason")
    if reason:
        return f"The AI voice agent passed the call on to people: {reason}"
    if event.endswith("escalated"):
        return "The AI voice agent passed the call on to people."
    if ended and ended != "escalated" and (words := " ".join(filter(None, str(ended).split("_")))):
        return f"The AI voice agent's talk ended: {words}"
    return None
