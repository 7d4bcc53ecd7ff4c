"""Intercom's calls, whose list promises no order: whatever it is, all of them are found, and what becomes of them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from connectors.intercom.deskapi import CALL_ORDERS
from core.sdk import Page
from tests.connectors.intercom_source import BEGIN, CONFIG, Source, events, folded, source

HOURS = 3_600
orders = pytest.mark.parametrize("order", CALL_ORDERS)


@asynccontextmanager
async def phoned(order: str, many: int = 60) -> AsyncIterator[Source]:
    """So many calls, ten seconds apart; nobody hears a webhook."""
    async with source() as intercom:
        intercom.world.desk.call_order = order
        for number in range(many):
            intercom.happens("phone.ring", f"c{number}", phone="+12025550143")
            intercom.later(10)
        yield intercom


def key(intercom: Source, ref: str) -> str:
    return intercom.key("call", intercom.world.world.desk.call_id(ref))


def named(pages: list[Page]) -> set[str]:
    return {event.subject for event in events(pages)}


@orders
async def test_the_first_fetch_is_whole_back_to_since(order: str) -> None:
    async with phoned(order, 200) as intercom:
        assert named(await intercom.pages("calls")) == {key(intercom, f"c{number}") for number in range(200)}
        intercom.happens("phone.end", "c100")  # old, and just changed
        since = CONFIG.model_copy(update={"since": timedelta(seconds=305)})
        recent = {key(intercom, f"c{number}") for number in (100, *range(170, 200))}
        assert named(await intercom.pages("calls", None, since)) == recent


@orders
async def test_the_end_of_a_long_call_that_no_webhook_told_is_found_by_the_next_whole_read(order: str) -> None:
    async with phoned(order, 200) as intercom:
        pages, whole = await intercom.pages("calls"), await intercom.pages("all calls")
        read, polled = [*pages], pages[-1].cursor
        assert folded(events(read))[key(intercom, "c100")].get("status") == "ringing"
        intercom.later(2 * HOURS)
        for number in range(36):  # three hours of new calls, each ended before the next poll
            intercom.happens("phone.ring", f"n{number}", phone="+12025550144")
            if number == 12:
                intercom.happens("phone.end", "c100", by="maya", seconds=2 * HOURS)
            intercom.later(200)
            intercom.happens("phone.end", f"n{number}")
            intercom.later(100)
            pages = await intercom.pages("calls", polled)
            read, polled = [*read, *pages], pages[-1].cursor
        if order in ("created", "oldest"):
            assert folded(events(read))[key(intercom, "c100")].get("status") == "ringing", "it stands in the midst"
        read += await intercom.pages("all calls", whole[-1].cursor)
        for told in (read, read[::-1]):
            state = folded(events(told))
            assert state[key(intercom, "c100")].get("status") == "answered"
            assert {state[key(intercom, f"n{number}")].get("status") for number in range(36)} == {"missed"}


@pytest.mark.parametrize("order", [order for order in CALL_ORDERS if order != "none"])
async def test_a_call_that_was_given_up_is_found_by_the_next_poll_at_whichever_end_it_stands(order: str) -> None:
    async with phoned(order) as intercom:
        polled = (await intercom.pages("calls"))[-1].cursor
        intercom.later(2 * HOURS)
        polled = (await intercom.pages("calls", polled))[-1].cursor
        for number in range(30):  # more than a page
            intercom.happens("phone.ring", f"n{number}", phone="+12025550144")
            intercom.happens("phone.end", f"n{number}")
            intercom.later(5)
        new = {key(intercom, f"n{number}") for number in range(30)}
        assert new <= named(await intercom.pages("calls", polled))


@orders
async def test_where_nothing_is_new_a_poll_asks_for_both_ends_alone(order: str) -> None:
    async with phoned(order, 110) as intercom:
        polled = (await intercom.pages("calls"))[-1].cursor
        for _ in range(2):
            intercom.later(2 * HOURS)
            intercom.http.asked.clear()
            pages = await intercom.pages("calls", polled)
            polled = pages[-1].cursor
        assert named(pages) == set()
        assert [asked["page"] for path, asked in intercom.http.asked] == [1, 5]


@orders
async def test_what_changed_while_the_first_fetch_stood_still_is_found_after_it(order: str) -> None:
    async with phoned(order) as intercom:
        begun, whole = (await intercom.pages("calls"))[0], await intercom.pages("all calls")
        intercom.later(5 * HOURS)
        ended = [f"c{number}" for number in range(0, 60, 7)]
        for ref in ended:
            intercom.happens("phone.end", ref)
        intercom.later(HOURS)
        read = [begun, *await intercom.pages("calls", json.loads(json.dumps(begun.cursor)))]
        read += await intercom.pages("all calls", whole[-1].cursor)
        state = folded(events(read))
        assert {state[key(intercom, ref)].get("status") for ref in ended} == {"missed"}
        assert len(state) == 60


@orders
@pytest.mark.parametrize("stream", ["calls", "all calls"])
async def test_a_look_at_the_calls_that_stops_after_any_page_goes_on_where_it_was(stream: str, order: str) -> None:
    async with phoned(order, 110) as intercom:
        cursor: Any = {"since": BEGIN // 1000}  # all of them have changed
        whole = await intercom.pages(stream, cursor)
        assert len(whole) > 2 and len({json.dumps(page.cursor, sort_keys=True) for page in whole}) == len(whole)
        for stop in range(len(whole) - 1):
            rest = await intercom.pages(stream, json.loads(json.dumps(whole[stop].cursor)))
            assert named([*whole[: stop + 1], *rest]) == named(whole) != set()
