"""What is part of a conversation goes with it, comes back with it and is erased with it, in any order. Both stores."""

from itertools import permutations
from pathlib import Path
from typing import Any

import orjson
import pytest

from core import process
from core.bus import Bus, Record
from core.bus.codec import decode, encode
from core.identity import Rules
from core.process import Settings
from core.process.objects import Changed, change
from core.store import Store
from schemas.entities import Conversation, Identifier, Message, Party, Person, Rating
from schemas.event import Event
from tests import worlds
from tests.core.test_process import drain
from tests.core.test_purge import hub
from tests.fixtures_store import OpenStore
from tests.journeys.test_canaries import sqlite_rows

MAKER, OTHER = worlds.VENDORS[:2]
PAYLOAD = worlds.Payload("test", {}, "acme", True, worlds.START)
TALK = "hubspot/acme/conversation/7"
OBJECTS = [TALK, "hubspot/acme/part/7:1", "hubspot/acme/part/7:2", "hubspot/acme/rating/7"]
# Dana wrote; Ben is known by his address alone, Cara by another source, and both appear in the message alone.
DANA, BEN, CARA = "hubspot/acme/contact/1", "hubspot/acme/email/ben@example.com", "intercom/acme/contact/3"
NEEDLE = "the code of my door is 4711"


def known(maker: worlds.Maker, number: int, name: str) -> Event:
    return maker.upserted(PAYLOAD, "contact", number, Person(role="customer", display_name=name), clock=1_000)


def talk(clock: int = 1_000, number: int = 7) -> Event:
    shape = Conversation(subject="Bag", status="open", parties=[Party(role="requester", person=DANA)])
    return MAKER.upserted(PAYLOAD, "conversation", number, shape, clock=clock)


def said(body: str = NEEDLE, clock: int = 2_000, id: str = "7:1") -> Event:
    ben = Party(role="cc", identifier=Identifier(kind="email", value="ben@example.com"))
    parties = [Party(role="requester", person=DANA), ben, Party(role="cc", person=CARA)]
    return MAKER.upserted(PAYLOAD, "part", id, Message(conversation=TALK, body=body, parties=parties), clock=clock)


def rated() -> Event:
    shape = Rating(score=2, comment=NEEDLE, subject=TALK, parties=[Party(role="requester", person=DANA)])
    return MAKER.upserted(PAYLOAD, "rating", 7, shape, clock=2_000)


def merged(clock: int = 3_000) -> Event:
    return MAKER.merged(PAYLOAD, "conversation", 7, Conversation, into=8, clock=clock)


def gone(clock: int = 3_000, *, number: int = 7, final: bool = False, erased: bool = False) -> Event:
    return MAKER.deleted(PAYLOAD, "conversation", number, Conversation, clock=clock, final=final, erased=erased)


PEOPLE = [known(MAKER, 1, "Dana Reyes"), known(OTHER, 3, "Cara Ode")]


async def tell(bus: Bus, store: Store, *events: Event) -> None:
    """One event per batch."""
    for event in events:
        await worlds.publish(bus, [event], fetched=False)
        await drain(bus, store)
    assert await store.dead("open", 10) == []


async def timeline(store: Store) -> set[str]:
    return {row.entity for row in await store.timeline([DANA, BEN, CARA], None, 20)}


async def record(store: Store, person: str) -> dict[str, Any] | None:
    """The record of whoever this person is now."""
    for row in await store.persons_by_key([person]):
        found = await store.customer(row.customer)
        return orjson.loads(found.record) if found and found.status == "live" else None
    return None


async def sources(store: Store, person: str) -> Any:
    found = await record(store, person)
    return found and found["sources"]


async def kept(store: Store, folder: Path) -> bool:
    """Whether the needle stands anywhere in the store: in its objects, and of SQLite in any row."""
    rows = await store.objects_by_key(OBJECTS)
    found = any(NEEDLE.encode() in (row.registers + (row.card or b"")) for row in rows)
    if (path := folder / "store.db").exists():
        values = [value for _, row in sqlite_rows(path) for value in row]
        found |= any(NEEDLE.encode() in value for value in values if isinstance(value, bytes))
        found |= any(NEEDLE in value for value in values if isinstance(value, str))
    return found


@pytest.mark.parametrize("order", list(permutations(range(4)))[::3])
async def test_it_is_shown_while_the_conversation_is_there_and_no_longer(
    tmp_path: Path, open_store: OpenStore, order: tuple[int, ...]
) -> None:
    events = [talk(), said(), rated(), gone()]
    async with hub(tmp_path, open_store) as (bus, store):
        await tell(bus, store, *PEOPLE, *[events[index] for index in order])

        async def hidden() -> None:
            assert await timeline(store) == set()
            dana = await record(store, DANA)
            assert dana and dana["conversations"] == dana["ratings"] == []
            assert await record(store, BEN) is None, "of whom nothing else is known"
            assert await sources(store, CARA) == ["intercom/acme"]

        await hidden()
        await tell(bus, store, talk(clock=4_000))
        assert await timeline(store) == {"conversation", "message", "rating"}
        assert await kept(store, tmp_path)
        dana, ben = await record(store, DANA), await record(store, BEN)
        assert dana and len(dana["conversations"]) == len(dana["ratings"]) == 1
        assert ben and ben["profile"]["email"]["value"] == "ben@example.com"
        assert await sources(store, CARA) == ["hubspot/acme", "intercom/acme"]
        before = await worlds.records(store)
        await process.rebuild(store, Settings())
        assert await worlds.records(store) == before
        await tell(bus, store, gone(clock=5_000, final=True))
        await hidden()
        await process.rebuild(store, Settings())
        await hidden()
        await tell(bus, store, talk(clock=6_000), said(clock=6_000))
        await hidden()


