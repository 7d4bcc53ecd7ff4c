"""A desk to test at: the API on a real listener over a real store, and a few words to make things happen. A plugin."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from core import api, process
from core.bus import Batch, Record
from core.bus.codec import encode
from core.identity import Rules
from core.sdk import Maker, Payload, from_ms
from core.store import Store
from core.store.sqlite import open_sqlite
from schemas.entities import (
    Article,
    Call,
    Conversation,
    Entity,
    Identifier,
    Line,
    Membership,
    Party,
    Person,
    Reference,
    Staff,
    Task,
)
from schemas.event import Event

TITLES = {"hubspot": "HubSpot", "intercom": "Intercom", "aircall": "Aircall", "guru": "Guru"}
DANA, OFFICE = "+12025550143", "+12025550100"
HOUR, DAY = 3_600_000, 86_400_000


@dataclass
class Desk:
    """`clock` is the hub's time in epoch ms; it stands still unless moved. `rings` are what POST /v1/ring asked for."""

    store: Store
    clock: int = field(default_factory=lambda: int(time.time() * 1000))
    url: str = ""
    token: str = ""
    session: aiohttp.ClientSession = field(init=False)
    replayed: list[str] = field(default_factory=list)
    wrong: dict[str, str | None] = field(default_factory=dict)
    settings: process.Settings = field(default_factory=process.Settings)
    _told: int = 0
    _offset: int = 0

    def ago(self, ms: int) -> str:
        return from_ms(self.clock - ms) or ""

    async def tell(self, *events: Event, dead: int = 0) -> None:
        """All of it in one commit, with so many dead letters."""
        records = []
        for offset, message in enumerate(map(encode, events), self._offset):
            named = (message.topic, 0, offset, self.clock, message.key, message.value, message.headers)
            records.append(Record(*named))
        batch = Batch(records[0].topic, 0, self._offset, self._offset + len(records), records)
        self._offset = batch.end
        outcome = await process.apply(self.store, process.decoded([batch]), self.settings)
        assert len(outcome.dead) == dead, outcome.dead

    def event(self, key: str, shape: Entity, *, mode: str = "full") -> Event:
        """The newest state of an object; `key` is `vendor/kind/id`."""
        vendor, kind, id = key.split("/")
        self._told += 1
        payload = Payload(kind, {}, "acme", True, self.clock + self._told)
        made = Maker(vendor).upserted(payload, kind, id, shape, clock=self.clock + self._told, mode=mode)
        return made.model_copy(update={"connection": "test"})

    def gone(self, key: str, shape: type[Entity]) -> Event:
        vendor, kind, id = key.split("/")
        self._told += 1
        payload = Payload(kind, {}, "acme", True, self.clock + self._told)
        made = Maker(vendor).deleted(payload, kind, id, shape, clock=self.clock + self._told)
        return made.model_copy(update={"connection": "test"})

    def person(self, key: str, name: str, *held: str, organization: str = "", **fields: Any) -> Event:
        """`held` are numbers and addresses, all of them recorded."""
        identifiers = [
            Identifier(kind="email" if "@" in value else "phone", value=value, class_="recorded") for value in held
        ]
        if organization:
            fields["organizations"] = [Membership(key="hubspot/acme/company/1", name=organization, primary=True)]
        fields.setdefault("url", f"https://example.com/{key}")
        return self.event(key, Person(role="customer", display_name=name, identifiers=identifiers, **fields))

    def ticket(self, key: str, person: str, subject: str, **fields: Any) -> Event:
        fields = {"status": "open", "at": self.ago(HOUR), "url": f"https://example.com/{key}", **fields}
        parties = [Party(role="requester", person=full(person))]
        return self.event(key, Conversation(subject=subject, parties=parties, **fields))

    def task(self, key: str, person: str, title: str, **fields: Any) -> Event:
        parties = [Party(role="requester", person=full(person))]
        return self.event(key, Task(title=title, state="open", at=self.ago(HOUR), parties=parties, **fields))

    def call(self, key: str, number: str, status: str = "ringing", person: str = "", **fields: Any) -> Event:
        fields = {"at": self.ago(0), "line": Line(name="Support line"), **fields}
        caller = Identifier(kind="phone", value=number, class_="claimed")
        parties = [Party(role="caller", person=full(person) if person else None, identifier=caller)]
        return self.event(
            key, Call.model_validate({"status": status, "direction": "inbound", "parties": parties, **fields})
        )

    def staff(self, key: str, name: str) -> Event:
        return self.event(key, Staff(name=name))

    def article(self, key: str, title: str, body: str, **fields: Any) -> Event:
        return self.event(key, Article(title=title, body=body, url=f"https://example.com/{key}", **fields))

    async def get(self, path: str, status: int = 200, **headers: str) -> Any:
        """JSON of a GET with a token that may read; asserts the status."""
        return await self.ask("GET", path, status, headers=headers)

    async def ask(
        self, method: str, path: str, status: int, *, headers: Mapping[str, str] | None = None, **rest: Any
    ) -> Any:
        given = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        async with self.session.request(
            method, self.url + path, headers=given, allow_redirects=False, **rest
        ) as answer:
            text = await answer.text()
            assert answer.status == status, (answer.status, text)
            return json.loads(text) if text and "json" in answer.content_type else text

    @asynccontextmanager
    async def feed(self, query: str = "", last: str = "", **headers: str) -> AsyncIterator["Reader"]:
        """Subscribe; `last` goes as Last-Event-ID."""
        given = {"Authorization": f"Bearer {self.token}", **({"Last-Event-ID": last} if last else {}), **headers}
        forever = aiohttp.ClientTimeout(total=None)
        url = f"{self.url}/v1/feed?{query}"
        async with self.session.get(url, headers=given, timeout=forever, read_bufsize=2**20) as answer:
            assert answer.status == 200, await answer.text()
            yield Reader(answer)

    async def id_of(self, **identifier: str) -> str:
        """The customer behind an identifier; there must be one."""
        async with self.session.get(
            f"{self.url}/v1/lookup", params=identifier, headers={"Authorization": f"Bearer {self.token}"}
        ) as answer:
            found = await answer.json()
        assert found["result"] == "one", found
        return str(found["customer"]["id"])


