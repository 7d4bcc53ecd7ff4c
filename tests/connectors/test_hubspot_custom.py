"""Objects of the company's own in HubSpot: chosen in the settings, read as all others, shown without a schema."""

import pytest
from pydantic import ValidationError

from connectors.hubspot.config import Config
from core.sdk import Hint, Payload
from schemas.event import Event
from tests.connectors.hubspot_source import MS, Bench, bench, config, ids, normalized, split_as

BOX = "2-3465404"
SETTINGS = {
    "custom_objects": [{"type_id": BOX, "name": "subscription box", "title": "box_name", "properties": ["size"]}]
}


def filled(hub: Bench, ref: str = "one", **more: str) -> str:
    properties = {"box_name": "Autumn box", "size": "L", "unasked": "x", **more}
    hub.tell(f"{BOX}.upsert", ref, person="dana", properties=properties)
    hub.later(seconds=5)
    return hub.portal.world.id(BOX, ref)


def only(payloads: list[Payload]) -> Event:
    (event,) = [event for payload in payloads for event in normalized(payload)]
    return event


async def test_an_object_of_the_companys_own_is_shown_under_its_name() -> None:
    async with bench(**SETTINGS) as hub:
        id = filled(hub)
        event = only(await hub.hydrated([Hint(BOX, id, MS)]))
        assert (event.type, event.subject) == ("custom.upserted", f"hubspot/{hub.account}/{BOX}/{id}")
        data = event.data
        assert (data["kind"], data["title"], data["attributes"]) == ("subscription box", "Autumn box", {"size": "L"})
        dana = f"hubspot/{hub.account}/contact/{hub.portal.world.id('contacts', 'dana')}"
        assert [party["person"] for party in data["parties"]] == [dana]


async def test_each_type_is_walked_and_then_searched_and_stops_anywhere() -> None:
    async with bench(**SETTINGS) as hub:
        for index in range(130):
            filled(hub, f"box{index}")
        whole = await hub.poll("custom objects")
        assert len(ids(whole)) == 130 and len(whole) == 2
        assert ids(await hub.poll("custom objects", whole[0].cursor)) == ids(whole[1:])
        hub.later(hours=1)
        (*_, rested) = await hub.poll("custom objects", whole[-1].cursor)
        id = filled(hub, "box7", size="S")
        assert ids(await hub.poll("custom objects", rested.cursor)) == [id]


async def test_a_type_that_is_added_later_is_fetched_as_a_past_and_swept_from_then_on() -> None:
    """Although the stream itself had its first fetch before."""
    async with bench(**SETTINGS) as hub:
        filled(hub)
        chosen, hub.config = hub.config, hub.config.model_copy(update={"custom_objects": []})
        (before,) = await hub.poll("custom objects")
        hub.config = chosen
        (first,) = await hub.poll("custom objects", before.cursor)
        hub.later(hours=1)
        filled(hub, size="S")
        (later,) = await hub.poll("custom objects", first.cursor)
        assert [(len(page.payloads), page.past) for page in (before, first, later)] == [
            (0, False),
            (1, True),
            (1, False),
        ]


async def test_its_webhooks_are_the_generic_ones_and_its_deletion_is_told_and_found() -> None:
    async with bench(**SETTINGS) as hub:
        id = filled(hub)
        (*_, last) = await hub.poll("archived")
        hub.later(hours=1)
        told = hub.tell(f"{BOX}.upsert", "one", properties={"size": "M"})
        assert split_as(hub, told).hints[0].kind == BOX
        found = split_as(hub, hub.tell(f"{BOX}.delete", "one"))
        deleted = only(await hub.hydrated(list(found.hints)))
        assert (deleted.type, deleted.subject.rpartition("/")[2]) == ("custom.deleted", id)
        assert only([p for page in await hub.poll("archived", last.cursor) for p in page.payloads]).id == deleted.id


async def test_types_that_the_settings_do_not_name_are_not_read() -> None:
    async with bench() as hub:
        filled(hub)
        hub.http.asked.clear()
        assert ids(await hub.poll("custom objects")) == [] and hub.http.asked == []
        found = split_as(hub, hub.tell(f"{BOX}.upsert", "one", properties={"size": "M"}))
        assert not found.hints and found.ignored == (f"{BOX}.propertyChange",)


@pytest.mark.parametrize("stream", ["archived", "all objects"])
async def test_a_walk_goes_on_when_what_it_stood_in_is_not_read_any_more(stream: str) -> None:
    async with bench(**SETTINGS) as hub:
        filled(hub)
        stale = {"kind": BOX, "walk": "", "lower": 0, "upper": MS}
        hub.config = hub.config.model_copy(update={"custom_objects": []})
        (*_, last) = await hub.poll(stream, stale)
        assert "since" in last.cursor


def test_a_type_id_is_checked_when_the_settings_are_read() -> None:
    with pytest.raises(ValidationError, match="type_id"):
        config(custom_objects=[{"type_id": "boxes", "name": "box", "title": "name"}])
    assert Config.model_fields["custom_objects"].description
