"""What every store promises of one transaction: all or nothing, one writer at a time, whole batches."""

import asyncio

import pytest

from core.errors import GaveWay, OffsetsMoved, PermanentError, TransientError
from core.store import EvidenceRow, Store
from tests.contracts.store_rows import customer, dead, party, person, thing
from tests.fixtures_store import OpenStore


async def put_next(store: Store, id: str) -> int:
    """A customer at the next seq, as process does it."""
    async with store.writing() as tx:
        seq = tx.hub.seq + 1
        await asyncio.sleep(0.002)
        await tx.put_customers([customer(id, seq)])
        await tx.set_seq(seq)
        assert tx.hub.seq == seq
    return seq


async def test_a_store_is_born_with_its_marks(open_store: OpenStore) -> None:
    async with open_store(kind="demo", secret=b"s" * 32, fold_revision=7, rules="r") as store:
        assert await store.hub() == (1, 0, 7, "demo", b"s" * 32, "r")
        assert await store.published() == 0
        async with store.writing() as tx:
            assert tx.hub == await store.hub()


async def test_what_was_committed_is_there_after_a_restart(open_store: OpenStore) -> None:
    async with open_store() as store:
        await put_next(store, "a")
        hub = await store.hub()
        assert len(hub.secret) == 32
    async with open_store(secret=b"another" * 5, fold_revision=9) as store:
        assert await store.hub() == hub
        assert await store.customer("a") == customer("a", 1)


async def test_a_long_record_comes_back_as_it_was(store: Store) -> None:
    long = {"record": b'{"a":"%s"}' % (b"Where is it? \xc3\xa9" * 700), "identity": b'{"b":%d}' % 10**900}
    async with store.writing() as tx:
        await tx.put_customers([customer("a", 1, **long)])
        await tx.set_seq(1)
    async with store.writing() as tx:
        assert (await tx.heads(["a"]))["a"].identity == long["identity"]
    expected = customer("a", 1, **long)
    assert await store.customer("a") == expected
    assert await store.customers_by_id(["a"]) == [expected] == (await store.changes(0, 5))[1]
    assert await store.search("dana", 5) == [expected] == await store.search("", 5)


async def test_long_registers_come_back_as_they_were(store: Store) -> None:
    row = thing("v/a/article/1", "article", registers=b'{"f":"%s"}' % (b"0123" * 900), text="hello")
    async with store.writing() as tx:
        await tx.put_objects([row])
        assert await tx.objects([row.key]) == {row.key: row.registers}
    assert await store.registers([row.key]) == {row.key: row.registers}
    assert await store.objects_by_key([row.key]) == [row] == await store.articles(["hello"], 5)


async def test_an_exception_rolls_everything_back(store: Store) -> None:
    with pytest.raises(RuntimeError, match="in the middle"):
        async with store.writing() as tx:
            await tx.move_offsets([("events", 0, 0, 5)])
            await tx.put_objects([thing("v/a/article/1", "article", text="hello")])
            await tx.put_customers([customer("a", 1)])
            await tx.set_seq(1)
            raise RuntimeError("in the middle")
    assert (await store.hub()).seq == 0
    assert await store.offsets("events") == {}
    assert await store.object("v/a/article/1") is None
    assert await store.search("dana", 5) == [] == await store.articles(["hello"], 5)
    assert await put_next(store, "b") == 1


async def test_a_cancellation_rolls_everything_back(store: Store) -> None:
    inside = asyncio.Event()

    async def write() -> None:
        async with store.writing() as tx:
            await tx.put_customers([customer("a", 1)])
            await tx.set_seq(1)
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(write())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await store.hub()).seq == 0
    assert await put_next(store, "b") == 1


async def test_a_cancellation_at_any_moment_leaves_the_store_usable(store: Store) -> None:
    committed = 0
    for delay in range(60):
        task = asyncio.create_task(put_next(store, f"c{delay}"))
        await asyncio.sleep(delay / 10_000)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        hub, rows = await store.changes(0, 1_000)
        # Cancelled within its COMMIT it may have come through; never half of it.
        assert hub.seq == len(rows) and hub.seq - committed in (0, 1)
        committed = hub.seq
    assert await put_next(store, "last") == committed + 1


