"""What is special about the bus on Kafka: topics and their settings, options, a broker that dies."""

import asyncio
import gc
import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from core import hub
from core.bus import Batch, Bus, Message
from core.bus.kafka import open_kafka
from core.bus.kafka_client import make_client, started, stopped
from core.bus.topics import Topic
from core.config import load
from core.errors import ConfigError, PermanentError, TransientError, UnauthorizedError
from tests.contracts.reading import SOON, collect, everything, messages, records
from tests.fixtures_bus import TOPICS, alter_topic, kafka_node
from tests.kafka.broker import Broker
from tests.ports import free_ports

pytestmark = pytest.mark.kafka


async def test_processes_that_start_at_once_create_the_topics_once(kafka_servers: str, prefix: str) -> None:
    async def start() -> dict[int, tuple[int, int]]:
        async with open_kafka(kafka_servers, prefix=prefix, options={}, topics=TOPICS) as bus:
            return dict(await bus.range("plain"))

    assert await asyncio.gather(*(start() for _ in range(4))) == [dict.fromkeys(range(4), (0, 0))] * 4


async def test_check_names_settings_that_lose_history(kafka_servers: str, prefix: str) -> None:
    async with open_kafka(kafka_servers, prefix=prefix, options={}, topics=TOPICS) as bus:
        await alter_topic(kafka_servers, f"{prefix}plain", {"retention.ms": "1000", "retention.bytes": "1000000"})
        await alter_topic(kafka_servers, f"{prefix}state", {"cleanup.policy": "delete"})
        said = "\n".join(await bus.check())
    assert f"topic {prefix}plain has retention.ms=1000 instead of 604800000" in said
    assert f"topic {prefix}plain has retention.bytes=1000000 instead of -1" in said
    assert f"topic {prefix}state has cleanup.policy=delete instead of compact" in said
    assert f"topic {prefix}state has retention.ms=" in said
    assert f"topic {prefix}other has retention" not in said


