"""What every store promises of the ledger: sums, hours, and the newest repairs by name."""

from core.store import LedgerRow, RepairRow, Store
from core.store.writing import MOST_REPAIRS
from tests.contracts.store_rows import dead, thing

HOUR = 3_600_000


def row(connection: str = "desk", hour: int = 0, stream: str = "people", way: str = "sweep", n: int = 1) -> LedgerRow:
    return LedgerRow(connection, hour * HOUR, stream, way, 10 * n, 3 * n, n, 2 * n)


def repair(number: int, at: int, connection: str = "desk") -> RepairRow:
    return RepairRow(connection, f"desk/acme/person/{number:05}", at, "people", "sweep", "new")


async def test_counts_add_up_per_hour_and_over_all_hours(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_ledger([row(hour=5), row(hour=5, way="backfill"), row("phone", 5, "")], [])
        await tx.put_ledger([row(hour=5, n=2)], [])
        await tx.put_ledger([row(hour=6)], [])
        await tx.put_ledger([], [])
    assert await store.ledger(0, "desk") == [row(hour=6), row(hour=5, way="backfill"), row(hour=5, n=3)]
    assert await store.ledger(6 * HOUR, "desk") == [row(hour=6)]
    sums = await store.ledger(5 * HOUR)
    assert sorted(sums) == [row(hour=5, way="backfill"), row(hour=5, n=4), row("phone", 5, "")]
    await store.trim(6 * HOUR, 0)
    assert await store.ledger(0, "desk") == [row(hour=6)] == await store.ledger(6 * HOUR)


async def test_letters_of_any_state_are_kept_for_so_long(store: Store) -> None:
    states = {"a": "open", "b": "replayed", "c": "discarded"}
    async with store.writing() as tx:
        await tx.put_dead([dead(f"{name}{at}", at=at) for name in states for at in (1_000, 2_000)])
    for name, state in states.items():
        await store.set_dead([f"{name}1000", f"{name}2000"], state)
    await store.trim(0, 2_000)
    assert [[row.id for row in await store.dead(state, 9)] for state in states.values()] == [
        ["a2000"],
        ["b2000"],
        ["c2000"],
    ]


async def test_what_a_rolled_back_batch_counted_does_not_count(store: Store) -> None:
    try:
        async with store.writing() as tx:
            await tx.put_ledger([row()], [repair(1, 1)])
            raise RuntimeError
    except RuntimeError:
        pass
    assert await store.ledger(0) == [] == await store.repairs("desk", 10)


async def test_the_newest_repairs_are_kept_by_name_and_no_more_than_a_thousand(store: Store) -> None:
    async with store.writing() as tx:
        await tx.put_ledger([], [repair(number, 1 + number // 500) for number in range(MOST_REPAIRS)])
        await tx.put_ledger([], [repair(7, 9), repair(8, 8, "phone")])
    assert await store.repairs("desk", 2) == [repair(7, 9), repair(MOST_REPAIRS - 1, 2)]
    async with store.writing() as tx:
        await tx.put_ledger([], [repair(number, 10) for number in range(2_000, 2_300)])
    kept = await store.repairs("desk", 5_000)
    assert len(kept) == MOST_REPAIRS and kept[0] == repair(2_299, 10) and repair(7, 9) in kept
    assert repair(1, 1) not in kept, "the oldest went"
    assert await store.repairs("phone", 10) == [repair(8, 8, "phone")]


async def test_live_objects_of_a_kind_are_named_page_by_page(store: Store) -> None:
    keys = [f"desk/acme/person/{number}" for number in range(5)]
    others = ["desk/acme/person0/1", "desk/acme/ticket/1", "desk/acmes/person/1"]
    async with store.writing() as tx:
        await tx.put_objects([thing(key) for key in [*keys, *others]])
        await tx.put_objects([thing(keys[2], card=None)])
    first = await store.live_keys("desk/acme/person/", "", 3)
    assert first == [keys[0], keys[1], keys[3]]
    assert await store.live_keys("desk/acme/person/", first[-1], 3) == [keys[4]]
    assert await store.live_keys("desk/acme/person/", keys[4], 3) == []
