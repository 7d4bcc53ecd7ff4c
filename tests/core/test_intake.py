"""The one door: what becomes of every input, good and bad. Through HTTP, on the real embedded bus."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from structlog.testing import capture_logs

from core import deadletter
from core.bus import Bus, Record
from core.bus.codec import Incoming, decode
from core.bus.embedded import open_embedded
from core.bus.topics import DEAD, EVENTS, HINTS, PAST, RAW, TOPICS
from core.config.model import Connection, Server
from core.errors import PermanentError, TransientError
from core.ingest import Board, Intake
from core.ingest.webhooks import Listener, listening
from core.metrics import Metrics
from core.sdk import Payload
from core.store import DeadRow
from tests.source import SECRET, TOKEN, connection, signed

PERSON = {
    "kind": "person", "id": 1, "name": "Dana Reyes", "email": "dana@example.com", "updated": 1_700_000_000_000,
}  # fmt: skip
TICKET = {"kind": "ticket", "id": 7, "subject": "Bag never arrived", "updated": 1_700_000_000_001}


async def messages(bus: Bus, topic: str) -> list[Record]:
    found: list[Record] = []
    for partition, (begin, _) in (await bus.range(topic)).items():
        found += (await bus.read(topic, partition, begin, 10_000)).records
    return found


async def everything(bus: Bus) -> bytes:
    """All bytes of all messages of all topics."""
    found = []
    for topic in TOPICS:
        for record in await messages(bus, topic):
            found += [record.key.encode(), record.value or b"", *(value for _, value in record.headers)]
    return b"\n".join(found)


@dataclass
class Door:
    bus: Bus
    intake: Intake
    board: Board
    metrics: Metrics
    session: aiohttp.ClientSession
    address: str

    async def post(self, body: Any, path: str = "/hooks/desk", **more: Any) -> aiohttp.ClientResponse:
        given = signed(body)
        return await self.send("POST", path, data=given["data"], headers={**given["headers"], **more})

    async def send(self, method: str, path: str, **rest: Any) -> aiohttp.ClientResponse:
        async with self.session.request(method, self.address + path, **rest) as answer:
            await answer.read()
            return answer

    async def events(self) -> list[Incoming]:
        return [decode(record) for topic in (PAST, EVENTS) for record in await messages(self.bus, topic)]

    async def letters(self) -> list[DeadRow]:
        return [deadletter.decode(record) for record in await messages(self.bus, DEAD)]


@asynccontextmanager
async def open_door(bus: Bus, *connections: Connection, **rest: Any) -> AsyncIterator[Door]:
    named = {it.name: it for it in connections}
    metrics = Metrics()
    board = Board(connections, metrics, now)
    intake = Intake(bus, named, board, now)
    listener = Listener(intake, named, board, now, **rest)
    async with listening(listener, Server(webhooks="127.0.0.1:0")) as address:
        async with aiohttp.ClientSession() as session:
            yield Door(bus, intake, board, metrics, session, address)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with open_embedded(tmp_path / "bus.db", disk_cap=1_000_000_000) as opened:
        yield opened


@pytest.fixture
async def door(bus: Bus) -> AsyncIterator[Door]:
    async with open_door(bus, connection(account="acme")) as opened:
        yield opened


async def test_a_delivery_is_answered_202_once_its_events_and_payloads_are_on_the_bus(door: Door) -> None:
    answer = await door.post({"items": [PERSON, TICKET]})
    assert answer.status == 202
    events = {event.subject: event for event in await door.events()}
    assert events.keys() == {"desk/acme/person/1", "desk/acme/ticket/7"}
    assert {event.connection for event in events.values()} == {"desk"}
    raw = {
        dict(record.headers)["subjects"]: orjson.loads(record.value or b"") for record in await messages(door.bus, RAW)
    }
    assert raw[b"desk/acme/person/1"]["data"] == PERSON and raw[b"desk/acme/ticket/7"]["pushed"] is True
    assert door.board.document("desk")["last_delivery"]
    assert door.metrics.value("received", connection="desk") == 1
    assert door.metrics.value("published", connection="desk") == 2


async def test_identifiers_get_their_class_from_the_evidence_table(door: Door) -> None:
    await door.post({"items": [PERSON]})
    [event] = await door.events()
    [identifier] = event.data["identifiers"]
    assert (identifier["value"], identifier["class_"]) == ("dana@example.com", "recorded")


async def test_a_redelivery_has_the_same_event_ids(door: Door) -> None:
    await door.post({"items": [PERSON]})
    await door.post({"items": [PERSON]})
    assert len({event.id for event in await door.events()}) == 1


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("unsigned", {"x-signature": None}),
        ("tampered", {"body": b'{"items": []}'}),
        ("wrongly keyed", {"secret": "another secret"}),
        ("stale", {"x-sent": "1600000000"}),
        ("not to be checked", {"x-sent": "yesterday"}),
    ],
)
async def test_what_is_not_proved_is_401_counted_and_not_kept(door: Door, why: str, change: Mapping[str, Any]) -> None:
    given = signed({"items": [PERSON]}, change.get("secret", SECRET))
    headers = {name: value for name, value in {**given["headers"], **change}.items() if value and name[:2] == "x-"}
    answer = await door.send("POST", "/hooks/desk", data=change.get("body", given["data"]), headers=headers)
    assert answer.status == 401 and answer.content_type == "application/problem+json"
    assert door.board.document("desk")["last_delivery"] is None, "strangers do not say when the source was heard"
    assert door.metrics.value("refused", connection="desk") == 1
    assert not await everything(door.bus)


async def test_refusals_are_counted_by_reason_and_said_once(door: Door) -> None:
    with capture_logs() as lines:
        for _ in range(3):
            await door.send("POST", "/hooks/desk", data=b"{}")
        await door.send("POST", "/hooks/desk", data=b"{}", headers={"x-signature": "wrong"})
    assert door.metrics.by("refused", "reason", connection="desk") == {
        "missing signature": 3, "wrong signature": 1
    }  # fmt: skip
    assert door.board.document("desk")["last_refusal"] == "x-signature does not match the body"
    assert [line["event"] for line in lines] == ["delivery refused"] * 2
    assert door.board.document("desk")["refused"] == door.metrics.by("refused", "reason")


async def test_a_refused_sender_cannot_fill_our_memory_with_reasons(door: Door) -> None:
    for number in range(60):
        door.board.refused("desk", "never seen", f"never seen {number}", 401)
    assert len(door.board.document("desk")["refused"]) <= 21


async def test_a_delivery_for_another_account_is_refused_and_not_kept(door: Door) -> None:
    answer = await door.post({"account": "rival", "items": [PERSON]})
    assert answer.status == 403
    assert not await everything(door.bus)
    assert door.metrics.by("refused", "reason", connection="desk") == {"other account": 1}


async def test_the_account_must_be_known_before_a_delivery_can_be_taken(bus: Bus) -> None:
    async with open_door(bus, connection()) as door:
        answer = await door.post({"items": [PERSON]})
        assert answer.status == 503 and int(answer.headers["Retry-After"]) >= 1
        door.intake.know("desk", "acme")
        assert (await door.post({"items": [PERSON]})).status == 202


@pytest.mark.parametrize("path", ["/hooks/nobody", "/hooks", "/", "/hooks/desk/a/b", "/hooks/desk/secret"])
async def test_an_unknown_address_is_404(door: Door, path: str) -> None:
    assert (await door.post({}, path)).status == 404


async def test_a_read_so_soon_that_a_push_may_be_later_does_not_beat_that_push(door: Door) -> None:
    changed = PERSON["updated"]
    assert (await door.post({"items": [PERSON]})).status == 202
    for wait in (1_999, 2_000):
        read = Payload("person", {**PERSON, "name": "Read"}, "acme", False, changed + wait)
        await door.intake.payloads("desk", [read], "sweep", "people")
    soon, later, pushed = sorted(await door.events(), key=lambda event: event.received)
    assert soon.order[:2] == (changed, -1) < pushed.order[:2] < later.order[:2] == (changed, 1)
    assert soon.id == later.id, "the same state is the same event"


async def test_a_connection_without_webhook_secret_polls_only(bus: Bus) -> None:
    async with open_door(bus, connection(account="acme", webhook_secret=None)) as door:
        answer = await door.post({})
        assert answer.status == 404
        assert door.board.document("desk")["webhook"] is False


async def test_methods_are_those_of_the_connector(door: Door) -> None:
    assert (await door.send("HEAD", "/hooks/desk")).status == 200
    answer = await door.send("GET", "/hooks/desk")
    assert answer.status == 405 and answer.headers["Allow"] == "HEAD, POST"


async def test_an_unknown_kind_is_202_counted_and_kept_raw(door: Door) -> None:
    assert (await door.post({"items": [{"kind": "satellite", "id": 4}, PERSON]})).status == 202
    assert door.metrics.value("ignored", connection="desk") == 1
    assert door.board.document("desk")["ignored"] == {"satellite": 1}
    kept = [orjson.loads(record.value or b"") for record in await messages(door.bus, RAW)]
    assert any(raw["data"].get("items", [{}])[0].get("kind") == "satellite" for raw in kept)
    assert len(await door.events()) == 1 and not await door.letters()


async def test_what_is_only_named_becomes_a_hint(door: Door) -> None:
    assert (await door.post({"items": [{"kind": "named", "id": 5, "at": 17}]})).status == 202
    [hint] = await messages(door.bus, HINTS)
    assert orjson.loads(hint.value or b"") == {"kind": "person", "id": "5", "at": 17, "action": "changed"}


async def test_nul_and_lone_surrogates_are_stripped(door: Door) -> None:
    body = orjson.dumps({"items": [{**PERSON, "name": "NAME"}]}).replace(b"NAME", rb"A\u0000B\ud800C\ud83d\ude00")
    assert (await door.post(body)).status == 202
    [event] = await door.events()
    assert event.data["display_name"] == "ABC😀"
    kept = await everything(door.bus)
    assert rb"\u0000" not in kept and b"\0" not in kept


async def test_a_number_that_cannot_be_written_is_a_letter_with_it_as_text(door: Door) -> None:
    odd = {**PERSON, "updated": 2**70}
    outcome = await door.intake.payloads("desk", [Payload("person", odd, "acme", True, 1)], "webhook")
    assert (outcome.status, outcome.dead) == (202, 1)
    [letter] = await door.letters()
    assert orjson.loads(letter.payload)["data"]["updated"] == str(2**70)


async def test_header_bytes_that_are_no_text_do_no_harm(door: Door) -> None:
    given = signed({"items": [PERSON]})
    async with aiohttp.ClientSession() as session:
        headers = {**given["headers"], "x-odd": "\udcff\udcfe"}
        async with session.post(door.address + "/hooks/desk?a=%ff%00", data=given["data"], headers=headers) as answer:
            assert answer.status == 202
    assert len(await door.events()) == 1


async def test_secrets_in_a_payload_never_reach_the_bus_nor_the_log(door: Door) -> None:
    with capture_logs() as lines:
        await door.post({"token": TOKEN, "items": [PERSON]})
        await door.post(
            {"token": TOKEN, "items": [{**PERSON, "note": f"pasted {SECRET}"}, {"kind": "person", "x": TOKEN}]}
        )
        await door.post({"token": TOKEN, "items": {"shape": SECRET}})
        await door.post(f"{TOKEN} {SECRET}".encode())
        await door.post({"token": TOKEN, "items": [{"kind": "odd", "x": SECRET}]})
        await door.send("POST", "/hooks/desk", data=TOKEN.encode(), headers={"x-signature": SECRET})
        private = {"Authorization": "Basic canary", "Cookie": "canary"}
        await door.post({"items": [TICKET, {"kind": "person"}]}, **private)
        await door.post(["wrong shape"], **private)
        assert (await door.post({"items": [{**PERSON, "id": 7, "name": f"Dana {SECRET}"}]})).status == 202
    assert len(await door.events()) == 4 and len(await door.letters()) == 5
    assert b"canary" not in await everything(door.bus)
    assert "canary" not in str(lines) + str(door.board.document("desk"))


async def test_dropped_values_appear_nowhere(bus: Bus) -> None:
    drop = ["message.body", "person.attributes.salary", "person.identifiers"]
    async with open_door(bus, connection(account="acme", drop=drop)) as door:
        person = {**PERSON, "email": "canary@example.com", "attributes": {"salary": "canary", "tier": "gold"}}
        message = {"kind": "message", "id": 3, "body": "canary", "updated": 1_700_000_000_000}
        with capture_logs() as lines:
            await door.post({"items": [person, message, {**TICKET, "preview": "canary, the first words"}]})
            await door.post({"items": [{"kind": "message", "id": 4, "text": "canary"}]})  # cannot be normalized
            await door.post({"items": {"canary": "canary"}})
            await door.post(b"canary is no json")
            await door.post({"items": [{"kind": "odd", "x": "canary"}]})
        events = {event.entity: event for event in await door.events()}
        assert events["person"].data["attributes"] == {"tier": "gold"}
        assert events["conversation"].data["subject"] == TICKET["subject"]
        assert "identifiers" not in events["person"].data and "body" not in events["message"].data
        letters = await door.letters()
        assert len(letters) == 3
        for letter in letters:
            content = orjson.loads(letter.payload)
            assert content.keys() == {"form", "size", "sha256"} and content["form"] == "withheld"
        assert len({letter.id for letter in letters}) == 3
        assert not await messages(bus, RAW)
        assert b"canary" not in await everything(bus) and "canary" not in str(lines)
        with pytest.raises(PermanentError, match="only size and hash"):
            await door.intake.replay(letters[0])


async def test_an_entity_that_is_dropped_leaves_only_that_it_is_there(bus: Bus) -> None:
    async with open_door(bus, connection(account="acme", drop=["message", "person"])) as door:
        message = {"kind": "message", "id": 3, "body": "canary", "updated": 1_700_000_000_000}
        await door.post({"items": [PERSON, message, {**TICKET, "preview": "canary, the first words"}]})
        events = {event.entity: event for event in await door.events()}
        assert events["person"].data == {"role": "customer"}  # what makes staff staff stays
        assert events["message"].data == {} and events["message"].subject == "desk/acme/message/3"
        assert events["conversation"].data["subject"] == TICKET["subject"]
        assert b"canary" not in await everything(bus)


async def test_a_bus_that_is_down_is_503_and_said_once(tmp_path: Path) -> None:
    async with open_embedded(tmp_path / "full.db", disk_cap=1) as full:
        async with open_door(full, connection(account="acme")) as door:
            with capture_logs() as lines:
                for _ in range(3):
                    answer = await door.post({"items": [PERSON]})
                    assert answer.status == 503 and int(answer.headers["Retry-After"]) >= 1
            assert [line["event"] for line in lines if line["log_level"] == "warning"].count("bus unavailable") == 1
            assert door.metrics.value("published") == 0


async def test_what_the_bus_will_never_take_becomes_a_letter_and_spares_the_others(bus: Bus) -> None:
    async with open_door(bus, connection(account="acme", max_body=40_000_000)) as door:
        huge = {**TICKET, "id": 8, "subject": "x" * 20_000_000}
        given = signed({"items": [PERSON, huge]})
        answer = await door.send("POST", "/hooks/desk", data=io.BytesIO(given["data"]), headers=given["headers"])
        assert answer.status == 202
        assert [event.subject for event in await door.events()] == ["desk/acme/person/1"]
        [letter] = await door.letters()
        assert orjson.loads(letter.payload)["size"] > 20_000_000


async def test_a_source_sees_the_address_that_it_called(bus: Bus) -> None:
    seen = []

    class Looking(Intake):
        async def delivery(self, name: str, delivery: Any, received: int) -> Any:
            seen.append(delivery)
            return await super().delivery(name, delivery, received)

    desk = connection("my desk", account="acme")
    board = Board([desk], Metrics(), now)
    intake = Looking(bus, {"my desk": desk}, board, now)
    for public, expected in (("", "http://127.0.0.1"), ("https://hooks.example.com/", "https://hooks.example.com/")):
        listener = Listener(intake, {"my desk": desk}, board, now, public_url=public)
        async with listening(listener, Server(webhooks="127.0.0.1:0")) as address:
            async with aiohttp.ClientSession() as session:
                from yarl import URL

                url = URL(address + "/hooks/my%20desk?q=a%2Fb+c%7e&x=%C3%BC", encoded=True)
                async with session.post(url, **signed({"items": []})) as answer:
                    assert answer.status == 202
        assert seen[-1].url.startswith(expected)
        assert seen[-1].url.endswith("/hooks/my%20desk?q=a%2Fb+c%7e&x=%C3%BC")
        assert seen[-1].query == {"q": "a/b c~", "x": "ü"}


async def test_a_delivery_is_not_acknowledged_before_the_bus_has_it(bus: Bus) -> None:
    class Failing:
        async def publish(self, messages: Any) -> None:
            raise TransientError("the disk is full")

    desk = connection(account="acme")
    board = Board([desk], Metrics(), now)
    intake = Intake(Failing(), {"desk": desk}, board, now)  # type: ignore[arg-type]
    async with listening(Listener(intake, {"desk": desk}, board, now), Server(webhooks="127.0.0.1:0")) as address:
        async with aiohttp.ClientSession() as session:
            async with session.post(address + "/hooks/desk", **signed({"items": [PERSON]})) as answer:
                assert answer.status == 503
