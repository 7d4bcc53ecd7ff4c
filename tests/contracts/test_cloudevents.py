"""Events on the bus are CloudEvents 1.0 in the Kafka binding's binary mode: the project's own SDK reads them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event

from core.bus import Message, Record
from core.bus.codec import connection_headers, decode, encode
from core.bus.kafka import open_kafka
from core.bus.topics import EVENTS, TOPICS
from core.errors import NormalizeError
from schemas.event import Event, Order, event_id

SUBJECT = "intercom/workspace1/contact/é%2F1"
NOON = 1_767_268_800_123  # 2026-01-01T12:00:00.123Z


def event(**changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": event_id(SUBJECT, "1", b"{}"),
        "type": "person.upserted",
        "source": "intercom/workspace1",
        "subject": SUBJECT,
        "order": Order(NOON, 0, 7, 1),
        "received": NOON + 900,
        "connection": "desk",
        "data": {"display_name": "Zoë Example", "tags": ["vip"], "blocked": None},
    }
    return Event(**(fields | changes))


def recorded(message: Message) -> Record:
    return Record(message.topic, 3, 17, NOON + 1000, message.key, message.value, tuple(message.headers))


def seen_by_the_sdk(headers: Any, key: bytes, value: bytes) -> BaseCloudEvent:
    return from_binary_event(KafkaMessage(headers=dict(headers), key=key, value=value))


def expect(found: BaseCloudEvent, original: Event) -> None:
    assert found.get_specversion() == "1.0"
    assert found.get_id() == original.id
    assert found.get_type() == "person.upserted"
    assert found.get_source() == "intercom/workspace1"
    assert found.get_subject() == SUBJECT
    assert found.get_time() == datetime(2026, 1, 1, 12, 0, 0, 123_000, tzinfo=UTC)
    assert found.get_datacontenttype() == "application/json"
    assert found.get_data() == original.data
    assert found.get_extension("schemaversion") == "v0"
    assert found.get_extension("connection") == "desk"
    assert found.get_extension("mode") == "full"
    assert found.get_extension("partitionkey") == original.id  # the binding's name for the record's key


def test_the_sdk_reads_an_encoded_event() -> None:
    message = encode(event())
    assert message.value is not None
    expect(seen_by_the_sdk(message.headers, message.key.encode(), message.value), event())


@pytest.mark.kafka
async def test_the_sdk_reads_an_event_from_a_real_topic(kafka_servers: str, prefix: str) -> None:
    async with open_kafka(kafka_servers, prefix=prefix, options={}, topics={EVENTS: TOPICS[EVENTS]}) as bus:
        await bus.publish([encode(event())])
    consumer = AIOKafkaConsumer(prefix + EVENTS, bootstrap_servers=kafka_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        record = await consumer.getone()
    finally:
        await consumer.stop()
    expect(seen_by_the_sdk(record.headers, record.key, record.value), event())


@pytest.mark.parametrize(
    "original",
    [
        event(),
        event(mode="patch", data={"email": ""}),
        event(type="person.merged", into="intercom/workspace1/contact/2", data={}),
        event(type="person.deleted", final=True, data={}),
        event(type="person.deleted", final=True, erased=True, data={}),
        event(order=Order(0, 1, 0, 3)),
        event(key_id="k1"),
    ],
    ids=["full", "patch", "merged", "deleted", "erased", "without a clock", "encrypted"],
)
def test_what_was_encoded_is_decoded(original: Event) -> None:
    found = decode(recorded(encode(original)))
    assert (found.id, found.entity, found.action) == (original.id, original.entity, original.action)
    assert (found.subject, found.order, found.received) == (SUBJECT, tuple(original.order), original.received)
    assert (found.connection, found.mode, found.data) == ("desk", original.mode, original.data)
    assert (found.into, found.final, found.erased) == (original.into, original.final, original.erased)


def test_an_event_without_the_sources_clock_tells_when_it_was_received() -> None:
    message = encode(event(order=Order(0, 1, 0, 1)))
    assert message.value is not None
    found = seen_by_the_sdk(message.headers, b"", message.value)
    assert found.get_time() == datetime(2026, 1, 1, 12, 0, 1, 23_000, tzinfo=UTC)


def test_one_objects_events_share_a_partition_and_each_has_its_own_key() -> None:
    one, two = encode(event()), encode(event(id=event_id(SUBJECT, "2", b"{}")))
    assert one.partition_by == two.partition_by == SUBJECT
    assert one.key != two.key


def without(message: Message, name: str) -> list[tuple[str, bytes]]:
    return [header for header in message.headers if header[0] != name]


GOOD = encode(event())


@pytest.mark.parametrize(
    "foreign",
    [
        Message(EVENTS, "k", b"{}"),
        Message(EVENTS, "k", b"hello", headers=connection_headers("desk", "workspace1")),
        *(Message(EVENTS, "k", b"{}", headers=without(GOOD, name)) for name in ("ce_id", "ce_type", "ce_order")),
        Message(EVENTS, "k", b"{}", headers=[*without(GOOD, "ce_schemaversion"), ("ce_schemaversion", b"v7")]),
        Message(EVENTS, "k", b"{}", headers=[*without(GOOD, "ce_order"), ("ce_order", b"1.2.3")]),
        Message(EVENTS, "k", b"{}", headers=[*without(GOOD, "ce_received"), ("ce_received", b"noon")]),
        Message(EVENTS, "k", b"{}", headers=[*without(GOOD, "ce_subject"), ("ce_subject", b"\xff")]),
        Message(EVENTS, "k", b"{not json", headers=GOOD.headers),
        Message(EVENTS, "k", b"[1]", headers=GOOD.headers),
    ],
)
def test_a_foreign_message_is_refused_with_a_reason(foreign: Message) -> None:
    with pytest.raises(NormalizeError, match=r"not an event of ours|schema version"):
        decode(recorded(foreign))
