"""What the mock's company hears beside its calls' own lives: text messages, AI voice agents, what AI wrote. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from connectors.aircall.mock_shapes import API, Object, display, envelope, pushed
from core.sdk.cast import SUPPORT_NUMBER
from core.sdk.mock import Push
from core.sdk.story import Beat, number, uuid


class Messages:
    """Text messages on one line. Aircall's API has no list of them: what is not heard is lost."""

    def __init__(self, seed: int, line: Object) -> None:
        self._seed, self._line = seed, line
        self._known: dict[str, tuple[Object, bool]] = {}  # by ref, and whether its number was in proxy mode

    def write(self, beat: Beat, contact: Object | None, second: int) -> Push:
        inbound, at = beat.data.get("direction") != "outbound", _iso(second)
        id, proxy = uuid(self._seed, f"message:{beat.ref}"), bool(beat.data.get("proxy"))
        message = {
            "id": id, "direct_link": f"{API}/messages/{id}", "direction": "inbound" if inbound else "outbound",
            "external_number": beat.data["phone"], "raw_digits": display(beat.data["phone"]),
            "body": beat.data["text"], "status": "received" if inbound else "sent", "channel": beat.data.get("channel"),
            "media_details": [], "media_url": [], "created_at": at, "updated_at": at, "sent_at": at,
            "number": self._line, "contact": contact,
        }  # fmt: skip
        self._known[beat.ref] = message, proxy
        if proxy and not inbound:
            return callback("message.updated", second, message)
        told = callback if proxy else pushed
        return told("message.received" if inbound else "message.sent", second, message)

    def status(self, beat: Beat, second: int) -> list[Push]:
        if beat.ref not in self._known:
            return []
        message, proxy = self._known[beat.ref]
        message |= {"status": beat.data["status"], "updated_at": _iso(second)}
        if proxy:
            return [callback("message.updated", second, message)]
        return [pushed("message.status_updated", second, message)]


def callback(event: str, second: int, message: Object) -> Push:
    """As a number in proxy mode tells it: another key for the event, milliseconds, and never again. That it carries the
    webhook's token is UNVERIFIED."""
    body = {"event_name": event, "timestamp": second * 1000, "data": dict(message)}
    return Push(message["id"], body, event, once=True)


def chosen(seed: int, call: Object, beat: Beat, second: int) -> Object:
    """What the caller chose in the line's menu."""
    at = _iso(second)
    return {
        "id": str(number(seed, f"option:{call['id']}:{beat.data['key']}", 9)), "title": beat.data["title"],
        "key": beat.data["key"], "branch": None, "created_at": at, "transition_started_at": at,
        "transition_ended_at": at,
    }  # fmt: skip


def voice_agent(seed: int, call: Object, line: Object, beat: Beat, second: int) -> Push:
    """A caller's talk with an AI voice agent: `what` is started, escalated or ended."""
    what, id = beat.data["what"], number(seed, f"talk:{call['id']}", 9)
    talk = {
        "id": id, "call_id": call["id"], "call_uuid": call["sid"], "number_id": line["id"],
        "ai_voice_agent_id": str(number(seed, "voice agent", 6)), "ai_voice_agent_name": "Front desk",
        "ai_voice_agent_session_id": uuid(seed, f"talk:{call['id']}"), "aircall_number": display(SUPPORT_NUMBER),
        "external_caller_number": call["raw_digits"], "created_at": call["started_at"],
        "started_at": call["started_at"], "ended_at": second if what == "ended" else None,
        "call_end_reason": beat.data.get("ending"), "escalation_reason": beat.data.get("reason"),
        "extracted_data": {"order": "1042"} if what == "ended" else None,
    }  # fmt: skip
    return pushed(f"ai_voice_agent.{what}", second, talk)


def insight(seed: int, what: str, text: str, call: Object, line: Object, second: int) -> tuple[Object, Push]:
    """What AI wrote, as a read tells it, and its webhook. A summary is a text, a transcript is made of utterances; a
    call's id is text here."""
    said: Mapping[str, Any] = {"start_time": 0.4, "end_time": 3.1, "text": text, "participant_type": "external",
                               "phone_number": call["phone"]}  # fmt: skip
    found = {
        "id": number(seed, f"{what}:{call['id']}", 6), "call_id": str(call["id"]), "call_uuid": call["sid"],
        "number_id": line["id"], "type": "call", "ai_generated": True, "call_created_at": _iso(second),
        "created_at": _iso(second), "created_by": None, "updated_at": None, "updated_by": None, "participants": [],
        "content": text if what == "summary" else {"language": "en-US", "utterances": [said]},
    }  # fmt: skip
    body = {**envelope(f"{what}.created", second, found), "resource": "conversation_intelligence"}
    return found, Push(str(call["id"]), body, f"{what}.created")


def _iso(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}"