async def made_by_others(kafka_servers: str, topic: str) -> None:
    """With three partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 3, 1)])
    await admin.close()


async def test_the_topic_of_first_fetches_is_made_with_as_many_partitions_as_that_of_events(
    kafka_servers: str, prefix: str
) -> None:
    await made_by_others(kafka_servers, f"{prefix}events")
    async with open_kafka(kafka_servers, prefix=prefix, options={}) as bus:
        assert [len(await bus.range(topic)) for topic in ("events", "past", "hints")] == [3, 3, 8]


async def test_check_names_another_number_of_partitions_and_the_topic_still_works(
    kafka_servers: str, prefix: str
) -> None:
    await made_by_others(kafka_servers, f"{prefix}plain")
    async with open_kafka(kafka_servers, prefix=prefix, options={}, topics=TOPICS) as bus:
        assert f"topic {prefix}plain has 3 partitions instead of 4" in "\n".join(await bus.check())
        await bus.publish(messages(20))
        assert len(await everything(bus, "plain")) == 20


async def test_check_asks_for_three_replicas_of_which_two_in_sync(kafka_servers: str, prefix: str) -> None:
    async with open_kafka(kafka_servers, prefix=prefix, options={}, topics=TOPICS) as bus:
        said = "\n".join(await bus.check())
    if "replica(s)" not in said:
        pytest.skip("the broker that HUB_TEST_KAFKA names keeps three copies")
    assert f"topic {prefix}plain has 1 replica(s)" in said
    assert f"topic {prefix}plain has min.insync.replicas=1 instead of 2" in said


async def test_check_rings_when_a_group_is_behind_by_half_of_the_retention(kafka_servers: str, prefix: str) -> None:
    short = {"plain": Topic("plain", 1, timedelta(seconds=4), False, "for this test")}
    async with open_kafka(kafka_servers, prefix=prefix, options={}, topics=short) as bus:
        await bus.publish(messages(10))
        await bus.forget("slow", {("plain", 0): 3})
        await bus.forget("swift", {("plain", 0): 10})
        assert "behind" not in "\n".join(await bus.check())
        await asyncio.sleep(2.5)
        late = [sentence for sentence in await bus.check() if "behind" in sentence]
    assert late == [
        "group 'slow' is behind on 'plain' by more than half of its retention: start or repair what reads it"
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"linger": 5}, "bus.options.linger: unknown setting; did you mean `linger_ms`?"),
        ({"acks": 1}, "bus.options.acks: the hub sets it itself; remove it"),
        ({"ssl_cafile": "ca.pem"}, "set `security_protocol: SSL`"),
        ({"security_protocol": "SSL", "ssl_cafile": "/nowhere/ca.pem"}, "certificates named by ssl_"),
        ({"security_protocol": "TLS"}, "bus.options"),
        ({"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"}, "sasl_plain_username"),
    ],
)
async def test_wrong_options_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        async with open_kafka("127.0.0.1:1", prefix="", options=options, topics=TOPICS):
            pass
    assert said in str(caught.value)


async def test_options_reach_producer_and_consumer(kafka_servers: str, prefix: str) -> None:
    options = {"linger_ms": 5, "compression_type": "gzip", "fetch_max_bytes": 1_000_000, "metadata_max_age_ms": 60000}
    async with open_kafka(kafka_servers, prefix=prefix, options=options, topics=TOPICS) as bus:
        await bus.publish(messages(20))
        async with bus.subscribe(["plain"], "g") as subscription:
            assert len(records(await collect(subscription, 20))) == 20


async def test_no_broker_is_an_error_within_seconds(prefix: str) -> None:
    with pytest.raises(TransientError, match="connecting to 127"):
        async with open_kafka("127.0.0.1:1", prefix=prefix, options={}, topics=TOPICS):
            pass


@pytest.mark.parametrize("times", [1, 2])
async def test_who_is_cancelled_while_connecting_leaves_no_connection_open(
    kafka_servers: str, prefix: str, times: int
) -> None:
    client = make_client(kafka_servers, prefix, {})
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always", ResourceWarning)
        for moment in range(60):
            kind = (client.producer, client.consumer, client.admin)[moment % 3]
            made = kind()
            connecting = asyncio.create_task(started(made))
            await asyncio.sleep(moment / 10_000)
            if not connecting.cancel():
                await stopped(made)
            for _ in range(times - 1):
                await asyncio.sleep(0)
                connecting.cancel()
            await asyncio.wait([connecting])
            del made, connecting
        gc.collect()
    assert not left


async def test_who_is_cancelled_while_a_failed_connection_is_closed_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closing = asyncio.Event()
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    really = consumer.stop

    async def stop() -> None:
        closing.set()
        await asyncio.sleep(0.05)
        await really()

    monkeypatch.setattr(consumer, "stop", stop)
    connecting = asyncio.create_task(started(consumer))  # nobody answers there
    await closing.wait()
    connecting.cancel()
    await asyncio.wait([connecting])
    assert connecting.cancelled()


async def test_retention_that_passed_the_callers_offset_is_an_error(kafka_servers: str, prefix: str) -> None:
    async with open_kafka(kafka_servers, prefix=prefix, options={}, topics=TOPICS) as bus:
        await bus.publish([Message("other", "k", b"") for _ in range(10)])
        partition = next(number for number, (_, end) in (await bus.range("other")).items() if end)
        await cut(kafka_servers, f"{prefix}other", partition, 5)

        async def start(places: object) -> dict[tuple[str, int], int]:
            return {("other", partition): 2}

        async with bus.subscribe(["other"], "g", start=start) as subscription:
            with pytest.raises(PermanentError, match="offset 2 of"):
                await collect(subscription, 1)
        assert (await bus.read("other", partition, 0, 100)).records[0].offset == 5


async def test_members_that_join_an_idle_group_one_after_the_other_come_to_rest(
    kafka_servers: str, prefix: str
) -> None:
    async with open_kafka(kafka_servers, prefix=prefix, options={}, topics=TOPICS) as bus, AsyncExitStack() as stack:
        members = [await stack.enter_async_context(bus.subscribe(["plain"], "idle")) for _ in range(3)]
        waiting: list[asyncio.Task[Sequence[Batch]]] = []
        for member in members:
            waiting.append(asyncio.create_task(member.next(10, 25)))
            await asyncio.sleep(3)
        assert await asyncio.gather(*waiting) == [[], [], []]
        shares = [member.assigned() for member in members]
    assert all(shares)
    assert sum(map(len, shares)) == 4


async def test_what_a_failed_transaction_wrote_is_never_read(kafka_servers: str, prefix: str) -> None:
    async with open_kafka(kafka_servers, prefix=prefix, options={}, topics=TOPICS) as bus:
        await alter_topic(kafka_servers, f"{prefix}state", {"max.message.bytes": "10000"})
        keys = [f"k{number}" for number in range(8)]
        async with bus.sender("publish") as sender:
            with pytest.raises(PermanentError, match="Size"):
                await sender.send([Message("state", "large", bytes(50_000)), *(Message("state", k, b"") for k in keys)])
            with pytest.raises(PermanentError, match="open a new one"):
                await sender.send([Message("state", "also", b"")])
        async with bus.sender("publish") as sender:
            await sender.send([Message("state", "good", b"")])
        assert [record.key for record in await everything(bus, "state")] == ["good"]


async def cut(servers: str, topic: str, partition: int, before: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=before)})
    await admin.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Broker]:
    node = kafka_node(tmp_path)
    node.start()
    try:
        yield node
    finally:
        node.stop()


async def retry(bus: Bus, name: str) -> int:
    """Publish until it works; how often it did not."""
    deadline = time.monotonic() + 3 * SOON
    for failures in range(1000):
        try:
            await bus.publish([Message("plain", name, b"")])
        except TransientError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        else:
            return failures
    raise AssertionError("it never worked again")


@pytest.mark.slow
async def test_a_broker_that_was_killed_and_comes_back_heals_without_restart_of_the_hub(node: Broker) -> None:
    async with open_kafka(node.address, prefix="", options={}, topics=TOPICS) as bus:
        await bus.publish(messages(10))
        async with bus.subscribe(["plain"], "g") as subscription, bus.sender("publish") as sender:
            await sender.send([Message("state", "k", b"before")])
            assert len(records(await collect(subscription, 10, commit=True))) == 10
            node.kill()
            begun = time.monotonic()
            with pytest.raises(TransientError):
                await bus.publish([Message("plain", "lost", b"")])
            with pytest.raises(TransientError):
                await sender.send([Message("state", "k", b"down")])
            with pytest.raises(TransientError):
                await bus.range("plain")
            assert time.monotonic() - begun < 3 * SOON, "a call must not hang"
            with pytest.raises(TransientError):
                while time.monotonic() - begun < 4 * SOON:
                    await subscription.next(10, 0.5)
            await asyncio.to_thread(node.start)
            await retry(bus, "healed")
            seen: set[str] = set()
            deadline = time.monotonic() + 3 * SOON
            while "healed" not in seen and time.monotonic() < deadline:
                try:
                    batches = await subscription.next(10, 0.5)
                    await subscription.commit(batches)
                    seen |= {record.key for record in records(batches)}
                except TransientError:
                    await asyncio.sleep(0.2)
            assert "healed" in seen
            assert not seen & {f"k{number}" for number in range(10)}, "what was committed came again"
            await sender.send([Message("state", "k", b"after")])
        assert len(await everything(bus, "plain")) >= 11
        last = [record.value for record in await everything(bus, "state")]
        assert (last[0], last[-1]) == (b"before", b"after")


SECURE = """
listeners=PLAINTEXT://127.0.0.1:${port},SASL_SSL://127.0.0.1:${secure},CONTROLLER://127.0.0.1:${controller}
advertised.listeners=PLAINTEXT://127.0.0.1:${port},SASL_SSL://127.0.0.1:${secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location=%s
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_hub="let-me-in";
"""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A fresh self-signed certificate of 127.0.0.1, its key before it."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl here: apt-get install openssl")
    key, pem = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    extra = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(pem)]
    subprocess.run([*command, *extra], check=True, capture_output=True)
    (tmp_path / "both.pem").write_text(key.read_text() + pem.read_text())
    return pem


@pytest.mark.slow
async def test_the_bus_speaks_tls_and_sasl(tmp_path: Path, certificate: Path) -> None:
    node = kafka_node(tmp_path / "node", SECURE % certificate.with_name("both.pem"))
    options = {
        "security_protocol": "SASL_SSL",
        "ssl_cafile": str(certificate),
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "hub",
        "sasl_plain_password": "let-me-in",
    }
    try:
        await asyncio.to_thread(node.start)
        async with open_kafka(node.secure, prefix="", options=options, topics=TOPICS) as bus:
            await bus.publish(messages(20))
            async with bus.subscribe(["plain"], "g") as subscription, bus.sender("publish") as sender:
                assert len(records(await collect(subscription, 20, commit=True))) == 20
                await sender.send(messages(3, "state"))
            assert sum((await bus.committed("g", "plain")).values()) == 20
        with pytest.raises(UnauthorizedError, match=r"(?i)authentication.*correct the credentials") as refused:
            async with open_kafka(
                node.secure, prefix="", options=options | {"sasl_plain_password": "wrong-word"}, topics=TOPICS
            ):
                pass
        assert "wrong-word" not in str(refused.value)
        api, webhooks = (f"127.0.0.1:{port}" for port in free_ports(2))
        refused_here = {
            "data": "var",
            "server": {"api": api, "webhooks": webhooks},
            "bus": {
                "type": "kafka",
                "servers": node.secure,
                "options": options | {"sasl_plain_password": "wrong-word"},
            },
            "connections": {"guru": {"type": "guru", "mock": True, "account": "example"}},
        }
        (tmp_path / "hub.yaml").write_text(yaml.safe_dump(refused_here))
        with pytest.raises(UnauthorizedError):  # a hub that starts does not wait for a person to correct it
            await asyncio.wait_for(hub.run(load(tmp_path / "hub.yaml")), 30)
        with pytest.raises(UnauthorizedError, match=r"(?i)certificate verify failed"):
            async with open_kafka(node.secure, prefix="", options={**options, "ssl_cafile": None}, topics=TOPICS):
                pass
    finally:
        node.stop()
