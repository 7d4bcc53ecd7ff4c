"""A source merges its own persons, also in ways that leave nobody who remains. On a real bus and a real store."""

from itertools import permutations
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.errors import NormalizeError
from schemas.event import Event
from tests import worlds
from tests.core.test_process import drain, hub

MAKER = worlds.VENDORS[0]
PAYLOAD = worlds.Payload("test", {}, "acme", True, 5)


def known(number: int, name: str, clock: int = 1) -> Event:
    held = [worlds.Identifier(kind="email", value=f"p{number}@example.com", class_="recorded")]
    shape = worlds.Person(role="customer", display_name=name, identifiers=held)
    return MAKER.upserted(PAYLOAD, "contact", number, shape, clock=clock)


def merge(number: int, into: int, clock: int = 2) -> Event:
    return MAKER.merged(PAYLOAD, "contact", number, worlds.Person, into=into, clock=clock)


def gone(number: int, clock: int = 3, *, erased: bool = False) -> Event:
    return MAKER.deleted(PAYLOAD, "contact", number, worlds.Person, clock=clock, erased=erased)


async def shown(folder: Path, events: list[Event]) -> dict[str, Any]:
    """Each customer's name and the numbers of its people, one event per batch."""
    async with hub(folder) as (bus, store):
        for event in events:
            await worlds.publish(bus, [event], fetched=False)
            await drain(bus, store)
        assert await store.dead("open", 10) == []
        records = [orjson.loads(record) for record in (await worlds.records(store)).values()]
        return {
            record["profile"].get("name", {}).get("value", ""): [
                person["key"].rpartition("/")[2] for person in record["people"]
            ]
            for record in records
        }


def test_no_connector_merges_an_object_into_itself() -> None:
    with pytest.raises(NormalizeError, match="contact 7: is merged into itself"):
        MAKER.merged(PAYLOAD, "contact", 7, worlds.Person, into="7", clock=1)
    with pytest.raises(NormalizeError, match="contact: the payload has no id"):
        MAKER.merged(PAYLOAD, "contact", "", worlds.Person, into="7", clock=1)


async def test_who_was_merged_into_themselves_by_an_older_hub_is_shown(tmp_path: Path) -> None:
    itself = merge(1, 2).model_copy(update={"into": known(1, "").subject})
    assert await shown(tmp_path, [known(1, "Dana Reyes"), itself]) == {"Dana Reyes": ["1"]}


async def test_two_who_were_merged_into_each_other_both_remain_in_whatever_order_it_is_told(tmp_path: Path) -> None:
    events = [known(1, "Dana Reyes"), known(2, "Ben Ode"), merge(1, 2), merge(2, 1)]
    for at, order in enumerate(list(permutations(events))[::5]):
        assert await shown(tmp_path / str(at), list(order)) == {"Dana Reyes": ["1"], "Ben Ode": ["2"]}


async def test_a_later_merge_that_ends_the_circle_counts(tmp_path: Path) -> None:
    events = [known(n, name) for n, name in ((1, "Dana Reyes"), (2, "Ben Ode"), (3, "Noor Haddad"))]
    circle = [merge(1, 2), merge(2, 1)]
    told = await shown(tmp_path / "one", [*events, *circle, merge(2, 3, clock=4)])
    assert told == {"Noor Haddad": ["3"]}
    assert await shown(tmp_path / "two", [merge(2, 3, clock=4), *circle, *events]) == told


@pytest.mark.parametrize("erased", [False, True])
async def test_who_is_deleted_within_a_circle_is_gone(tmp_path: Path, erased: bool) -> None:
    events = [known(1, "Dana Reyes"), merge(1, 2), known(2, "Ben Ode"), merge(2, 1), gone(1, erased=erased)]
    # PRIVACY: whoever was merged into an erased person is erased, too, in a circle as well.
    left: dict[str, Any] = {} if erased else {"Ben Ode": ["2"]}
    for at, order in enumerate((events, events[::-1], [*events[2:], *events[:2]], [*events[3:], *events[:3]])):
        assert await shown(tmp_path / str(at), order) == left
