"""A record that could not be folded has a letter, and is folded when that is replayed."""

from pathlib import Path
from typing import Any

import pytest

from core import process
from core.bus.embedded import open_embedded
from core.config import load
from core.errors import PermanentError, StaleWorkerError
from core.hub.orders import replay
from core.process import folding
from core.projection import FOLD_REVISION, fold
from tests.core.commands import demo_file
from tests.fixtures_api import Desk
from tests.ports import free_ports

DANA, ANN = "dana@example.com", "ann@example.com"


def faulty(id: str, people: Any, pieces: Any) -> Any:
    if DANA in people.body.decode():
        raise ValueError("a fault of ours")
    return fold(id, people, pieces)


async def test_its_letter_is_no_connections_and_replayed_after_the_fix_it_is_there(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "fold", faulty)
    await desk.tell(
        desk.person("hubspot/contact/1", "Dana Reyes", DANA),
        desk.person("intercom/contact/2", "Dana Reyes", DANA),
        desk.ticket("intercom/conversation/3", "intercom/contact/2", "Bag never arrived"),
        desk.person("hubspot/contact/4", "Ann Example", ANN),
        dead=1,
    )
    assert (await desk.get("/v1/customers?q=reyes"))["customers"] == []
    sources = await desk.get("/v1/sources")
    assert sources["unfolded"] == 1 and all(each["connection"] for each in sources["sources"])
    [letter] = await desk.store.dead("open", 10)
    config = load(demo_file(tmp_path, *free_ports(2)))
    async with open_embedded(tmp_path / "bus.db", disk_cap=10**9) as bus:
        with pytest.raises(PermanentError, match="failed again: ValueError"):
            await replay(config, bus, desk.store, letter.id)
        [again] = await desk.store.dead("open", 10)
        assert (again.id, again.times) == (letter.id, 2)
        monkeypatch.setattr(folding, "fold", fold)
        await replay(config, bus, desk.store, letter.id)
    [dana] = (await desk.get("/v1/customers?q=reyes"))["customers"]
    record = await desk.get(f"/v1/customers/{dana['id']}")
    assert {person["joined_by"] for person in record["people"]} == {f"email:{DANA}"}
    assert record["conversations"][0]["subject"] == "Bag never arrived"
    assert (await desk.get("/v1/sources"))["unfolded"] == 0


async def test_who_could_not_be_folded_while_two_became_one_is_whole_with_the_next_event(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.tell(
        desk.person("hubspot/contact/1", "Dana Reyes", DANA),
        desk.person("intercom/contact/2", "D. Reyes", ANN),
        desk.ticket("intercom/conversation/3", "intercom/contact/2", "Bag never arrived"),
    )
    monkeypatch.setattr(folding, "fold", faulty)
    await desk.tell(desk.person("intercom/contact/2", "D. Reyes", ANN, DANA), dead=1)
    monkeypatch.setattr(folding, "fold", fold)
    await desk.tell(desk.task("hubspot/task/4", "hubspot/contact/1", "Call back"))
    record = await desk.get(f"/v1/customers/{await desk.id_of(email=DANA)}")
    assert {person["joined_by"] for person in record["people"]} == {f"email:{DANA}"}
    assert len(record["people"]) == 2 and record["conversations"][0]["subject"] == "Bag never arrived"
    for entity in ("conversation", "task", "person"):
        async with desk.feed(f"entity={entity}") as reader:
            assert record["id"] in [each.data["id"] for each in await reader.until("snapshot-end")]


async def test_a_replayed_record_gets_through_every_filter_that_it_is_behind(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "fold", faulty)
    dana, ticket = desk.person("hubspot/contact/1", "Dana Reyes", DANA), "Bag never arrived"
    await desk.tell(dana, desk.ticket("intercom/conversation/3", "hubspot/contact/1", ticket), dead=1)
    monkeypatch.setattr(folding, "fold", fold)
    [letter] = await desk.store.dead("open", 10)
    async with (
        open_embedded(tmp_path / "bus.db", disk_cap=10**9) as bus,
        desk.feed("entity=conversation") as reader,
    ):
        await reader.until("snapshot-end")
        await replay(load(demo_file(tmp_path, *free_ports(2))), bus, desk.store, letter.id)
        assert (await reader.next()).data["conversations"][0]["subject"] == ticket


async def test_a_process_of_before_refolds_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.tell(desk.person("hubspot/contact/1", "Dana Reyes", DANA))
    id = await desk.id_of(email=DANA)
    async with desk.store.writing() as writing:
        await writing.new_generation(FOLD_REVISION + 1, "")
    with pytest.raises(StaleWorkerError):
        await process.refold(desk.store, id, desk.settings)
