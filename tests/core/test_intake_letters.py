"""What cannot be handled is kept as a dead letter, without secrets, and can be replayed."""

from typing import Any

import orjson
import pytest

from core import deadletter
from core.bus.topics import EVENTS, RAW
from core.errors import PermanentError
from tests.core.test_intake import PERSON, TICKET, Door, bus, door, everything, messages
from tests.source import SECRET, TOKEN

__all__ = ["bus", "door"]


NOT_JSON = [b"", b"not json", b'{"items": [', b"\xff\xfe\x00", b"NaN", b"[" * 100_000, b"[" * 600 + b"]" * 600]


@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
async def test_what_is_not_json_is_202_and_a_dead_letter_with_its_bytes(door: Door, body: bytes) -> None:
    assert (await door.post(body)).status == 202
    [letter] = await door.letters()
    assert (letter.connection, letter.stage) == ("desk", "normalize")
    content = orjson.loads(letter.payload)
    assert content["form"] == "bytes" and deadletter.to_bytes(content["body"]) == body


async def test_known_secrets_are_blanked_in_bytes_that_cannot_be_parsed(door: Door) -> None:
    await door.post(f"token={TOKEN}&secret={SECRET}&name=Dana".encode())
    assert b"canary" not in await everything(door.bus)
    [letter] = await door.letters()
    assert deadletter.to_bytes(orjson.loads(letter.payload)["body"]) == b"token=[secret]&secret=[secret]&name=Dana"


async def test_known_secrets_are_blanked_in_bytes_that_are_no_text(door: Door) -> None:
    await door.post(b"\xff" + TOKEN.encode())
    [letter] = await door.letters()
    assert deadletter.to_bytes(orjson.loads(letter.payload)["body"]) == b"\xff[secret]"


async def test_what_the_connector_cuts_is_kept_nowhere_known_secret_or_not(door: Door) -> None:
    await door.post({"token": "canary of another app", "items": [PERSON, {"kind": "odd"}, {"kind": "person"}]})
    await door.post({"token": "canary of another app", "items": 7})
    assert len(await messages(door.bus, RAW)) == 2 and len(await door.letters()) == 2
    assert b"canary" not in await everything(door.bus)


@pytest.mark.parametrize("body", [[], 7, "text", None, {"items": {"no": "list"}}, {"items": ["no object"]}])
async def test_a_wrong_shape_is_202_and_a_dead_letter(door: Door, body: Any) -> None:
    assert (await door.post(body)).status == 202
    [letter] = await door.letters()
    assert orjson.loads(letter.payload)["body"] == body
    assert not await door.events()


async def test_one_poison_payload_spares_the_others_and_comes_back_by_replay(door: Door) -> None:
    poison = {"kind": "person", "id": 2, "nom": "Ben Ode", "updated": 1_700_000_000_000}
    assert (await door.post({"items": [PERSON, poison, TICKET]})).status == 202
    assert {event.subject for event in await door.events()} == {"desk/acme/person/1", "desk/acme/ticket/7"}
    [letter] = await door.letters()
    assert letter.reason.startswith("KeyError: 'name' (tests/source.py:")
    content = orjson.loads(letter.payload)
    assert content["data"] == poison and content["headers"]["x-sent"]

    again = await door.intake.replay(letter)
    assert (again.dead, [row.id for row in await door.letters()]) == (1, [letter.id] * 2)

    content["data"]["name"] = content["data"].pop("nom")  # as a corrected normalizer would read it
    assert (await door.intake.replay(letter._replace(payload=orjson.dumps(content)))).events == 1
    assert "desk/acme/person/2" in {event.subject for event in await door.events()}


async def test_a_reason_holds_no_personal_data(door: Door) -> None:
    await door.post({"items": [{**PERSON, "updated": "Dana Reyes"}]})
    [letter] = await door.letters()
    assert "Dana" not in letter.reason and letter.reason


async def test_letters_of_every_form_can_be_replayed(door: Door) -> None:
    await door.post(b"\xff")
    await door.post(["wrong"])
    shape = next(row for row in await door.letters() if b'"form":"body"' in row.payload)
    content = {**orjson.loads(shape.payload), "body": {"items": [PERSON]}}
    assert (await door.intake.replay(shape._replace(payload=orjson.dumps(content)))).events == 1
    data = next(row for row in await door.letters() if b'"form":"bytes"' in row.payload)
    content = deadletter.of_bytes(orjson.dumps({"items": [TICKET]}))
    assert (await door.intake.replay(data._replace(payload=orjson.dumps(content)))).events == 1
    hint = data._replace(stage="hydrate", payload=b'{"form":"hint","kind":"person","id":"9","at":1,"action":"changed"}')
    assert (await door.intake.replay(hint)).hints == 1
    [record] = [it for it in await messages(door.bus, EVENTS) if it.key == (await door.events())[0].id][:1]
    fold = deadletter.of_record(record, "cannot be folded", 1)
    before = len(await door.events())
    assert (await door.intake.replay(fold)).events == 1
    assert len(await door.events()) == before + 1


async def test_a_letter_of_a_removed_connection_says_so(door: Door) -> None:
    await door.post(b"\xff")
    [letter] = await door.letters()
    with pytest.raises(PermanentError, match="no connection 'gone'"):
        await door.intake.replay(letter._replace(connection="gone"))
