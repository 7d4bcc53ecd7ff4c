"""Ingest as a whole: accounts, many deliveries at once, and how it stops."""

import asyncio
import time
from typing import Any

import aiohttp
import orjson
import pytest

from core import deadletter
from core.bus import Bus
from core.config.model import Server
from core.ingest import replaying, run
from core.metrics import Metrics
from core.store import DeadRow
from tests.ingesting import desk, named, now, running, status, until
from tests.source import Source

# -- accounts


async def test_the_account_is_asked_once_and_remembered(any_bus: Bus, source: Source) -> None:
    async with running(any_bus, desk(source, account=None)) as hub:
        source.person(1)
        await until(lambda: hub.documents.get("desk", {}).get("account") == "acme")
        assert await hub.post({"items": [source.people[0]]}) == 202
    asked = source.paths.count("/me")
    source.broken = status(500)
    door = await replaying(any_bus, {"desk": desk(source, account=None)}, metrics=Metrics(), clock=now)
    letter = DeadRow("1", "desk", "normalize", "", orjson.dumps(deadletter.of_bytes(b'{"items": []}')), 1, "open", 1)
    assert door.account("desk") == "acme" and (await door.replay(letter)).dead == 0
    async with running(any_bus, desk(source, account=None)) as hub:
        await until(lambda: hub.documents.get("desk", {}).get("account") == "acme")
        assert await hub.post({"items": [source.people[0]]}) == 202
    assert source.paths.count("/me") == asked == 1


async def test_until_the_account_is_known_deliveries_are_asked_to_come_again(bus: Bus, source: Source) -> None:
    source.broken = status(503)
    async with running(bus, desk(source, account=None)) as hub:
        assert await hub.post({"items": []}) == 503
        await until(lambda: hub.documents["desk"]["error"])
        source.broken = None
        await until(lambda: hub.documents["desk"]["account"] == "acme")
        assert await hub.post({"items": []}) == 202
        await until(lambda: hub.documents["desk"]["error"] is None)


# -- the whole room


async def test_many_deliveries_at_once_are_all_kept(bus: Bus, source: Source) -> None:
    async with running(bus, desk(source), lag=1_000_000) as hub:
        bodies = [{"items": [{**source.person(number), "id": number}]} for number in range(300)]
        answers = await asyncio.gather(*(hub.post(body) for body in bodies))
        assert set(answers) == {202}
        assert len(await hub.people()) == 300


async def test_it_stops_in_order_within_five_seconds(bus: Bus, source: Source) -> None:
    source.broken = status(500)
    async with running(bus, desk(source)) as hub:
        await hub.post(named(1))
        await until(lambda: source.requests)
        assert hub.task is not None
        began = time.monotonic()
        hub.task.cancel()
        await asyncio.gather(hub.task, return_exceptions=True)
        assert time.monotonic() - began < 5.0
        with pytest.raises(aiohttp.ClientError):
            await hub.post({"items": []})


async def test_an_address_that_is_taken_is_an_error(bus: Bus, source: Source) -> None:
    async with running(bus, desk(source)) as hub:
        taken = Server(webhooks=hub.address.removeprefix("http://"))

        async def nothing(*_: Any) -> int:
            return 0

        with pytest.raises(BaseExceptionGroup) as caught:
            await run(
                bus,
                {},
                taken,
                metrics=Metrics(),
                clock=now,
                lag=nothing,
                report=nothing,  # type: ignore[arg-type]
            )
        assert caught.group_contains(OSError)
