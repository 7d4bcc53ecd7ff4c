"""HubSpot's webhooks: signatures, and arrays of hints of which merges and privacy deletions alone say everything. Pure.

https://developers.hubspot.com/docs/guides/apps/authentication/validating-requests
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from connectors.hubspot.config import Config
from connectors.hubspot.kinds import BY_TYPE_ID, CUSTOM, INBOX, KINDS, LINE_ITEM, LINED, kinds_of
from core.sdk import AccountError, Delivery, Hint, NormalizeError, Payload, SignatureError, Split

TOLERANCE = timedelta(minutes=5)
# Only these escapes are decoded before signing; all others stay as they are.
_DECODED = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$", "%27": "'", "%28": "(", "%29": ")",
    "%2A": "*", "%2C": ",", "%3B": ";",
}  # fmt: skip
_ESCAPE = re.compile("|".join(_DECODED), re.IGNORECASE)

INSTRUCTIONS = (
    "In your HubSpot app: Webhooks > Target URL: paste the address. Subscribe contact, company, deal and ticket to "
    "created, deleted, merged, restored, property changed and association changed, contact also to privacy deleted, "
    "conversation to all it has. A project-based app has the same for every other object (`object.*`)."
)


def signature(secret: str, method: str, url: str, body: bytes, timestamp: str) -> str:
    """Signature v3: base64 of HMAC-SHA256 over method, URL as HubSpot calls it, raw body, timestamp (epoch ms)."""
    signed = _ESCAPE.sub(lambda found: _DECODED[found[0].upper()], url)
    source = method.encode() + signed.encode() + body + timestamp.encode()
    return base64.b64encode(hmac.digest(secret.encode(), source, hashlib.sha256)).decode()


def signature_v1(secret: str, body: bytes) -> str:
    """Signature v1: SHA-256, in hex, over secret and raw body."""
    return hashlib.sha256(secret.encode() + body).hexdigest()


def verify(delivery: Delivery, config: Config, now: datetime) -> None:
    """SignatureError unless HubSpot signed exactly this within the last five minutes. Where `signature_v1` is set and
    there is no signature v3, unless it signed this body once."""
    given = delivery.headers.get("x-hubspot-signature-v3")
    timestamp = delivery.headers.get("x-hubspot-request-timestamp", "")
    if config.client_secret is None:
        raise SignatureError("the connection has no client_secret", code="no secret set")
    if not given:
        _verify_v1(delivery, config, config.client_secret.get_secret_value())
        return
    if not re.fullmatch(r"\d{1,15}", timestamp, re.ASCII):
        raise SignatureError("X-HubSpot-Request-Timestamp is missing or no number", code="missing timestamp")
    age = now - datetime.fromtimestamp(int(timestamp) / 1000, tz=now.tzinfo)
    if age > TOLERANCE:
        raise SignatureError("stale: signed more than five minutes ago, or a clock is wrong", code="stale")
    if age < -TOLERANCE:  # SECURITY: HubSpot's own SDKs leave this side open to deliveries signed for later
        raise SignatureError("signed for later: a clock is wrong", code="from the future")
    expected = signature(
        config.client_secret.get_secret_value(), delivery.method, delivery.url, delivery.body, timestamp
    )
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise SignatureError(
            "wrong signature: is server.public_url what HubSpot calls, letter by letter?",
            code="wrong signature",
        )


def _verify_v1(delivery: Delivery, config: Config, secret: str) -> None:
    given = delivery.headers.get("x-hubspot-signature", "")
    if not given or delivery.headers.get("x-hubspot-signature-version", "").lower() != "v1":
        raise SignatureError("X-HubSpot-Signature-v3 is missing", code="missing signature")
    if not config.signature_v1:
        raise SignatureError(
            "X-HubSpot-Signature-v3 is missing; to take the old signature set `signature_v1: true`",
            code="missing signature",
        )
    if not hmac.compare_digest(signature_v1(secret, delivery.body).encode(), given.encode()):
        raise SignatureError("wrong signature: is client_secret that of this app?", code="wrong signature")


def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
    """An array of events to one hint per object, and a payload for each deletion and merge.

    AccountError where any event is another portal's. An event without what its kind must say is odd, and the others of
    its array go through.
    """
    if not isinstance(body, list):
        raise NormalizeError("a delivery of HubSpot's is an array of events")
    events = [event if isinstance(event, dict) else {} for event in body]
    if any(str(event.get("portalId", account)) != account for event in events):
        raise AccountError("an event of another portal")
    wanted = _wanted(config)
    payloads: dict[str, Payload] = {}
    hints: dict[tuple[str, str], Hint] = {}
    ignored: list[str] = []
    seen: list[tuple[str, Any]] = []
    odd: list[str] = []
    for event in events:
        try:
            kind, action = _type(event)
            if kind not in wanted or action not in _ACTIONS.get(kind, _CHANGES):
                ignored.append(f"{kind}.{action}")
                continue
            at = int(event["occurredAt"])
            if action in _TOLD:
                payload = Payload(f"{kind}.{action}", event, account, pushed=True, received=received, at=at)
                payloads.setdefault(f"{kind}.{action}.{event['objectId']}.{at}", payload)
            else:
                seen.append((f"{kind}.{action}", event))
            for hint in _hints(kind, action, event, at):
                if hint.kind not in wanted:
                    continue
                hints[hint.kind, hint.id] = max(hints.get((hint.kind, hint.id), hint), hint, key=lambda each: each.at)
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
            odd.append("an event without the fields of its kind")
    return Split(tuple(payloads.values()), tuple(hints.values()), tuple(ignored), seen, odd=tuple(odd))


# What an event says completely. A deletion does not: dated as it is told, it would outlast a restore that nobody told
# and that moved no date, so the object is read in the recycle bin.
_TOLD = frozenset({"privacyDeletion", "merge"})
_CHANGES = frozenset({"creation", "propertyChange", "restore", "associationChange", "deletion", "merge"})
_ACTIONS = {
    **dict.fromkeys(KINDS, _CHANGES),
    "contact": _CHANGES | {"privacyDeletion"},
    LINE_ITEM: frozenset({"creation", "propertyChange", "restore", "associationChange"}),
    INBOX: frozenset({"creation", "deletion", "newMessage", "privacyDeletion", "propertyChange"}),
}


def _wanted(config: Config) -> frozenset[str]:
    lines = {LINE_ITEM} if any(name in config.objects for name in LINED) else set()
    return frozenset({*config.objects, *kinds_of(config), *lines})


def _type(event: Mapping[str, Any]) -> tuple[str, str]:
    """The kind and what happened to it: `contact.creation`, or `object.creation` with an object type id."""
    name = event["subscriptionType"] if "subscriptionType" in event else event["eventType"]
    kind, _, action = name.partition(".")
    if kind == "object":
        # An association change between generic objects may bring no type id of its own.
        type_id = event.get("objectTypeId") or event.get("fromObjectTypeId")
        kind = _named(str(type_id)) or f"object {type_id}"
    return kind, action


def _named(type_id: str) -> str:
    """Empty where it is none of those that we know."""
    return type_id if CUSTOM.fullmatch(type_id) else BY_TYPE_ID.get(type_id, "")


def _hints(kind: str, action: str, event: Mapping[str, Any], at: int) -> Iterable[Hint]:
    match action:
        case "privacyDeletion":
            return
        case "merge":
            if into := merged_into(event):
                yield Hint(kind, into, at)
        case "associationChange":
            # The modified date of neither side is sure to move, so both are fetched.
            ends = _ends(kind, event)
            for name, id in zip(ends, (event["fromObjectId"], event["toObjectId"]), strict=True):
                if name and name != LINE_ITEM:
                    yield Hint(name, str(int(id)), at)
        case _:
            yield Hint(kind, str(int(event["objectId"])), at)


def _ends(kind: str, event: Mapping[str, Any]) -> tuple[str, str]:
    if "fromObjectTypeId" in event:
        return _named(event["fromObjectTypeId"]), _named(event["toObjectTypeId"])
    first, _, second = event["associationType"].partition("_TO_")  # CONTACT_TO_COMPANY
    return first.lower() or kind, second.lower()


def merged_into(event: Mapping[str, Any]) -> str:
    """The id of the record that remains: since January 2025 a new one, before that the primary one."""
    return str(event.get("newObjectId") or event.get("primaryObjectId") or event["objectId"])
