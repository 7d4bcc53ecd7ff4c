"""What a bus promises to groups: each record once, offsets of the group or the caller, shared partitions; on both."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from core.bus import Bus, Message, Record, Subscription
from core.errors import PermanentError
from tests.contracts.reading import SOON, collect, messages, records, until, values
from tests.fixtures_bus import OpenBus


async def test_a_group_begins_at_the_earliest_and_sees_what_comes(bus: Bus) -> None:
    await bus.publish(messages(10))
    async with bus.subscribe(["plain"], "g") as subscription:
        assert len(records(await collect(subscription, 10))) == 10
        await bus.publish(messages(10, prefix="later"))
        assert {key[:5] for key in (record.key for record in records(await collect(subscription, 10)))} == {"later"}
        assert subscription.assigned() == {("plain", number) for number in range(4)}


async def test_next_gives_no_more_than_the_limit_and_never_the_same_twice(bus: Bus) -> None:
    await bus.publish(messages(100))
    async with bus.subscribe(["plain"], "g") as subscription:
        seen: list[tuple[int, int]] = []
        while len(seen) < 100:
            batches = await subscription.next(7, SOON)
            assert 0 < sum(len(batch.records) for batch in batches) <= 7
            seen += [(record.partition, record.offset) for record in records(batches)]
        assert len(set(seen)) == 100


async def test_next_is_empty_after_its_timeout(bus: Bus) -> None:
    async with bus.subscribe(["plain"], "g") as subscription:
        assert not await subscription.next(10, 0.2)


async def test_batches_of_a_partition_follow_one_another(bus: Bus) -> None:
    await bus.publish(messages(50))
    async with bus.subscribe(["plain"], "g") as subscription:
        ends: dict[int, int] = {}
        for batch in await collect(subscription, 50, limit=9):
            assert batch.begin == ends.get(batch.partition, 0)
            assert all(batch.begin <= record.offset < batch.end for record in batch.records)
            ends[batch.partition] = batch.end
        assert ends == {number: end for number, (_, end) in (await bus.range("plain")).items()}


async def test_what_was_not_committed_comes_again(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        await bus.publish(messages(10))
        async with bus.subscribe(["plain"], "g") as subscription:
            await collect(subscription, 10)
    async with open_bus() as bus, bus.subscribe(["plain"], "g") as subscription:
        assert len(values(await collect(subscription, 10))) == 10


async def test_what_was_committed_does_not_come_again(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        await bus.publish(messages(10))
        async with bus.subscribe(["plain"], "g") as subscription:
            await collect(subscription, 10, commit=True)
    async with open_bus() as bus:
        ends = {number: end for number, (_, end) in (await bus.range("plain")).items()}
        assert await bus.committed("g", "plain") == ends
        assert await bus.committed("nobody", "plain") == {}
        await bus.publish([Message("plain", "new", b"new")])
        async with bus.subscribe(["plain"], "g") as subscription:
            assert values(await collect(subscription, 1)) == [b"new"]


async def test_groups_do_not_know_one_another(bus: Bus) -> None:
    await bus.publish(messages(10))
    for group in ("one", "two"):
        async with bus.subscribe(["plain"], group) as subscription:
            assert len(values(await collect(subscription, 10, commit=True))) == 10


async def test_with_start_the_offsets_are_the_callers(bus: Bus) -> None:
    await bus.publish([Message("other", "k", str(number).encode()) for number in range(10)])
    ((partition, _),) = [(number, end) for number, (_, end) in (await bus.range("other")).items() if end]
    asked: list[tuple[str, int]] = []

    async def start(places: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        asked.extend(places)
        return {("other", partition): 7}

    async with bus.subscribe(["other"], "g", start=start) as subscription:
        batches = await collect(subscription, 3)
        assert values(batches) == [b"7", b"8", b"9"]
        assert batches[0].begin == 7
    assert sorted(asked) == [("other", 0), ("other", 1)]


async def test_the_brokers_offset_never_stands_in_for_the_callers(bus: Bus) -> None:
    """Also where the group has offsets of its own, told by `forget`, or committed once."""
    await bus.publish([Message("other", "k", str(number).encode()) for number in range(10)])
    partition = next(number for number, (_, end) in (await bus.range("other")).items() if end)
    await bus.forget("g", {("other", partition): 9})

    async def start(places: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        await asyncio.sleep(0.3)
        return {("other", partition): 5}

    async with bus.subscribe(["other"], "g", start=start) as subscription:
        assert values(await collect(subscription, 5)) == [b"5", b"6", b"7", b"8", b"9"]


@pytest.mark.slow
async def test_the_brokers_offset_stays_out_also_when_members_come_and_go(bus: Bus) -> None:
    await bus.publish([Message("other", f"k{number}", b"") for number in range(20)])
    ends = {("other", number): end for number, (_, end) in (await bus.range("other")).items()}
    await bus.forget("g", dict.fromkeys(ends, 1))

    async def start(places: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return {place: ends[place] for place in places}

    async with bus.subscribe(["other"], "g", start=start) as one:
        assert not await one.next(100, 0.1)
        waiting = asyncio.create_task(one.next(100, 6))
        async with bus.subscribe(["other"], "g", start=start) as two:
            deadline = time.monotonic() + SOON
            while not two.assigned() and time.monotonic() < deadline:
                assert not await two.next(100, 0.5)
            assert two.assigned()
            assert not await waiting
            assert len(one.assigned()) == 1


async def test_a_start_that_fails_is_asked_again(bus: Bus) -> None:
    await bus.publish(messages(3, "other"))
    answers = iter([ValueError("the store is down")])

    async def start(places: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        if error := next(answers, None):
            raise error
        return {}

    async with bus.subscribe(["other"], "g", start=start) as subscription:
        with pytest.raises(ValueError, match="store is down"):
            await subscription.next(10, SOON)
        assert len(values(await collect(subscription, 3))) == 3


async def test_a_start_outside_of_the_log_is_an_error_until_it_is_right(bus: Bus) -> None:
    await bus.publish(messages(3, "other"))
    wanted = 4711

    async def start(places: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return dict.fromkeys(places, wanted)

    async with bus.subscribe(["other"], "g", start=start) as subscription:
        for _ in range(2):
            with pytest.raises(PermanentError, match="4711"):
                await subscription.next(10, SOON)
    wanted = 0
    async with bus.subscribe(["other"], "g", start=start) as subscription:
        assert len(values(await collect(subscription, 3))) == 3


async def test_seek_goes_back_and_forth(bus: Bus) -> None:
    await bus.publish([Message("other", "k", str(number).encode()) for number in range(10)])
    partition = next(number for number, (_, end) in (await bus.range("other")).items() if end)
    async with bus.subscribe(["other"], "g") as subscription:
        await collect(subscription, 10)
        await subscription.seek({("other", partition): 8, ("plain", 0): 3})
        assert values(await collect(subscription, 2)) == [b"8", b"9"]
        await subscription.seek({("other", partition): 4711})
        with pytest.raises(PermanentError, match="4711"):
            await collect(subscription, 1)


async def test_replay_from_a_moment(bus: Bus) -> None:
    await bus.publish(messages(8, prefix="old"))
    await asyncio.sleep(0.05)
    moment = time.time_ns() // 1_000_000
    await asyncio.sleep(0.05)
    await bus.publish(messages(8, prefix="new"))
    offsets = await bus.at_time("plain", moment)

    async def start(places: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return {place: offsets[place[1]] for place in places}

    async with bus.subscribe(["plain"], "g", start=start) as subscription:
        assert sorted(record.key for record in records(await collect(subscription, 8))) == [f"new{n}" for n in range(8)]
    ends = {number: end for number, (_, end) in (await bus.range("plain")).items()}
    assert await bus.at_time("plain", moment + 3_600_000) == ends
    assert await bus.at_time("plain", 0) == dict.fromkeys(ends, 0)


async def test_reading_outside_of_a_group_moves_nothing(bus: Bus) -> None:
    await bus.publish([Message("other", "k", str(number).encode()) for number in range(10)])
    partition, (_, end) = next(item for item in (await bus.range("other")).items() if item[1][1])
    batch = await bus.read("other", partition, 4, 3)
    assert (batch.begin, batch.end, values([batch])) == (4, 7, [b"4", b"5", b"6"])
    assert values([await bus.read("other", partition, 7, 100)]) == [b"7", b"8", b"9"]
    assert values([await bus.read("other", partition, 2, 1)]) == [b"2"]
    head = await bus.read("other", partition, end, 100)
    assert (head.begin, head.end, head.records) == (end, end, [])
    assert await bus.committed("g", "other") == {}


@asynccontextmanager
async def reading(bus: Bus, group: str, into: list[Record]) -> AsyncIterator[Subscription]:
    """A member that reads and commits beside the test."""

    async def run() -> None:
        while True:
            batches = await subscription.next(20, 0.2)
            into.extend(records(batches))
            await subscription.commit(batches)

    async with bus.subscribe(["plain"], group) as subscription:
        task = asyncio.create_task(run())
        try:
            yield subscription
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_members_share_partitions_and_hand_them_over_without_loss(open_bus: OpenBus) -> None:
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(open_bus())
        first: list[Record] = []
        second: list[Record] = []
        one = await stack.enter_async_context(reading(bus, "g", first))
        await bus.publish(messages(40, prefix="alone"))
        await until(lambda: len({record.key for record in first}) == 40)
        async with reading(bus, "g", second) as two:
            await until(lambda: len(one.assigned()) == 2 and len(two.assigned()) == 2)
            assert one.assigned().isdisjoint(two.assigned())
            for number in range(10):
                await bus.publish(messages(10, prefix=f"both{number}-"))
            await until(lambda: len({record.key for record in first + second}) == 140)
            assert {record.partition for record in second} <= {number for _, number in two.assigned()}
        await until(lambda: len(one.assigned()) == 4)
        await bus.publish(messages(40, prefix="again"))
        await until(lambda: len({record.key for record in first + second}) == 180)


async def test_a_bus_tells_how_many_read_as_a_group(bus: Bus) -> None:
    first: list[Record] = []
    async with reading(bus, "g", first) as one, bus.subscribe(["plain"], "other"):
        await until(lambda: len(one.assigned()) == 4)
        assert await bus.members("g") == 1
        async with reading(bus, "g", first) as two:
            await until(lambda: len(one.assigned()) == 2 and len(two.assigned()) == 2)
            assert await bus.members("g") == 2
        await until(lambda: len(one.assigned()) == 4)
        assert await bus.members("g") == 1
    assert [await bus.members(group) for group in ("g", "nobody")] == [0, 0]


async def test_commit_for_a_partition_that_has_moved_does_nothing(bus: Bus) -> None:
    await bus.publish(messages(40))
    async with bus.subscribe(["plain"], "g") as slow:
        held = await collect(slow, 40)
        async with bus.subscribe(["plain"], "g") as other:
            deadline = time.monotonic() + SOON
            while not (len(slow.assigned()) == len(other.assigned()) == 2) and time.monotonic() < deadline:
                await slow.next(1, 0.1)
                await other.next(1, 0.1)
            await slow.commit(held)
            committed = set(await bus.committed("g", "plain"))
            assert committed <= {number for _, number in slow.assigned()}
