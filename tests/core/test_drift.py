"""Changed shapes are told once, by the field's path and never by a value. On the real embedded bus."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from connectors import aircall, guru
from connectors.aircall.config import Config
from connectors.guru.config import Config as Guru
from core.bus import Bus, Message
from core.bus.embedded import open_embedded
from core.bus.topics import SHAPES
from core.config.model import Connection
from core.ingest import Board, Intake, acknowledge
from core.ingest.drift import FRESH, MOST_TOPICS, ONE_IN, RUSH, Drift
from core.ingest.shapes import MISSES, MOST_FIELDS, MOST_KEYS, MOST_KNOWN, STEADY, Learner, shape_of
from core.metrics import Metrics
from core.sdk import Delivery, Payload
from core.store import DeadRow
from tests.hubs import until
from tests.source import connection

SAMPLE = orjson.loads((Path(aircall.__file__).parent / "samples" / "call.ended.payload.json").read_bytes())
CALLS = Connection("calls", aircall.CONNECTOR, Config(type="aircall", account="example", mock=True, api_id="x",
                                                      api_token="y"))  # fmt: skip

SECRET = "s" * 32
CARDS = Connection("cards", guru.CONNECTOR, Guru(type="guru", account="example", mock=True, user="dana@example.com",
                                                 token="t", webhook_secret=SECRET))  # fmt: skip


@dataclass
class Process:
    bus: Bus
    intake: Intake
    drift: Drift
    now: list[datetime]

    async def take(self, change: Callable[[dict[str, Any]], Any] = lambda data: None, name: str = "calls") -> None:
        data = copy.deepcopy(SAMPLE["data"])
        change(data)
        payload = Payload(SAMPLE["kind"], data, "example", True, SAMPLE["received"], at=1)
        await self.intake.payloads(name, [payload], "sweep")

    async def hear(self, topic: str, **more: Any) -> None:
        event = {"eventType": topic, "eventDate": "2026-11-22T09:00:00.000+0000", "properties": {"cardId": "c"}, **more}
        delivery = Delivery("POST", "", {}, orjson.dumps(event), path_secret=SECRET)
        outcome = await self.intake.delivery("cards", delivery, 1)
        assert (outcome.status, outcome.hints) == (202, 1)

    def told(self, name: str = "calls") -> list[str]:
        return [each["what"] for each in self.drift.news(name)]


@asynccontextmanager
async def process(bus: Bus) -> AsyncIterator[Process]:
    now = [datetime(2026, 11, 22, 10, 0, tzinfo=UTC)]
    connections = {"calls": CALLS, "cards": CARDS, "desk": connection(account="acme")}

    def clock() -> datetime:
        return now[0]

    metrics = Metrics()
    intake = Intake(bus, connections, Board(connections.values(), metrics, clock), clock)
    drift = Drift(bus, connections, metrics, clock, every=0.1)
    intake.look = drift.look
    task = asyncio.create_task(drift.run())
    try:
        yield Process(bus, intake, drift, now)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with open_embedded(tmp_path / "bus.db", disk_cap=10**9) as bus:
        yield bus


def alarms(lines: list[EventDict]) -> list[Any]:
    return [line["changes"] for line in lines if line["event"] == "payloads have changed"]


async def test_what_samples_know_is_no_news(bus: Bus) -> None:
    async with process(bus) as it:
        with capture_logs() as lines:
            await it.take()
            await it.take(lambda data: data.update(user=None, recording="https://example.com/recording"))
            await it.take(lambda data: data.pop("tags", None))
            await until(lambda: it.drift._early is None, "history is read")
        assert (it.told(), alarms(lines)) == ([], [])


async def test_a_new_field_and_another_type_are_told_once_by_their_path(bus: Bus) -> None:
    async with process(bus) as it:
        with capture_logs() as lines:
            for _ in range(3):
                await it.take(lambda data: data.update(duration="canary", mood={"canary": "canary"}))
            await until(it.told, "it is told")
        assert it.told() == ["duration is text and was a number", "mood is new"]
        assert alarms(lines) == [["duration is text and was a number", "mood is new"]]
        assert "canary" not in str(alarms(lines))
        assert len(await _events(bus)) >= 3, "everything went on"


async def test_it_is_told_until_it_is_acknowledged_also_after_a_restart(bus: Bus) -> None:
    async with process(bus) as it:
        await it.take(lambda data: data.update(mood=1))
        await until(lambda: _kept(bus), "it is kept")
    async with process(bus) as it:
        await until(lambda: it.told() == ["mood is new"], "a restart knows it")
        with capture_logs() as lines:
            await it.take(lambda data: data.update(mood=2))
        assert not alarms(lines)
        it.now[0] += timedelta(seconds=1)
        await acknowledge(bus, "calls", int(it.now[0].timestamp() * 1000))
        await until(lambda: not it.told(), "it was acknowledged")
        it.now[0] += timedelta(seconds=1)
        await it.take(lambda data: data.update(mood="good"))
        assert it.told() == ["mood is text and was a number"]
        it.now[0] += timedelta(milliseconds=FRESH)
        assert it.told() == [], "by now it is known"


async def test_what_another_process_has_learnt_is_no_news(bus: Bus) -> None:
    async with process(bus) as one, process(bus) as other:
        await one.take(lambda data: data.update(mood=1))
        await until(lambda: other.told() == ["mood is new"], "the other one hears of it")
        with capture_logs() as lines:
            await other.take(lambda data: data.update(mood=2))
        assert not alarms(lines)


async def test_a_kind_without_samples_is_learnt_without_a_word_first(bus: Bus) -> None:
    async with process(bus) as it:
        await until(lambda: it.drift._early is None, "history is read")
        person = {"id": 1, "name": "Dana Reyes", "updated": 1_700_000_000_000}
        for number in range(25):
            more = {"nick": "d"} if number == 10 else {}
            await it.intake.payloads("desk", [Payload("person", {**person, **more}, "acme", False, 1)], "sweep")
        assert it.told("desk") == []
        await it.intake.payloads("desk", [Payload("person", {**person, "id": "1"}, "acme", False, 1)], "sweep")
        assert it.told("desk") == ["id is text and was a number"]


async def test_history_that_cannot_be_read_is_learnt_again(bus: Bus) -> None:
    await bus.publish([Message(SHAPES, "calls/call.ended pushed", b'{"shape": [', "calls"), Message(SHAPES, "x", None)])
    async with process(bus) as it:
        await it.take(lambda data: data.update(mood=1))
        await until(lambda: it.told() == ["mood is new"], "it works")


async def test_in_a_rush_one_of_a_few_is_looked_at(bus: Bus) -> None:
    async with process(bus) as it:
        await until(lambda: it.drift._early is None, "history is read")
        for number in range(RUSH + ONE_IN):
            data = {"mood": 1} if number >= RUSH else {}
            it.drift.look("calls", Payload("call.ended", {**SAMPLE["data"], **data}, "example", True, 1))
        assert it.told() == ["mood is new"]
        assert it.drift._kinds["calls", "call.ended pushed"].seen == RUSH + 1


async def test_a_field_that_vanished_is_told_once_also_after_a_restart(bus: Bus) -> None:
    sentence = "duration is missing and always came"
    async with process(bus) as it:
        await until(lambda: it.drift._early is None, "history is read")
        for _ in range(STEADY):
            await it.take()
        await until(lambda: _kept(bus), "it is kept")
    async with process(bus) as it, process(bus) as other:
        await until(lambda: it.drift._early is None and other.drift._early is None, "history is read")
        with capture_logs() as lines:
            for _ in range(MISSES):
                await it.take(lambda data: data.pop("duration"))
            assert it.told() == [sentence]
            await until(lambda: other.told() == [sentence], "the other one hears of it")
            for each in (it, other):
                for _ in range(2 * MISSES):
                    await each.take(lambda data: data.pop("duration"))
        assert alarms(lines) == [[sentence]]


async def test_what_is_replayed_may_be_old(bus: Bus) -> None:
    async with process(bus) as it:
        await until(lambda: it.drift._early is None, "history is read")
        for _ in range(STEADY):
            await it.take()
        old = {name: value for name, value in SAMPLE["data"].items() if name != "duration"}
        content = {"form": "payload", "kind": SAMPLE["kind"], "data": old, "account": "example", "pushed": True,
                   "received": 1, "at": 1, "headers": {}}  # fmt: skip
        for _ in range(2 * MISSES):
            await it.intake.replay(DeadRow("x", "calls", "normalize", "", orjson.dumps(content), 1, "open", 1))
        assert it.told() == []


async def test_a_notification_that_only_names_what_to_fetch_is_looked_at_by_its_topic(bus: Bus) -> None:
    async with process(bus) as it:
        await until(lambda: it.drift._early is None, "history is read")
        for number in range(25):
            await it.hear("card-updated", user=7)
            await it.hear("card-created", **({} if number else {"mood": 1}))
        assert it.told("cards") == []
        await it.hear("card-updated", user="7")
        assert it.told("cards") == ["user is text and was a number"]
        assert [each["kind"] for each in it.drift.news("cards")] == ["webhook card-updated"]


async def test_of_topics_only_so_many_and_only_plain_ones_are_learnt(bus: Bus) -> None:
    async with process(bus) as it:
        await until(lambda: it.drift._early is None, "history is read")
        await it.hear("card-dana@example.com")
        for number in range(MOST_TOPICS + 10):
            await it.hear(f"card-t{number}")
        assert len(it.drift._kinds) == MOST_TOPICS
        assert "dana" not in str(it.drift._kinds)


def told(learner: Learner, data: Any) -> list[str]:
    return [news.sentence for news in learner.learn(data)]


def test_lists_are_what_their_items_are_together() -> None:
    learner = Learner()
    assert told(learner, {"tags": [{"id": 1}, {"id": 2, "name": "a"}]}) == []
    assert told(learner, {"tags": [{"id": 3}] * 5 + [{"id": "x"}, {"id": "y"}]}) == [
        "tags[].id is text and was a number"
    ]
    assert told(learner, {"tags": []}) == told(learner, {"tags": None}) == []
    assert told(learner, {"tags": "a"}) == ["tags is text and was a list"]


def test_null_and_empty_are_learnt_without_a_word() -> None:
    learner = Learner()
    told(learner, {"a": None, "b": {}, "c": [], "d": 1})
    assert told(learner, {"a": "x", "b": {"e": 1}, "c": [1], "d": 1.5}) == []
    assert told(learner, {"a": 1, "b": {"f": 1}, "c": ["x"], "d": True}) == [
        "a is a number and was text", "b.f is new", "c[] is text and was a number", "d is a boolean and was a number",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "keys",
    [["dana@example.com"], ["+12025550101"], ["1234567"], ["5d1f4c0a9be74c3f"], ["Dana Reyes"], [""], ["ü"]],
    ids=str,
)
def test_keys_that_may_be_somebodys_are_never_told(keys: list[str]) -> None:
    learner = Learner()
    told(learner, {"by": {"name": 1}})
    assert told(learner, {"by": dict.fromkeys(keys, 1)}) == []
    assert told(learner, {"by": {key: {"x": 1} for key in keys}}) == ["by.* is an object and was a number"]
    assert keys[0] == "" or keys[0] not in str(learner.root.document())


def test_custom_fields_are_a_map() -> None:
    learner = Learner()
    told(learner, {"custom_attributes": {"plan": "x"}, "many": {f"k{n}": 1 for n in range(MOST_KEYS)}})
    assert told(learner, {"custom_attributes": {"seats": "x"}, "many": {"one_more": 1}}) == []
    assert told(learner, {"many": {"another": "x"}}) == ["many.* is text and was a number"]


def test_a_custom_field_is_no_news_and_another_type_of_a_known_one_is_told_by_its_name() -> None:
    learner = Learner()
    told(learner, {"properties": {"plan": "x", "seats": "3", "left": None}})
    assert told(learner, {"properties": {"plan": "x", "mood": 1, "left": True}}) == []
    assert told(learner, {"properties": {"seats": 3, "mood": 2}}) == ["properties.seats is a number and was text"]
    assert told(learner, {"properties": {"plan": {"name": "x"}, "seats": 4}}) == [
        "properties.plan is an object and was text"
    ]
    assert told(learner, {"properties": {"dana@example.com": "x"}}) == []
    assert told(learner, {"properties": {"ines@example.com": 1}}) == ["properties.* is a number and was text"]


def test_custom_fields_that_come_and_go_cost_no_memory_beyond_a_bound() -> None:
    learner = Learner()
    for number in range(10 * MOST_KNOWN):
        assert told(learner, {"properties": {f"field_of_{number % 997:x}_x": "x"}}) == []
    assert len(learner.root.fields["properties"].fields) == MOST_KNOWN
    assert learner.size < 2 * MOST_KNOWN
    assert told(learner, {"properties": {"field_of_0_x": 1}}) == ["properties.field_of_0_x is a number and was text"]
    assert told(learner, {"properties": {"late": 1}}) == ["properties.* is a number and was text"], "for all the others"


def test_what_an_older_hub_learnt_of_custom_fields_is_no_hindrance() -> None:
    learner = Learner()
    learner.merge(shape_of({"t": ["object"], "f": {"properties": {"t": ["object"], "m": True, "i": {"t": ["text"]}}}}))
    assert told(learner, {"properties": {"plan": "x"}}) == []
    assert told(learner, {"properties": {"plan": 1}}) == ["properties.plan is a number and was text"]


def looks(learner: Learner, data: Any, times: int, place: str = "a") -> list[str]:
    return [news.sentence for _ in range(times) for news in learner.learn(data, place)]


WHOLE: dict[str, Any] = {"id": 1, "by": {"name": "x", "nick": "x"}, "parts": [{"text": "x", "at": 1}]}


@pytest.mark.parametrize(
    ("lacking", "path"),
    [
        ({"id": 1, "parts": [{"text": "x", "at": 1}]}, "by"),
        ({**WHOLE, "by": {"nick": "x"}}, "by.name"),
        ({**WHOLE, "parts": [{"text": "x"}] * 5}, "parts[].at"),
    ],
)
def test_a_field_that_always_came_and_vanishes_is_told_once(lacking: Any, path: str) -> None:
    learner = Learner()
    assert looks(learner, WHOLE, STEADY) == []
    assert looks(learner, lacking, MISSES - 1) == []
    assert looks(learner, lacking, 1) == [f"{path} is missing and always came"]
    assert looks(learner, lacking, 3 * STEADY) == []
    assert looks(learner, WHOLE, STEADY) == []
    assert looks(learner, lacking, MISSES) == [f"{path} is missing and always came"], "it was back"


def test_a_field_that_comes_now_and_then_may_stay_away() -> None:
    learner = Learner()
    without = {"id": 1}
    assert looks(learner, WHOLE, STEADY - 1) == [] == looks(learner, without, 3 * MISSES), "too few to judge by"
    for _ in range(20):  # one payload in ten lacks it
        assert looks(learner, WHOLE, 9) == looks(learner, without, 1) == []
    assert looks(learner, without, 3 * MISSES) == []
    learner = Learner()
    looks(learner, WHOLE, 5 * STEADY)
    for _ in range(10):
        assert looks(learner, without, MISSES - 1) == looks(learner, WHOLE, 1) == [], "it came back each time"
    assert looks(learner, without, 3 * MISSES) == []


@pytest.mark.parametrize("empty", [{**WHOLE, "by": None, "parts": []}, {**WHOLE, "by": {}, "parts": None}])
def test_what_is_null_or_empty_has_not_vanished(empty: Any) -> None:
    learner = Learner()
    assert looks(learner, WHOLE, STEADY) == looks(learner, empty, 3 * MISSES) == []


def test_a_field_is_missed_only_where_it_always_came_from() -> None:
    learner = Learner()
    assert looks(learner, WHOLE, STEADY, "contacts") == []
    assert looks(learner, {"id": 1}, 3 * MISSES, "hydrate") == [], "another surface never had it"
    assert looks(learner, {"id": 1}, 3 * MISSES, "contacts") != []


def test_custom_fields_come_and_go() -> None:
    learner = Learner()
    properties = {"plan": "x", "seats": "x"}
    assert looks(learner, {"properties": properties}, 3 * STEADY) == []
    assert looks(learner, {"properties": {"plan": "x"}}, 3 * MISSES) == []


def test_a_sample_that_lacks_a_field_counts_like_a_payload() -> None:
    learner = Learner()
    learner.sampled([WHOLE, {"id": 1}])
    assert looks(learner, WHOLE, STEADY) == looks(learner, {"id": 1}, MISSES) == []
    learner = Learner()
    learner.sampled([WHOLE, {"id": 1}])
    assert looks(learner, WHOLE, 2 * STEADY) == []
    assert looks(learner, {"id": 1}, MISSES) == ["by is missing and always came", "parts is missing and always came"]


def test_that_a_field_always_came_survives_its_document() -> None:
    learner, other = Learner(), Learner()
    looks(learner, WHOLE, STEADY)
    other.merge(shape_of(orjson.loads(orjson.dumps(learner.root.document()))))
    assert looks(other, {**WHOLE, "by": {"nick": "x"}}, MISSES) == ["by.name is missing and always came"]


def test_what_is_learnt_is_bounded_and_survives_its_document() -> None:
    learner = Learner()
    for number in range(100):
        told(learner, {f"o{number}": {f"k{n}": n for n in range(MOST_KEYS)}} if number < 60 else {"late": 1})
    assert learner.size <= MOST_FIELDS + MOST_KEYS + 1
    other = Learner()
    other.merge(shape_of(orjson.loads(orjson.dumps(learner.root.document()))))
    assert other.root.document() == learner.root.document() and other.size == learner.size


async def _events(bus: Bus) -> list[bytes | None]:
    found = []
    for partition, (begin, _) in (await bus.range("events")).items():
        found += [record.value for record in (await bus.read("events", partition, begin, 1000)).records]
    return found


async def _kept(bus: Bus) -> bool:
    return any(end > begin for begin, end in (await bus.range(SHAPES)).values())
