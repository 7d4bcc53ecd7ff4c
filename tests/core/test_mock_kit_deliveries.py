"""The kit for contract mocks: webhooks refused, late or forged; answers that are none; what the mock knows."""

import asyncio

import aiohttp
import pytest

from core.sdk.mock import Clock, Push, running
from tests.diary import MS, Diary, Hub, client, get, hub, post, until

__all__ = ["client", "hub"]


@pytest.mark.slow
async def test_while_the_hub_is_down_webhooks_wait_for_it(hub: Hub) -> None:
    async with running(Diary(), target=hub.url, pace=0) as mock:
        await hub.stop()
        mock.send(mock.player.step(30))
        waiting = len(mock.courier)
        await until(lambda: sum(each["status"] == 0 for each in mock.courier.log) >= 3)
        assert len(mock.courier) == waiting
        await hub.start()
        await until(lambda: len(hub.taken) + hub.refused == waiting)


async def test_a_refused_webhook_is_sent_again_and_a_forged_one_is_not(hub: Hub) -> None:
    hub.status = 503
    async with running(Diary(), target=hub.url, pace=0) as mock:
        mock.send(mock.player.ring(None)[1])
        mock.send(mock.player.insert("refuse", "", {}))
        await until(lambda: sum(each["status"] == 503 for each in mock.courier.log) >= 2)
        hub.status = 202
        await until(lambda: len(hub.taken) == 1)
        await mock.courier.settled()
    assert hub.refused == 1
    assert len(hub.ids()) == 1


async def test_what_is_refused_too_often_is_left_to_the_pull_side(hub: Hub) -> None:
    hub.status = 500
    diary = Diary()
    diary.retries = 1
    async with running(diary, target=hub.url, pace=0) as mock:
        mock.send(mock.player.ring(None)[1])
        await mock.courier.settled()
        assert mock.courier.spilled == 1
        assert not mock.player.pending


async def test_a_test_may_push_a_body_of_its_own(hub: Hub, client: aiohttp.ClientSession) -> None:
    async with running(Diary(), target=hub.url, pace=0) as mock:
        assert await post(client, mock, "push", body={"id": "mine"}) == {"status": 202}
        assert await post(client, mock, "push", body={"id": "mine"}, forged=True) == {"status": 401}
        await post(client, mock, "target", url="http://127.0.0.1:9/nobody")
        assert (await post(client, mock, "push", body={"id": "mine"}))["status"] == 0
    assert hub.ids() == {"mine"}


async def test_refused_webhooks_come_again_when_the_source_would_by_the_clock_that_is_driven(
    hub: Hub, client: aiohttp.ClientSession
) -> None:
    class Patient(Diary):
        schedule = (3_600.0,)

    hub.status = 503
    async with running(Patient(), target=hub.url, pace=0, clock=Clock(MS, rate=0)) as mock:
        assert (await post(client, mock, "retries", source=True)) == {"schedule": [3_600.0]}
        mock.send(mock.player.ring(None)[1])
        await until(lambda: len(mock.courier.log) == 1)
        await asyncio.sleep(0.7)  # hurried, it would have come again
        assert len(mock.courier.log) == 1
        hub.status = 202
        await post(client, mock, "clock", now=MS + 3_601_000)
        await until(lambda: len(hub.taken) >= 1)


async def test_as_strict_as_the_source_no_answer_is_a_refusal_and_the_last_one_is_the_last(
    hub: Hub, client: aiohttp.ClientSession
) -> None:
    class Strict(Diary):
        schedule, retries = (60.0,), 1

    await hub.stop()
    async with running(Strict(), target=hub.url, pace=0, clock=Clock(MS, rate=0)) as mock:
        await post(client, mock, "retries", source=True)
        mock.send(mock.player.ring(None)[1])
        await until(lambda: len(mock.courier.log) == 1)
        await post(client, mock, "clock", now=MS + 61_000)
        await until(lambda: mock.courier.spilled >= 1)
        assert [each["attempt"] for each in mock.courier.log if each["n"] == mock.courier.log[0]["n"]] == [0, 1]


@pytest.mark.parametrize("strict", [False, True])
async def test_what_a_source_never_sends_again_is_tried_once(
    strict: bool, hub: Hub, client: aiohttp.ClientSession
) -> None:
    class Patient(Diary):
        schedule = (0.01,)

    hub.status = 503
    async with running(Patient(), target=hub.url, pace=0) as mock:
        await post(client, mock, "retries", source=strict)
        mock.courier.put([(0, Push("a", {"id": "a"}, once=True)), (1, Push("b", {"id": "b"}))])
        await until(lambda: sum(each["subject"] == "b" for each in mock.courier.log) >= 2)
        assert [each["subject"] for each in mock.courier.log].count("a") == 1


async def test_an_answer_may_be_cut_or_be_no_json_or_never_come(client: aiohttp.ClientSession) -> None:
    async with running(Diary(), pace=0) as mock:
        await post(client, mock, "fault", kind="cut")
        with pytest.raises(aiohttp.ClientPayloadError):
            await get(client, mock)
        await post(client, mock, "fault", kind="html")
        with pytest.raises(aiohttp.ContentTypeError):
            await get(client, mock)
        await post(client, mock, "fault", kind="timeout")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await get(client, mock)
        assert (await get(client, mock))[0] == 200


async def test_forged_webhooks_come_on_demand(hub: Hub, client: aiohttp.ClientSession) -> None:
    async with running(Diary(), target=hub.url, pace=0) as mock:
        await post(client, mock, "fault", kind="refuse", times=3)
        await until(lambda: hub.refused == 3)
        async with client.post(mock.url + "/_mock/fault", json={"kind": "earthquake"}) as response:
            assert response.status == 400


async def test_the_state_tells_the_truth(client: aiohttp.ClientSession) -> None:
    diary = Diary()
    async with running(diary, pace=0) as mock:
        await post(client, mock, "step", beats=3)
        _, state = await get(client, mock, "/_mock/state")
        _, brief = await get(client, mock, "/_mock/state?truth=0")
    assert (state["n"], state["counts"]) == (3, {"entries": len(diary.entries)})
    assert set(state["truth"]["entry"]) == {entry["id"] for entry in diary.entries}
    assert "truth" not in brief
