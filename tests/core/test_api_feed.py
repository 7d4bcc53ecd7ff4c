"""The feed over a real listener: a snapshot, then deltas, from any position, without gap or double."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from core import api, process
from core.api.follower import Follower
from core.errors import TransientError
from core.identity import Rules
from schemas.customer import Change
from tests.fixtures_api import Desk, Happening, desk_at


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk whose feed shows a sign of life ten times a second."""
    async with desk_at(tmp_path, heartbeat=0.1) as desk:
        yield desk


async def people(desk: Desk, *numbers: int) -> None:
    for number in numbers:
        await desk.tell(
            desk.person(f"hubspot/contact/{number}", f"Person {'ABCDEFGHIJ'[number]}x", f"p{number}@example.com")
        )


def names(happenings: list[Happening]) -> list[str]:
    return [happening.data["profile"]["name"]["value"] for happening in happenings]


async def mirror_of(desk: Desk) -> dict[str, Any]:
    """What the store holds, as a mirror should: live records by id."""
    hub, rows = await desk.store.changes(0, 10_000)
    return {
        row.id: {**orjson.loads(row.record), "version": f"{hub.generation}-{row.seq}"}
        for row in rows
        if row.status == "live"
    }


class Mirror:
    """A subscriber that keeps records, as one would write it."""

    def __init__(self) -> None:
        self.records: dict[str, Any] = {}
        self.seen: dict[str, tuple[int, int]] = {}

    def take(self, happening: Happening) -> None:
        if happening.name == "reset":
            self.records.clear()
            self.seen.clear()
        if happening.name != "customer":
            return
        record = happening.data
        version = tuple(map(int, record["version"].split("-")))
        assert version > self.seen.get(record["id"], (0, 0)), "a version came twice or went back"
        self.seen[record["id"]] = version  # type: ignore[assignment]
        self.records.pop(record["id"], None)
        if record["status"] == "live":
            self.records[record["id"]] = {name: value for name, value in record.items() if name != "cause"}


async def test_a_snapshot_comes_first_then_deltas_as_they_happen(desk: Desk) -> None:
    await people(desk, 0, 1, 2)
    async with desk.feed() as reader:
        assert names(await reader.until("snapshot-end")) == ["Person Ax", "Person Bx", "Person Cx"]
        await people(desk, 3)
        delta = await reader.next()
        assert (delta.name, names([delta])) == ("customer", ["Person Dx"])
        assert delta.id == delta.data["version"]
        assert delta.data["cause"]["kind"] == "new"
        Change.model_validate(delta.data)


async def test_what_changes_while_the_snapshot_is_read_comes_after_its_end(desk: Desk) -> None:
    await people(desk, *range(10))
    async with desk.feed() as reader:
        await reader.next()
        await desk.tell(desk.person("hubspot/contact/1", "Someone New", "p1@example.com"))
        mirror = {h.data["id"]: h.data["version"] for h in await reader.until("snapshot-end")}
        rest = await reader.next() if "1-11" not in mirror.values() else None
        assert rest is None or rest.data["version"] == "1-11"


async def test_a_feed_without_snapshot_begins_at_the_head(desk: Desk) -> None:
    await people(desk, 0, 1)
    async with desk.feed("snapshot=0") as reader:
        head = await reader.next()
        assert (head.name, head.id) == ("snapshot-end", "1-2")
        await people(desk, 2)
        assert names([await reader.next()]) == ["Person Cx"]


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_reader_resumes_behind_its_last_event(desk: Desk, by_header: bool) -> None:
    await people(desk, 0, 1, 2)
    async with desk.feed() as reader:
        await reader.next()
        last = (await reader.next()).id
    await people(desk, 3)
    async with desk.feed("" if by_header else f"last_event_id={last}", last if by_header else "") as reader:
        assert names(await reader.until("snapshot-end")) == ["Person Cx", "Person Dx"]


@pytest.mark.parametrize("last", ["9-1", "1-999"])
async def test_a_position_that_is_not_ours_starts_the_snapshot_again(desk: Desk, last: str) -> None:
    await people(desk, 0, 1)
    async with desk.feed(last=last) as reader:
        assert (await reader.next()).name == "reset"
        assert names(await reader.until("snapshot-end")) == ["Person Ax", "Person Bx"]


async def test_a_position_that_is_none_is_a_problem(desk: Desk) -> None:
    assert (await desk.get("/v1/feed", 400, **{"Last-Event-ID": "yesterday"}))["remedy"]
    assert (await desk.get("/v1/feed?entity=tickets", 400))["errors"]
    assert (await desk.get("/v1/feed?customer=nobody", 404))["remedy"]
    assert (await desk.get("/v1/feed?customer=x&ringing=1", 400))["remedy"]


async def test_a_new_generation_resets_those_who_listen(quick: Desk) -> None:
    await people(quick, 0, 1)
    async with quick.feed() as reader:
        await reader.until("snapshot-end")
        await process.rebuild(quick.store, quick.settings)
        assert (await reader.next()).data == {"generation": 2}
        found = await reader.until("snapshot-end")
        assert names(found) == ["Person Ax", "Person Bx"]
        assert all(happening.id.startswith("2-") for happening in found)


async def test_a_merged_customer_is_told_so_that_mirrors_drop_it(desk: Desk) -> None:
    await people(desk, 0, 1)
    ids = [await desk.id_of(email=f"p{n}@example.com") for n in (0, 1)]
    async with desk.feed("snapshot=0") as reader:
        await reader.until("snapshot-end")
        await desk.tell(desk.person("hubspot/contact/1", "Person Ax", "p0@example.com"))
        survivor, merged = await reader.next(), await reader.next()
        assert survivor.data["status"] == "live"
        assert (merged.data["status"], merged.data["merged_into"]) == ("merged", survivor.data["id"])
        assert {survivor.data["id"], merged.data["id"]} == set(ids)


