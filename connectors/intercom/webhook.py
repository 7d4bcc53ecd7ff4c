"""Deliveries of Intercom: proved by HMAC-SHA1 over the raw body, taken apart by topic. Pure: no I/O, no clock.

The signature covers no time, so a replay cannot be told from a retry; it changes nothing, because events are derived.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from connectors.intercom.config import Config, context
from connectors.intercom.shapes import CONTACTS
from core.sdk import AccountError, Delivery, Hint, NormalizeError, Payload, SignatureError, Split, Webhook

Item = Mapping[str, Any]


class _Push(NamedTuple):
    """A notification's item with what its payloads share."""

    topic: str
    item: Item
    at: int  # epoch ms: when the notification was created
    account: str
    received: int
    headers: Mapping[str, str]

    def payload(self, kind: str, item: Item | None = None) -> Split:
        data = self.item if item is None else item
        return Split(payloads=[Payload(kind, data, self.account, True, self.received, self.at, self.headers)])

    def hint(self, kind: str, id: Any, action: str = "changed") -> Split:
        if not id:
            raise NormalizeError(f"the notification names no {kind}")
        return Split(hints=[Hint(kind, str(id), self.at, action)], seen=[(self.topic, self.item)])


def verify(delivery: Delivery, config: Config, now: datetime) -> None:
    """`X-Hub-Signature: sha1=<hex>`, keyed with the app's client secret. Raises SignatureError."""
    if config.webhook_secret is None:
        raise SignatureError("the connection has no webhook_secret", code="no secret set")
    scheme, _, given = delivery.headers.get("x-hub-signature", "").partition("=")
    if scheme != "sha1" or not given:
        raise SignatureError("X-Hub-Signature is missing or is not sha1=…", code="missing signature")
    # Intercom's scheme, not our choice: HMAC does not need a hash without collisions.
    wanted = hmac.new(config.webhook_secret.get_secret_value().encode(), delivery.body, hashlib.sha1).hexdigest()
    if not hmac.compare_digest(wanted.encode(), given.strip().lower().encode()):
        raise SignatureError("X-Hub-Signature does not match the body", code="wrong signature")


def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
    """One notification: payloads where the item is whole, hints where it only names things, else ignored."""
    if not isinstance(body, dict) or not isinstance(topic := body.get("topic"), str):
        raise NormalizeError("not an Intercom notification: no topic")
    app = body.get("app_id")
    if app != account:
        raise AccountError(f"the notification is from workspace {app!r}, this connection's is {account!r}")
    take = TOPICS.get(topic)
    if take is None:
        return Split(ignored=[topic])
    data = body.get("data")
    item = data.get("item") if isinstance(data, dict) else None
    if not isinstance(item, dict):
        raise NormalizeError(f"{topic}: no data.item")
    created = body.get("created_at")
    at = int(created * 1000) if isinstance(created, int | float) and created > 0 else received
    return take(_Push(topic, item, at, account, received, context(config)))


def _whole(kind: str) -> Callable[[_Push], Split]:
    def take(push: _Push) -> Split:
        if not push.item.get("id"):
            raise NormalizeError(f"{kind}: the item has no id")
        return push.payload(kind)

    return take


def _merged(push: _Push) -> Split:
    """The item is the survivor. Only newer versions name whom it absorbed (`merged_from`), so it is asked for, too."""
    id, absorbed = push.item.get("id"), _nested(push.item, "merged_from").get("id")
    payloads = [*push.payload("contact").payloads]
    if absorbed:
        payloads += push.payload("contact.merged", {"id": absorbed, "into": id}).payloads
    return Split(payloads, push.hint("contact", id, "merged").hints)


def _gone(push: _Push) -> Split:
    return push.payload("conversation.deleted")


def _membership(push: _Push) -> Split:
    """Both objects come in an internal shape: the person is fetched as the API shows it."""
    return push.hint("contact", _nested(push.item, "contact").get("id"))


def _participants(push: _Push) -> Split:
    model = _nested(push.item, "conversation")
    return push.hint("conversation", model.get("id") or _nested(model, "model").get("id"))


def _part(push: _Push) -> Split:
    """A part was redacted or tagged: the item is its conversation, or the part alone, which names it at most. Where it
    does not, that is told: a text that must be erased cannot be found."""
    item = push.item
    if item.get("type") == "conversation":
        # A redaction may move no clock: then only a read tells that it is the newer state.
        return Split(push.payload("conversation").payloads, push.hint("conversation", item.get("id")).hints)
    id = item.get("conversation_id") or _nested(item, "conversation").get("id")
    return push.hint("conversation", id)


