"""The invented Aircall company that the mock serves: users, one line, contacts, calls, and how the story changes them.

Shapes follow Aircall's public reference: Unix seconds in calls, ISO text in a contact's webhooks and numbers in its
reads, `sid` and `conference_participants` in reads where webhooks say `call_uuid` and `participants`.
"""

import bisect
import copy
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from core.sdk.cast import LINE, ORGANIZATIONS, STAFF, SUPPORT_NUMBER, TEAMS
from core.sdk.mock import Push
from core.sdk.story import Beat, number, uuid

API = "https://api.aircall.io/v1"
BORN = "2024-01-08T09:00:00.000Z"

Object = dict[str, Any]


class Company:
    """`calls` and `contacts` by id, as reads tell them; a call's `contact` is only the id until it is shown."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.calls: dict[int, Object] = {}
        self.contacts: dict[int, Object] = {}
        self._by_phone: dict[str, list[int]] = {}
        self._began: list[tuple[int, int]] = []  # (started_at, id), sorted
        self.users = {slug: self._user(slug) for slug in STAFF}
        self.teams = {slug: self._team(slug) for slug in TEAMS}
        self.line = self._line()
        self.insights: dict[tuple[int, str], Object] = {}  # what the AI wrote about a call
        self.webhook_active = True

    def apply(self, beat: Beat, second: int) -> Sequence[Push]:
        match beat.kind:
            case "refuse":
                forged = {"id": number(self.seed, f"forged:{second}")}
                return [Push("forged", envelope("call.created", second, forged), "call.created", forged=True)]
            case "person.upsert":
                return self._contact(beat, second)
            case "person.delete":
                return self._forget(beat, second)
            case "call.ring":
                return self._ring(beat, second)
            case "user.leave":
                return [_say("user.deleted.v2", second, self.users.pop(beat.ref))]
            case "user.away":
                self.users[beat.ref] |= {"available": False, "availability_status": "unavailable"}
                return [_say("user.closed.v2", second, self.users[beat.ref])]
            case "message.write":
                return self._write(beat, second)
            case "webhook.off":
                self.webhook_active = False
                return []
        call = self.calls.get(self._call_id(beat.ref))
        return [] if call is None else self._go_on(beat, call, second)

    def between(self, begin: int, end: int) -> list[int]:
        """Ids of the calls that began in [begin, end], in order."""
        low, high = bisect.bisect_left(self._began, (begin, 0)), bisect.bisect_left(self._began, (end + 1, 0))
        return [id for _, id in self._began[low:high]]

    def shown(self, call: Object, *, contact: bool) -> Object:
        """As a read tells it; the contact only where it was asked for."""
        found = self.contacts.get(call["contact"]) if contact and call["contact"] else None
        return {**{name: value for name, value in call.items() if name != "phone"}, "contact": found}

    def _call_id(self, ref: str) -> int:
        return number(self.seed, f"call:{ref}")

    def _contact(self, beat: Beat, second: int) -> Sequence[Push]:
        id = number(self.seed, f"contact:{beat.ref}", 9)
        known = id in self.contacts
        contact = self.contacts.setdefault(id, {
            "id": id, "direct_link": f"{API}/contacts/{id}", "first_name": None, "last_name": None,
            "company_name": None, "description": None, "information": None, "is_shared": True, "created_at": second,
            "updated_at": second, "emails": [], "phone_numbers": [],
        })  # fmt: skip
        contact["updated_at"] = second
        for field, name in (("given", "first_name"), ("family", "last_name")):
            contact[name] = beat.data.get(field, contact[name])
        if company := beat.data.get("organization"):
            contact["company_name"] = ORGANIZATIONS[company].name
        if email := beat.data.get("email"):
            contact["emails"] = [{"id": number(self.seed, f"email:{id}", 8), "label": "Work", "value": email}]
        if phone := beat.data.get("phone"):
            self._unlist(contact)
            contact["phone_numbers"] = [
                {"id": number(self.seed, f"phone:{id}", 8), "label": "Mobile", "value": display(phone)}
            ]
            self._by_phone.setdefault(phone, []).append(id)
        return [_say("contact.updated" if known else "contact.created", second, _webhook_contact(contact))]

    def _forget(self, beat: Beat, second: int) -> Sequence[Push]:
        contact = self.contacts.pop(number(self.seed, f"contact:{beat.ref}", 9), None)
        if contact is None:
            return []
        self._unlist(contact)
        return [_say("contact.deleted", second, _webhook_contact(contact))]

    def _unlist(self, contact: Mapping[str, Any]) -> None:
        for item in contact["phone_numbers"]:
            self._by_phone.get("+" + "".join(filter(str.isdigit, item["value"])), []).remove(contact["id"])

    def _ring(self, beat: Beat, second: int) -> Sequence[Push]:
        id, phone, inbound = self._call_id(beat.ref), beat.data["phone"], beat.data.get("direction") != "outbound"
        sid = "CA" + uuid(self.seed, f"call:{beat.ref}").replace("-", "")
        call = self.calls[id] = {
            "id": id, "direct_link": f"{API}/calls/{id}", "sid": sid,
            "direction": "inbound" if inbound else "outbound", "status": "initial", "missed_call_reason": None,
            "started_at": second, "answered_at": None, "ended_at": None, "duration": 0, "raw_digits": display(phone),
            "voicemail": None, "recording": None, "asset": None, "archived": False, "hangup_cause": None, "cost": "0.0",
            "country_code_a2": "US", "pricing_type": "included",
            "contact": self._owner(phone), "phone": phone,
            "user": None if inbound else self.users[beat.data.get("by", "maya")], "assigned_to": None,
            "transferred_by": None, "transferred_to": None, "teams": [self.teams["support"]] if inbound else [],
            "tags": [], "comments": [], "number": self.line,
            "conference_participants": [{"type": "external", "phone_number": display(phone)}],
        }  # fmt: skip
        bisect.insort(self._began, (second, id))
        said = [self._tell("call.created", second, call)]
        if inbound:
            call["user"] = list(self.users.values())[id % len(self.users)]
            said.append(self._tell("call.ringing_on_agent", second, call))
        return said

    def _owner(self, phone: str) -> int | None:
        """Where two contacts have the number, nobody can know who calls."""
        owners = self._by_phone.get(phone, [])
        return owners[0] if len(owners) == 1 else None

    def _go_on(self, beat: Beat, call: dict[str, Any], second: int) -> Sequence[Push]:
        by = self.users.get(beat.data.get("by", ""))
        call["contact"] = call["contact"] or self._owner(call["phone"])
        match beat.kind.removeprefix("call."):
            case "answer":
                call |= {"status": "answered", "answered_at": second, "user": by or call["user"]}
                return [self._tell("call.answered", second, call)]
            case "miss":
                call |= {"missed_call_reason": beat.data.get("reason"), "user": None}
                return self._hang_up(call, second)
            case "voicemail":
                call |= {"voicemail": _media(call, "voicemail"), "asset": _asset(call, "voicemail")}
                return [self._tell("call.voicemail_left", second, call)]
            case "end":
                return self._end(call, second)
            case "transfer":
                return self._transfer(beat, call, second)
            case "comment":
                comment = {"id": self._item(call, "comments"), "content": beat.data["text"], "posted_at": second}
                call["comments"] = [*call["comments"], {**comment, "posted_by": by}]
                return [self._tell("call.commented", second, call)]
            case "tag":
                tag = {"id": self._item(call, "tags"), "name": beat.data["tag"], "created_at": second, "tagged_by": by}
                call["tags"] = [*call["tags"], tag]
                return [self._tell("call.tagged", second, call)]
            case "untag":
                call["tags"] = [tag for tag in call["tags"] if tag["name"] != beat.data["tag"]]
                return [self._tell("call.untagged", second, call)]
            case "archive":
                call["archived"] = True
                return [self._tell("call.archived", second, call)]
            case "assign":
                call["assigned_to"] = self.users[beat.data["to"]]
                return [self._tell("call.assigned", second, call)]
            case "insight":
                return [self._understood(beat.data["what"], beat.data["text"], call, second)]
        return []

    def _item(self, call: Mapping[str, Any], kind: str) -> int:
        return number(self.seed, f"{kind}:{call['id']}:{len(call[kind])}", 9)

    def _hang_up(self, call: dict[str, Any], second: int) -> list[Push]:
        call |= {"status": "done", "ended_at": second, "duration": second - call["started_at"]}
        return [self._tell("call.hungup", second, call)]

    def _end(self, call: dict[str, Any], second: int) -> Sequence[Push]:
        said = [] if call["ended_at"] else self._hang_up(call, second)
        said.append(self._tell("call.ended", second, call))
        if call["answered_at"]:
            call |= {"recording": _media(call, "recording"), "asset": _asset(call, "recording")}
            said.append(self._tell("call.comm_assets_generated", second, call))
        return said

    def _transfer(self, beat: Beat, call: dict[str, Any], second: int) -> Sequence[Push]:
        to = self.users[beat.data["to"]]
        # Only this event knows who passed it on; in later snapshots it is null, as with the source.
        said = self._tell("call.transferred", second, {**call, "transferred_by": call["user"], "transferred_to": to})
        call |= {"transferred_to": to, "user": to}
        return [said]

    def _understood(self, what: str, text: str, call: Object, second: int) -> Push:
        """A summary is a text, a transcript is made of utterances; a call's id is text here."""
        at = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}"
        said = {"start_time": 0.4, "end_time": 3.1, "text": text, "participant_type": "external",
                "phone_number": call["phone"]}  # fmt: skip
        insight = {
            "id": number(self.seed, f"{what}:{call['id']}", 6), "call_id": str(call["id"]), "call_uuid": call["sid"],
            "number_id": self.line["id"], "type": "call", "ai_generated": True, "call_created_at": at, "created_at": at,
            "created_by": None, "updated_at": None, "updated_by": None, "participants": [],
            "content": text if what == "summary" else {"language": "en-US", "utterances": [said]},
        }  # fmt: skip
        self.insights[call["id"], what] = insight
        return Push(str(call["id"]), {**envelope(f"{what}.created", second, insight),
                                      "resource": "conversation_intelligence"}, f"{what}.created")  # fmt: skip

    def _write(self, beat: Beat, second: int) -> Sequence[Push]:
        inbound, at = beat.data.get("direction") != "outbound", datetime.fromtimestamp(second, UTC)
        owner, shown = self._owner(beat.data["phone"]), f"{at:%Y-%m-%dT%H:%M:%SZ}"
        id = uuid(self.seed, f"message:{beat.ref}")
        message = {
            "id": id, "direct_link": f"{API}/messages/{id}", "direction": "inbound" if inbound else "outbound",
            "external_number": beat.data["phone"], "raw_digits": display(beat.data["phone"]),
            "body": beat.data["text"], "status": "received" if inbound else "sent", "channel": beat.data.get("channel"),
            "media_details": [], "media_url": [], "created_at": shown, "updated_at": shown, "sent_at": shown,
            "number": self.line, "contact": _webhook_contact(self.contacts[owner]) if owner else None,
        }  # fmt: skip
        return [_say("message.received" if inbound else "message.sent", second, message)]

    def _tell(self, event: str, second: int, call: Object) -> Push:
        """A snapshot of the call as a webhook shows it."""
        shown = self.shown(call, contact=True)
        shown["call_uuid"] = shown.pop("sid")
        shown["participants"] = shown.pop("conference_participants")
        shown["number"] = {**self.line, "e164_digits": SUPPORT_NUMBER}
        if shown["contact"]:
            shown["contact"] = _webhook_contact(shown["contact"])
        return _say(event, second, shown)

    def _user(self, slug: str) -> Object:
        who, id = STAFF[slug], number(self.seed, f"user:{slug}", 6)
        return {
            "id": id, "direct_link": f"{API.replace('v1', 'v2')}/users/{id}", "name": f"{who.given} {who.family}",
            "email": who.email, "available": True, "availability_status": "available", "substatus": "always_open",
            "created_at": BORN, "time_zone": "America/New_York", "language": "en-US", "wrap_up_time": 0,
        }  # fmt: skip

    def _team(self, slug: str) -> Object:
        id, members = number(self.seed, f"team:{slug}", 6), [key for key, who in STAFF.items() if who.team == slug]
        users = [self.users[key] for key in members]
        return {"id": id, "direct_link": f"{API}/teams/{id}", "name": TEAMS[slug], "created_at": BORN, "users": users}

    def _line(self) -> Object:
        id = number(self.seed, "number:main", 6)
        return {
            "id": id, "direct_link": f"{API}/numbers/{id}", "name": LINE, "digits": display(SUPPORT_NUMBER),
            "created_at": BORN, "country": "US", "time_zone": "America/New_York", "open": True,
            "availability_status": "open", "is_ivr": False, "live_recording_activated": True, "priority": None,
        }  # fmt: skip