async def test_a_transaction_that_gives_way_leaves_nothing_and_the_next_one_works(store: Store) -> None:
    goes_first: list[bool] = []
    for statements in range(4):
        goes_first.clear()
        with pytest.raises(GaveWay):
            async with store.writing(lambda: bool(goes_first)) as tx:
                for number in range(statements):
                    await tx.put_customers([customer(f"c{number}", tx.hub.seq + 1 + number)])
                goes_first.append(True)
                await tx.set_seq(100)
        assert (await store.hub()).seq == statements
        await put_next(store, f"after{statements}")
    assert await store.customer("c0") is None


async def test_a_transaction_gives_way_between_two_computations_as_well(store: Store) -> None:
    computed = False
    with pytest.raises(GaveWay):
        async with store.writing(lambda: computed) as tx:
            await tx.breathe()
            await tx.put_customers([customer("c1", tx.hub.seq + 1)])
            computed = True
            await tx.breathe()
            raise AssertionError("it goes on")
    assert await store.customer("c1") is None
    async with store.writing() as tx:
        await tx.breathe()


async def test_one_writer_at_a_time_and_seq_is_the_order_of_commits(open_store: OpenStore) -> None:
    async with open_store() as one, open_store() as two:
        seen: list[int] = []

        async def watch() -> None:
            while len(seen) < 20:
                _, rows = await two.changes(seen[-1] if seen else 0, 1_000)
                seen.extend(row.seq for row in rows)
                await asyncio.sleep(0)

        watcher = asyncio.create_task(watch())
        writers = [put_next(store, f"{name}{n}") for n in range(10) for name, store in (("one", one), ("two", two))]
        assert sorted(await asyncio.gather(*writers)) == list(range(1, 21))
        async with asyncio.timeout(30):
            await watcher
        assert seen == list(range(1, 21))  # no seq became visible after a later one


async def test_a_writer_that_waits_too_long_is_told_to_try_again(open_store: OpenStore) -> None:
    async with open_store() as one, open_store(patience=0.2) as two:
        async with one.writing():
            with pytest.raises(TransientError):
                await put_next(two, "a")
        assert await put_next(two, "a") == 1


async def test_look_ups_do_not_wait_for_the_writer(store: Store) -> None:
    async with asyncio.timeout(30), store.writing() as tx:
        await tx.put_customers([customer("a", 1)])
        await tx.set_seq(1)
        assert (await store.hub()).seq == 0
        assert await store.customer("a") is None
        await asyncio.gather(*(store.search("dana", 5) for _ in range(20)))


async def test_offsets_move_once(store: Store) -> None:
    async with store.writing() as tx:
        await tx.move_offsets([("events", 0, 40, 50), ("events", 1, 7, 9), ("raw", 0, 0, 1)])
    assert await store.offsets("events") == {0: 50, 1: 9}
    with pytest.raises(OffsetsMoved) as moved:
        async with store.writing() as tx:
            await tx.put_customers([customer("a", 1)])
            await tx.move_offsets([("events", 1, 9, 12), ("events", 0, 40, 50)])
    assert moved.value.stored == {("events", 0): 50, ("events", 1): 9}
    assert await store.offsets("events") == {0: 50, 1: 9}
    assert await store.customer("a") is None
    async with store.writing() as tx:
        await tx.move_offsets([("events", 0, 50, 60), ("events", 1, 9, 12)])
    assert await store.offsets("events") == {0: 60, 1: 12}


