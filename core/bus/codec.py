"""Events on the bus: the CloudEvents Kafka binding, binary mode (cloudevents/spec, kafka-protocol-binding.md).

Attributes are headers `ce_*`, the value is the event's data as JSON. Payloads, hints and dead letters are JSON with the
few headers that name their connection.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from core.bus import Message, Record
from core.bus.topics import EVENTS
from core.errors import NormalizeError
from core.sdk import from_ms
from schemas.event import SCHEMA_VERSION, Event

ORIGIN = "origin"


class Origin(NamedTuple):
    """By which way an event came. It travels beside the event, in a header: the same state stays the same event.

    `way`: webhook, hydrate (a webhook named it), sweep, backfill, listing, replay, push; empty where nobody said.
    `stream`: what was read, empty for what was pushed. `hooked`: the connection takes webhooks that
    tell of it, so that they should have told what a sweep finds.
    """

    way: str = ""
    stream: str = ""
    hooked: bool = False

    def header(self) -> tuple[str, bytes]:
        return ORIGIN, f"{self.way} {int(self.hooked)} {self.stream}".encode()


class Incoming(NamedTuple):
    """An event as process reads it: like schemas.event.Event, without the cost of validating it once more.

    `order` is Order as a plain tuple.
    """

    id: str
    entity: str
    action: str
    subject: str
    order: tuple[int, int, int, int]
    received: int
    connection: str
    mode: str
    data: dict[str, Any]
    into: str | None
    final: bool
    erased: bool
    origin: Origin = Origin()


def encode(event: Event, origin: Origin | None = None, topic: str = EVENTS) -> Message:
    """One event as a message: its key the event's id, its partition by subject, so that one object keeps its order in
    the topic, which is EVENTS or PAST."""
    headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", event.id),
        ("ce_type", event.type),
        ("ce_source", event.source),
        ("ce_subject", event.subject),
        ("ce_time", from_ms(event.order.clock or event.received) or ""),
        ("content-type", "application/json"),
        ("ce_schemaversion", event.schema_version),
        ("ce_order", ".".join(map(str, event.order))),
        ("ce_received", str(event.received)),
        ("ce_connection", event.connection),
        ("ce_mode", event.mode),
    ]
    if event.key_id:
        headers.append(("ce_keyid", event.key_id))
    if event.into:
        headers.append(("ce_into", event.into))
    if event.final:
        headers.append(("ce_final", "erased" if event.erased else "final"))
    encoded = [(name, value.encode()) for name, value in headers]
    return Message(
        topic,
        event.id,
        orjson.dumps(event.data, option=orjson.OPT_SORT_KEYS),  # equal states are equal bytes in records, too
        partition_by=event.subject,
        headers=[*encoded, origin.header()] if origin else encoded,
    )


def decode(record: Record) -> Incoming:
    """The event in a record. Raises NormalizeError where it is not one of ours or of a newer major schema."""
    try:
        headers = dict(record.headers)
        if headers["ce_schemaversion"] != SCHEMA_VERSION.encode():
            raise NormalizeError(f"schema version {headers['ce_schemaversion'].decode()} is not {SCHEMA_VERSION}")
        entity, _, action = headers["ce_type"].decode().partition(".")
        clock, read, sequence, mapper = headers["ce_order"].split(b".")
        final = headers.get("ce_final")
        into = headers.get("ce_into")
        data = orjson.loads(record.value or b"{}")
        if not isinstance(data, dict):
            raise NormalizeError("not an event of ours: its data is no JSON object")
        return Incoming(
            headers["ce_id"].decode(),
            entity,
            action,
            headers["ce_subject"].decode(),
            (int(clock), int(read), int(sequence), int(mapper)),
            int(headers["ce_received"]),
            headers["ce_connection"].decode(),
            headers["ce_mode"].decode(),
            data,
            into.decode() if into else None,
            final is not None,
            final == b"erased",
            _origin(headers.get(ORIGIN, b"")),
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise NormalizeError(f"not an event of ours: {type(error).__name__} {error}") from error


@lru_cache(4096)
def _origin(header: bytes) -> Origin:
    way, _, rest = header.decode(errors="replace").partition(" ")
    hooked, _, stream = rest.partition(" ")
    return Origin(way, stream, hooked == "1")


def connection_headers(connection: str, account: str, kind: str = "") -> list[tuple[str, bytes]]:
    """Headers of what is no event: raw payloads, hints, dead letters."""
    return [("connection", connection.encode()), ("account", account.encode()), ("kind", kind.encode())]
