"""Events that name none of the cards they change: the list that shows them is read within a poll. In simulated time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from core import registry
from core.config import declared
from core.conformance.bench import Bench, Object, bench
from core.conformance.simulated import simulated
from core.conformance.subject import Subject
from core.sdk import Page, Stream
from tests.connectors.guru_source import DECLARED

HOUR = 3600.0


def subject(name: str) -> Subject:
    if name == "coded":
        return Subject(registry.load("guru"), None, registry.mock("guru"), {})
    connection = declared(DECLARED)
    said = connection.settings.model_fields_set - {"mock", "base_url"}
    given = {each: getattr(connection.settings, each) for each in said}
    return Subject(connection.connector, None, registry.mock("guru"), given)


async def becomes(each: Bench, key: str, true: Callable[[Object], bool], *, within: float) -> None:
    """Waits until it is true of the object; `within` so many hours."""
    time = asyncio.get_running_loop().time
    began = time()
    while not true(each.objects()[key]):
        assert time() - began < within * HOUR, "only the schedule finds it"
        await asyncio.sleep(60)


def happens(each: Bench, kind: str, ref: str, **data: Any) -> Any:
    return each.mock.player.insert(kind, ref, data)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("name", ["coded", "declared"])
def test_cards_of_a_deleted_collection_are_gone_within_a_poll_and_not_a_day(name: str, restarted: bool) -> None:
    async def play() -> None:
        async with bench(subject(name)) as each:

            async def known(prefix: str) -> AsyncIterator[Sequence[str]]:
                found = sorted(each.objects().items())
                yield [key for key, (state, *_) in found if state == "live" and key.startswith(prefix)]

            happens(each, "card.upsert", "new", title="Notice", text="T", collection="Old")
            key = f"guru/example/card/{each.simulator.team.card_id('new')}"
            async with each.ingesting(known):
                await each.polled()
                await asyncio.sleep(60)  # at first there was nothing to compare
                await each.send(happens(each, "card.collect", "new"))
                await each.settled()
                assert each.objects()[key][0] == "live" and not each.letters()
                if not restarted:  # such time runs on while a thread keeps the listing on disk
                    await becomes(each, key, lambda card: card[0] == "deleted", within=3)
            async with each.ingesting(known):
                await becomes(each, key, lambda card: card[0] == "deleted", within=3)

    simulated(play)


@pytest.mark.parametrize("name", ["coded", "declared"])
def test_a_merged_and_a_deleted_tag_show_within_a_poll_and_not_an_hour(name: str) -> None:
    async def play() -> None:
        async with bench(subject(name)) as each, each.ingesting():
            await each.polled()
            key, tag = next(
                (key, tags[0]) for key, (_, facts, _) in each.objects().items() if (tags := facts.get("tags"))
            )
            await each.send(happens(each, "card.retag", "k:0", tag=tag, into="merged"))
            await becomes(each, key, lambda card: card[1]["tags"] == ["merged"], within=0.75)
            await each.send(happens(each, "card.retag", "k:0", tag=tag))
            await becomes(each, key, lambda card: not card[1]["tags"], within=0.75)

    simulated(play)


def test_a_swarm_of_such_events_is_one_walk() -> None:
    walks = 0

    def counted(stream: Stream[Any]) -> Stream[Any]:
        async def poll(*given: Any) -> AsyncIterator[Page]:
            nonlocal walks
            walks += 1
            async for page in stream.poll(*given):
                yield page

        return replace(stream, poll=poll) if stream.name == "all cards" else stream

    async def told() -> None:
        whole = subject("coded")
        streams = tuple(map(counted, whole.connector.streams))
        async with bench(replace(whole, connector=replace(whole.connector, streams=streams), seen={})) as each:
            async with each.ingesting():
                await each.polled()
                for number in range(5):
                    await each.send(happens(each, "card.retag", "k:0", tag="bag", into=f"bags {number}"))
                    await asyncio.sleep(60)
                await asyncio.sleep(0.8 * HOUR)

    simulated(told)
    assert walks == 2, "the first fetch, and one for all of them"
