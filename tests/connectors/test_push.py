"""In-house systems push their objects: what is taken, what is refused and how they are told. Through HTTP."""

import asyncio
import io
import json
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse
from jsonschema import Draft202012Validator

from connectors.push import CONNECTOR
from connectors.push.config import Config
from core import registry
from core.bus.embedded import open_embedded
from core.bus.topics import DEAD, EVENTS
from core.config.model import Connection
from core.sdk import Payload, classify
from core.sdk.mock import running
from core.store.sqlite import open_sqlite
from schemas.export import document
from tests import worlds
from tests.core.test_intake import Door, messages, open_door
from tests.core.test_process import drain

TOKEN = "a-long-word-of-the-erp"
SAMPLES = sorted((Path(registry.folder("push")) / "samples").glob("*.payload.json"))
ORDER: dict[str, Any] = {
    "entity": "order", "id": 1001, "updated_at": "2026-03-01T09:31:00+01:00",
    "data": {"number": "SO-1001", "total": "59.80", "parties": [{"role": "requester", "person": "person/C-17"}]},
}  # fmt: skip
PERSON: dict[str, Any] = {
    "entity": "person", "id": "C-17", "version": 4,
    "data": {"identifiers": [{"kind": "email", "value": "dana@example.com"}]},
}  # fmt: skip


def connection(**settings: Any) -> Connection:
    return Connection("erp", CONNECTOR, Config(type="push", **{"account": "erp", "token": TOKEN, **settings}))


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_embedded(tmp_path / "bus.db", disk_cap=1_000_000_000) as bus:
        async with open_door(bus, connection(max_items=50, max_body=100_000)) as opened:
            yield opened


async def push(door: Door, body: Any, token: str = TOKEN, kind: str = "application/json") -> ClientResponse:
    data = io.BytesIO(body if isinstance(body, bytes) else orjson.dumps(body))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
    return await door.send("POST", "/hooks/erp", data=data, headers=headers)


async def test_a_batch_is_answered_once_its_items_are_on_the_bus(door: Door) -> None:
    answer = await push(door, [PERSON, ORDER])
    assert answer.status == 202
    told = await answer.json()
    assert (told["accepted"], told["refused"]) == (2, 0)
    assert [item["subjects"] for item in told["items"]] == [["push/erp/person/C-17"], ["push/erp/order/1001"]]
    events = {event.subject: event for event in await door.events()}
    assert {event.id for event in events.values()} == {id for item in told["items"] for id in item["events"]}
    order = events["push/erp/order/1001"]
    assert order.data["parties"] == [{"role": "requester", "person": "push/erp/person/C-17"}]
    assert order.order[0] == 1_772_353_860_000  # 08:31 UTC
    assert events["push/erp/person/C-17"].order == (0, 0, 4, 1)
    assert order.connection == "erp"


async def test_json_lines_are_taken_line_by_line(door: Door) -> None:
    lines = b"\n".join([orjson.dumps(PERSON), b"{broken", b"", orjson.dumps(ORDER)])
    answer = await push(door, lines, kind="application/x-ndjson; charset=utf-8")
    told = await answer.json()
    assert answer.status == 207
    assert [item["status"] for item in told["items"]] == ["accepted", "refused", "accepted"]
    assert told["items"][1]["reason"].startswith("not JSON")
    assert len(await door.events()) == 2


async def test_items_raise_no_alarm_of_changed_shapes_whatever_they_hold(door: Door) -> None:
    looked: list[str] = []
    door.intake.look = lambda name, payload, place: looked.append(name)
    lines = b"\n".join([orjson.dumps(PERSON), b"{broken", orjson.dumps(ORDER)])
    assert (await push(door, lines, kind="application/x-ndjson")).status == 207
    assert looked == []


async def test_the_same_batch_twice_is_the_same_events(door: Door) -> None:
    first, second = [await (await push(door, [PERSON, ORDER])).json() for _ in range(2)]
    assert first == second