def _ticket(push: _Push) -> Split:
    """The item is the ticket, or holds it: `ticket.closed` has the whole, others perhaps a part of it."""
    item, inner = push.item, _nested(push.item, "ticket")
    if item.get("type") == "ticket" and item.get("id"):
        return push.payload("ticket")
    if inner.get("id") and inner.get("ticket_state") and inner.get("updated_at"):
        return push.payload("ticket", inner)
    return push.hint("ticket", inner.get("id"))


def _contact(push: _Push) -> Split:
    """A tag or a subscription of a contact, or an object of an old version: what the contact now is, a read tells."""
    item = push.item
    own = item.get("id") if item.get("type") in (*CONTACTS, None) else None
    return push.hint("contact", _nested(item, "contact").get("id") or own)


def _admin(push: _Push) -> Split:
    """Admins have no clock by which a push could be ordered, so that they are read."""
    return push.hint("admin", push.item.get("id"))


def _nested(item: Item, name: str) -> Item:
    found = item.get(name)
    return found if isinstance(found, dict) else {}


TOPICS: dict[str, Callable[[_Push], Split]] = {
    **dict.fromkeys(
        (
            "conversation.user.created", "conversation.user.replied", "conversation.admin.replied",
            "conversation.admin.replied.translated", "conversation.admin.single.created",
            "conversation.admin.assigned", "conversation.admin.open.assigned", "conversation.admin.noted",
            "conversation.admin.closed", "conversation.admin.opened", "conversation.admin.snoozed",
            "conversation.admin.unsnoozed", "conversation.operator.replied", "conversation.priority.updated",
            "conversation.rating.added", "conversation.read", "conversation.company.updated",
        ),
        _whole("conversation"),
    ),
    "conversation.deleted": _gone,
    **dict.fromkeys(("conversation.contact.attached", "conversation.contact.detached"), _participants),
    **dict.fromkeys(("conversation_part.redacted", "conversation_part.tag.created"), _part),
    **dict.fromkeys(
        (
            "contact.user.created", "contact.user.updated", "contact.lead.created", "contact.lead.updated",
            "contact.lead.added_email", "contact.lead.signed_up", "contact.email.updated",
        ),
        _whole("contact"),
    ),
    "contact.merged": _merged,
    "contact.deleted": _whole("contact.deleted"),
    "contact.archived": _whole("contact.archived"),
    "contact.unarchive": _whole("contact.unarchived"),
    **dict.fromkeys(
        (
            "contact.subscribed", "contact.unsubscribed", "contact.unsubscribed_from_sms", "granular.subscribe",
            "granular.unsubscribe", "contact.user.tag.created", "contact.user.tag.deleted",
            "contact.lead.tag.created", "contact.lead.tag.deleted", "visitor.signed_up",
            # Names of before 2.0, which apps of that age still send.
            "contact.added_email", "contact.created", "contact.signed_up", "contact.tag.created", "contact.tag.deleted",
            "user.created", "user.deleted", "user.email.updated", "user.tag.created", "user.tag.deleted",
            "user.unsubscribed",
        ),
        _contact,
    ),
    **dict.fromkeys(("company.created", "company.updated"), _whole("company")),
    "company.deleted": _whole("company.deleted"),
    **dict.fromkeys(("company.contact.attached", "company.contact.detached"), _membership),
    **dict.fromkeys(
        (
            "ticket.created", "ticket.state.updated", "ticket.note.created", "ticket.admin.assigned",
            "ticket.team.assigned", "ticket.contact.attached", "ticket.contact.detached", "ticket.attribute.updated",
            "ticket.admin.replied", "ticket.contact.replied", "ticket.closed", "ticket.rating.provided",
            "ticket.resolved",
        ),
        _ticket,
    ),
    **dict.fromkeys(
        ("call.started", "call.ended", "call.transcription_available", "call.recording_available"), _whole("call")
    ),
    **dict.fromkeys(
        ("admin.added_to_workspace", "admin.away_mode_updated", "admin.removed_from_workspace"), _admin
    ),
    **dict.fromkeys(
        ("article.created", "article.updated", "article.published", "article.unpublished"), _whole("article")
    ),
    "article.deleted": _whole("article.deleted"),
}  # fmt: skip

WEBHOOK: Webhook[Config] = Webhook(
    needs="webhook_secret",
    verify=verify,
    split=split,
    methods=frozenset({"POST", "HEAD"}),  # Intercom validates an address with HEAD
    instructions=(
        "Developer Hub > your app > Configure > Webhooks: paste the URL as endpoint, choose the topics of "
        "conversations, contacts, companies, tickets, articles, calls, admins and subscriptions, and save. Intercom "
        "asks the address once with HEAD."
    ),
)
