"""Secrets that somebody pasted into ordinary fields: what is blanked, and what must not break by it."""

import orjson

from core import deadletter
from core.bus import Bus
from core.bus.topics import RAW
from core.sdk import Payload
from tests.core.test_intake import PERSON, bus, everything, messages, open_door
from tests.source import connection

__all__ = ["bus"]  # fixtures


async def test_a_secret_of_digits_breaks_no_number_and_is_blanked_in_texts(bus: Bus) -> None:
    item = {**PERSON, "name": "Dana 12345678", "updated": 1_712_345_678_000, "attributes": {"number": 12345678}}
    async with open_door(bus, connection(account="acme", token="12345678")) as door:
        await door.post({"items": [item, {**item, "kind": "odd"}, {"kind": "odd", "12345678": r"\n12345678"}]})
        await door.post({"items": {"number": 12345678, "note": "12345678"}})
        await door.post([12345678, "12345678"])
        await door.post(b'{"items": 12345678, "note": "12345678", "more": Infinity}')
        [event] = await door.events()
        assert event.data["attributes"] == {"number": 12345678}
        assert event.data["display_name"] == "Dana [secret]"
        raws = [orjson.loads(record.value or b"")["data"] for record in await messages(bus, RAW)]
        blanked = {**item, "name": "Dana [secret]"}
        odd = [{**blanked, "kind": "odd"}, {"kind": "odd", "[secret]": r"\n[secret]"}]
        assert blanked in raws and {"items": [blanked, *odd]} in raws
        letters = [orjson.loads(letter.payload) for letter in await door.letters()]
        assert len(letters) == 3
        parsed = [letter["body"] for letter in letters if letter["form"] == "body"]
        assert {"items": {"number": 12345678, "note": "[secret]"}} in parsed and [12345678, "[secret]"] in parsed
        [kept] = [deadletter.to_bytes(letter["body"]) for letter in letters if letter["form"] == "bytes"]
        assert kept == b'{"items": [secret], "note": "[secret]", "more": Infinity}'
        assert b'"12345678' not in await everything(bus)


async def test_of_an_event_a_secret_changes_neither_names_of_members_nor_where_it_is_short_anything(bus: Bus) -> None:
    named = {**PERSON, "attributes": {"attributes": "attributes", "tier": "gold"}}
    async with open_door(bus, connection(account="acme", token="attributes", webhook_secret=None)) as door:
        await door.intake.payloads("desk", [Payload("person", named, "acme", False, 1_700_000_000_000)], "poll")
        [event] = await door.events()
        assert event.data["attributes"] == {"attributes": "[secret]", "tier": "gold"}
    async with open_door(bus, connection(account="acme", token="example", webhook_secret=None)) as door:
        await door.intake.payloads("desk", [Payload("person", {**PERSON, "id": 2}, "acme", False, 1)], "poll")
        [event] = [event for event in await door.events() if event.subject == "desk/acme/person/2"]
        assert event.data["identifiers"][0]["value"] == PERSON["email"]
        assert b"dana@[secret].com" in await everything(bus)


async def test_json_stays_json_where_a_secret_seems_to_begin_within_an_escape(bus: Bus) -> None:
    async with open_door(bus, connection(account="acme", token="nine-letters")) as door:
        await door.post({"items": [{**PERSON, "name": "\nine-letters", "note": "nine-letters\\"}]})
        [event], [raw] = await door.events(), await messages(bus, RAW)
        assert event.data["display_name"].strip() == "ine-letters"
        assert orjson.loads(raw.value or b"")["data"]["note"] == "[secret]\\"
