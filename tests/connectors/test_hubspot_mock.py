"""HubSpot's mock keeps its contract."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from connectors.hubspot import kinds
from connectors.hubspot.mock import simulator
from connectors.hubspot.poll import query
from connectors.hubspot.world import ASSOCIATIONS, SINGULAR
from core.errors import (
    SignatureError,
)
from core.sdk import Delivery
from core.sdk.story import Beat
from tests.connectors.hubspot_source import (
    MS,
    NOW,
    SECRET,
    URL,
    VENDOR,
    WEBHOOK,
    bench,
    config,
    needs_vendor_data,
    recorded,
)


async def test_the_mock_limits_searches_and_tells_no_limits_there() -> None:
    async with bench() as hub:
        hub.portal.api.search_rate = 1
        search: Callable[[], Any] = lambda: hub.http.request("POST", "/crm/v3/objects/deals/search", json={})  # noqa: E731
        assert "x-hubspot-ratelimit-remaining" not in (await search()).headers
        listed = await hub.http.get("/crm/v3/objects/deals", limit=1)
        assert int(listed.headers["x-hubspot-ratelimit-remaining"]) > 0
        with pytest.raises(Exception, match="429"):
            await search()


async def test_the_mock_signs_what_the_connector_accepts_and_forges_what_it_refuses() -> None:
    assert WEBHOOK is not None
    portal = simulator(7, {"client_secret": SECRET})
    (push, *_) = portal.apply(Beat(0, "person.upsert", "hubspot", "z", 0, {"given": "Zoe"}), MS)
    for forged in (False, True):
        url, headers, body = portal.sign(replace(push, forged=forged), URL + "?a=%2Fb%20c", NOW)
        made = Delivery("POST", url, {name.lower(): value for name, value in headers.items()}, body)
        if not forged:
            WEBHOOK.verify(made, config(), NOW)
            continue
        with pytest.raises(SignatureError, match="wrong signature"):
            WEBHOOK.verify(made, config(), NOW)


def shape(value: Any) -> Any:
    """The keys of nested objects, without the values; of lists the first item, properties are free."""
    match value:
        case dict():
            return {key: shape(inner) for key, inner in sorted(value.items()) if key not in ("properties", "paging")}
        case list():
            return [shape(item) for item in value[:1]]
        case bool() | int() | float():
            return type(value).__name__
        case _:
            return "text"


@needs_vendor_data
async def test_the_mock_answers_in_the_recorded_shapes() -> None:
    async with bench() as hub:
        hub.tell("person.delete", "dana")
        hub.later(seconds=5)
        ines = hub.portal.world.id("contacts", "ines")
        listed = (await hub.http.get("/crm/v3/objects/contacts", limit=100, associations="companies")).data
        listed["results"] = [row for row in listed["results"] if row["id"] == ines]
        answers = {
            "contacts_list": listed,
            "contacts_list_archived": (await hub.http.get("/crm/v3/objects/contacts", archived="true")).data,
            "owners_list": (await hub.http.get("/crm/v3/owners", limit=1)).data,
        }
        inputs = {"inputs": [{"id": ines}, {"id": "424242"}]}
        for name, path in (
            ("batch_read_207", "/crm/v3/objects/contacts/batch/read"),
            ("associations_v4_batch_read", "/crm/v4/associations/contacts/companies/batch/read"),
            ("search_response", "/crm/v3/objects/contacts/search"),
        ):
            body = recorded("search_request") | {"filterGroups": []} if "search" in name else inputs
            answers[name] = (await hub.http.request("POST", path, json=body)).data
        answers["error_429"] = hub.portal.failure(429)
        for name, answer in answers.items():
            wanted = shape(recorded(name))
            assert shape(answer) == wanted, name
        assert "after" in (await hub.http.get("/crm/v3/objects/contacts", limit=1)).data["paging"]["next"]
        (push, *_) = hub.portal.apply(Beat(0, "person.upsert", "hubspot", "z", 0, {"given": "Zoe"}), MS)
        creation, change = (recorded("webhook_batch")[index] for index in (0, 1))
        assert shape(push.body[0]) == shape(creation)
        assert shape(change).items() <= shape(push.body[1]).items()


@needs_vendor_data
def test_the_mock_numbers_its_associations_as_hubspot_does() -> None:
    told = {name: number for name, number in json.loads((VENDOR / "association_type_ids.json").read_text()).items()
            if name != "_about"}  # fmt: skip
    known = {
        f"{SINGULAR[first]}_to_{SINGULAR[second]}": numbers for (first, second), numbers in ASSOCIATIONS.items()
    }  # fmt: skip
    checked = {name: numbers for name, numbers in known.items() if name in told}
    assert len(checked) >= 8
    for name, (plain, primary) in checked.items():
        assert (plain, primary) == (told[name], told.get(f"{name}_primary")), name


@needs_vendor_data
def test_a_search_asks_in_the_recorded_shape() -> None:
    asked = query(kinds.KINDS["contact"], {"lower": 1, "upper": 2, "last": "0"})
    wanted = recorded("search_request")
    assert shape(asked) == shape({name: value for name, value in wanted.items() if name != "after"})
    assert [each["operator"] for each in asked["filterGroups"][0]["filters"]] == ["GTE", "LTE", "GT"]
