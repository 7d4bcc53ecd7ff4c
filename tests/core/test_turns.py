"""When what polls bring may go onto the bus: never so that a live delivery waits behind much of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from core.errors import TransientError
from core.ingest.pace import Pace
from core.ingest.turns import AHEAD, FEW, LEAST, LONGEST, MOST, REST, SOME, Turns
from core.precedence import Precedence


class Process:
    """Takes `each` seconds per event, one after the other."""

    def __init__(self, each: float) -> None:
        self.each, self.lag, self.past, self.down = each, 0, 0, False
        self.most = 0

    def give(self, events: int) -> None:
        self.lag += events
        self.most = max(self.most, self.lag)

    async def behind(self) -> int:
        if self.down:
            raise TransientError("the store is down")
        return self.lag

    async def behind_in_the_past(self) -> int:
        return self.past

    @asynccontextmanager
    async def working(self) -> AsyncIterator["Process"]:
        async def work() -> None:
            while True:
                await asyncio.sleep(self.each)
                self.lag = max(0, self.lag - 1)

        task = asyncio.create_task(work())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def turns_of(process: Process, precedence: Precedence | None = None, pace: Pace | None = None) -> Turns:
    return Turns(process.behind, process.behind_in_the_past, pace or Pace(), precedence or Precedence())


async def lots(turns: Turns, process: Process, count: int, *, usual: int = 0, takes: bool = False) -> list[int]:
    """`takes`: process takes each lot at once, and never what is usual."""
    found = []
    for _ in range(count):
        async with turns.lot() as size:
            assert process.lag <= usual, "process has not taken the lot before"
            process.give(0 if takes else size)
            found.append(size)
    return found


async def test_each_lot_waits_until_process_has_the_one_before_and_the_next_is_as_large_as_pays() -> None:
    async with Process(0.0001).working() as process:
        turns = turns_of(process)
        found = await lots(turns, process, 12)
    assert found == sorted(found) and LEAST == found[0] < found[-1] <= MOST


async def test_several_streams_take_turns() -> None:
    async with Process(0.0001).working() as process:
        turns = turns_of(process)
        await asyncio.gather(*(lots(turns, process, 4) for _ in range(5)))
        assert process.most <= MOST


async def test_while_deliveries_come_lots_are_small_and_most_of_the_time_is_theirs() -> None:
    loop = asyncio.get_running_loop()
    async with Process(0.002).working() as process:
        precedence = Precedence()
        turns = turns_of(process, precedence)
        with precedence.delivery():
            pass
        began = loop.time()
        found = await lots(turns, process, 4)
        assert max(found) <= SOME
        assert loop.time() - began > REST * sum(found) * process.each


async def test_where_live_alone_keeps_process_busy_a_lot_goes_all_the_same() -> None:
    process = Process(1.0)
    process.give(7)  # it is never less
    turns = turns_of(process)
    began = asyncio.get_running_loop().time()
    async with turns.lot() as size:
        assert size >= LEAST and asyncio.get_running_loop().time() - began >= LONGEST * 0.9
    process.lag = 6
    found = await lots(turns, process, 5, usual=6, takes=True)  # what is usual is not waited for again
    assert len(found) == 5 and asyncio.get_running_loop().time() - began < LONGEST * 2.5


@pytest.mark.slow
async def test_no_lot_goes_while_process_lags_far_behind_or_nobody_can_say() -> None:
    process = Process(1.0)
    turns = turns_of(process, pace=Pace(look=0.01))
    for state in ("lag", "down"):
        process.lag, process.down = 6_000, state == "down"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(LONGEST * 1.5):
                async with turns.lot():
                    pass
    process.lag, process.down = 0, False
    async with asyncio.timeout(10), turns.lot():
        pass


async def test_payloads_of_polls_give_way_while_a_delivery_is_at_the_door_but_not_for_ever() -> None:
    precedence = Precedence()
    with precedence.delivery():
        waiting = asyncio.create_task(precedence.free())
        await asyncio.sleep(0.01)
        assert not waiting.done()
    await waiting
    with precedence.delivery():
        async with asyncio.timeout(10):
            await precedence.free()


async def test_a_first_fetch_does_not_pile_up_while_deliveries_come_and_sweeps_do_not_wait_for_it() -> None:
    process, precedence = Process(1.0), Precedence()
    turns = turns_of(process, precedence)
    async with turns.past() as size:
        assert size == MOST
    with precedence.delivery():
        pass
    taken = 0
    for _ in range(AHEAD // FEW):
        async with asyncio.timeout(10), turns.past() as size:
            assert size == FEW
            taken += size
    async with asyncio.timeout(10), turns.past() as size:
        assert taken + size == AHEAD
    process.past = AHEAD
    waiting = asyncio.create_task(turns.past().__aenter__())
    await asyncio.sleep(0.3)
    assert not waiting.done()
    async with asyncio.timeout(10), turns.lot():
        pass
    waiting.cancel()


async def test_bus_and_store_are_asked_how_far_process_is_once_for_many_payloads() -> None:
    process, precedence = Process(1.0), Precedence()
    asked = 0

    async def behind_in_the_past() -> int:
        nonlocal asked
        asked += 1
        return process.past

    turns = Turns(process.behind, behind_in_the_past, Pace(), precedence)
    with precedence.delivery():
        pass
    taken = 0
    while taken < 2 * AHEAD:
        async with asyncio.timeout(10), turns.past() as size:
            taken += size
    assert asked == 2
