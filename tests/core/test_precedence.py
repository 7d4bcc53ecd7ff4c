"""Deliveries go first: when whoever handles the past may go on."""

import asyncio
import time

import pytest

from core import precedence as module
from core.precedence import CALM, PATIENCE, Precedence


async def test_where_nothing_is_under_way_nobody_waits() -> None:
    precedence = Precedence()
    assert not precedence.taken
    await asyncio.wait_for(precedence.free(), 10)


async def test_the_past_waits_for_a_delivery_and_for_a_moment_in_which_the_feed_tells_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 30.0)  # however slow this machine is
    precedence = Precedence()
    precedence.enter()
    waiting = [asyncio.create_task(precedence.free()) for _ in range(3)]
    await asyncio.sleep(0.005)
    assert not any(task.done() for task in waiting)
    precedence.leave()
    left = time.monotonic()
    assert precedence.taken
    await asyncio.wait_for(asyncio.gather(*waiting), 10)
    assert time.monotonic() - left >= CALM
    assert not precedence.taken


async def test_what_goes_first_meanwhile_is_waited_for_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 30.0)
    precedence = Precedence()
    with precedence.delivery():
        waiting = asyncio.create_task(precedence.free())
        await asyncio.sleep(0.002)
    precedence.enter()  # process has it
    await asyncio.sleep(2 * CALM)
    assert not waiting.done()
    precedence.leave()
    await asyncio.wait_for(waiting, 10)


async def test_where_there_is_always_a_delivery_the_past_goes_on_all_the_same() -> None:
    precedence = Precedence()
    precedence.enter()
    began = time.monotonic()
    await asyncio.wait_for(precedence.free(), 10)
    assert time.monotonic() - began >= PATIENCE * 0.9
    assert precedence.taken


async def test_whoever_is_cancelled_while_he_waits_is_forgotten() -> None:
    precedence = Precedence()
    precedence.enter()
    waiting = asyncio.create_task(precedence.free())
    await asyncio.sleep(0.002)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    precedence.leave()
    await asyncio.wait_for(precedence.free(), 10)