async def test_what_changes_at_once_is_the_same_as_one_after_the_other(tmp_path: Path, open_store: OpenStore) -> None:
    async with hub(tmp_path, open_store) as (bus, store):
        await tell(bus, store, *PEOPLE, talk())
        await worlds.publish(bus, [said(), rated(), gone()], fetched=False)
        await drain(bus, store)
        assert await timeline(store) == set() and await record(store, BEN) is None
        assert await sources(store, CARA) == ["intercom/acme"]


async def test_a_conversation_that_nobody_told_of_counts_as_there(tmp_path: Path, open_store: OpenStore) -> None:
    async with hub(tmp_path, open_store) as (bus, store):
        await tell(bus, store, *PEOPLE, said(), rated())
        assert await timeline(store) == {"message", "rating"} and await record(store, BEN)


async def test_who_is_folded_with_a_conversation_has_its_word_and_its_time(
    tmp_path: Path, open_store: OpenStore
) -> None:
    """As the feed tells it, of those who appear in its messages alone, too."""
    async with hub(tmp_path, open_store) as (bus, store):
        await tell(bus, store, *PEOPLE, talk(), said())
        seen = (await store.hub()).seq
        late = gone().model_copy(update={"connection": "desk", "received": worlds.START + 9})
        await tell(bus, store, late)
        _, rows = await store.changes(seen, 10)
        causes = {row.status: orjson.loads(row.cause) for row in rows if b"Cara" in row.record or row.status != "live"}
        assert (causes["live"]["entities"], causes["live"]["received"]) == (["message"], worlds.START + 9)
        assert causes["live"]["connection"] == "desk" and causes["erased"] == {"kind": "gone"}


@pytest.mark.parametrize("order", list(permutations(range(4)))[::3])
async def test_with_an_erased_conversation_its_parts_are_emptied_for_good(
    tmp_path: Path, open_store: OpenStore, order: tuple[int, ...]
) -> None:
    events = [talk(), said(), rated(), gone(erased=True)]
    async with hub(tmp_path, open_store) as (bus, store):
        await tell(bus, store, *PEOPLE, *[events[index] for index in order])
        assert not await kept(store, tmp_path)
        late = [said(clock=8_000), said(clock=8_000, id="7:2"), rated(), talk(clock=8_000)]
        patch = MAKER.upserted(PAYLOAD, "part", "7:1", Message(body=NEEDLE), clock=9_000, mode="patch")
        await tell(bus, store, *late, patch)
        await process.rebuild(store, Settings())
        assert not await kept(store, tmp_path)
        assert await timeline(store) == set() and await record(store, BEN) is None
        assert await sources(store, CARA) == ["intercom/acme"]


async def test_what_comes_with_the_erasure_and_had_named_no_conversation_is_emptied(
    tmp_path: Path, open_store: OpenStore
) -> None:
    part = MAKER.upserted(PAYLOAD, "part", "7:1", Message(body=NEEDLE), clock=1_000, mode="patch")
    async with hub(tmp_path, open_store) as (bus, store):
        await tell(bus, store, *PEOPLE, part)
        await worlds.publish(bus, [gone(erased=True), said()], fetched=False)
        await drain(bus, store)
        assert not await kept(store, tmp_path) and await timeline(store) == set()


@pytest.mark.parametrize("order", list(permutations(range(4)))[::3])
async def test_a_merged_conversation_keeps_its_parts_until_what_it_became_is_erased(
    tmp_path: Path, open_store: OpenStore, order: tuple[int, ...]
) -> None:
    events = [talk(number=8), said(), rated(), merged()]
    async with hub(tmp_path, open_store) as (bus, store):
        await tell(bus, store, *PEOPLE, talk(), *[events[index] for index in order])
        assert await timeline(store) == {"conversation", "message", "rating"}
        await process.rebuild(store, Settings())
        assert await timeline(store) == {"conversation", "message", "rating"}
        await tell(bus, store, gone(clock=4_000, number=8, erased=True))
        assert not await kept(store, tmp_path) and await timeline(store) == set()


async def test_what_merged_into_an_erased_conversation_is_erased_with_its_parts(
    tmp_path: Path, open_store: OpenStore
) -> None:
    async with hub(tmp_path, open_store) as (bus, store):
        await tell(bus, store, *PEOPLE, talk(), said(), rated(), gone(number=8, erased=True), merged())
        assert not await kept(store, tmp_path) and await timeline(store) == set()


async def test_a_rebuild_empties_what_an_older_hub_left_of_an_erased_conversation(
    tmp_path: Path, open_store: OpenStore
) -> None:
    async with hub(tmp_path, open_store) as (bus, store):
        await tell(bus, store, *PEOPLE, gone(erased=True))
        changed, message = Changed(), encode(said())
        event = decode(Record(message.topic, 0, 0, 0, message.key, message.value, message.headers))
        change(changed, {event.subject: [event]}, {}, Rules())
        async with store.writing() as writing:
            await writing.put_objects(changed.rows)
            await writing.put_parties([event.subject], changed.parties[event.subject])
        assert await kept(store, tmp_path)
        await process.rebuild(store, Settings())
        assert not await kept(store, tmp_path) and await record(store, BEN) is None
