"""Template's deliveries: `{account, events: [{event, at, person | ticket | id}]}`, signed. Pure: no I/O, no clock.

`X-Template-Signature` is the hex HMAC-SHA256 of `<X-Template-Time>.<body>`; the time is in epoch seconds.
A ticket comes whole; of a person only the id is told, so it is fetched (see hydrate.py).
"""

import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Any

from connectors._template.config import Config
from core.sdk import (
    AccountError,
    Delivery,
    Hint,
    NormalizeError,
    Payload,
    SignatureError,
    Split,
    Webhook,
    from_iso,
    to_ms,
)

TOLERANCE = timedelta(minutes=5)


def signature(secret: str, time: str, body: bytes) -> str:
    """Used by the mock, too: it signs as the source does."""
    return hmac.new(secret.encode(), time.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(delivery: Delivery, config: Config, now: datetime) -> None:
    """Raises SignatureError unless the delivery is the source's own, and fresh."""
    if config.webhook_secret is None:
        raise SignatureError("the connection has no webhook_secret", code="no secret set")
    time, given = (delivery.headers.get(name, "") for name in ("x-template-time", "x-template-signature"))
    wanted = signature(config.webhook_secret.get_secret_value(), time, delivery.body)
    if not given or not hmac.compare_digest(given.encode(), wanted.encode()):
        raise SignatureError("the signature does not fit the delivery", code="wrong signature")
    if not time.isdecimal() or abs(now.timestamp() - int(time[:12])) > TOLERANCE.total_seconds():
        raise SignatureError("the delivery was signed at another time", code="stale")


def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
    """Payloads for what came whole, hints for what was only named; events that we do not use are ignored. One that
    cannot be read is odd, and the others go through."""
    events = body.get("events") if isinstance(body, dict) else None
    if not isinstance(events, list):
        raise NormalizeError("not a delivery of Template: no list of events")
    if body.get("account") != account:
        raise AccountError(f"the delivery is for the account {body.get('account')!r}")
    payloads: list[Payload] = []
    hints: list[Hint] = []
    ignored: list[str] = []
    odd: list[str] = []
    for event in events:
        try:
            if not isinstance(event, dict) or not isinstance(name := event.get("event"), str):
                raise NormalizeError("an event without a name")
            at = to_ms(from_iso(event.get("at")) or "1970-01-01T00:00:00.000Z") or received
        except NormalizeError as error:
            odd.append(str(error))
            continue
        match name:
            case "ticket.changed":
                payloads.append(Payload("ticket", event.get("ticket"), account, True, received, at))
            case "person.changed" if event.get("id"):
                hints.append(Hint("person", str(event["id"]), at, name))
            case "person.deleted" | "ticket.deleted":
                kind = name.partition(".")[0]
                payloads.append(Payload(f"{kind}.gone", {"id": event.get("id")}, account, True, received, at))
            case _:
                ignored.append(name)
    return Split(tuple(payloads), tuple(hints), tuple(ignored), odd=tuple(odd))


WEBHOOK: Webhook[Config] = Webhook(
    needs="webhook_secret",
    verify=verify,
    split=split,
    instructions="Settings > Webhooks > New: paste this URL, choose all events, copy the secret to webhook_secret.",
)