@pytest.mark.parametrize("what", ["objects", "persons", "customers", "evidence"])
async def test_one_key_twice_in_a_batch_is_refused(store: Store, what: str) -> None:
    with pytest.raises(PermanentError, match="twice"):
        async with store.writing() as tx:
            match what:
                case "objects":
                    await tx.put_objects([thing("v/a/call/1"), thing("v/a/call/1", card=None)])
                case "persons":
                    await tx.put_persons([person("p"), person("p", staff=True)])
                case "customers":
                    await tx.put_customers([customer("a", 1), customer("a", 2)])
                case _:
                    rows = [EvidenceRow("p", "email:a@example.com", each, False) for each in ("proved", "claimed")]
                    await tx.put_evidence(["p"], rows)
    assert await store.counts() == {("", "customer"): 0}


async def test_a_batch_that_the_database_refuses_is_permanent_and_its_message_quotes_nobody(store: Store) -> None:
    with pytest.raises(PermanentError) as refused:
        async with store.writing() as tx:
            await tx.put_persons([person("p"), person("q", birth_id="birth-p", names="Secret Name")])
    assert "Secret" not in str(refused.value) and "birth-p" not in str(refused.value)
    assert await store.persons_by_key(["p"]) == []


async def test_an_empty_batch_is_nothing(store: Store) -> None:
    async with store.writing() as tx:
        await tx.move_offsets([])
        await tx.put_objects([])
        await tx.put_persons([])
        await tx.put_evidence([], [])
        await tx.put_customers([])
        await tx.put_dead([])
        await tx.suppress([], 0)
        await tx.set_customers([])
        assert await tx.put_parties([], []) == []
        assert (await tx.persons([]), await tx.activities([], 5, 5), await tx.heads([])) == ([], [], {})
        assert (await tx.holders([], 5), await tx.suppressed([]), await tx.objects([])) == ({}, set(), {})


async def test_a_letter_that_is_known_counts_up_and_is_open_again(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_dead([dead("1"), dead("2", connection="phone"), dead("1")])
    assert [await store.set_dead(["1", "unknown"], "discarded"), await store.dead_counts()] == [1, {"phone": 1}]
    assert await store.dead_letter("1") == dead("1", state="discarded", times=2)
    async with store.writing() as tx:
        await tx.put_dead([dead("1", reason="still wrong", at=2_000)])
    assert await store.dead_letter("1") == dead("1", reason="still wrong", at=2_000, times=3)
    assert await store.dead_counts() == {"help": 1, "phone": 1}
    assert await store.dead_letter("3") is None


async def test_suppressed_keys_stay_so(store: Store) -> None:
    async with store.writing() as tx:
        await tx.suppress(["a", "b"], 5)
        await tx.suppress(["b"], 6)
    async with store.writing() as tx:
        assert await tx.suppressed(["a", "b", "c"]) == {"a", "b"}


async def test_a_new_generation_publishes_everything_again(store: Store) -> None:
    await put_next(store, "a")
    for old in (await store.published(), 1):  # before anything was published, and when all was
        assert await store.set_published(old, 1) and await store.published() == 1
        assert not await store.set_published(7, 8)
        async with store.writing() as tx:
            hub = await tx.new_generation(fold_revision=3, rules="r")
            assert tx.hub == hub
        assert await store.hub() == hub and hub.fold_revision == 3 and hub.seq == 1 and hub.rules == "r"
        mark = await store.published()
        assert not await store.set_published(1, 1) and not await store.set_published(0, 1)
        assert (await store.changes(mark, 10))[1] == [customer("a", 1)]
        assert await store.set_published(mark, 1)


async def test_keys_come_in_order_for_a_rebuild(store: Store) -> None:
    keys = sorted(f"v/a/{kind}/{n}" for kind in ("call", "Übung", "Zebra", "~") for n in range(5))
    async with store.writing() as tx:
        await tx.put_objects([thing(key) for key in reversed(keys)])
        found: list[str] = []
        while page := await tx.all_object_keys(found[-1] if found else "", 7):
            found += page
    assert found == keys


async def test_parties_of_unknown_objects_wait_for_their_object(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_parties(["v/a/call/1"], [party("v/a/call/1", "p")])
        assert await tx.activities(["p"], 5, 5) == []
        await tx.put_objects([thing("v/a/call/1")])
        assert [row.object for row in await tx.activities(["p"], 5, 5)] == ["v/a/call/1"]
