"""Deliveries of Guru: proved by a secret in the URL, each event a hint at a card. Pure: no I/O, no clock.

Guru signs nothing and names no account, so whoever knows the URL may send; a forged delivery can only make us read a
card. In BATCH mode the envelope is Ably's, and each event stands in it as a JSON text: decoded twice.
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


def verify(delivery: Delivery, config: Config, now: datetime) -> None:
    """The last part of the URL's path, compared in constant time. Raises SignatureError."""
    if config.webhook_secret is None:
        raise SignatureError("the connection has no webhook_secret", code="no secret set")
    wanted = config.webhook_secret.get_secret_value().encode()
    if not hmac.compare_digest(wanted, delivery.path_secret.encode()):
        raise SignatureError("the URL does not end in the connection's webhook_secret", code="wrong secret")


def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
    """Hints for the cards that changed; everything else is ignored by its event type."""
    hints: list[Hint] = []
    ignored: list[str] = []
    seen: list[tuple[str, Any]] = []
    for event in _events(body):
        kind = event.get("eventType")
        if not isinstance(kind, str):
            raise NormalizeError("a Guru event without eventType")
        properties = event.get("properties")
        card = properties.get("cardId") if isinstance(properties, dict) else None
        if kind.startswith("card-") and kind not in _READING and isinstance(card, str) and card:
            hints.append(Hint("card", card, _at(event, received), kind))
            seen.append((kind, event))
        else:
            ignored.append(kind)
    return Split(hints=tuple(hints), ignored=tuple(ignored), seen=seen)


def _at(event: Mapping[str, Any], received: int) -> int:
    at = from_iso(event.get("eventDate"))
    return to_ms(at) if at else received


def _events(body: Any) -> Iterator[Mapping[str, Any]]:
    """SINGLE: the event itself. BATCH: items of messages whose `data` is an event as text."""
    if not isinstance(body, dict):
        raise NormalizeError("not a Guru delivery: no object")
    if "items" not in body:
        yield body
        return
    for item in _objects(body["items"]):
        data = item.get("data")
        for message in _objects(data.get("messages") if isinstance(data, dict) else None):
            yield _decoded(message.get("data"))


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise NormalizeError("a BATCH delivery has items with messages")
    yield from value


def _decoded(value: Any) -> Mapping[str, Any]:
    try:
        event = loads(value) if isinstance(value, str) else value
    except ValueError:
        raise NormalizeError("a message of a BATCH delivery is not JSON") from None
    if not isinstance(event, dict):
        raise NormalizeError("a message of a BATCH delivery holds no event")
    return event


WEBHOOK: Webhook[Config] = Webhook(
    needs="webhook_secret",
    verify=verify,
    split=split,
    path_secret="webhook_secret",  # noqa: S106  a setting's name
    instructions=(
        "POST /api/v1/webhooks with deliveryMode BATCH, status ENABLED, this URL as targetUrl and the filter "
        "card-created,card-updated,card-deleted,card-restored,card-verified,card-shared-to-team,card-unshared,"
        "card-added-to-board (at most ten types)."
    ),
)
