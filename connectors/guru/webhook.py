"""Deliveries of Guru: proved by a secret in the URL, each event a hint at a card or at a list. Pure: no I/O, no clock.

Guru signs nothing and names no account, so whoever knows the URL may send; a forged delivery can only make us read. In
BATCH mode the envelope is Ably's, and each event stands in it as a JSON text: decoded twice.
"""

import hmac
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from connectors.guru.config import Config
from core.sdk import Delivery, Hint, NormalizeError, SignatureError, Split, Webhook, from_iso, loads, to_ms

# What readers do to a card; it stays as it was.
_READING = frozenset({
    "card-viewed", "card-favorited", "card-unfavorited", "card-copied", "card-copied-tracking", "card-to-pdf",
    "card-link-copied", "card-link-viewed", "card-sync-link-copied", "card-file-link-viewed", "card-comment-created",
    "card-comment-updated", "card-comment-deleted", "card-comment-resolved", "card-comment-reopened",
})  # fmt: skip
# What names none of the cards that it changes, and the list that shows what became of them.
_LISTS = {
    "collection-deleted": "all card",
    "tag-updated": "all cards",
    "tag-deleted": "all cards",
    "tag-merged": "all cards",
}


def verify(delivery: Delivery, config: Config, now: datetime) -> None:
    """The last part of the URL's path, compared in constant time. Raises SignatureError."""
    if config.webhook_secret is None:
        raise SignatureError("the connection has no webhook_secret", code="no secret set")
    wanted = config.webhook_secret.get_secret_value().encode()
    if not hmac.compare_digest(wanted, delivery.path_secret.encode()):
        raise SignatureError("the URL does not end in the connection's webhook_secret", code="wrong secret")


def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
    """Hints for the cards that changed, and the lists that show the rest; other events are ignored by their type.

    A message that cannot be read is odd, and the others of its batch go through.
    """
    hints: list[Hint] = []
    ignored: list[str] = []
    due: list[str] = []
    seen: list[tuple[str, Any]] = []
    odd: list[str] = []
    for message in _messages(body):
        try:
            event = _event(message)
            kind, card = event["eventType"], _card(event)
            changes = kind.startswith("card-") and kind not in _READING
            if changes and card:
                at = from_iso(event.get("eventDate"))
                hints.append(Hint("card", card, to_ms(at) if at else received, kind))
            elif kind in _LISTS:
                due.append(_LISTS[kind])
            else:
                ignored.append(kind)
                if not changes:
                    continue
            seen.append((kind, event))
        except NormalizeError as error:
            odd.append(str(error))
    return Split((), tuple(hints), tuple(ignored), seen, tuple(dict.fromkeys(due)), tuple(odd))


def _messages(body: Any) -> Iterator[Any]:
    """SINGLE: the event itself, as a message. BATCH: the messages of all items; an item without any stands for one."""
    if not isinstance(body, dict):
        raise NormalizeError("not a Guru delivery: no object")
    if "items" not in body:
        yield {"data": body}
        return
    if not isinstance(body["items"], list):
        raise NormalizeError("a BATCH delivery has items with messages")
    for item in body["items"]:
        data = item.get("data") if isinstance(item, dict) else None
        messages = data.get("messages") if isinstance(data, dict) else None
        yield from messages if isinstance(messages, list) else [item]


def _event(message: Any) -> Mapping[str, Any]:
    event = message.get("data") if isinstance(message, dict) else None
    try:
        event = loads(event) if isinstance(event, str) else event
    except ValueError:
        raise NormalizeError("a message of a BATCH delivery is not JSON") from None
    if not isinstance(event, dict):
        raise NormalizeError("a message of a BATCH delivery holds no event")
    if not isinstance(event.get("eventType"), str):
        raise NormalizeError("a Guru event without eventType")
    return event


def _card(event: Mapping[str, Any]) -> str:
    """Its id; empty where the event names none."""
    properties = event.get("properties")
    card = properties.get("cardId") if isinstance(properties, dict) else None
    return card if isinstance(card, str) else ""


WEBHOOK: Webhook[Config] = Webhook(
    needs="webhook_secret",
    verify=verify,
    split=split,
    path_secret="webhook_secret",  # noqa: S106  a setting's name
    instructions=(
        "POST /api/v1/webhooks with deliveryMode BATCH, status ENABLED, this URL as targetUrl and the filter "
        "card-created,card-updated,card-deleted,card-restored,card-verified,card-shared-to-team,card-unshared,"
        "card-added-to-board,collection-deleted,tag-merged (at most ten types)."
    ),
)
