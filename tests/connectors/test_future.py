"""A row that its source dates in the future must not make a poll's mark jump ahead of what changes until then, nor may
its object stay as it was."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors._template import poll as template
from connectors.aircall import poll as aircall
from connectors.guru import poll as guru
from connectors.intercom import poll as intercom
from core import registry
from core.projection import Registers
from core.sdk import AHEAD, Page, Payload, from_ms, to_ms
from tests.connectors.declared_source import MS, Source

CONNECTORS = Path(__file__).parents[2] / "connectors"
FUTURE = MS + 900 * 365 * 86_400_000  # ms
DAY = 86_400_000
ISO = from_ms(FUTURE)


CASES: dict[str, tuple[Callable[..., AsyncIterator[Page]], Any, Callable[[Any], int]]] = {
    "_template": (
        template.changed("ticket", "/tickets"),
        {"rows": [{"id": 1, "changed_at": ISO}], "next": None},
        lambda cursor: to_ms(cursor["since"]),
    ),
    "aircall": (
        aircall.contacts,
        {"contacts": [{"id": 1, "updated_at": FUTURE // 1000}], "meta": {"total": 1, "next_page_link": None}},
        lambda cursor: cursor["from"] * 1000,
    ),
    "guru": (guru.cards, [{"id": "c-1", "lastModified": ISO}], lambda cursor: cursor["since"]),
    "intercom": (
        intercom.articles,
        {"type": "list", "data": [{"id": "1", "updated_at": FUTURE // 1000}], "pages": {}},
        lambda cursor: cursor["since"] * 1000,
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_the_mark_is_no_later_than_the_poll(name: str) -> None:
    poll, answer, mark = CASES[name]
    settings = {"type": name, "account": "example", **registry.mock(name).DEMO}
    config = registry.load(name).config.model_validate(settings)
    pages = [page async for page in poll(Source(lambda *_: answer), config, "example", None)]
    assert [len(page.payloads) for page in pages] == [1]
    assert MS - DAY < mark(pages[-1].cursor) <= MS


def seconds(moment: int) -> int:
    return moment // 1000


# An object of a sample, where it says when it changed and in which form, and a member that is shown.
OBJECTS: dict[str, tuple[str, str, Callable[[int], Any], str]] = {
    "_template": ("person.read", "changed_at", from_ms, "first_name"),
    "aircall": ("contact.updated", "updated_at", from_ms, "first_name"),
    "guru": ("card.trusted", "lastModified", from_ms, "preferredPhrase"),
    "hubspot": ("deal.open", "updatedAt", from_ms, "properties.dealname"),
    "intercom": ("contact.read", "updated_at", seconds, "name"),
}


def changed(payload: Payload, member: str, value: Any) -> Payload:
    first, _, second = member.partition(".")
    value = payload.data[first] | {second: value} if second else value
    return replace(payload, data=payload.data | {first: value})


@pytest.mark.parametrize("ahead", [FUTURE, AHEAD + 1_000])
@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_that_its_source_dates_in_the_future_shows_what_changes_until_then(name: str, ahead: int) -> None:
    sample, clock, form, shown = OBJECTS[name]
    one = Payload(**json.loads((CONNECTORS / name / "samples" / f"{sample}.payload.json").read_text()))
    odd = changed(changed(one, clock, form(one.received + ahead)), shown, "Mistaken")
    after = one.received + 60_000
    right = replace(changed(changed(one, clock, form(after)), shown, "Corrected"), received=after + 1_000)
    for payloads in ([odd, right], [right, odd]):
        connector = registry.load(name)
        events = [event for payload in payloads for event in connector.normalize(payload)]
        registers = Registers(events[0].entity)
        for event in (each for each in events if each.subject == events[0].subject):
            registers.apply(event)
        assert (b"Corrected" in registers.dump(), b"Mistaken" in registers.dump()) == (True, False)


def test_a_clock_less_than_a_day_ahead_is_believed() -> None:
    sample, clock, form, _ = OBJECTS["guru"]
    one = Payload(**json.loads((CONNECTORS / "guru" / "samples" / f"{sample}.payload.json").read_text()))
    (event, *_) = registry.load("guru").normalize(changed(one, clock, form(one.received + AHEAD - 1_000)))
    assert event.order.clock == one.received + AHEAD - 1_000
