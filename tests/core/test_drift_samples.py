"""Files beside a connector that are no samples, and payloads that cannot be looked at, hinder nobody."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from core.bus.embedded import EmbeddedBus, open_embedded
from core.bus.topics import SHAPES
from core.config.model import Connection
from core.ingest.drift import Drift
from core.ingest.samples import samples_of
from core.metrics import Metrics
from core.sdk import Connector, Payload
from tests.hubs import until
from tests.ingesting import named, running
from tests.source import CONNECTOR, Config, Source, serving

THEIRS = "from tests.source import normalize as given\n\n\ndef normalize(payload):\n    return given(payload)\n"
PERSON = {"kind": "person", "id": 1, "name": "Dana Reyes", "updated": 1_700_000_000_000}
ODD = {
    "a raw body": b'{"id": 7, "name": "Dana Reyes"}',
    "a kind that is none": b'{"kind": ["person"], "data": {}}',
    "a list": b"[]",
    "half": b'{"kind": "per',
    "Latin-1": b'{"kind": "person", "data": "\xe4"}',
    "nothing": b"",
}


def private(folder: Path, *odd: bytes) -> Connector[Any]:
    """A connector in a folder of its own, with one sample and files that are none."""
    (folder / "samples").mkdir(parents=True)
    (folder / "normalize.py").write_text(THEIRS)
    (folder / "samples" / "person.payload.json").write_bytes(orjson.dumps({"kind": "person", "data": PERSON}))
    for number, text in enumerate(odd):
        (folder / "samples" / f"odd{number}.payload.json").write_bytes(text)
    spec = importlib.util.spec_from_file_location(f"theirs_{folder.name}", folder / "normalize.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return replace(CONNECTOR, normalize=module.normalize)


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_a_file_that_is_no_sample_is_named_with_the_remedy(tmp_path: Path, text: bytes) -> None:
    found = samples_of(private(tmp_path / "mine", text))
    assert [each.kind for each in found.readable] == ["person"]
    [sentence] = found.unreadable
    assert str(tmp_path / "mine" / "samples" / "odd0.payload.json") in sentence
    assert "samples/" in sentence.partition(": ")[2] and "Dana" not in sentence


def test_neither_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    connector = private(tmp_path / "mine")
    (tmp_path / "mine" / "samples" / "folder.payload.json").mkdir()
    (tmp_path / "mine" / "samples" / "link.payload.json").symlink_to("nowhere")
    found = samples_of(connector)
    assert len(found.readable) == 1
    assert [each.partition("(")[2] for each in found.unreadable] == [
        "Is a directory): make it readable, or take it away",
        "No such file or directory): make it readable, or take it away",
    ]


async def test_it_is_passed_over_with_one_warning_and_the_connection_works(tmp_path: Path) -> None:
    connector = private(tmp_path / "mine", *ODD.values())
    with capture_logs() as lines:
        async with _hub(tmp_path, connector) as (hub, _):
            for number in range(3):
                assert await hub.post({"items": [{**PERSON, "id": number}]}) == 202
            assert await hub.post(named(1)) == 202
            await until(lambda: hub.documents.get("desk", {}).get("hydrated"), "it is fetched")
            assert hub.documents["desk"]["error"] is None
    said = [line for line in lines if line["event"] == "a sample is passed over"]
    assert len(said) == len(ODD) and {line["connection"] for line in said} == {"desk"}


async def test_what_came_before_the_history_was_read_hinders_nobody(tmp_path: Path) -> None:
    async with _hub(tmp_path, private(tmp_path / "mine", b"[]"), slow=0.5) as (hub, bus):
        assert await hub.post({"items": [PERSON]}) == 202
        await until(lambda: bus.read_history, "what came early is looked at")
        await asyncio.sleep(0.1)
        assert hub.task is not None and not hub.task.done()
        assert await hub.post({"items": [PERSON]}) == 202


async def test_a_payload_that_cannot_be_looked_at_goes_its_way_and_is_said_once(tmp_path: Path) -> None:
    connections = {"desk": Connection("desk", CONNECTOR, Config(type="desk", account="acme"))}
    odd: Any = {7: None, "canary": 1}
    async with open_embedded(tmp_path / "bus.db", disk_cap=10**9) as bus:
        drift = Drift(bus, connections, Metrics(), lambda: datetime.now(UTC), every=0.05)
        with capture_logs() as lines:
            drift.look("desk", Payload("person", PERSON, "acme", False, 1), "people")
            for _ in range(3):
                drift.look("desk", Payload("person", odd, "acme", False, 1), "people")
            task = asyncio.create_task(drift.run())
            await until(lambda: drift._early is None, "the history is read")
            for _ in range(3):
                drift.look("desk", Payload("person", odd, "acme", False, 1), "people")
            drift.look("desk", Payload("ticket", PERSON, "acme", False, 1), "people")
            await until(lambda: _kept(bus, "desk/ticket"), "the others are kept")
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    [line] = [line for line in lines if line["log_level"] == "error"]
    assert (line["connection"], line["reason"].partition(":")[0]) == ("desk", "TypeError")
    assert "canary" not in str(line)


class _Slow:
    """A bus that needs some time to tell what is known of shapes."""

    def __init__(self, bus: EmbeddedBus, seconds: float) -> None:
        self._bus, self._seconds, self.read_history = bus, seconds, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def range(self, topic: str) -> Any:
        if topic == SHAPES:
            await asyncio.sleep(self._seconds)
            self.read_history = True
        return await self._bus.range(topic)


@asynccontextmanager
async def _hub(tmp_path: Path, connector: Connector[Any], slow: float = 0.0) -> AsyncIterator[tuple[Any, _Slow]]:
    source = Source()
    source.person(1)
    async with serving(source), open_embedded(tmp_path / "bus.db", disk_cap=10**9) as real:
        bus: Any = _Slow(real, slow)
        made = Connection("desk", connector, Config(type="desk", base_url=source.url, account="acme"))
        async with running(bus, made) as hub:
            yield hub, bus


async def _kept(bus: EmbeddedBus, key: str) -> bool:
    for partition, (begin, end) in (await bus.range(SHAPES)).items():
        records = (await bus.read(SHAPES, partition, begin, end - begin)).records if end > begin else ()
        if any(record.key == key for record in records):
            return True
    return False
