"""Messages of what is no event: payloads as they came after the cuts, and hints. Pure: no I/O, no clock."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from core.bus import Message
from core.bus.codec import connection_headers
from core.bus.topics import HINTS, RAW
from core.config.model import Connection
from core.ingest.cursors import listing_name
from core.ingest.cuts import LONG_SECRET, Drops, blank, drops_of, secrets_of
from core.sdk import Delivery, Hint, Payload, Webhook
from core.sdk.bodies import clean

# SECURITY: these headers are never kept.
_PRIVATE_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})


@dataclass(frozen=True, slots=True)
class Door:
    """A connection with what is derived from its settings once."""

    connection: Connection
    secrets: tuple[bytes, ...]
    long_secrets: tuple[bytes, ...]  # those that no event may carry
    drops: Drops
    pull_only: frozenset[str]  # streams and listings of which no webhook tells

    @property
    def name(self) -> str:
        return self.connection.name

    @property
    def webhook(self) -> Webhook[Any]:
        assert self.connection.connector.webhook is not None
        return self.connection.connector.webhook

    @property
    def hooked(self) -> bool:
        """Whether it takes webhooks; otherwise it is only polled."""
        webhook = self.connection.connector.webhook
        return webhook is not None and webhook.enabled(self.connection.settings)


def door_of(connection: Connection) -> Door:
    settings, connector = connection.settings, connection.connector
    pull_only = {stream.name for stream in connector.streams if stream.pull_only}
    pull_only |= {listing_name(listing.kind) for listing in connector.listings if listing.pull_only}
    secrets, long_secrets = secrets_of(settings), secrets_of(settings, LONG_SECRET)
    return Door(connection, secrets, long_secrets, drops_of(settings.drop), frozenset(pull_only))


def fields(payload: Payload) -> dict[str, Any]:
    """What a raw message and a dead letter keep of a payload."""
    return {
        "kind": payload.kind,
        "data": payload.data,
        "account": payload.account,
        "pushed": payload.pushed,
        "received": payload.received,
        "at": payload.at,
        "headers": _public(payload.headers),
    }


def whole(delivery: Delivery, body: Any, received: int) -> dict[str, Any]:
    """What a dead letter keeps of a delivery that could not be taken apart; the path's secret is not in it."""
    return {
        "body": body,
        "method": delivery.method,
        "url": delivery.url,
        "headers": _public(delivery.headers),
        "query": dict(delivery.query),
        "received": received,
    }


def raw(door: Door, kind: str, account: str, value: dict[str, Any], subjects: Iterable[str] = ()) -> Message:
    """A payload (`data` of `value`) as it came. The header names the subjects, so that erasure finds the message."""
    named = list(dict.fromkeys(subjects))
    digest = hashlib.sha256(dumps([door.name, kind, value["data"]])).hexdigest()[:32]
    headers = [*connection_headers(door.name, account, kind), ("subjects", "\n".join(named).encode())]
    partition_by = named[0] if named else door.name
    return Message(RAW, digest, blank(dumps(value), door.secrets), partition_by, headers)


def hint_message(door: Door, hint: Hint, account: str) -> Message:
    """One connection's hints stay in one partition, so that one process paces all requests to a source."""
    name = f"{door.name}/{hint.kind}/{hint.id}"
    return Message(HINTS, name, dumps(asdict(hint)), door.name, connection_headers(door.name, account, hint.kind))


def dumps(value: Any) -> bytes:
    """JSON, also where headers or queries carry lone surrogates, which bodies have lost already."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(clean(value))


def _public(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _PRIVATE_HEADERS}
