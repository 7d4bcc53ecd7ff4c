"""What the mock's workspace holds beside people and conversations: tickets, calls, articles. Pure: no I/O, no clock.

A complaint becomes a ticket that is linked to its conversation and resolved when that is closed.
"""

import html
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from connectors.intercom import views
from core.sdk.mock import Push
from core.sdk.story import Beat, number

if TYPE_CHECKING:
    from connectors.intercom.world import Workspace

Object = dict[str, Any]
COMPLAINTS = frozenset({"Broken zipper", "Charged twice"})  # subjects of conversations that become tickets
COLLECTIONS = ("Orders and delivery", "Payment")
ARTICLES = (  # (title, text, collection)
    ("Where is my parcel?", "Open the link in the shipping mail. It moves once the carrier has the parcel.", 0),
    ("Send something back", "Print the label in your account within 30 days.", 0),
    ("Which cards do you take?", "All the usual ones, and bank transfer for companies.", 1),
    ("Change your plan", "Under Account > Plan, from the next month on.", 1),
    ("Track several parcels", "One order may come in several parcels; each has its own number.", 0),
)
INTERNAL = (("Tone of voice", "Short, warm, no blame."), ("Who may refund", "Up to 100: everybody. Above: logistics."))
STATES = ("submitted", "in_progress", "waiting_on_customer", "resolved")