async def test_a_silent_feed_shows_signs_of_life_and_moves_the_position(quick: Desk) -> None:
    async with quick.feed("ringing=1&snapshot=0") as reader:
        await reader.until("snapshot-end")
        await people(quick, 0, 1)
        with contextlib.suppress(TimeoutError):
            await reader.next(1.0)
        assert reader.heartbeats > 2
        assert reader.position == "1-2"


async def test_a_revoked_token_ends_its_feed(quick: Desk) -> None:
    token = await api.new_token(quick.store, "agent", ["feed"], quick.clock)
    async with quick.feed(Authorization=f"Bearer {token}") as reader:
        await reader.until("snapshot-end")
        await api.revoke(quick.store, "agent")
        with pytest.raises(EOFError):
            await reader.next()


@pytest.mark.slow
async def test_a_slow_reader_is_dropped_and_holds_up_nobody(tmp_path: Path) -> None:
    async with desk_at(tmp_path, patience=0.5) as desk:
        await people(desk, 0)
        text = "x" * 1_900
        host, _, port = desk.url.removeprefix("http://").partition(":")
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, (host, int(port)))
            request = f"GET /v1/feed HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {desk.token}\r\n\r\n"
            await loop.sock_sendall(slow, request.encode())
            async with desk.feed("snapshot=0") as reader:
                await reader.until("snapshot-end")
                for batch in range(60):
                    changes = [
                        desk.ticket(f"intercom/conversation/{n}", "hubspot/contact/0", f"{batch} {text}")
                        for n in range(10)
                    ]
                    await desk.tell(*changes)
                    assert f"{batch} " in (await reader.next()).data["conversations"][0]["subject"]
            await asyncio.sleep(2)  # four times the hub's patience
            # The hub has cut it off: what the kernel still holds can be read, then it ends or is reset.
            async with asyncio.timeout(20):
                with contextlib.suppress(ConnectionError):
                    while await loop.sock_recv(slow, 65_536):
                        pass


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_a_mirror_that_disconnects_at_random_equals_the_store(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with desk_at(tmp_path) as desk:
        mirror, position = Mirror(), ""
        steps = 60

        async def live() -> None:
            for step in range(steps):
                number, mail = chance.randrange(8), f"p{chance.randrange(6)}@example.com"
                await desk.tell(desk.person(f"hubspot/contact/{number}", "Dana Reyes", mail, tags=[str(step)]))
                if step == steps // 2:
                    await process.rebuild(desk.store, desk.settings)
                await asyncio.sleep(chance.random() * 0.02)

        living = asyncio.create_task(live())
        done = False
        while not done:
            done = living.done()  # one last connection after everything has happened
            patience = 10_000 if done else chance.randrange(12)
            async with desk.feed(last=position) as reader:
                with contextlib.suppress(TimeoutError):
                    for _ in range(patience):
                        happening = await reader.next(0.5)
                        mirror.take(happening)
                        position = reader.position
                        if done and happening.name == "snapshot-end":
                            break
        await living
        assert mirror.records == await mirror_of(desk)


@pytest.mark.parametrize("window", [1, 3, 100])
async def test_what_is_at_hand_and_what_the_store_says_is_the_same(desk: Desk, window: int) -> None:
    follower = Follower(desk.store, window)
    task = asyncio.create_task(follower.run())
    try:
        for number in (0, 1, 2, 3, 4, 1, 5, 0):
            await desk.tell(
                desk.person(f"hubspot/contact/{number}", "Dana", f"p{number}@example.com", tags=[str(desk.clock)])
            )
            desk.clock += 1
        hub, _ = await desk.store.changes(0, 1)
        while (await follower.after(1, hub.seq - 1, 10)).seq < hub.seq:
            await asyncio.sleep(0.01)
        for seq in range(hub.seq + 1):
            _, rows = await desk.store.changes(seq, 100)
            assert (await follower.after(1, seq, 100)).rows == rows
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_many_readers_get_every_change_once(desk: Desk) -> None:
    async with contextlib.AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(desk.feed("snapshot=0")) for _ in range(20)]
        for reader in readers:
            await reader.until("snapshot-end")
        await people(desk, *range(10))
        for reader in readers:
            assert [(await reader.next()).id for _ in range(10)] == [f"1-{seq}" for seq in range(1, 11)]


@pytest.mark.slow
async def test_the_feed_waits_for_a_store_that_is_away_and_says_it_once(desk: Desk) -> None:
    store: Any = desk.store
    changes, away = store.changes, True

    async def failing(*given: Any, **named: Any) -> Any:
        if away:
            raise TransientError("locked")
        return await changes(*given, **named)

    async with desk.feed("snapshot=0") as reader:
        await reader.until("snapshot-end")
        with capture_logs() as lines:
            store.changes = failing
            await people(desk, 0)
            assert await reader.silent(2.5)
            away = False
            assert names([await reader.next()]) == ["Person Ax"]
        said = [line["event"] for line in lines]
        assert said == ["api: the store is unavailable, the feed waits", "api: the store is back"]


async def test_a_hub_that_stops_ends_its_feeds_in_order(desk: Desk) -> None:
    room = api.Room(store=desk.store, rules=Rules(), now=lambda: desk.clock, metrics=lambda: b"")
    async with contextlib.AsyncExitStack() as readers:
        async with asyncio.timeout(10), api.listening(room, "127.0.0.1", 0) as desk.url:
            reader = await readers.enter_async_context(desk.feed("snapshot=0"))
            await reader.until("snapshot-end")
        with pytest.raises(EOFError):
            await reader.next()