async def test_a_refused_item_is_told_with_its_field_and_is_no_dead_letter(door: Door) -> None:
    classed = {"kind": "email", "value": "dana@example.com", "class_": "proved"}
    wrong: list[tuple[Any, str]] = [
        ({**ORDER, "entity": "ordr"}, "entity: there is none of that name; did you mean `order`?"),
        ({**ORDER, "data": {"totl": "1"}}, "data.totl: unknown field; did you mean `total`?"),
        ({**ORDER, "data": {"total": 59.8}}, 'data.total: must be text: put it in quotes (money, too: "19.90")'),
        ({**ORDER, "data": {"total": "about 60"}}, 'data.total: write a decimal as text, such as "19.90"'),
        ({**ORDER, "data": {"total": "\u0665\u0669"}}, 'data.total: write a decimal as text, such as "19.90"'),
        ({**ORDER, "data": {"at": "yesterday"}}, "data.at: no time: write it like 2026-03-01T09:30:00Z"),
        ({**ORDER, "data": {"parties": [{"role": "buyer"}]}}, "data.parties.0.role: must be 'requester'"),
        ({**ORDER, "data": {"parties": [{"role": "requester", "person": "C-17"}]}}, "data.parties.0.person: write"),
        ({**ORDER, "updated_at": None}, "updated_at: is missing, and `version`, too"),
        ({**ORDER, "updated_at": "soon"}, "updated_at: no time"),
        ({**ORDER, "id": None}, "id: write text or a whole number"),
        ({**ORDER, "id": True}, "id: write text or a whole number"),
        ({**ORDER, "version": 2**63}, "version: input should be less than"),
        ({**ORDER, "updated_at": "2926-03-01T09:31:00Z"}, "updated_at: lies more than a day ahead of 20"),
        ({**ORDER, "updated_at": "9999-12-31T23:59:59-14:00"}, "updated_at: no time"),
        ({**ORDER, "colour": "red"}, "colour: unknown field; there are: "),
        ({**ORDER, "kind": "contract"}, "kind: of custom objects, and of no others"),
        ({"entity": "custom", "id": 1, "version": 1}, "kind: of custom objects"),
        ({"entity": "person", "id": 1, "version": 1, "action": "merged"}, "into: with the action merged"),
        ({"entity": "person", "id": 1, "version": 1, "action": "merged", "into": "1"}, "into: say the id of another"),
        ({"entity": "person", "id": 1, "version": 1, "action": "merged", "into": ""}, "into: say the id of another"),
        ({**ORDER, "id": " "}, "id: is empty"),
        ({**ORDER, "action": "deleted"}, "data: an object that is deleted brings no fields"),
        ({**ORDER, "final": True}, "action: only what is deleted"),
        ({**PERSON, "data": {"identifiers": [classed]}}, "data.identifiers.0.class_: leave it out"),
        (7, "the item: must be a JSON object"),
    ]  # fmt: skip
    answer = await push(door, [ORDER, *(item for item, _ in wrong), PERSON])
    told = await answer.json()
    assert answer.status == 207
    assert [item["status"] for item in told["items"]] == ["accepted", *["refused"] * len(wrong), "accepted"]
    assert [item["index"] for item in told["items"]] == list(range(len(wrong) + 2))
    for item, (_, begins) in zip(told["items"][1:-1], wrong, strict=True):
        assert item["reason"].startswith(begins), item
    assert len(await door.events()) == 2
    assert await messages(door.bus, DEAD) == []
    assert door.metrics.value("refused", connection="erp", reason="item") == len(wrong)


async def test_an_item_that_the_bus_cannot_take_is_refused_and_the_others_are_kept(tmp_path: Path) -> None:
    large = {**ORDER, "id": 2, "data": {"attributes": {"scan": "x" * 9_000_000}}}
    async with open_embedded(tmp_path / "bus.db", disk_cap=1_000_000_000) as bus:
        async with open_door(bus, connection(max_body=20_000_000)) as door:
            told = await (await push(door, [large, ORDER])).json()
            assert [item["status"] for item in told["items"]] == ["refused", "accepted"]
            assert "above the bus's" in told["items"][0]["reason"]
            assert [event.subject for event in await door.events()] == ["push/erp/order/1001"]
            assert await messages(bus, DEAD) == []


@pytest.mark.parametrize(
    ("status", "body", "token", "kind"),
    [
        (401, [ORDER], "another-word-than-that", "application/json"),
        (401, [ORDER], "", "application/json"),
        (400, b"{", TOKEN, "application/json"),
        (400, ORDER, TOKEN, "application/json"),
        (413, [ORDER] * 51, TOKEN, "application/json"),
        (413, b" " * 100_001, TOKEN, "application/json"),
        (415, [ORDER], TOKEN, "text/csv"),
    ],
)
async def test_what_is_no_batch_of_ours_is_refused_whole(
    door: Door, status: int, body: Any, token: str, kind: str
) -> None:
    answer = await push(door, body, token, kind)
    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    assert await messages(door.bus, EVENTS) == [] and await messages(door.bus, DEAD) == []


async def test_without_a_header_nobody_is_let_in(door: Door) -> None:
    answer = await door.send("POST", "/hooks/erp", data=orjson.dumps([ORDER]))
    assert answer.status == 401


@pytest.mark.parametrize("evidence", ["recorded", "claimed", "proved"])
async def test_hub_yaml_says_what_its_addresses_are_worth(tmp_path: Path, evidence: str) -> None:
    async with open_embedded(tmp_path / "bus.db", disk_cap=1_000_000_000) as bus:
        async with open_door(bus, connection(evidence=evidence)) as door:
            await push(door, [PERSON])
            [event] = await door.events()
    assert event.data["identifiers"][0]["class_"] == evidence


async def records(folder: Path, *batches: list[Any]) -> tuple[dict[str, Any], bytes]:
    """What the hub shows by customer, and keeps of its objects, after these batches one by one."""
    folder.mkdir(exist_ok=True)
    async with open_embedded(folder / "bus.db", disk_cap=1_000_000_000) as bus:
        async with (
            open_door(bus, connection()) as door,
            open_sqlite(folder / "hub.db", kind="real", secret=b"s" * 32) as store,
        ):
            for batch in batches:
                assert (await push(door, batch)).status == 202
                await drain(bus, store)
            objects = await store.objects_by_key([event.subject for event in await door.events()])
            assert await store.dead("open", 10) == []
            return await worlds.records(store), b"".join(row.registers for row in objects)


