"""A batch of an in-house system: a JSON array or JSON Lines, proved by a bearer token. Pure: no I/O, no clock."""

import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Any

from connectors.push.config import Config
from core.sdk import Delivery, NormalizeError, Payload, RefusedError, SignatureError, Split, Webhook

LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
_ARRAYS = frozenset({"application/json", ""})


def verify(delivery: Delivery, config: Config, now: datetime) -> None:
    """RFC 6750, compared in constant time. Raises SignatureError."""
    scheme, _, given = delivery.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise SignatureError("the request has no `Authorization: Bearer`", code="no token")
    if not hmac.compare_digest(config.token.get_secret_value().encode(), given.strip().encode()):
        raise SignatureError("the bearer token is not the connection's", code="wrong token")


def parse(delivery: Delivery, json: Callable[[bytes], Any]) -> list[Any]:
    """The items; of JSON Lines each line stands alone, so one that cannot be read is a NormalizeError in the list.
    Raises RefusedError where the body is no batch."""
    kind = delivery.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in LINES:
        return [_line(line, json) for line in delivery.body.splitlines() if line.strip()]
    if kind not in _ARRAYS:
        raise RefusedError("send application/json or application/x-ndjson", status=415, code="content type")
    try:
        body = json(delivery.body)
    except ValueError as error:
        raise RefusedError(f"the body is not JSON: {error}", status=400, code="not JSON") from None
    if not isinstance(body, list):
        raise RefusedError("the body is not a JSON array of items", status=400, code="no batch")
    return body


def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
    """One payload per item. The class of its identifiers goes with it, so that a replay gives the same event."""
    if len(body) > config.max_items:
        raise RefusedError(f"at most {config.max_items:,} items at once", status=413, code="too many items")
    said = {"evidence": config.evidence}
    return Split([Payload("item", item, account, True, received, headers=said) for item in body])


def _line(line: bytes, json: Callable[[bytes], Any]) -> Any:
    try:
        return json(line)
    except ValueError as error:
        return NormalizeError(f"not JSON: {error}")


WEBHOOK: Webhook[Config] = Webhook(
    verify=verify,
    parse=parse,
    split=split,
    tells=True,
    instructions="POST batches of `hub schema push` to this address, with `Authorization: Bearer <token>`.",
)
