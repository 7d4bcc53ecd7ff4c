"""The workspace that the mock of Intercom plays: contacts, companies, conversations. Pure: no I/O, no clock."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connectors.intercom import desk, views
from core.sdk.cast import ORGANIZATIONS, STAFF
from core.sdk.mock import Push
from core.sdk.story import Beat, number, uuid

Object = dict[str, Any]
_FACTS = ("email", "phone", "external_id", "language", "country", "role")


class Workspace:
    """All that exists, by id. Times are kept in epoch ms and shown as each surface shows them. `lag`: so many ms later
    do searches find what changed; `late`: single objects, by id."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.code = f"w{number(seed, 'workspace', 7)}"
        self.contacts: dict[str, Object] = {}
        self.archived: dict[str, Object] = {}
        self.companies: dict[str, Object] = {}
        self.conversations: dict[str, Object] = {}
        self.deleted: list[Object] = []  # conversations, oldest first
        self.merged: dict[str, str] = {}  # absorbed contact -> survivor
        self.history: dict[str, list[Object]] = {}  # survivor -> whom it absorbed, oldest first
        self.desk = desk.Desk(seed)
        self.staff = {slug: {"away": False} for slug in STAFF}
        self.lag, self.late = 0, dict[str, int]()
        self._told = 0
        self._last = 0

    def lag_of(self, id: str) -> int:
        return self.late.get(id, self.lag)

    def contact_id(self, ref: str) -> str:
        return uuid(self.seed, f"contact:{ref}").replace("-", "")[:24]

    def conversation_id(self, ref: str) -> str:
        return str(number(self.seed, f"conversation:{ref}", 15))

    def admin_id(self, slug: str) -> int:
        return number(self.seed, f"admin:{slug}", 7)

    def team_id(self, slug: str) -> int:
        return number(self.seed, f"team:{slug}", 7)

    def apply(self, beat: Beat, now: int) -> Sequence[Push]:
        """One beat of the story at `now` (epoch ms). What is unknown or gone changes nothing.

        No two things happen in the same millisecond: that is what orders the webhooks of one second.
        """
        self._last = now = max(now, self._last + 1)
        if not self.desk.articles and beat.n < 0:
            self.desk.stock(now)
        act = ACTS.get(beat.kind)
        return act(self, beat, now) if act else ()

    def push(self, topic: str, item: Object, now: int, subject: str) -> Push:
        self._told += 1
        return Push(
            subject=subject,
            kind=topic,
            body={
                "type": "notification_event",
                "app_id": self.code,
                "data": {"type": "notification_event_data", "item": item},
                "links": {},
                "id": f"notif_{uuid(self.seed, f'notification:{self._told}')}",
                "topic": topic,
                "delivery_status": "pending",
                "delivery_attempts": 1,
                "delivered_at": 0,
                "first_sent_at": now // 1000,
                "created_at": now // 1000,
                "self": None,
            },
        )

    # Contacts

    def upsert(self, beat: Beat, now: int) -> Sequence[Push]:
        id, data = self.contact_id(beat.ref), beat.data
        pushes: list[Push] = []
        known = self.contacts.get(id)
        person = known or {"id": id, "role": "user", "created": now, "given": "", "family": "", "companies": [],
                           "tags": [], "notes": [], "choices": {}, "unsubscribed": False}  # fmt: skip
        person |= {name: data[name] for name in (*_FACTS, "given", "family") if name in data}
        person["updated"] = now
        self.contacts[id] = person
        if slug := data.get("organization"):
            pushes += self._found(slug, now)
            person["companies"] = list(dict.fromkeys([*person["companies"], self.company_id(slug)]))
        topic = f"contact.{person['role']}.{'updated' if known else 'created'}"
        return [*pushes, self.push(topic, views.contact(self, person, pushed=True), now, id)]

    def company_id(self, slug: str) -> str:
        return uuid(self.seed, f"company:{slug}").replace("-", "")[:24]

    def _found(self, slug: str, now: int) -> Sequence[Push]:
        id = self.company_id(slug)
        if id in self.companies:
            return ()
        made = ORGANIZATIONS[slug]
        self.companies[id] = {"id": id, "slug": slug, "name": made.name, "domain": made.domain, "created": now}
        return [self.push("company.created", views.company(self, self.companies[id], pushed=True), now, id)]

    def change(self, beat: Beat, now: int) -> Sequence[Push]:
        """person.tag, .untag, .note, .choose, .unsubscribe: what webhooks hardly show, and a read does."""
        person, data = self.contacts.get(self.contact_id(beat.ref)), beat.data
        if person is None:
            return ()
        person["updated"], what = now, beat.kind.partition(".")[2]
        shown = views.contact(self, person, pushed=True)
        subscription = {"type": "subscription", "contact": {"type": "contact", "id": person["id"]}}
        match what:
            case "tag" | "untag":
                person["tags"] = [tag for tag in person["tags"] if tag != data["tag"]] + [data["tag"]] * (what == "tag")
                topic = f"contact.{person['role']}.tag.{'created' if what == 'tag' else 'deleted'}"
                tag = {
                    name: value
                    for name, value in views.tag(self, data["tag"]).items()
                    if name in ("type", "id", "name")
                }
                item = {"type": "contact_tag", "created_at": now // 1000, "tag": tag, "contact": shown}
                return [self.push(topic, item, now, person["id"])]
            case "note":
                id = str(number(self.seed, f"note:{beat.ref}:{len(person['notes'])}", 8))
                person["notes"].append({"id": id, "by": data["by"], "text": data["text"], "at": now})
                return ()  # no topic tells of it
            case "choose":
                person["choices"][data["subscription"]] = data["chosen"]
                topic = "granular.subscribe" if data["chosen"] else "granular.unsubscribe"
                return [self.push(topic, subscription, now, person["id"])]
            case _:
                person["unsubscribed"] = True
                return [self.push("contact.unsubscribed", subscription, now, person["id"])]

    def staffed(self, beat: Beat, now: int) -> Sequence[Push]:
        """admin.away, admin.leave: of one of the company's own people."""
        shown = next(each for each in views.admins(self) if each["id"] == str(self.admin_id(beat.ref)))
        if beat.kind == "admin.leave":
            del self.staff[beat.ref]
            return [self.push("admin.removed_from_workspace", shown, now, shown["id"])]
        self.staff[beat.ref]["away"] = bool(beat.data.get("away", True))
        return [self.push("admin.away_mode_updated", shown | {"away_mode_enabled": True}, now, shown["id"])]

    def delete(self, beat: Beat, now: int) -> Sequence[Push]:
        person = self.contacts.pop(self.contact_id(beat.ref), None)
        if person is None:
            return ()
        gone = {"id": person["id"], "external_id": person.get("external_id"), "type": "contact", "deleted": True}
        return [self.push("contact.deleted", gone, now, person["id"])]

    def archive(self, beat: Beat, now: int) -> Sequence[Push]:
        person = self.contacts.pop(self.contact_id(beat.ref), None)
        if person is None:
            return ()
        self.archived[person["id"]] = person
        gone = {"id": person["id"], "external_id": person.get("external_id"), "type": "contact", "archived": True}
        return [self.push("contact.archived", gone, now, person["id"])]

    def unarchive(self, beat: Beat, now: int) -> Sequence[Push]:
        person = self.archived.pop(self.contact_id(beat.ref), None)
        if person is None:
            return ()
        self.contacts[person["id"]] = person
        return [self.push("contact.unarchive", views.contact(self, person, pushed=True), now, person["id"])]

    def merge(self, beat: Beat, now: int) -> Sequence[Push]:
        """The absorbed contact is named nowhere but in the survivor's history; its conversations move."""
        old, into = self.contact_id(beat.ref), self.contact_id(beat.data["into"])
        survivor = self.contacts.get(into)
        if survivor is None or self.contacts.pop(old, None) is None:
            return ()
        self.merged[old] = into
        entry = {"type": "merge_history", "source_contact_id": old, "source_contact_role": "lead"}
        self.history.setdefault(into, []).append({**entry, "merged_at": now // 1000})
        for thread in (*self.conversations.values(), *self.desk.tickets.values()):
            if thread["person"] == old:
                thread |= {"person": into, "writer": views.as_of_now(survivor), "updated": now}
        survivor["updated"] = now
        return [self.push("contact.merged", views.contact(self, survivor, pushed=True), now, into)]

    def canonical(self, id: str) -> str | None:
        """Who stands for a contact that was merged, over at most three steps."""
        found = self.merged.get(id)
        for _ in range(2):
            found = self.merged.get(found, found) if found else None
        return found

    # Conversations

    def open(self, beat: Beat, now: int) -> Sequence[Push]:
        data, person = beat.data, self.contacts.get(self.contact_id(beat.data["person"]))
        if person is None:
            return ()
        id = self.conversation_id(beat.ref)
        self.conversations[id] = {
            "id": id, "person": person["id"], "writer": views.as_of_now(person), "text": data["text"],
            "subject": data["subject"],
            "channel": data.get("channel", "chat"), "assignee": data.get("assignee"), "team": data.get("team"),
            "created": now, "updated": now, "waiting": now, "state": "open", "snoozed": None, "parts": [], "tags": [],
            "rating": None, "answered": None, "closed": None, "reopens": 0, "assigned": 0,
        }  # fmt: skip
        person["replied"] = now
        shown = views.conversation(self, id, pushed=True, parts=[])
        told = self.push("conversation.user.created", shown, now, id)
        # What the past holds is promised by number: complaints become tickets from now on.
        after = desk.escalate(self, beat.ref, self.conversations[id], now) if beat.n >= 0 else ()
        return [told, *after]

    def happen(self, beat: Beat, now: int) -> Sequence[Push]:
        """A part is added to a conversation, and what it means for the conversation's state. A `silent` change is told
        by no webhook and leaves `updated_at` as it was."""
        id = self.conversation_id(beat.ref)
        thread = self.conversations.get(id)
        if thread is None:
            return ()
        customer = beat.data.get("by") == "customer"
        kind, topic = self._change(thread, beat.kind.partition(".")[2], beat.data, now, customer)
        silent = bool(beat.data.get("silent"))
        thread["updated"] = thread["updated"] if silent else now
        part = {
            "id": str(number(self.seed, f"part:{beat.ref}:{len(thread['parts'])}", 11)), "kind": kind, "at": now,
            "by": None if customer else beat.data.get("by"), "text": beat.data.get("text") or None,
            "to": beat.data.get("to"),
        }  # fmt: skip
        if kind:
            thread["parts"].append(part)
        if silent:
            return ()
        shown = views.conversation(self, id, pushed=True, parts=[part] if kind else [])
        after = desk.settle(self, beat.ref, now) if kind == "close" else ()
        return [self.push(topic, shown, now, id), *after]

    def _change(self, thread: Object, what: str, data: Mapping[str, Any], now: int, customer: bool) -> tuple[str, str]:
        """(part type, topic) of what happened."""
        match what:
            case "reply" | "reopen" if customer:
                thread["reopens"] += thread["state"] == "closed"
                thread |= {"state": "open", "waiting": thread["waiting"] or now}
                return "comment", "conversation.user.replied"
            case "reply":
                thread |= {"waiting": None, "answered": thread["answered"] or now}
                return "comment", "conversation.admin.replied"
            case "reopen":
                thread |= {"state": "open", "reopens": thread["reopens"] + 1}
                return "open", "conversation.admin.opened"
            case "note":
                return "note", "conversation.admin.noted"
            case "assign":
                thread |= {"assignee": data["to"], "assigned": thread["assigned"] + 1}
                return "assignment", "conversation.admin.assigned"
            case "close":
                thread |= {"state": "closed", "waiting": None, "closed": now}
                return "close", "conversation.admin.closed"
            case "snooze":
                thread |= {"state": "snoozed", "snoozed": now + int(data["seconds"]) * 1000}
                return "snoozed", "conversation.admin.snoozed"
            case "rate":
                thread["rating"] = {"score": data["score"], "text": data.get("text", ""), "at": now}
                return "", "conversation.rating.added"
            case _:
                thread["tags"].append(data["tag"])
                return "", "conversation_part.tag.created"

    def redact(self, beat: Beat, now: int) -> Sequence[Push]:
        """The newest part loses its text; only its conversation is named."""
        id = self.conversation_id(beat.ref)
        thread = self.conversations[id]
        part = thread["parts"][-1]
        part |= {"redacted": True, "text": None}
        thread["updated"] = now
        item = {"type": "conversation_part", "id": part["id"], "redacted": True, "conversation_id": id}
        return [self.push("conversation_part.redacted", item, now, id)]

    def remove(self, beat: Beat, now: int) -> Sequence[Push]:
        id = self.conversation_id(beat.ref)
        if self.conversations.pop(id, None) is None:
            return ()
        self.deleted.append({"type": "conversation", "id": id, "metrics_retained": True, "deleted_at": now // 1000})
        return [self.push("conversation.deleted", {"type": "conversation", "conversation_id": id}, now, id)]


ACTS: dict[str, Callable[[Workspace, Beat, int], Sequence[Push]]] = {
    "person.upsert": Workspace.upsert,
    "person.delete": Workspace.delete,
    "person.merge": Workspace.merge,
    "person.archive": Workspace.archive,
    "person.unarchive": Workspace.unarchive,
    **{f"person.{what}": Workspace.change for what in ("tag", "untag", "note", "choose", "unsubscribe")},
    **{f"admin.{what}": Workspace.staffed for what in ("away", "leave")},
    "conversation.open": Workspace.open,
    **{
        f"conversation.{what}": Workspace.happen
        for what in ("reply", "note", "assign", "close", "reopen", "snooze", "rate", "tag")
    },
    "conversation.delete": Workspace.remove,
    "conversation.redact": Workspace.redact,
    **desk.ACTS,
}
