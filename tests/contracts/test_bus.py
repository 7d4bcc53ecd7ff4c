"""What every bus promises; each sentence holds on the embedded bus and on Apache Kafka."""

import asyncio
import time
from contextlib import suppress

import pytest

from core.bus import Bus, Message
from core.bus.topics import MAX_VALUE
from core.errors import PermanentError
from tests.contracts.reading import SOON, collect, everything, messages, records
from tests.fixtures_bus import TOPICS, Compacts, OpenBus


async def test_published_is_there_after_reopening(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        await bus.publish(messages(20))
    async with open_bus() as bus:
        assert {record.key for record in await everything(bus, "plain")} == {f"k{number}" for number in range(20)}


async def test_a_record_brings_back_all_that_was_published(bus: Bus) -> None:
    before = time.time_ns() // 1_000_000 - 1000
    headers = [("ce_id", b"1"), ("binary", bytes(range(256))), ("ce_id", b"twice"), ("empty", b"")]
    await bus.publish([Message("plain", "clé ✓", b"\x00\xff", headers=headers)])
    (record,) = await everything(bus, "plain")
    assert (record.topic, record.key, record.value) == ("plain", "clé ✓", b"\x00\xff")
    assert list(record.headers) == headers
    assert before <= record.timestamp <= time.time_ns() // 1_000_000 + 1000


async def test_a_tombstone_is_read_as_none_and_an_empty_value_as_empty(bus: Bus) -> None:
    await bus.publish([Message("state", "k", b""), Message("state", "k", None)])
    assert [record.value for record in await everything(bus, "state")] == [b"", None]


async def test_the_partition_follows_partition_by_and_stays_the_same(open_bus: OpenBus) -> None:
    # crc32 of "someone" modulo 4 is 1, of "else" 3: a change here would tear the order of every object.
    wanted = {("a", 1), ("b", 1), ("else", 3)}
    for _ in range(2):
        async with open_bus() as bus:
            await bus.publish([Message("plain", key, b"", partition_by="someone") for key in ("a", "b")])
            await bus.publish([Message("plain", "else", b"")])
            assert {(record.key, record.partition) for record in await everything(bus, "plain")} == wanted


async def test_a_partition_keeps_the_order_of_publishing(bus: Bus) -> None:
    for number in range(30):
        await bus.publish([Message("plain", "k", f"{number}.{part}".encode()) for part in range(3)])
    read = await everything(bus, "plain")
    assert [record.value for record in read] == [f"{n}.{p}".encode() for n in range(30) for p in range(3)]
    assert [record.offset for record in read] == list(range(90))


async def test_ten_thousand_go_in_one_call(bus: Bus) -> None:
    await bus.publish(messages(10_000))
    assert sum(end - begin for begin, end in (await bus.range("plain")).values()) == 10_000


async def test_publishers_at_the_same_time_lose_nothing(bus: Bus) -> None:
    await asyncio.gather(*(bus.publish(messages(5, prefix=f"p{number}-")) for number in range(200)))
    assert len({record.key for record in await everything(bus, "plain")}) == 1000


async def test_a_cancelled_publish_leaves_all_or_nothing_of_the_others_untouched(bus: Bus) -> None:
    tasks = [asyncio.create_task(bus.publish(messages(3, prefix=f"p{number}-"))) for number in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await bus.publish(messages(1, prefix="after"))
    keys = [record.key for record in await everything(bus, "plain")]
    assert "after0" in keys
    assert all(f"p{number}-{part}" in keys for number in range(1, 50, 2) for part in range(3))
    assert len(keys) == len(set(keys))


async def test_publishing_nothing_is_fine_and_to_an_unknown_topic_refused(bus: Bus) -> None:
    await bus.publish([])
    with pytest.raises(PermanentError, match="no topic 'nowhere'"):
        await bus.publish([Message("nowhere", "k", b"")])


async def test_a_message_that_is_too_large_is_refused_with_its_whole_batch(bus: Bus) -> None:
    with pytest.raises(PermanentError, match="above"):
        await bus.publish([Message("plain", "small", b""), Message("plain", "big", bytes(MAX_VALUE + 1))])
    await bus.publish([Message("plain", "largest", bytes(MAX_VALUE))])
    assert [record.key for record in await everything(bus, "plain")] == ["largest"]


async def test_a_sender_fences_its_predecessor(bus: Bus) -> None:
    async with bus.sender("publish") as old:
        await old.send([Message("state", "k", b"1")])
        async with bus.sender("publish") as new:
            with pytest.raises(PermanentError):
                await old.send([Message("state", "k", b"late")])
            await new.send([Message("state", "k", b"2")])
            with pytest.raises(PermanentError):
                await old.send([Message("state", "k", b"later")])
    assert [record.value for record in await everything(bus, "state")] == [b"1", b"2"]


async def test_senders_of_different_ids_do_not_fence_one_another(bus: Bus) -> None:
    async with bus.sender("one") as one, bus.sender("two") as two:
        await one.send([Message("state", "a", b"")])
        await two.send([Message("state", "b", b"")])
        await one.send([Message("state", "c", b"")])
    assert {record.key for record in await everything(bus, "state")} == {"a", "b", "c"}


async def test_a_cancelled_send_is_all_or_nothing_and_its_sender_goes_on(bus: Bus) -> None:
    async with bus.sender("publish") as sender:
        for number in range(8):
            sent = [Message("state", f"{number}.{part}", b"") for part in range(40)]
            task = asyncio.create_task(sender.send(sent))
            await asyncio.sleep(0.002 * number)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await sender.send([Message("state", "after", b"")])
        keys = [record.key for record in await everything(bus, "state")]
    assert keys.count("after") == 1
    assert {sum(key.startswith(f"{number}.") for key in keys) for number in range(8)} <= {0, 40}


async def test_what_a_sender_sent_is_visible_on_return(bus: Bus) -> None:
    async with bus.sender("publish") as sender:
        for number in range(20):
            await sender.send([Message("state", f"{number}.{part}", b"") for part in range(5)])
            assert len(await everything(bus, "state")) == (number + 1) * 5
        await sender.send([])


async def test_a_reader_of_what_a_sender_sent_reaches_the_head(bus: Bus) -> None:
    """Transactions leave holes: `end` passes them, and offsets stay in order."""
    async with bus.subscribe(["state"], "g") as subscription, bus.sender("publish") as sender:
        for number in range(5):
            await sender.send([Message("state", f"{number}.{part}", b"") for part in range(10)])
        batches = await collect(subscription, 50, limit=9)
        ends: dict[int, int] = {}
        for batch in batches:
            assert batch.begin == ends.get(batch.partition, 0)
            ends[batch.partition] = batch.end
        assert len({record.key for record in records(batches)}) == 50
        begins = await bus.range("state")
        for partition, end in ends.items():
            rest = await bus.read("state", partition, end, 10)
            assert (rest.records, rest.end) == ([], begins[partition][1])


async def test_compaction_keeps_the_last_value_of_each_key(bus: Bus, bus_kind: str, kafka_compacts: Compacts) -> None:
    for number in range(30):
        await bus.publish([Message("state", f"k{key}", f"{key}.{number}".encode()) for key in range(4)])
    await bus.publish([Message("state", "k3", None)])
    before = await bus.range("state")
    if bus_kind == "kafka":
        await kafka_compacts(bus)
    deadline = time.monotonic() + 3 * SOON
    while len(left := await everything(bus, "state")) > 40 and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    assert len(left) <= 40, "nothing was compacted"
    last = {record.key: record.value for record in left}
    assert {key: last[key] for key in ("k0", "k1", "k2")} == {f"k{key}": f"{key}.29".encode() for key in range(3)}
    assert last.get("k3") is None
    after = await bus.range("state")
    assert all(after[number][1] >= end for number, (_, end) in before.items()), "the head has moved back"
    for partition, (begin, end) in before.items():
        batch = await bus.read("state", partition, begin, 1000)
        assert batch.end >= end, "a hole must not hold up a reader"


async def test_a_group_reads_on_over_the_holes_of_compaction(bus: Bus, bus_kind: str, kafka_compacts: Compacts) -> None:
    for number in range(30):
        await bus.publish([Message("state", f"k{key}", str(number).encode()) for key in range(4)])
    if bus_kind == "kafka":
        await kafka_compacts(bus)
    deadline = time.monotonic() + 3 * SOON
    while len(await everything(bus, "state")) > 40 and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    ends = {number: end for number, (_, end) in (await bus.range("state")).items()}
    async with bus.subscribe(["state"], "g") as subscription:
        reached = dict.fromkeys(ends, 0)
        while reached != ends:
            batches = await subscription.next(500, SOON)
            assert batches, f"stuck at {reached} of {ends}"
            for batch in batches:
                assert batch.begin == reached[batch.partition]
                reached[batch.partition] = batch.end


async def test_check_is_about_what_stands_against_the_promises(bus: Bus, bus_kind: str) -> None:
    said = await bus.check()
    if bus_kind == "embedded":
        assert said == []
    else:  # one node holds one copy
        assert said
        assert all("replica" in sentence for sentence in said)
    assert {topic.name for topic in TOPICS.values()} == {"plain", "other", "state"}
