"""The mocked portal's inbox: threads and messages, what changes them, and their endpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from connectors.hubspot.world import Event, World
from core.sdk import from_iso, from_ms, to_ms
from core.sdk.cast import STAFF
from core.sdk.mock import answer
from core.sdk.story import number

CHANNELS = {"chat": "1000", "email": "1002", "whatsapp": "1007"}
THREADS = "/conversations/v3/conversations/threads"

Json = dict[str, Any]


@dataclass(slots=True)
class Thread:
    """Times are epoch ms. `latest` is that of its newest message: nothing else moves it."""

    id: str
    created: int
    channel: str
    contact: str | None
    latest: int
    status: str = "OPEN"
    closed: int | None = None
    assigned: str | None = None
    archived: bool = False
    messages: list[Json] = field(default_factory=list)


class Inbox:
    """Its methods change it and return the webhook events that the change causes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.threads: dict[str, Thread] = {}

    def id(self, ref: str) -> str:
        return str(number(self.world.seed, f"threads:{ref}", 10))

    def apply(self, action: str, ref: str, data: Mapping[str, Any], now: int) -> list[Event]:
        """thread.open (person, address, subject, channel) and .message (by, text, html, type) · .assign (to) · .close,
        .reopen · .delete, .restore, .erase."""
        thread = self.threads.get(self.id(ref))
        match action, thread:
            case "open" | "message", None:
                return self._opened(ref, data, now) + self._said(self.threads[self.id(ref)], data, now)
            case "message", Thread():
                return self._said(thread, data, now)
            case "assign", Thread():
                thread.assigned = f"A-{_user(data['to'])}"
                return [self._changed(thread, now, "assignedTo", thread.assigned)]
            case "close" | "reopen", Thread():
                thread.status, thread.closed = ("CLOSED", now) if action == "close" else ("OPEN", None)
                return [self._changed(thread, now, "status", thread.status)]
            case "delete", Thread():
                thread.archived = True
                return [self._event(thread, "deletion", now, changeFlag="DELETED")]
            case "restore", Thread():
                thread.archived = False
                return [self._event(thread, "creation", now, changeFlag="RESTORED")]
            case "erase", Thread():
                del self.threads[thread.id]
                return [self._event(thread, "privacyDeletion", now, changeFlag="DELETED")]
            case _:
                return []

    def _opened(self, ref: str, data: Mapping[str, Any], now: int) -> list[Event]:
        person = self.world.id("contacts", data["person"]) if data.get("person") else None
        thread = Thread(self.id(ref), now, CHANNELS[data.get("channel", "chat")], person, now)
        self.threads[thread.id] = thread
        return [self._event(thread, "creation", now, changeFlag="CREATED")]

    def _said(self, thread: Thread, data: Mapping[str, Any], now: int) -> list[Event]:
        by, type = data.get("by", "customer"), data.get("type", "MESSAGE")
        sender: Json = {"actorId": f"A-{_user(by)}", "name": STAFF[by].given} if by in STAFF else {
            "actorId": f"V-{thread.contact or 1}", "name": data.get("name"),
            "deliveryIdentifier": {"type": "HS_EMAIL_ADDRESS", "value": data.get("address", "visitor@example.com")},
        }  # fmt: skip
        id = f"{thread.id}-{len(thread.messages) + 1}"
        moment = from_ms(now)
        message: Json = {
            "id": id, "conversationsThreadId": thread.id, "createdAt": moment, "updatedAt": moment, "type": type,
            "createdBy": sender["actorId"], "senders": [sender], "recipients": [], "archived": False,
            "client": {"clientType": "HUBSPOT"}, "channelId": thread.channel,
            "attachments": data.get("attachments", []),
            "truncationStatus": "NOT_TRUNCATED",
        }  # fmt: skip
        message |= {"richText": data["html"]} if "html" in data else {"text": data.get("text", "")}
        if data.get("subject"):
            message["subject"] = data["subject"]
        if type == "MESSAGE":
            message["direction"] = "OUTGOING" if by in STAFF else "INCOMING"
        thread.messages.append(message)
        thread.latest = now
        return [self._event(thread, "newMessage", now, messageId=id, messageType=type, changeFlag="NEW_MESSAGE")]

    def _event(self, thread: Thread, action: str, now: int, **rest: Any) -> Event:
        return self.world.event("threads", action, now, objectId=int(thread.id), **rest)

    def _changed(self, thread: Thread, now: int, name: str, value: str) -> Event:
        return self._event(thread, "propertyChange", now, propertyName=name, propertyValue=value)

    def routes(self) -> Sequence[web.RouteDef]:
        one = THREADS + "/{id:[0-9]+}"
        return [web.get(THREADS, self._list), web.get(one, self._one), web.get(one + "/messages", self._messages)]

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        rows = [row for row in self.threads.values() if row.archived == (query.get("archived") == "true")]
        if query.get("sort") == "latestMessageTimestamp":
            if "latestMessageTimestampAfter" not in query:
                return _refused(400, "latestMessageTimestampAfter is required with this sort")
            least = to_ms(from_iso(query["latestMessageTimestampAfter"]) or "")
            rows = sorted((row for row in rows if row.latest > least), key=lambda row: (row.latest, row.id))
        else:
            rows.sort(key=lambda row: int(row.id))
        return answer(_page([self.shown(row) for row in rows], query))

    async def _one(self, request: web.Request) -> web.Response:
        thread = self.threads.get(request.match_info["id"])
        if thread is None or thread.archived:
            return _refused(404, "no such thread")
        return answer(self.shown(thread))

    async def _messages(self, request: web.Request) -> web.Response:
        thread = self.threads.get(request.match_info["id"])
        if thread is None or thread.archived:
            return _refused(404, "no such thread")
        return answer(_page(thread.messages[::-1], request.query))  # the newest first

    def shown(self, thread: Thread) -> Json:
        row: Json = {
            "id": thread.id, "createdAt": from_ms(thread.created), "status": thread.status, "inboxId": "1",
            "originalChannelId": thread.channel, "originalChannelAccountId": "1", "spam": False,
            "latestMessageTimestamp": from_ms(thread.latest), "archived": thread.archived,
        }  # fmt: skip
        more = {
            "closedAt": from_ms(thread.closed), "assignedTo": thread.assigned,
            "associatedContactId": self.world.aliases.get(thread.contact or "", thread.contact),
        }  # fmt: skip
        return row | {name: value for name, value in more.items() if value}


def _page(rows: Sequence[Json], query: Mapping[str, str]) -> Json:
    begin, limit = int(query.get("after", "0")), int(query.get("limit", "100"))
    found: Json = {"results": rows[begin : begin + limit]}
    if len(rows) > begin + limit:
        found["paging"] = {"next": {"after": str(begin + limit)}}
    return found


def _refused(status: int, message: str) -> web.Response:
    return answer({"status": "error", "message": message, "category": "OBJECT_NOT_FOUND"}, status)


def _user(slug: str) -> int:
    """The user id behind an owner: another number than the owner's."""
    return 40 + list(STAFF).index(slug)
