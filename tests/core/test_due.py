"""Whoever changes rules or code is told that records follow the old ones, and the remedy; nothing rebuilds unasked."""

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from structlog.testing import capture_logs

from core import process
from core.bus import Bus
from core.bus.topics import EVENTS
from core.config import load
from core.errors import StaleWorkerError
from core.hub.compose import open_store
from core.identity import Rules
from core.metrics import Metrics
from core.process import Settings
from core.process.forget import forget
from core.process.revision import MIXED
from core.projection import FOLD_REVISION, Choice
from core.purge import Mark
from core.store import Store
from tests import worlds
from tests.core.commands import hub as command
from tests.core.test_process import hub
from tests.fixtures_store import OpenStore
from tests.ingesting import until
from tests.ports import free_ports

OTHER = Settings(Rules(join=("external_id",)))
DUE = "a rebuild is due: records follow different rules"


async def worked(bus: Bus, store: Store, settings: Settings, seed: int = 3) -> list[MutableMapping[str, Any]]:
    """What a process with these settings says about rules while it takes some events."""
    with capture_logs() as lines:
        await worlds.publish(bus, worlds.world(seed))
        worker = asyncio.create_task(process.run(bus, store, settings, Metrics()))
        await until(lambda: _done(bus, store, worker))
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    return [line for line in lines if line["event"] == DUE]


async def _done(bus: Bus, store: Store, worker: asyncio.Task[None]) -> bool:
    if worker.done():
        worker.result()
    return await process.lag(bus, store) == 0


async def ended(bus: Bus, store: Store) -> BaseException | None:
    """Of what a process dies."""
    done = await asyncio.wait_for(
        asyncio.gather(process.run(bus, store, Settings(), Metrics()), return_exceptions=True), 20
    )
    return done[0]


@pytest.mark.parametrize(
    "settings",
    [
        OTHER,
        Settings(Rules(region="GB")),
        Settings(Rules(proved={"guru": frozenset({"email"})})),
        Settings(Rules(block=("*@example.com",))),
        Settings(Rules(own=("+12025550100",))),
        Settings(show=Choice(("proved",))),
        Settings(show=Choice(facts={"name": ("guru",)})),
    ],
)
def test_every_setting_that_decides_records_is_in_the_digest(settings: Settings) -> None:
    assert process.digest(settings) != process.digest(Settings())


def test_an_order_that_decides_nothing_is_not_in_the_digest() -> None:
    one, two = (Settings(Rules(own=own, block=own)) for own in (("a", "b"), ("b", "a")))
    assert process.digest(one) == process.digest(two)
    assert process.digest(Settings(Rules(join=("email", "phone")))) != process.digest(
        Settings(Rules(join=("phone", "email")))
    )


