"""Many small worlds at once, and what is known of them: by the store, by the feed over HTTP, by the topic."""

import asyncio
import random
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from core import process
from core.bus.topics import CUSTOMERS, TOPICS
from core.store import Store
from schemas.event import Event
from tests import worlds
from tests.core.test_process import drain
from tests.core.test_process import hub as embedded
from tests.hubs import Hub
from tests.journeys.sameness import comparable

# A connection that nobody uses: these worlds are published without a source.
NOBODY = {"nobody": {"type": "aircall", "mock": True, "account": "acme", "base_url": "http://127.0.0.1:9"}}
Version = tuple[int, int]


def crowd(count: int, *, steps: int = 40, first: int = 0) -> list[Event]:
    """The events of so many worlds, one after the other in turns; nobody knows anybody of another world."""
    told = [_apart(worlds.world(seed, steps=steps), seed) for seed in range(first, first + count)]
    return [event for turn in zip_longest(*told) for event in turn if event]


def _apart(events: Sequence[Event], seed: int) -> list[Event]:
    """Accounts, addresses, numbers and customer numbers of its own."""

    def number(found: re.Match[str]) -> str:
        return f"+44 20 7946 0{(seed * 4 + int(found[1])) % 1000:03d}"

    told = []
    for event in events:
        text = event.model_dump_json().replace("/acme", f"/acme{seed}").replace("@example.com", f"@w{seed}.example.com")
        text = text.replace('"namespace":"customer"', f'"namespace":"customer{seed}"')
        text = re.sub(r"\+1 202 555 01(\d\d)", number, text)
        told.append(Event.model_validate_json(text).model_copy(update={"id": f"{event.id}-{seed}"}))
    return told


def muddled(events: Sequence[Event], chance: random.Random) -> list[Event]:
    """Every one of them at least once, many twice, in any order."""
    found = [*events, *chance.choices(events, k=len(events) // 3)]
    chance.shuffle(found)
    return found


async def told_straight(folder: Path, events: Sequence[Event]) -> dict[str, Any]:
    """What a hub on the embedded bus makes of these events, one after the other."""
    async with embedded(folder) as (bus, store):
        await worlds.publish(bus, events)
        await drain(bus, store)
        assert await process.lag(bus, store) == 0
        return await comparable(store)


async def standing(store: Store) -> dict[str, bytes]:
    """Every customer's record as the topic must carry it last; erased ones are absent."""
    found: dict[str, bytes] = {}
    after = 0
    while True:
        row, rows = await store.changes(after, 500)
        if not rows:
            return found
        for each in rows:
            version = f"{row.generation}-{each.seq}".encode()
            found[each.id] = b'{"version":"%s",%s' % (version, each.record[1:])
            if each.status == "erased":
                del found[each.id]
        after = rows[-1].seq


class Topic:
    """The topic of customers as an independent reader keeps it, from zero on. `backwards` must stay empty."""

    def __init__(self, servers: str, name: str) -> None:
        self._servers, self._name = servers, name
        self.kept: dict[str, bytes] = {}
        self.seen: dict[str, Version] = {}
        self.backwards: list[str] = []
        self.read = 0

    async def catch_up(self) -> dict[str, bytes]:
        """Everything up to now, once more from zero."""
        self.__init__(self._servers, self._name)  # type: ignore[misc]
        consumer = AIOKafkaConsumer(bootstrap_servers=self._servers, isolation_level="read_committed")
        await consumer.start()
        try:
            await self._read(consumer)
        finally:
            await consumer.stop()
        return self.kept

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        places = [TopicPartition(self._name, number) for number in range(TOPICS[CUSTOMERS].partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    self._take(record.key.decode(), record.value)

    def _take(self, key: str, value: bytes | None) -> None:
        self.read += 1
        if value is None:
            self.kept.pop(key, None)
            return
        version = version_of(orjson.loads(value)["version"])
        if version < self.seen.get(key, (0, 0)):
            self.backwards.append(f"{key}: {version} after {self.seen[key]}")
        self.seen[key], self.kept[key] = version, value


class Mirror:
    """A subscriber over HTTP who keeps what the feed told, and whose connection breaks again and again."""

    def __init__(self, hub: Hub, chance: random.Random) -> None:
        self._hub, self._chance = hub, chance
        self.kept: dict[str, dict[str, Any]] = {}
        self.backwards: list[str] = []
        self.position = ""
        self.connections = 0

    async def follow(self) -> None:
        """Until cancelled."""
        async with aiohttp.ClientSession() as session:
            while True:
                with suppress(aiohttp.ClientError, TimeoutError, OSError):
                    await self._once(session, patience=self._chance.uniform(0.05, 1.5))
                await asyncio.sleep(self._chance.uniform(0, 0.1))

    async def _once(self, session: aiohttp.ClientSession, patience: float) -> None:
        headers = {**self._hub.authorization, **({"Last-Event-ID": self.position} if self.position else {})}
        async with asyncio.timeout(patience + 2), session.get(f"{self._hub.api}/v1/feed", headers=headers) as answer:
            answer.raise_for_status()
            self.connections += 1
            async with asyncio.timeout(patience):
                name = id = data = ""
                while line := (await answer.content.readline()).decode():
                    field, _, value = line.rstrip("\n").partition(": ")
                    match field:
                        case "event":
                            name = value
                        case "id":
                            id = value
                        case "data":
                            data = value
                        case "":
                            self._take(name, id, data)
                            name = id = data = ""

    def _take(self, name: str, id: str, data: str) -> None:
        if name == "reset":
            self.kept.clear()
        if name == "customer":
            record = orjson.loads(data)
            held = self.kept.get(record["id"])
            if held and version_of(record["version"]) < version_of(held["version"]):
                self.backwards.append(f"{record['id']}: {record['version']} after {held['version']}")
            self.kept[record["id"]] = {field: value for field, value in record.items() if field != "cause"}
        self.position = id or self.position


def version_of(text: str) -> Version:
    generation, _, seq = text.partition("-")
    return int(generation), int(seq)