class Desk:
    """Tickets, calls, articles and internal articles, by id; times in epoch ms."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.tickets: dict[str, Object] = {}
        self.calls: dict[str, Object] = {}
        self.articles: dict[str, Object] = {}
        self.internal: dict[str, Object] = {}

    def ticket_id(self, ref: str) -> str:
        return str(number(self.seed, f"ticket:{ref}", 15))

    def article_id(self, ref: str) -> str:
        return str(number(self.seed, f"article:{ref}", 7))

    def call_id(self, ref: str) -> str:
        return str(number(self.seed, f"call:{ref}", 8))

    def stock(self, now: int) -> None:
        """What the help center has from the beginning; Intercom tells nobody of what was there before."""
        for index, (title, text, collection) in enumerate(ARTICLES):
            id = self.article_id(f"a:{index}")
            self.articles[id] = {"id": id, "title": title, "text": text, "collection": collection, "tags": [],
                                 "state": "published", "created": now, "updated": now + index * 60_000}  # fmt: skip
        for index, (title, text) in enumerate(INTERNAL):
            id = self.article_id(f"i:{index}")
            self.internal[id] = {"id": id, "title": title, "text": text, "created": now, "updated": now}


# Tickets


def escalate(world: "Workspace", ref: str, thread: Object, now: int) -> Sequence[Push]:
    if thread["subject"] not in COMPLAINTS:
        return ()
    return _opened(world, ref, {**thread, "conversation": thread["id"]}, now)


def settle(world: "Workspace", ref: str, now: int) -> Sequence[Push]:
    """The ticket of a conversation that was closed is resolved."""
    ticket = world.desk.tickets.get(world.desk.ticket_id(ref))
    if ticket is None or ticket["state"] == "resolved":
        return ()
    return [*_moved(world, ticket, "resolved", now), _told(world, "ticket.closed", ticket, now)]


def open_ticket(world: "Workspace", beat: Beat, now: int) -> Sequence[Push]:
    person = world.contacts.get(world.contact_id(beat.data["person"]))
    return (
        _opened(world, beat.ref, {**beat.data, "person": person["id"], "writer": views.as_of_now(person)}, now)
        if person
        else ()
    )


def _opened(world: "Workspace", ref: str, made: Object, now: int) -> Sequence[Push]:
    id = world.desk.ticket_id(ref)
    ticket = world.desk.tickets[id] = {
        "id": id, "person": made["person"], "writer": made["writer"], "subject": made["subject"], "text": made["text"],
        "category": made.get("category", "Customer"), "conversation": made.get("conversation"), "state": "submitted",
        "team": made.get("team"), "assignee": made.get("assignee"), "created": now, "updated": now, "parts": [],
    }  # fmt: skip
    return [_told(world, "ticket.created", ticket, now)]


def happen(world: "Workspace", beat: Beat, now: int) -> Sequence[Push]:
    """ticket.reply, .note, .assign, .state, .delete: nobody is told of a deletion."""
    ticket = world.desk.tickets.get(world.desk.ticket_id(beat.ref))
    if ticket is None:
        return ()
    what, data = beat.kind.partition(".")[2], beat.data
    if what == "delete":
        del world.desk.tickets[ticket["id"]]
        return ()
    if what == "state":
        return _moved(world, ticket, data["state"], now)
    ticket["updated"] = now
    customer = data.get("by") == "customer"
    if what == "assign":
        ticket["assignee"] = data["to"]
    kind = {"note": "note", "assign": "assignment"}.get(what, "comment")
    _grown(world, ticket, kind, None if customer else data["by"], data.get("text"))
    topic = {"note": "note.created", "assign": "admin.assigned"}.get(what)
    return [_told(world, f"ticket.{topic or ('contact.replied' if customer else 'admin.replied')}", ticket, now)]


def _moved(world: "Workspace", ticket: Object, state: str, now: int) -> Sequence[Push]:
    ticket |= {"state": state, "updated": now}
    _grown(world, ticket, "ticket_state_updated_by_admin", "maya", None)
    topics = ["ticket.state.updated", *(["ticket.resolved"] if state == "resolved" else [])]
    return [_told(world, topic, ticket, now) for topic in topics]


def _grown(world: "Workspace", ticket: Object, kind: str, by: str | None, text: str | None) -> None:
    """By one part; `by` None: by the customer."""
    id = str(number(world.seed, f"part of {ticket['id']}:{len(ticket['parts'])}", 11))
    ticket["parts"].append({"id": id, "kind": kind, "by": by, "text": text, "at": ticket["updated"]})


def _told(world: "Workspace", topic: str, ticket: Object, now: int) -> Push:
    shown = ticket_view(world, ticket, pushed=True)
    item = {"ticket": shown} if topic == "ticket.closed" else shown  # wrapped in this topic alone
    return world.push(topic, item, now, ticket["id"])


def ticket_view(world: "Workspace", ticket: Object, *, pushed: bool) -> Object:
    """Webhooks show ids of staff as text, REST as numbers; nobody is "0" there and 0 here."""
    label = ticket["state"].replace("_", " ").capitalize()
    index = STATES.index(ticket["state"])
    person = ticket["writer"]
    ids = {"admin_assignee_id": world.admin_id(ticket["assignee"]) if ticket["assignee"] else 0,
           "team_assignee_id": world.team_id(ticket["team"]) if ticket["team"] else 0}  # fmt: skip
    parts = [_part(world, part, person) for part in ticket["parts"][-500:]]
    linked = (
        [{"type": "conversation", "id": ticket["conversation"], "category": None}] if ticket["conversation"] else []
    )
    shown: Object = {
        "type": "ticket", "id": ticket["id"], "ticket_id": ticket["id"][-4:], "category": ticket["category"],
        "ticket_attributes": {"_default_title_": ticket["subject"], "_default_description_": ticket["text"]},
        "ticket_state": {"type": "ticket_state", "id": str(8001 + index), "category": ticket["state"],
                         "internal_label": label, "external_label": label},
        "ticket_type": {"type": "ticket_type", "id": "1", "name": "Complaint", "category": ticket["category"],
                        "description": "", "icon": "", "workspace_id": world.code, "archived": False,
                        "created_at": 1_734_537_243, "updated_at": 1_734_537_243},
        "contacts": {"type": "contact.list", "contacts": [
            {"type": "contact", "id": person["id"], "external_id": person.get("external_id")}]},
        **({name: str(id) for name, id in ids.items()} if pushed else ids),
        "created_at": ticket["created"] // 1000, "updated_at": ticket["updated"] // 1000,
        "open": ticket["state"] != "resolved", "snoozed_until": None, "is_shared": ticket["category"] == "Customer",
        "linked_objects": {"type": "list", "data": linked, "total_count": len(linked), "has_more": False},
        "ticket_parts": {"type": "ticket_part.list", "ticket_parts": parts, "total_count": len(ticket["parts"])},
        "previous_ticket_state_id": str(8000 + index) if index else None,
    }  # fmt: skip
    return shown | {"company_id": None, "channel": "messenger"} if pushed else shown


def _part(world: "Workspace", part: Object, person: Object) -> Object:
    at = part["at"] // 1000
    return {
        "type": "ticket_part", "id": part["id"], "part_type": part["kind"],
        "body": f"<p>{html.escape(part['text'], quote=False)}</p>" if part["text"] else None,
        "created_at": at, "updated_at": at,
        "author": {**views.author(world, person, part["by"]), **({} if part["by"] else {"type": "user"})},
        "attachments": [], "external_id": None, "redacted": False, "assigned_to": None, "app_package_code": None,
    }  # fmt: skip


# Calls


def ring(world: "Workspace", beat: Beat, now: int) -> Sequence[Push]:
    id, data = world.desk.call_id(beat.ref), beat.data
    person = world.contacts.get(world.contact_id(data.get("person", "")))
    call = world.desk.calls[id] = {
        "id": id, "person": person and person["id"], "phone": data["phone"], "by": data.get("by"),
        "direction": data.get("direction", "inbound"), "created": now, "answered": None, "ended": None, "updated": now,
    }  # fmt: skip
    return [world.push("call.started", call_view(world, call), now, id)]


def hang_up(world: "Workspace", beat: Beat, now: int) -> Sequence[Push]:
    """`by`: who answered, `seconds` before the end. Without it the call was given up, and nobody is told."""
    call = world.desk.calls.get(world.desk.call_id(beat.ref))
    if call is None:
        return ()
    call |= {"ended": now, "updated": now}
    if not (by := beat.data.get("by")):
        return ()
    call |= {"by": by, "answered": now - int(beat.data["seconds"]) * 1000}
    return [
        world.push(topic, call_view(world, call), now, call["id"])
        for topic in ("call.ended", "call.recording_available")
    ]


def call_view(world: "Workspace", call: Object) -> Object:
    def when(name: str) -> int | None:
        return call[name] // 1000 if call[name] else None

    return {
        "type": "call", "id": call["id"], "conversation_id": None, "contact_id": call["person"], "phone": call["phone"],
        "admin_id": str(world.admin_id(call["by"])) if call["by"] else None, "direction": call["direction"],
        "state": "completed" if call["ended"] else "connected" if call["answered"] else "ringing",
        "call_type": "phone", "initiated_at": when("created"), "answered_at": when("answered"),
        "ended_at": when("ended"), "created_at": when("created"), "updated_at": when("updated"),
        "ended_reason": None if not call["ended"] else "completed" if call["answered"] else "abandoned",
        "recording_url": f"https://api.intercom.io/calls/{call['id']}/recording" if call["answered"] else None,
        "transcription_url": None, "fin_recording_url": None, "fin_transcription_url": None,
    }  # fmt: skip


# Articles


def write(world: "Workspace", beat: Beat, now: int) -> Sequence[Push]:
    shelf, id, data = world.desk.articles, world.desk.article_id(beat.ref), beat.data
    known = shelf.get(id)
    article = known or {
        "id": id,
        "title": "",
        "text": "",
        "collection": 0,
        "tags": [],
        "state": "draft",
        "created": now,
    }
    before = article["state"]
    article |= {**data, "updated": now}
    shelf[id] = article
    what = "updated" if known else "created"
    if known and article["state"] != before:
        what = "published" if article["state"] == "published" else "unpublished"
    return [world.push(f"article.{what}", article_view(world, article), now, id)]


def remove(world: "Workspace", beat: Beat, now: int) -> Sequence[Push]:
    id = world.desk.article_id(beat.ref)
    if world.desk.articles.pop(id, None) is None:
        return ()
    return [world.push("article.deleted", {"type": "article", "id": id}, now, id)]


def collection_id(world: "Workspace", index: int) -> int:
    return number(world.seed, f"collection:{index}", 7)


def article_view(world: "Workspace", article: Object) -> Object:
    return {
        "type": "article", "id": article["id"], "workspace_id": world.code, "title": article["title"],
        "description": "", "body": f"<p>{html.escape(article['text'], quote=False)}</p>",
        "author_id": world.admin_id("maya"), "state": article["state"], "created_at": article["created"] // 1000,
        "updated_at": article["updated"] // 1000, "default_locale": "en", "translated_content": None,
        "url": f"https://help.example.com/en/articles/{article['id']}",
        "parent_ids": [collection_id(world, article["collection"])], "help_center_audience": "everyone",
        "tags": {"type": "tag.list", "tags": [
            {"type": "tag", "id": str(number(world.seed, f"tag:{tag}", 6)), "name": tag} for tag in article["tags"]]},
    }  # fmt: skip


def internal_view(world: "Workspace", article: Object) -> Object:
    return {
        "type": "internal_article", "id": article["id"], "title": article["title"],
        "body": f"<p>{html.escape(article['text'], quote=False)}</p>", "owner_id": world.admin_id("maya"),
        "author_id": world.admin_id("maya"), "locale": "en", "audience_ids": [],
        "created_at": article["created"] // 1000, "updated_at": article["updated"] // 1000,
    }  # fmt: skip


ACTS: dict[str, Callable[["Workspace", Beat, int], Sequence[Push]]] = {
    "ticket.open": open_ticket,
    **{f"ticket.{what}": happen for what in ("reply", "note", "assign", "state", "delete")},
    "phone.ring": ring,
    "phone.end": hang_up,
    "article.upsert": write,
    "article.delete": remove,
}
