"""How the workspace of the mock looks: REST with seconds, markup and zeros; webhooks with ISO times, plain text, nulls.

Pure.
"""

import html
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.sdk.cast import STAFF, SUPPORT_EMAIL, TEAMS
from core.sdk.story import number

if TYPE_CHECKING:
    from connectors.intercom.world import Workspace

Object = dict[str, Any]
SUBSCRIPTIONS = {"Newsletter": "opt_out", "Offers by text": "opt_in"}  # which kind of consent each one asks for
_EMBEDDED = 10  # of a list within a contact


def contact(world: "Workspace", person: Object, *, pushed: bool, history: bool = False) -> Object:
    when: Callable[[int | None], Any] = _iso if pushed else _seconds
    id = person["id"]
    shown = {
        "type": "contact", "id": id, "workspace_id": world.code, "external_id": person.get("external_id"),
        "role": person["role"], "email": person.get("email") or ("" if person["role"] == "user" else None),
        "email_domain": (person.get("email") or "").rpartition("@")[2] or None, "phone": person.get("phone"),
        "name": f"{person['given']} {person['family']}".strip() or None, "owner_id": None, "avatar": None,
        "has_hard_bounced": False, "marked_email_as_spam": False, "unsubscribed_from_emails": person["unsubscribed"],
        "created_at": when(person["created"]), "updated_at": when(person["updated"]),
        "signed_up_at": when(person["created"]) if person["role"] == "user" else None,
        "last_seen_at": None, "last_replied_at": when(person.get("replied")), "last_contacted_at": None,
        "language_override": person.get("language"), "browser_language": None, "custom_attributes": {},
        **{what: _sublist(world, person, what) for what in ("companies", "tags", "notes")},
        "opted_in_subscription_types": _sublist(world, person, "subscriptions", "opt_in"),
        "opted_out_subscription_types": _sublist(world, person, "subscriptions", "opt_out"),
        "location": {"type": "location", "country": None, "region": None, "city": None,
                     "country_code": person.get("country"), "continent_code": None},
        "social_profiles": {"type": "list", "data": []},
    }  # fmt: skip
    if history and person["role"] == "user":
        shown["merge_history"] = world.history.get(id, [])
    return shown


def company(world: "Workspace", made: Object, *, pushed: bool = False) -> Object:
    at = (_iso if pushed else _seconds)(made["created"])
    return {
        "type": "company", "id": made["id"], "company_id": made["slug"], "app_id": world.code, "name": made["name"],
        "plan": {}, "remote_created_at": at, "created_at": at, "updated_at": at, "last_request_at": None,
        "website": f"https://{made['domain']}", "monthly_spend": 0, "session_count": 0,
        "user_count": sum(made["id"] in person["companies"] for person in world.contacts.values()),
        "custom_attributes": {}, "tags": {"type": "tag.list", "tags": []},
        "segments": {"type": "segment.list", "segments": []},
    }  # fmt: skip


def admins(world: "Workspace") -> list[Object]:
    return [
        {"type": "admin", "id": str(world.admin_id(slug)), "name": f"{who.given} {who.family}", "email": who.email,
         "job_title": None, "away_mode_enabled": world.staff[slug]["away"], "away_mode_reassign": False,
         "has_inbox_seat": True, "away_status_reason_id": None, "team_ids": [world.team_id(who.team)]}
        for slug, who in STAFF.items() if slug in world.staff
    ]  # fmt: skip


def teams(world: "Workspace") -> list[Object]:
    members = {slug: [world.admin_id(name) for name, who in STAFF.items() if who.team == slug] for slug in TEAMS}
    return [
        {"type": "team", "id": str(world.team_id(slug)), "name": name, "admin_ids": members[slug]}
        for slug, name in TEAMS.items()
    ]


def conversation(
    world: "Workspace", id: str, *, pushed: bool, parts: Sequence[Object] | None, markup: bool = False
) -> Object:
    """As webhooks show it (`pushed`: plain text, nulls, ISO times in `statistics`) or as REST does. `parts` None:
    without parts, as searches show it."""
    thread = world.conversations[id]
    person = thread["writer"]
    none = None if pushed else 0
    when: Callable[[int | None], Any] = _iso if pushed else _seconds
    body = _markup if markup else str
    rating, member = thread["rating"], {"type": "contact", "id": person["id"]}
    staff = [{"type": "admin", "id": str(world.admin_id(by))} for by in dict.fromkeys(
        part["by"] for part in thread["parts"] if part["by"])]  # fmt: skip
    shown: Object = {
        "type": "conversation", "id": id, "title": None, "created_at": _seconds(thread["created"]),
        "updated_at": _seconds(thread["updated"]), "waiting_since": _seconds(thread["waiting"]),
        "snoozed_until": _seconds(thread["snoozed"]) if thread["state"] == "snoozed" else None,
        "open": thread["state"] != "closed", "state": thread["state"], "read": True, "priority": "none",
        "admin_assignee_id": world.admin_id(thread["assignee"]) if thread["assignee"] else none,
        "team_assignee_id": world.team_id(thread["team"]) if thread["team"] else none,
        "source": {
            "type": "email" if thread["channel"] == "email" else "conversation",
            "id": str(number(world.seed, f"source:{id}")), "delivered_as": "customer_initiated",
            "subject": body(thread["subject"]), "body": body(thread["text"]), "author": author(world, person, None),
            "attachments": [], "url": None, "redacted": False,
        },
        "contacts": {"type": "contact.list", "contacts": [{**member, "external_id": person.get("external_id")}]},
        "first_contact_reply": {"created_at": _seconds(thread["created"]), "type": "conversation", "url": None},
        "sla_applied": None, "tags": {"type": "tag.list", "tags": [
            {"type": "tag", "id": str(number(world.seed, f"tag:{tag}", 6)), "name": tag} for tag in thread["tags"]]},
        "statistics": {
            "type": "conversation_statistics", "first_contact_reply_at": when(thread["created"]),
            "first_admin_reply_at": when(thread["answered"]), "last_close_at": when(thread["closed"]),
            "count_reopens": thread["reopens"], "count_assignments": thread["assigned"],
            "count_conversation_parts": len(thread["parts"]) + 1,
        },
        "conversation_rating": rating and {
            "rating": rating["score"], "remark": rating["text"], "created_at": _seconds(rating["at"]),
            "updated_at": _seconds(rating["at"]), "contact": member, "teammate": staff[-1] if staff else None},
        "teammates": {"type": "admin.list", "admins" if pushed else "teammates": staff},
        "custom_attributes": {}, "topics": None, "ticket": None, "ai_agent": None, "ai_agent_participated": False,
        "linked_objects": {"type": "list", "data": [], "total_count": 0, "has_more": False},
    }  # fmt: skip
    if parts is not None:
        rendered = [_part(world, part, person, body) for part in parts[-500:]]
        shown["conversation_parts"] = {
            "type": "conversation_part.list", "conversation_parts": rendered, "total_count": len(thread["parts"]),
        }  # fmt: skip
    return shown