def _say(event: str, second: int, data: Object) -> Push:
    return Push(str(data["id"]), envelope(event, second, data), event)


def envelope(event: str, second: int, data: Mapping[str, Any]) -> Object:
    """Without the token, which is put in when it is sent. The data is copied: the world goes on changing."""
    return {"resource": event.partition(".")[0], "event": event, "timestamp": second, "data": copy.copy(data)}


def display(phone: str) -> str:
    """`+1 202-555-0143`: Aircall shows numbers as people read them; `anonymous` stays as it is."""
    if phone.startswith("+1") and len(phone) == 12:
        return f"+1 {phone[2:5]}-{phone[5:8]}-{phone[8:]}"
    if phone.startswith("+44") and len(phone) == 13:
        return f"+44 {phone[3:5]} {phone[5:9]} {phone[9:]}"
    return phone


def _webhook_contact(contact: Object) -> Object:
    moments = {name: datetime.fromtimestamp(contact[name], UTC) for name in ("created_at", "updated_at")}
    return {**contact, **{name: f"{moment:%Y-%m-%dT%H:%M:%SZ}" for name, moment in moments.items()}}


def _media(call: Object, kind: str) -> str:
    return f"https://media.example.com/{call['id']}/{kind}.mp3?signature=expires-within-the-hour"


def _asset(call: Object, kind: str) -> str:
    return f"https://assets.aircall.io/calls/{call['id']}/{kind}"