async def test_changed_rules_are_told_once_with_the_remedy_until_they_are_rebuilt(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        assert await worked(bus, store, Settings()) == []
        [line] = await worked(bus, store, OTHER, seed=4)
        assert line["log_level"] == "warning" and "`identity:`" in line["reason"] and "hub rebuild" in line["remedy"]
        assert len(await worked(bus, store, Settings(), seed=7)) == 1, "and still when hub.yaml is as it was"
        await process.rebuild(store, OTHER)
        assert await worked(bus, store, OTHER, seed=5) == []
        assert len(await worked(bus, store, Settings(), seed=6)) == 1, "whoever still runs by the old ones is told now"


async def test_who_goes_by_other_rules_while_records_are_rebuilt_keeps_the_rebuild_due(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    async with hub(tmp_path) as (bus, store):
        await worked(bus, store, Settings())
        with pytest.raises(KeyboardInterrupt):
            await process.rebuild(store, OTHER, stop)
        await worked(bus, store, Settings(), seed=4)
        assert (await store.hub()).rules == MIXED
        await process.rebuild(store, OTHER)
        assert await worked(bus, store, OTHER, seed=5) == []


async def test_a_worker_hears_while_it_runs_that_another_one_rebuilt_by_other_rules(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        with capture_logs() as lines:
            worker = asyncio.create_task(process.run(bus, store, Settings(), Metrics()))
            await worlds.publish(bus, worlds.world(3))
            await until(lambda: _done(bus, store, worker))
            assert not [line for line in lines if line["event"] == DUE]
            await process.rebuild(store, OTHER)
            await worlds.publish(bus, worlds.world(4))
            await until(lambda: _done(bus, store, worker))
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
    assert len([line for line in lines if line["event"] == DUE]) == 1


async def test_an_older_fold_is_told_and_a_rebuild_raises_it(tmp_path: Path, open_store: OpenStore) -> None:
    async with hub(tmp_path) as (bus, _), open_store(fold_revision=FOLD_REVISION - 1) as store:
        [line] = await worked(bus, store, Settings())
        assert f"by revision {FOLD_REVISION - 1}, this hub folds by {FOLD_REVISION}" in line["reason"]
        assert (await store.hub()).fold_revision == FOLD_REVISION - 1
        await process.rebuild(store, Settings())
        assert (await store.hub()).fold_revision == FOLD_REVISION
        assert await worked(bus, store, Settings(), seed=4) == []


async def test_records_of_an_older_hub_that_says_no_rules_count_as_folded_by_these(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        assert (await store.hub()).rules == ""
        assert await worked(bus, store, OTHER) == []
        assert (await store.hub()).rules == process.digest(OTHER)


async def test_a_rebuild_that_was_broken_off_is_told_until_it_is_done(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    async with hub(tmp_path) as (bus, store):
        await worked(bus, store, Settings())
        with pytest.raises(KeyboardInterrupt):
            await process.rebuild(store, Settings(), stop)
        [line] = await worked(bus, store, Settings(), seed=4)
        assert "broken off" in line["reason"]
        await process.rebuild(store, Settings())
        assert await worked(bus, store, Settings(), seed=5) == []


async def test_a_worker_of_an_older_fold_stops_once_a_newer_one_has_rebuilt(
    tmp_path: Path, open_store: OpenStore
) -> None:
    async with hub(tmp_path) as (bus, _), open_store(fold_revision=FOLD_REVISION) as store:
        dying = asyncio.create_task(ended(bus, store))
        await worlds.publish(bus, worlds.world(3))
        await until(lambda: _quiet(bus, store))
        assert not dying.done()
        async with store.writing() as newer:  # what its rebuild does first
            await newer.new_generation(FOLD_REVISION + 1, "theirs")
        before = await store.offsets(EVENTS)
        await worlds.publish(bus, worlds.world(4))
        assert "update it" in str(died := await dying) and isinstance(died, StaleWorkerError)
        assert await store.offsets(EVENTS) == before, "and applies nothing more"
        assert isinstance(await ended(bus, store), StaleWorkerError), "nor when it is started again"
        with pytest.raises(StaleWorkerError):
            await process.rebuild(store, Settings())
        with pytest.raises(StaleWorkerError):
            await forget(store, Mark("guru", "guru/acme", 8), [(EVENTS, 0, before.get(0, 0))], Settings())
        assert (await store.hub()).fold_revision == FOLD_REVISION + 1


async def test_a_worker_of_an_older_fold_does_not_start_where_nothing_waits_either(
    tmp_path: Path, open_store: OpenStore
) -> None:
    async with hub(tmp_path) as (bus, _), open_store(fold_revision=FOLD_REVISION + 1) as store:
        assert isinstance(await ended(bus, store), StaleWorkerError)


async def _quiet(bus: Bus, store: Store) -> bool:
    return await process.lag(bus, store) == 0


def test_check_and_status_name_it_with_the_remedy_and_a_rebuild_ends_it(tmp_path: Path) -> None:
    api, webhooks = free_ports(2)
    path = tmp_path / "hub.yaml"
    found: dict[str, Any] = {
        "data": "var",
        "server": {"api": f"127.0.0.1:{api}", "webhooks": f"127.0.0.1:{webhooks}"},
        "connections": {"guru": {"type": "guru", "mock": True, "account": "example"}},
    }
    path.write_text(yaml.safe_dump(found))

    async def born() -> None:
        async with open_store(load(path)):
            pass

    asyncio.run(born())
    assert command("check", "-c", str(path)).code == 0
    assert "rebuild" not in command("status", "-c", str(path)).out
    path.write_text(yaml.safe_dump({**found, "show": {"default": "proved"}}))
    checked, told = command("check", "-c", str(path)), command("status", "-c", str(path))
    for said in (checked, told):
        assert "records are folded by other rules" in said.out and "hub rebuild" in said.out
    assert (checked.code, told.code) == (1, 0)
    assert "hub rebuild" in command("status", "-c", str(path), "--json").json["rebuild"]
    assert command("rebuild", "-c", str(path)).code == 0
    assert command("check", "-c", str(path)).code == 0
    assert "rebuild" not in command("status", "-c", str(path)).out