def _part(world: "Workspace", part: Object, person: Object, body: Callable[[str], str]) -> Object:
    at = _seconds(part["at"])
    return {
        "type": "conversation_part", "id": part["id"], "part_type": part["kind"],
        "body": body(part["text"]) if part["text"] else None, "created_at": at, "updated_at": at, "notified_at": at,
        "assigned_to": {"type": "admin", "id": str(world.admin_id(part["to"]))} if part["to"] else None,
        "author": {**author(world, person, part["by"]), "from_ai_agent": False, "is_ai_answer": False},
        "attachments": [], "external_id": None, "redacted": part.get("redacted", False),
        "email_message_metadata": None, "metadata": {},
        "tags": [], "event_details": {}, "app_package_code": None,
    }  # fmt: skip


def author(world: "Workspace", person: Object, by: str | None) -> Object:
    if by is not None:
        who = STAFF.get(by)
        name, email = (f"{who.given} {who.family}", who.email) if who else (by, SUPPORT_EMAIL)
        return {"type": "admin", "id": str(world.admin_id(by)), "name": name, "email": email}
    name = f"{person.get('given') or ''} {person.get('family') or ''}".strip()
    return {"type": person["role"], "id": person["id"], "name": name or None, "email": person.get("email")}


def as_of_now(person: Object) -> Object:
    """Conversations keep the name under which somebody wrote, whatever becomes of the contact."""
    return {name: person.get(name) for name in ("id", "role", "given", "family", "email", "external_id")}


def _seconds(ms: int | None) -> int | None:
    return None if ms is None else ms // 1000


def _iso(ms: int | None) -> str | None:
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def _markup(text: str) -> str:
    return f"<p>{html.escape(text, quote=False)}</p>"


def _sublist(world: "Workspace", person: Object, what: str, way: str = "") -> Object:
    """A contact's own list as its answer embeds it: at most ten, by id alone."""
    rows = [row for row in own(world, person, what) if not way or row["consent_type"] == way]
    shown = [{"type": row["type"], "id": row["id"], "url": f"/{what}/{row['id']}"} for row in rows[:_EMBEDDED]]
    url = f"/contacts/{person['id']}/{what}"
    return {"type": "list", "data": shown, "url": url, "total_count": len(rows), "has_more": len(rows) > _EMBEDDED}


def own(world: "Workspace", person: Object, what: str) -> list[Object]:
    """All of a contact's companies, tags, notes, or subscriptions that it decided on."""
    match what:
        case "companies":
            return [company(world, world.companies[id]) for id in person["companies"]]
        case "tags":
            return [tag(world, name) for name in person["tags"]]
        case "notes":
            return [_note(world, note, person) for note in person["notes"]]
        case _:
            # Of an opt-in one the contact's list tells who chose it, of an opt-out one who refused it.
            kinds = [(subscription(world, name), chosen) for name, chosen in person["choices"].items()]
            return [kind for kind, chosen in kinds if chosen == (kind["consent_type"] == "opt_in")]


def tag(world: "Workspace", name: str) -> Object:
    return {"type": "tag", "id": str(number(world.seed, f"tag:{name}", 6)), "name": name, "applied_at": 1_767_225_600,
            "applied_by": {"type": "admin", "id": str(world.admin_id("maya"))}}  # fmt: skip


def subscription(world: "Workspace", name: str) -> Object:
    words = {"name": name, "description": "", "locale": "en"}
    way = SUBSCRIPTIONS[name]
    return {"type": "subscription", "id": str(number(world.seed, f"subscription:{name}", 3)), "state": "live",
            "consent_type": way, "default_translation": words, "translations": [words],
            "content_types": ["email" if way == "opt_out" else "sms_message"]}  # fmt: skip


def _note(world: "Workspace", note: Object, person: Object) -> Object:
    return {"type": "note", "id": note["id"], "created_at": note["at"] // 1000, "body": _markup(note["text"]),
            "contact": {"type": "contact", "id": person["id"]},
            "author": author(world, person, note["by"])}  # fmt: skip