class Happening(NamedTuple):
    """One event of a feed; of a heartbeat only the id, where it has one."""

    name: str
    id: str
    data: Any


class Reader:
    """A subscriber. `position` is the last id that came, as EventSource keeps it."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.position = ""
        self.heartbeats = 0

    async def next(self, timeout: float = 10.0) -> Happening:
        """The next event; raises TimeoutError, or EOFError where the hub ended the feed."""
        async with asyncio.timeout(timeout):
            while True:
                found = await self._block()
                if found.name:
                    return found

    async def until(self, name: str) -> list[Happening]:
        """Everything before the next event of this name."""
        found = []
        while (happening := await self.next()).name != name:
            found.append(happening)
        return found

    async def silent(self, seconds: float = 0.3) -> bool:
        try:
            await self.next(seconds)
        except TimeoutError:
            return True
        return False

    async def _block(self) -> Happening:
        fields = {"event": "", "id": "", "data": "null"}
        while (line := (await self._answer.content.readline()).decode()) != "\n":
            if not line:
                raise EOFError
            name, _, value = line.rstrip("\n").partition(": ")
            self.heartbeats += line.startswith(": heartbeat")
            fields[name] = value
        self.position = fields["id"] or self.position
        return Happening(fields["event"], fields["id"], json.loads(fields["data"]))


def full(key: str) -> str:
    """`vendor/kind/id` with the account of these tests."""
    vendor, kind, id = key.split("/")
    return f"{vendor}/acme/{kind}/{id}"


def ref(key: str, name: str | None = None) -> Reference:
    return Reference(key=full(key), name=name)


@asynccontextmanager
async def desk_at(folder: Path, **given: Any) -> AsyncIterator[Desk]:
    """A desk with a token of every scope. `given` goes into the Room."""
    async with open_sqlite(folder / "hub.db", kind="demo", secret=b"s" * 32) as store:
        desk = Desk(store)

        async def replay(id: str) -> None:
            desk.replayed.append(id)

        async def wrong() -> str | None:
            return desk.wrong.get("store")

        room = {"replay": replay, "ready": {"store": wrong}, "titles": TITLES, **given}
        made = api.Room(
            store=store,
            rules=Rules(own=("+12025550199",)),
            now=lambda: desk.clock,
            metrics=lambda: b"hub_up 1\n",
            **room,
        )
        desk.token = await api.new_token(store, "test", api.SCOPES, desk.clock)
        async with api.listening(made, "127.0.0.1", 0) as desk.url, aiohttp.ClientSession() as desk.session:
            yield desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk_at(tmp_path) as desk:
        yield desk