DANA: dict[str, Any] = {
    "entity": "person", "id": "C-17", "updated_at": "2026-03-01T09:00:00Z",
    "data": {"display_name": "Dana Reyes", "identifiers": [{"kind": "email", "value": "dana@example.com"}]},
}  # fmt: skip
GONE: dict[str, Any] = {
    "entity": "person", "id": "C-17", "updated_at": "2026-03-01T10:00:00Z", "action": "deleted",
}  # fmt: skip


@pytest.mark.parametrize("turned", [False, True])
async def test_a_deletion_dated_as_the_state_before_it_deletes(tmp_path: Path, turned: bool) -> None:
    many = [{**DANA, "id": number} for number in range(20)]
    gone = [{**GONE, "id": number, "updated_at": DANA["updated_at"]} for number in range(20)]
    shown, _ = await records(tmp_path, *([gone, many] if turned else [many, gone]))
    assert shown == {}
    back = [{**DANA, "updated_at": GONE["updated_at"]}]
    assert len((await records(tmp_path / "back", [DANA], [GONE | {"updated_at": DANA["updated_at"]}], back))[0]) == 1


async def test_a_state_with_a_version_alone_is_older_than_any_with_a_time(tmp_path: Path) -> None:
    numbered = {**DANA, "updated_at": None, "version": 9, "data": {"display_name": "Dana Ode"}}
    for turn in ([[DANA], [numbered]], [[numbered], [DANA]]):
        shown, _ = await records(tmp_path / turn[0][0]["data"]["display_name"], *turn)
        assert b"Dana Reyes" in b"".join(shown.values()) and b"Dana Ode" not in b"".join(shown.values())


async def test_an_erasure_dated_as_the_deletion_before_it_leaves_nothing(tmp_path: Path) -> None:
    shown, kept = await records(tmp_path, [DANA], [GONE], [{**GONE, "erased": True}])
    assert shown == {} and b"Dana" not in kept and b"dana@example.com" not in kept


async def test_a_final_deletion_dated_as_the_one_before_it_is_final(tmp_path: Path) -> None:
    back = {**DANA, "updated_at": "2026-03-01T11:00:00Z"}
    assert len((await records(tmp_path / "one", [DANA], [GONE], [back]))[0]) == 1
    assert (await records(tmp_path / "two", [DANA], [GONE], [{**GONE, "final": True}], [back]))[0] == {}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.removesuffix(".payload.json"))
def test_samples_become_the_recorded_events_and_fit_the_published_schema(path: Path) -> None:
    sample = orjson.loads(path.read_bytes())
    events = [classify(event, CONNECTOR.evidence) for event in CONNECTOR.normalize(Payload(**sample))]
    recorded = orjson.loads(path.with_name(path.name.replace(".payload.", ".events.")).read_bytes())
    assert [event.model_dump(mode="json") for event in events] == recorded
    Draft202012Validator(document("push")).validate([sample["data"]])


@pytest.mark.parametrize("wrong", [{**ORDER, "data": {"totl": "1"}}, {**ORDER, "mode": "some"}, {"entity": "order"}])
def test_the_published_schema_refuses_what_the_hub_refuses(wrong: Any) -> None:
    assert list(Draft202012Validator(document("push")).iter_errors([wrong]))


async def test_the_readmes_curl_works_as_it_is_written(door: Door) -> None:
    text = (registry.folder("push") / "README.md").read_text()
    found = re.search(r"<!-- tested -->\n\s*```\n(.+?)```", text, re.S)
    assert found is not None
    command = found[1].replace("http://127.0.0.1:8081", door.address)
    environment = {"ERP_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}
    process = await asyncio.to_thread(
        subprocess.run, ["bash", "-c", command], env=environment, capture_output=True, check=False
    )
    told = json.loads(process.stdout)
    assert (told["accepted"], told["refused"]) == (2, 0), told
    assert {event.subject for event in await door.events()} == {"push/erp/person/C-17", "push/erp/order/1001"}


async def test_the_mock_sends_its_whole_world_first_and_every_item_is_accepted(tmp_path: Path) -> None:
    mock = registry.mock("push")
    async with open_embedded(tmp_path / "bus.db", disk_cap=1_000_000_000) as bus:
        async with open_door(bus, connection(token=mock.DEMO["token"])) as door:
            async with running(mock.simulator(7, {}), pace=0, target=f"{door.address}/hooks/erp") as played:
                played.send(played.player.step(60))
                async with asyncio.timeout(60):
                    await played.courier.settled()
                truth = played.simulator.truth()
            subjects = {event.subject for event in await door.events()}
    wanted = {f"push/erp/{kind}/{id}" for kind, objects in truth.items() for id in objects}
    assert len(truth["order"]) >= 3 and len(truth["person"]) > 5
    assert wanted <= subjects
    assert door.metrics.value("refused", connection="erp", reason="item") == 0
