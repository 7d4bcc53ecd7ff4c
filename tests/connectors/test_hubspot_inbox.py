"""Threads of HubSpot's inbox: read whole, kept in step, and taken away."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.hubspot.world import owners
from core.sdk import Hint, Payload, to_ms
from core.sdk.cast import STAFF
from schemas.event import Event
from tests import worlds
from tests.connectors.hubspot_source import MS, Bench, bench, normalized, split_as
from tests.core.test_process import drain
from tests.core.test_process import hub as stored


def thread_of(payloads: list[Payload]) -> Event:
    (event,) = [event for payload in payloads for event in normalized(payload) if event.entity == "conversation"]
    return event


async def fetched(hub: Bench, ref: str) -> list[Payload]:
    return await hub.hydrated([Hint("conversation", hub.portal.inbox.id(ref), MS)])


async def test_what_a_webhook_tells_of_a_thread_is_read_with_all_its_messages() -> None:
    async with bench() as hub:
        events = hub.tell("thread.open", "a", person="dana", text="Where is it?", subject="Bag", channel="email")
        for index in range(120):
            hub.later(seconds=1)
            events += hub.tell("thread.message", "a", text=f"{index}", by="maya" if index % 2 else "customer")
        found = split_as(hub, events)
        assert [(hint.kind, hint.id) for hint in found.hints] == [("conversation", hub.portal.inbox.id("a"))]
        made = [event for payload in await hub.hydrated(list(found.hints)) for event in normalized(payload)]
        conversation, *messages = made
        assert len(messages) == len({event.subject for event in messages}) == 121
        data = conversation.data
        assert (data["kind"], data["channel"], data["subject"], data["status"]) == ("email", "email", "Bag", "open")
        dana = f"hubspot/{hub.account}/contact/{hub.portal.world.id('contacts', 'dana')}"
        assert [(party["role"], party["person"]) for party in data["parties"]] == [("requester", dana)]
        assert {event.data["conversation"] for event in messages} == {conversation.subject}
        assert [event.data["at"] for event in messages] == sorted(event.data["at"] for event in messages)


async def test_the_customer_waits_since_the_oldest_message_that_nobody_answered() -> None:
    async with bench() as hub:
        hub.tell("thread.open", "a", person="dana", text="Where is it?")
        opened = hub.mock.player.clock.now()
        assert to_ms(thread_of(await fetched(hub, "a")).data["waiting_since"]) == opened
        hub.later(minutes=5)
        hub.tell("thread.message", "a", by="maya", text="internal", type="COMMENT")
        assert to_ms(thread_of(await fetched(hub, "a")).data["waiting_since"]) == opened
        hub.tell("thread.message", "a", by="maya", text="On its way")
        answered = thread_of(await fetched(hub, "a")).data
        assert "waiting_since" not in answered and to_ms(answered["first_response_at"]) == opened + 300_000
        hub.later(minutes=1)
        hub.tell("thread.message", "a", text="Thanks")
        hub.later(minutes=1)
        hub.tell("thread.message", "a", text="but when?")
        assert to_ms(thread_of(await fetched(hub, "a")).data["waiting_since"]) == opened + 360_000
        hub.tell("thread.close", "a")
        assert "waiting_since" not in thread_of(await fetched(hub, "a")).data


async def test_actors_name_users_and_records_owners() -> None:
    async with bench() as hub:
        hub.tell("thread.open", "a", person="dana", text="Hello")
        hub.tell("thread.assign", "a", to="maya")
        (owner,) = [row for row in owners(hub.portal.seed) if row["email"] == STAFF["maya"].email]
        assert owner["id"] != str(owner["userId"])
        assignee = thread_of(await fetched(hub, "a")).data["assignee"]
        assert assignee == {"key": f"hubspot/{hub.account}/owner/{owner['id']}", "name": "Maya Lindqvist"}


async def test_a_message_of_html_alone_is_read_as_text() -> None:
    async with bench() as hub:
        hub.tell("thread.open", "a", person="dana", html="<p>Never&nbsp;<b>came</b></p><script>x</script>")
        events = [event for payload in await fetched(hub, "a") for event in normalized(payload)]
        assert events[1].data["body"] == "Never came" and events[0].data["preview"] == "Never came"


async def test_a_stranger_in_the_chat_is_known_by_the_address_they_left() -> None:
    async with bench() as hub:
        hub.tell("thread.open", "a", address="stranger@example.com", text="Hello")
        (party,) = thread_of(await fetched(hub, "a")).data["parties"]
        assert party["identifier"]["value"] == "stranger@example.com" and "person" not in party


async def test_threads_with_new_messages_are_found_by_their_time_and_no_others() -> None:
    async with bench(since=timedelta(days=2)) as hub:
        hub.tell("thread.open", "old", person="dana", text="long ago")
        hub.later(days=3)
        for index in range(130):
            hub.tell("thread.open", f"t{index}", person="dana", text="new")
        first = await hub.poll("conversations")
        found = [payload.data["id"] for page in first for payload in page.payloads]
        assert len(first) > 1 and sorted(found) == sorted(hub.portal.inbox.id(f"t{index}") for index in range(130))
        for stop in range(1, len(first)):
            begun = await hub.poll("conversations", most=stop)
            rest = await hub.poll("conversations", begun[-1].cursor)
            assert [p.data["id"] for page in [*begun, *rest] for p in page.payloads] == found
        hub.later(hours=1)
        (*_, last) = await hub.poll("conversations", first[-1].cursor)  # looks back once more over the first minutes
        hub.tell("thread.message", "old", text="once more")
        hub.later(minutes=1)
        (page,) = await hub.poll("conversations", last.cursor)
        assert [payload.data["id"] for payload in page.payloads] == [hub.portal.inbox.id("old")]


async def test_a_thread_that_was_closed_without_a_message_or_a_webhook_is_noticed_by_the_walk() -> None:
    async with bench() as hub:
        hub.tell("thread.open", "a", person="dana", text="Hello")
        (*_, last) = await hub.poll("conversations")
        hub.later(hours=1)
        (*_, last) = await hub.poll("conversations", last.cursor)  # looks back once more over the first minutes
        hub.tell("thread.close", "a")
        assert not [payload for page in await hub.poll("conversations", last.cursor) for payload in page.payloads]
        (payload,) = [payload for page in await hub.poll("states") for payload in page.payloads]
        event = thread_of([payload])
        assert (event.mode, event.data["status"], event.data["waiting_since"]) == ("patch", "closed", None)
        hub.tell("thread.reopen", "a")
        hub.later(hours=1)
        (payload,) = [payload for page in await hub.poll("states", {"since": 0}) for payload in page.payloads]
        assert thread_of([payload]).data["solved_at"] is None


async def test_a_deleted_thread_is_believed_when_it_is_not_there_and_comes_back_with_a_restore() -> None:
    async with bench() as hub:
        hub.tell("thread.open", "a", person="dana", text="Hello")
        before = thread_of(await fetched(hub, "a"))
        hub.later(seconds=5)
        (hint,) = split_as(hub, hub.tell("thread.delete", "a")).hints
        gone = thread_of(await hub.hydrated([hint]))
        assert (gone.type, gone.final) == ("conversation.deleted", False) and gone.order > before.order
        assert await hub.listed("conversation") == []
        hub.later(seconds=5)
        (hint,) = split_as(hub, hub.tell("thread.restore", "a")).hints
        back = thread_of(await hub.hydrated([hint]))
        assert back.action == "upserted" and back.order > gone.order
        assert await hub.listed("conversation") == [hub.portal.inbox.id("a")]


@pytest.mark.parametrize("told", ["first", "last"])
async def test_a_privacy_deletion_of_a_thread_empties_it_and_its_messages_for_good(tmp_path: Path, told: str) -> None:
    async with bench() as hub, stored(tmp_path) as (bus, store):
        hub.tell("thread.open", "a", person="dana", text="My door code is 4711", subject="A door code")
        said = [event for payload in await fetched(hub, "a") for event in normalized(payload)]
        assert [event.entity for event in said] == ["conversation", "message"]
        hub.later(seconds=5)
        (payload,) = split_as(hub, hub.tell("thread.erase", "a")).payloads
        (event,) = normalized(payload)
        assert event.type == "conversation.deleted" and event.erased and event.final

        async def kept() -> list[bool]:
            rows = await store.objects_by_key([each.subject for each in said])
            return [b"door code" in row.registers + (row.card or b"") for row in rows]

        for events in ([event], said) if told == "first" else (said, [event]):
            await worlds.publish(bus, events)
            await drain(bus, store)
            if (told, events) == ("last", said):
                assert await kept() == [True, True]
        assert await kept() == [False, False]
        [dana] = {party["person"] for each in said for party in each.data["parties"]}
        assert await store.timeline([dana], None, 9) == []


@pytest.mark.parametrize("stream", ["conversations", "states"])
async def test_an_inbox_that_is_not_wanted_is_not_asked(stream: str) -> None:
    async with bench(objects=["contact"]) as hub:
        told: list[Any] = hub.tell("thread.open", "a", person="dana", text="Hello")
        hub.http.asked.clear()
        assert await hub.poll(stream) == [] and await hub.listed("conversation") == [] and hub.http.asked == []
        found = split_as(hub, told)
        assert not found.hints and found.ignored == ("conversation.creation", "conversation.newMessage")
