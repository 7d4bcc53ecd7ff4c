"""The feed with a filter: nothing that concerns it is missing, whatever becomes of the customers."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest

from core import process
from core.errors import TransientError
from core.process import Settings
from core.projection.record import LISTS
from core.store import Store
from schemas.entities import Call
from tests import worlds
from tests.core.test_api_feed import names, people
from tests.core.test_process import drain, hub
from tests.fixtures_api import DANA, OFFICE, Desk, Happening, full, ref


async def test_a_filter_by_entity_lets_through_what_concerns_it(desk: Desk) -> None:
    await people(desk, 0, 1)
    await desk.tell(desk.ticket("intercom/conversation/1", "hubspot/contact/0", "Bag"))
    async with desk.feed("entity=conversation,call") as reader:
        assert names(await reader.until("snapshot-end")) == ["Person Ax"]
        await desk.tell(desk.task("hubspot/task/1", "hubspot/contact/1", "Call back"))
        await desk.tell(desk.ticket("intercom/conversation/2", "hubspot/contact/1", "Shoes"))
        happening = await reader.next()
        assert (names([happening]), len(happening.data["conversations"])) == (["Person Bx"], 1)
        assert await reader.silent()


async def apart(desk: Desk) -> None:
    """Dana at two sources, which nothing joins yet: the first is the older one, only the second has a call."""
    await desk.tell(desk.person("hubspot/contact/1", "Dana Reyes", "dana@example.com"))
    await desk.tell(desk.person("aircall/contact/2", "Dana Reyes", DANA))
    await desk.tell(desk.call("aircall/call/9", DANA, "missed", person="aircall/contact/2"))


async def joined(desk: Desk) -> str:
    """Now something does. The id of the one that they are."""
    await desk.tell(desk.person("aircall/contact/2", "Dana Reyes", DANA, "dana@example.com"))
    return await desk.id_of(email="dana@example.com")


def told(happenings: list[Happening]) -> dict[str, str]:
    """The last status that was told of each id."""
    return {each.data["id"]: each.data["status"] for each in happenings}


async def test_what_comes_over_by_a_merge_and_goes_by_a_split_concerns_a_filter_by_entity(desk: Desk) -> None:
    await apart(desk)
    second = await desk.id_of(phone=DANA)
    async with desk.feed("entity=call") as reader:
        await reader.until("snapshot-end")
        first = await joined(desk)
        assert told([await reader.next(), await reader.next()]) == {first: "live", second: "merged"}
        async with desk.feed("entity=call") as late:
            assert told(await late.until("snapshot-end"))[first] == "live"
        await desk.tell(desk.person("aircall/contact/2", "Dana Reyes", DANA))
        parted = [await reader.next(), await reader.next()]
        assert {each.data["id"]: len(each.data["calls"]) for each in parted} == {first: 0, second: 1}


async def test_the_calls_of_an_unknown_number_that_becomes_a_contact_concern_a_filter_by_entity(desk: Desk) -> None:
    await desk.tell(desk.call("aircall/call/9", DANA, "missed"))
    await desk.tell(desk.person("hubspot/contact/1", "Dana Reyes", DANA))
    id = await desk.id_of(phone=DANA)
    async with desk.feed("entity=call") as reader:
        assert told(await reader.until("snapshot-end"))[id] == "live"
        await desk.tell(desk.gone("aircall/call/9", Call))  # and with it the last that knew the number by itself
        assert (await reader.next()).data["calls"] == []


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_a_record_shows_a_filter_by_entity_finds_also_after_a_rebuild(tmp_path: Path, seed: int) -> None:
    async def missed(store: Store) -> list[tuple[str, str]]:
        hub, rows = await store.changes(0, 1_000)
        parts = await store.parts({row.id: hub.seq for row in rows}, 0)
        return [
            (row.id, entity)
            for row in rows
            for entity, name in LISTS.items()
            if orjson.loads(row.record).get(name) and entity not in parts.get(row.id, ())
        ]

    async with hub(tmp_path) as (bus, store):
        await worlds.publish(bus, worlds.world(seed, steps=80))
        await drain(bus, store, limit=3)
        assert await missed(store) == []
        with contextlib.closing(sqlite3.connect(tmp_path / "hub.db")) as connection, connection:
            connection.execute("DELETE FROM customer_part")  # as if an older hub had not written them
        assert await missed(store)
        await process.rebuild(store, Settings())
        assert await missed(store) == []


async def test_ringing_tells_when_the_phone_rings_and_when_it_stops(desk: Desk) -> None:
    await desk.tell(
        desk.person("hubspot/contact/1", "Dana Reyes", DANA), desk.person("hubspot/contact/2", "Max Weber", OFFICE)
    )
    await desk.tell(desk.call("aircall/call/1", DANA))
    async with desk.feed("ringing=1") as reader:
        (ringing,) = await reader.until("snapshot-end")
        assert ringing.data["ringing"][0]["line"]["name"] == "Support line"
        await desk.tell(desk.person("hubspot/contact/2", "Max Maria Weber", OFFICE))
        await desk.tell(desk.call("aircall/call/1", DANA, "answered"))
        stopped = await reader.next()
        assert (names([stopped]), stopped.data["ringing"]) == (["Dana Reyes"], [])
        await desk.tell(desk.call("aircall/call/2", OFFICE))
        last = (await reader.next()).id
    await desk.tell(desk.person("hubspot/contact/1", "Dana Maria Reyes", DANA))
    await desk.tell(desk.call("aircall/call/2", OFFICE, "missed"))
    async with desk.feed("ringing=1", last) as reader:
        (stopped,) = await reader.until("snapshot-end")
        assert (names([stopped]), stopped.data["ringing"]) == (["Max Maria Weber"], [])
        await desk.tell(desk.call("aircall/call/3", DANA))
        last = (await reader.next()).id
    async with desk.feed("ringing=1", last) as reader:
        assert await reader.until("snapshot-end") == []
        await desk.tell(desk.call("aircall/call/3", DANA, "answered"))
        assert (await reader.next()).data["ringing"] == []


@pytest.mark.parametrize("query", ["entity=call", "ringing=1", f"staff={full('intercom/admin/1')}"])
async def test_a_snapshot_without_a_match_ends_at_once(desk: Desk, query: str) -> None:
    await people(desk, 0, 1)
    for last in ("", "1-1"):
        async with desk.feed(query, last) as reader:
            assert (await reader.next(5)).name == "snapshot-end"  # a third of the time between two heartbeats


async def test_whose_phone_rings_is_in_the_snapshot_however_much_has_changed_since(desk: Desk) -> None:
    callers = [(f"hubspot/contact/{n}", f"+120255501{n:02}") for n in range(1, 4)]
    await desk.tell(*(desk.person(key, f"Caller {number}", number) for key, number in callers))
    await desk.tell(*(desk.call(f"aircall/call/{number[-1]}", number) for _, number in callers))
    await desk.tell(desk.call("aircall/call/2", callers[1][1], "in_progress"))
    await desk.tell(*(desk.person(f"hubspot/contact/x{n}", f"X {n}", f"p{n}@example.com") for n in range(2_100)))
    ringing = ["Caller +12025550101", "Caller +12025550103"]
    async with desk.feed("ringing=1") as reader:
        found = await reader.until("snapshot-end")
        assert sorted(names(found)) == ringing
        await desk.tell(desk.call("aircall/call/3", callers[2][1], "answered"))
        assert (await reader.next()).data["ringing"] == []
    async with desk.feed("ringing=1", found[0].id) as reader:  # cut off within the snapshot
        assert names(found[1:])[0] in names(await reader.until("snapshot-end"))


async def test_a_member_of_staff_gets_what_is_assigned_to_them(desk: Desk) -> None:
    await people(desk, 0, 1)
    maya, tom = ref("intercom/admin/1", "Maya"), ref("intercom/admin/2", "Tom")
    await desk.tell(
        desk.ticket("intercom/conversation/1", "hubspot/contact/0", "Bag", assignee=maya),
        desk.ticket("intercom/conversation/2", "hubspot/contact/1", "Shoes", assignee=tom),
    )
    async with desk.feed(f"staff={full('intercom/admin/1')}") as reader:
        assert names(await reader.until("snapshot-end")) == ["Person Ax"]
        await desk.tell(desk.ticket("intercom/conversation/2", "hubspot/contact/1", "Shoes", assignee=maya))
        assert names([await reader.next()]) == ["Person Bx"]
        await desk.tell(
            desk.ticket("intercom/conversation/2", "hubspot/contact/1", "Shoes", status="closed", assignee=maya)
        )
        assert names([await reader.next()]) == ["Person Bx"]  # once more, because it is theirs no longer
        await desk.tell(
            desk.ticket("intercom/conversation/2", "hubspot/contact/1", "Shoes!", status="closed", assignee=maya)
        )
        assert await reader.silent()


async def test_one_customer_is_followed_through_a_merge_and_a_split(desk: Desk) -> None:
    await people(desk, 0)
    desk.clock += 1_000
    await people(desk, 1, 2)
    first, second = [await desk.id_of(email=f"p{n}@example.com") for n in (0, 1)]
    async with desk.feed(f"customer={second}") as reader:
        (begun,) = await reader.until("snapshot-end")
        assert begun.data["id"] == second
        await people(desk, 2)  # somebody else
        await desk.tell(desk.person("hubspot/contact/1", "Person Ax", "p0@example.com"))
        assert told([await reader.next(), await reader.next()]) == {first: "live", second: "merged"}
        await desk.tell(desk.person("hubspot/contact/0", "Person Ax", "other@example.com"))
        await desk.tell(desk.person("hubspot/contact/1", "Person Bx", "p1@example.com"))
        seen = [(await reader.next()).data["id"]]
        while seen[-1] != second:
            seen.append((await reader.next()).data["id"])
        assert set(seen) <= {first, second}
        last = reader.position
    await desk.tell(desk.person("hubspot/contact/1", "Person Now", "p1@example.com"))
    async with desk.feed(f"customer={second}", last) as reader:
        (resumed,) = await reader.until("snapshot-end")
        assert names([resumed]) == ["Person Now"]


async def test_a_resumed_reader_of_one_customer_hears_of_what_merged_into_it(desk: Desk) -> None:
    await people(desk, 0)
    desk.clock += 1_000
    await people(desk, 1)
    first, second = [await desk.id_of(email=f"p{n}@example.com") for n in (0, 1)]
    async with desk.feed(f"customer={first}") as reader:
        await reader.until("snapshot-end")
        last = reader.position
    await desk.tell(desk.person("hubspot/contact/1", "Person Ax", "p0@example.com"))
    async with desk.feed(f"customer={first}", last) as reader:
        happenings = await reader.until("snapshot-end")
    assert {(each.data["id"], each.data["status"]) for each in happenings} == {(first, "live"), (second, "merged")}


async def test_a_cut_at_any_place_of_a_merge_leaves_no_gap_for_one_customer(desk: Desk) -> None:
    await apart(desk)
    second = await desk.id_of(phone=DANA)
    async with desk.feed(f"customer={second}") as reader:
        await reader.until("snapshot-end")
        positions = [reader.position]
        first = await joined(desk)
        frames = []
        for _ in range(2):
            frames.append(await reader.next())
            positions.append(reader.position)
    for count, position in enumerate(positions):
        async with desk.feed(f"customer={second}", position) as reader:
            assert told([*frames[:count], *await reader.until("snapshot-end")]) == {first: "live", second: "merged"}
    survivor, merged = (int(frame.data["version"].partition("-")[2]) for frame in frames)
    for position in range(survivor, merged):  # where heartbeats bring a reader whose page ended there
        async with desk.feed(f"customer={second}", f"1-{position}") as reader:
            assert told(await reader.until("snapshot-end"))[first] == "live"


@pytest.mark.parametrize("snapshot", [0, 1])
async def test_who_merges_while_a_feed_of_one_customer_begins_is_followed(desk: Desk, snapshot: int) -> None:
    await apart(desk)
    second = await desk.id_of(phone=DANA)
    store: Any = desk.store
    ask = store.hub

    async def hub() -> Any:
        store.hub = ask
        await joined(desk)
        return await ask()

    store.hub = hub
    async with desk.feed(f"customer={second}&snapshot={snapshot}") as reader:
        await reader.until("snapshot-end")
        await desk.tell(desk.person("hubspot/contact/1", "Dana Maria Reyes", "dana@example.com"))
        assert (await reader.next()).data["status"] == "live"


async def test_who_merges_right_before_a_new_generation_is_followed(desk: Desk) -> None:
    await apart(desk)
    second = await desk.id_of(phone=DANA)
    store: Any = desk.store
    changes = store.changes

    async def away(*given: Any, **named: Any) -> Any:
        raise TransientError("locked")

    async with desk.feed(f"customer={second}") as reader:
        await reader.until("snapshot-end")
        store.changes = away
        first = await joined(desk)
        await process.rebuild(desk.store, desk.settings)
        store.changes = changes
        await reader.until("reset")
        assert told(await reader.until("snapshot-end")) == {first: "live"}
        await desk.tell(desk.person("hubspot/contact/1", "Dana Maria Reyes", "dana@example.com"))
        assert (await reader.next()).data["version"].startswith("2-")
