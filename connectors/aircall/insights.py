"""What Aircall's AI wrote about a call: a summary, a transcript. Pure.

PRIVACY: they come only where the connection's `insights` asks for them: the company's word that callers agreed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from connectors.aircall.shapes import MAKER, objects, part
from core.sdk import NormalizeError, Payload, plain
from schemas.entities import Call
from schemas.event import Event

FAMILIES = {"summary": "summary", "transcription": "transcription"}  # of events -> the setting that allows them
_SPEAKERS = {"internal": "Staff", "external": "Customer", "ai_voice_agent": "AI agent"}


def insight_of(payload: Payload, insight: Mapping[str, Any]) -> Iterator[Event]:
    """A patch of its call, which may not have been heard of yet. `call_id` is text here."""
    id, content = insight.get("call_id"), insight.get("content")
    if not id:
        raise NormalizeError(f"{payload.kind}: names no call")
    if payload.kind == "summary":
        known: dict[str, Any] = {"summary": plain(content) if isinstance(content, str) else None}
    else:
        known = {"transcript": _spoken(part(content)), "transcript_consent": True}
    if not known.get(FIELDS[payload.kind]):
        return
    yield MAKER.upserted(payload, "call", id, Call(**known), clock=payload.received, mode="patch")


FIELDS = {"summary": "summary", "transcription": "transcript"}


def _spoken(content: Mapping[str, Any]) -> str | None:
    """A line per utterance."""
    lines = [
        f"{_SPEAKERS.get(str(each.get('participant_type')), 'Somebody')}: {' '.join(str(each['text']).split())}"
        for each in objects(content.get("utterances"))
        if each.get("text")
    ]
    return "\n".join(lines) or None
