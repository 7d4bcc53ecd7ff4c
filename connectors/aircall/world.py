"""The invented Aircall company that the mock serves: users, one line, contacts, calls, and how the story changes them.

Shapes follow Aircall's public reference: Unix seconds in calls, ISO text in a contact's webhooks and numbers in its
reads, `sid` and `conference_participants` in reads where webhooks say `call_uuid` and `participants`.
"""

import bisect
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from connectors.aircall.mock_shapes import API, BORN, Object, asset, display, envelope, media, pushed, webhook_contact
from connectors.aircall.mock_talks import Messages, chosen, insight, voice_agent
from core.sdk.cast import LINE, ORGANIZATIONS, STAFF, SUPPORT_NUMBER, TEAMS
from core.sdk.mock import Push
from core.sdk.story import Beat, number, uuid


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
        self.messages = Messages(seed, self.line)
        self._chosen: dict[int, list[Object]] = {}  # by call: what the caller chose in the menu
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
                return [pushed("user.deleted.v2", second, self.users.pop(beat.ref))]
            case "user.away":
                self.users[beat.ref] |= {"available": False, "availability_status": "unavailable"}
                return [pushed("user.closed.v2", second, self.users[beat.ref])]
            case "message.write":
                owner = self.contacts.get(self._owner(beat.data["phone"]) or 0)
                return [self.messages.write(beat, webhook_contact(owner) if owner else None, second)]
            case "message.status":
                return self.messages.status(beat, second)
            case "webhook.off" | "webhook.on":
                self.webhook_active = beat.kind.endswith("on")
                return []
        call = self.calls.get(self._call_id(beat.ref))
        return [] if call is None else self._go_on(beat, call, second)

    def between(self, begin: int, end: int) -> list[int]:
        """Ids of the calls that began in [begin, end], in order."""
        low, high = bisect.bisect_left(self._began, (begin, 0)), bisect.bisect_left(self._began, (end + 1, 0))
        return [id for _, id in self._began[low:high]]

    def shown(self, call: Object, *, contact: bool, timeline: float = inf) -> Object:
        """As a read tells it; only where asked for the contact, and of calls that began at `timeline` (epoch seconds)
        or later what the caller chose in the menu."""
        found = self.contacts.get(call["contact"]) if contact and call["contact"] else None
        told = {**{name: value for name, value in call.items() if name != "phone"}, "contact": found}
        if call["started_at"] < timeline:
            return told
        return {**told, "ivr_options_selected": self._chosen.get(call["id"], [])}

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
        return [pushed("contact.updated" if known else "contact.created", second, webhook_contact(contact))]

    def _forget(self, beat: Beat, second: int) -> Sequence[Push]:
        contact = self.contacts.pop(number(self.seed, f"contact:{beat.ref}", 9), None)
        if contact is None:
            return []
        self._unlist(contact)
        return [pushed("contact.deleted", second, webhook_contact(contact))]

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
                call |= {"voicemail": media(call, "voicemail"), "asset": asset(call, "voicemail")}
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
            case "assign":
                call["assigned_to"] = self.users[beat.data["to"]]
                return [self._tell("call.assigned", second, call)]
        return self._seldom(beat, call, second)

    def _seldom(self, beat: Beat, call: Object, second: int) -> Sequence[Push]:
        match beat.kind.removeprefix("call."):
            case "archive":
                call["archived"] = True
                return [self._tell("call.archived", second, call)]
            case "unarchive":  # no event tells it
                call["archived"] = False
            case "join":  # nor that: the snapshots that follow show it
                call["conference_participants"] = [*call["conference_participants"], *self._joining(beat)]
            case "choose":
                options = [*self._chosen.get(call["id"], []), chosen(self.seed, call, beat, second)]
                self._chosen[call["id"]] = options
                return [self._tell("call.ivr_option_selected", second, {**call, "ivr_options_selected": options})]
            case "outside":
                # Only this event knows where it went.
                facts = {"external_transferred_to": display(beat.data["phone"]),
                         "external_caller_number": call["raw_digits"]}  # fmt: skip
                return [self._tell("call.external_transferred", second, {**call, **facts})]
            case "voice_agent":
                return [voice_agent(self.seed, call, self.line, beat, second)]
            case "insight":
                what = beat.data["what"]
                found, told = insight(self.seed, what, beat.data["text"], call, self.line, second)
                self.insights[call["id"], what] = found
                return [told]
        return []

    def _joining(self, beat: Beat) -> list[Object]:
        """A colleague (`by`), a contact (`person`) or a number outside (`phone`)."""
        if user := self.users.get(beat.data.get("by", "")):
            return [{"type": "user", "id": str(user["id"]), "name": user["name"]}]
        if phone := beat.data.get("phone"):
            return [{"type": "external", "phone_number": display(phone)}]
        contact = self.contacts.get(number(self.seed, f"contact:{beat.data.get('person')}", 9))
        if contact is None:
            return []
        numbers = [item["value"] for item in contact["phone_numbers"]]
        who = {"type": "contact", "id": str(contact["id"]), "name": contact["first_name"]}
        return [{**who, "phone_number": numbers[0] if numbers else None}]

    def _item(self, call: Mapping[str, Any], kind: str) -> int:
        return number(self.seed, f"{kind}:{call['id']}:{len(call[kind])}", 9)

    def _hang_up(self, call: dict[str, Any], second: int) -> list[Push]:
        call |= {"status": "done", "ended_at": second, "duration": second - call["started_at"]}
        return [self._tell("call.hungup", second, call)]

    def _end(self, call: dict[str, Any], second: int) -> Sequence[Push]:
        said = [] if call["ended_at"] else self._hang_up(call, second)
        said.append(self._tell("call.ended", second, call))
        if call["answered_at"]:
            call |= {"recording": media(call, "recording"), "asset": asset(call, "recording")}
            said.append(self._tell("call.comm_assets_generated", second, call))
        return said

    def _transfer(self, beat: Beat, call: dict[str, Any], second: int) -> Sequence[Push]:
        to = self.users[beat.data["to"]]
        # Only this event knows who passed it on; in later snapshots it is null, as with the source.
        said = self._tell("call.transferred", second, {**call, "transferred_by": call["user"], "transferred_to": to})
        call |= {"transferred_to": to, "user": to}
        return [said]

    def _tell(self, event: str, second: int, call: Object) -> Push:
        """A snapshot of the call as a webhook shows it."""
        shown = self.shown(call, contact=True)
        shown["call_uuid"] = shown.pop("sid")
        shown["participants"] = shown.pop("conference_participants")
        shown["number"] = {**self.line, "e164_digits": SUPPORT_NUMBER}
        if shown["contact"]:
            shown["contact"] = webhook_contact(shown["contact"])
        return pushed(event, second, shown)

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
