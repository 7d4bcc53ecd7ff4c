"""Intercom, the whole way against its contract mock over real HTTP."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from connectors.intercom import CONNECTOR
from connectors.intercom.normalize import normalize
from connectors.intercom.paging import SKEW
from connectors.intercom.poll import CONTACTS_OVERLAP
from connectors.intercom.webhook import WEBHOOK
from core.sdk import Hint, SignatureError, TransientError
from schemas.event import Event
from tests.connectors.http import plain_http
from tests.connectors.intercom_source import (
    BEGIN,
    CONFIG,
    NOW,
    STREAMS,
    Source,
    events,
    folded,
    receiver,
    source,
    states,
)


async def test_the_account_is_the_workspaces_code() -> None:
    async with source() as intercom:
        assert intercom.account == intercom.world.world.code


async def test_the_whole_world_arrives_by_polling() -> None:
    async with source() as intercom:
        intercom.mock.send(intercom.mock.player.step(200))
        found = folded([event for name in STREAMS for event in events(await intercom.pages(name))])
        truth = intercom.world.truth()
        for kind, objects in truth.items():
            keys = {key for key, state in found.items() if f"/{kind}/" in key and state.state == "live"}
            assert keys == {f"intercom/{intercom.account}/{kind}/{id}" for id in objects}, kind
        for thread in truth["conversation"].values():
            key = f"intercom/{intercom.account}/part/{thread['id']}"
            said = [part for part in thread["conversation_parts"]["conversation_parts"] if part["body"]]
            assert {f"{key}:{part['id']}" for part in said} | {f"{key}:source"} <= set(found)


async def crowd(intercom: Source) -> None:
    """So many that every stream needs several pages."""
    intercom.world.scroll_size = 2
    for index in range(330):
        intercom.happens("person.upsert", f"x{index}", given="Xu", family=str(index), email=f"x{index}@example.com")
    for index in range(120):
        intercom.happens("conversation.open", f"y{index}", person=f"x{index}", subject="S", text="T")
        intercom.happens("conversation.delete", f"z{index}")
    for index in range(130):
        intercom.happens("conversation.open", f"z{index}", person=f"x{index}", subject="S", text="T")
        intercom.happens("conversation.delete", f"z{index}")


async def test_a_poll_that_stops_after_any_page_goes_on_where_it_was() -> None:
    async with source() as intercom:
        await crowd(intercom)
        several = 0
        for name in STREAMS:
            whole = await intercom.pages(name)
            several += len(whole) > 1
            cursors = [json.dumps(page.cursor, sort_keys=True) for page in whole]
            assert len(set(cursors)) == len(cursors)
            for stop in range(len(whole) - 1):
                resumed = []
                poll = next(each.poll for each in CONNECTOR.streams if each.name == name)
                pages = poll(intercom.http, CONFIG, intercom.account, None)
                async for page in pages:
                    resumed.append(page)
                    if len(resumed) == stop + 1:
                        break
                await pages.aclose()  # type: ignore[attr-defined]
                saved = json.loads(json.dumps(resumed[-1].cursor))
                resumed += await intercom.pages(name, saved)
                assert states(events(resumed)) == states(events(whole)), name
        assert several == 4  # companies, contacts, conversations, deleted conversations


async def test_a_later_poll_finds_what_changed_and_little_else() -> None:
    async with source() as intercom:
        first = {name: (await intercom.pages(name))[-1].cursor for name in STREAMS}
        intercom.later(CONTACTS_OVERLAP + 120)
        intercom.happens("person.upsert", "dana", phone="+12025550143")
        intercom.happens("conversation.reply", "v:dana.2", by="maya", text="We have found it.")
        intercom.happens("conversation.delete", "v:dana.1")
        changed = {name: events(await intercom.pages(name, first[name])) for name in STREAMS}
        world = intercom.world.world
        dana, *others = changed["contacts"]
        assert dana.subject.rpartition("/")[2] == world.contact_id("dana")
        assert dana.data["identifiers"][1]["value"] == "+12025550143"
        assert len(others) <= 1  # the newest of last time
        threads = {
            event.subject.rpartition("/")[2] for event in changed["conversations"] if event.entity == "conversation"
        }
        assert world.conversation_id("v:dana.2") in threads
        assert len(threads) <= 2  # the one that changed, and the newest of last time
        assert [event.type for event in changed["deleted conversations"]] == ["conversation.deleted"]


async def test_a_quiet_poll_of_contacts_is_one_request() -> None:
    async with source() as intercom:
        await crowd(intercom)
        cursor = (await intercom.pages("contacts"))[-1].cursor
        intercom.later(CONTACTS_OVERLAP + SKEW + 1)
        cursor = (await intercom.pages("contacts", cursor))[-1].cursor
        intercom.http.asked.clear()
        (page,) = await intercom.pages("contacts", cursor)
        assert [path for path, _ in intercom.http.asked] == ["/contacts/search"]
        assert not page.payloads


async def test_a_change_of_today_is_found_although_the_search_knows_whole_days_only() -> None:
    async with source() as intercom:
        cursor = (await intercom.pages("contacts"))[-1].cursor
        for hours in range(0, 30, 5):  # over midnight in every time zone
            intercom.later(5 * 3600)
            intercom.happens("person.upsert", f"h{hours}", given="Hour", family=str(hours))
            pages = await intercom.pages("contacts", cursor)
            found = {event.data["display_name"] for event in events(pages)}
            assert f"Hour {hours}" in found
            cursor = pages[-1].cursor


async def test_a_change_in_the_very_second_of_the_watermark_is_found() -> None:
    async with source() as intercom:
        intercom.happens("conversation.open", "new", person="dana", subject="S", text="T")
        found = {event.subject for event in events(await intercom.pages("conversations", {"since": BEGIN // 1000}))}
        key = f"intercom/{intercom.account}/conversation/{intercom.world.world.conversation_id('new')}"
        assert key in found


async def test_since_bounds_the_first_fetch_of_conversations_but_not_of_people() -> None:
    async with source() as intercom:
        config = CONFIG.model_copy(update={"since": timedelta(days=3)})
        threads = [event for event in events(await intercom.pages("conversations", None, config))
                   if event.entity == "conversation"]  # fmt: skip
        assert threads
        oldest = BEGIN - 3 * 86_400_000
        assert all(event.order.clock >= oldest for event in threads)
        assert len(threads) < len(intercom.world.world.conversations)
        people = events(await intercom.pages("contacts", None, config))
        assert len(people) == len(intercom.world.world.contacts)  # who calls today may have been silent for long


async def test_a_second_scroll_waits_and_a_forgotten_one_begins_again() -> None:
    async with source() as intercom:
        await crowd(intercom)
        whole = await intercom.pages("companies")
        poll = next(each.poll for each in CONNECTOR.streams if each.name == "companies")
        half = poll(intercom.http, CONFIG, intercom.account, None)
        first = await anext(half)
        with pytest.raises(TransientError):
            await intercom.pages("companies")
        await half.aclose()  # type: ignore[attr-defined]
        intercom.later(61)
        assert states(events(await intercom.pages("companies", first.cursor))) == states(events(whole))


async def test_webhooks_of_the_mock_verify_and_normalize() -> None:
    async with receiver() as (url, kept), source(url) as intercom:
        intercom.mock.send(intercom.mock.player.step(400))
        await intercom.mock.courier.settled()
        assert len(kept) > 100
        topics = set()
        for each in kept:
            WEBHOOK.verify(each, CONFIG, NOW)
            body = json.loads(each.body)
            topics.add(body["topic"])
            split = WEBHOOK.split(body, each, CONFIG, intercom.account, BEGIN)
            assert not split.ignored
            assert [event for payload in split.payloads for event in normalize(payload)] or split.hints
            with pytest.raises(SignatureError):
                WEBHOOK.verify(replace(each, body=each.body + b" "), CONFIG, NOW)
        assert {"contact.user.created", "contact.merged", "contact.deleted", "conversation.user.replied",
                "conversation.admin.noted", "conversation.rating.added"} <= topics  # fmt: skip


async def test_a_forged_webhook_of_the_mock_is_refused() -> None:
    async with receiver() as (url, kept), source(url) as intercom:
        (queued,) = intercom.mock.player.insert("person.upsert", "dana", {"given": "Dana"})
        await intercom.mock.courier.send(replace(queued[1], forged=True))
        with pytest.raises(SignatureError):
            WEBHOOK.verify(kept[0], CONFIG, NOW)


async def test_webhooks_and_polls_lead_to_the_same_world_in_any_order() -> None:
    async with receiver() as (url, kept), source(url) as intercom:
        opening = [event for name in STREAMS for event in events(await intercom.pages(name))]
        pushed: list[Event] = []
        for _ in range(8):
            kept.clear()
            intercom.later(10)
            intercom.mock.send(intercom.mock.player.step(40))
            await intercom.mock.courier.settled()
            for each in kept:
                split = WEBHOOK.split(json.loads(each.body), each, CONFIG, intercom.account, intercom.clock.now())
                pushed += [event for payload in split.payloads for event in normalize(payload)]
                pushed += await intercom.hydrated(*split.hints)
        swept = [event for name in STREAMS for event in events(await intercom.pages(name))]
        forth, back = folded([*opening, *pushed, *swept]), folded([*swept, *reversed(pushed), *opening])
        assert forth == back
        live = {key for key, state in forth.items() if state.state == "live"}
        truth = intercom.world.truth()
        for kind in ("contact", "conversation", "company", "admin", "team"):
            keys = {key for key in live if f"/{kind}/" in key}
            assert keys == {f"intercom/{intercom.account}/{kind}/{id}" for id in truth[kind]}, kind
        polled = folded(swept)
        for key in live & set(polled):
            assert shown(forth[key].facts) == shown(polled[key].facts), key


def shown(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fact.value for name, fact in facts.items()}


async def test_a_merged_contact_becomes_an_alias_by_its_hint() -> None:
    async with receiver() as (url, kept), source(url) as intercom:
        world = intercom.world.world
        for index in range(3):
            intercom.happens("person.upsert", f"lead{index}", given="Visitor", role="lead")
        intercom.happens("person.upsert", "member", given="Mia", family="Brandt", email="mia@example.com")
        for index in range(3):
            intercom.happens("person.merge", f"lead{index}", into="member")
        await intercom.mock.courier.settled()
        merges = [each for each in kept if b'"contact.merged"' in each.body]
        assert not any(world.contact_id("lead0").encode() in each.body for each in merges)
        (hint, *_) = WEBHOOK.split(json.loads(merges[-1].body), merges[-1], CONFIG, intercom.account, BEGIN).hints
        found = await intercom.hydrated(hint, hint)
        key = f"intercom/{intercom.account}/contact/"
        assert {(event.type, event.subject, event.into) for event in found} == {
            ("person.merged", key + world.contact_id(f"lead{index}"), key + world.contact_id("member"))
            for index in range(3)
        }


async def test_a_long_merge_history_is_read_to_its_end() -> None:
    async with source() as intercom:
        world = intercom.world.world
        intercom.happens("person.upsert", "member", given="Mia", family="Brandt", email="mia@example.com")
        for index in range(160):
            intercom.happens("person.upsert", f"lead{index}", given="Visitor", role="lead")
            intercom.happens("person.merge", f"lead{index}", into="member")
        found = await intercom.hydrated(Hint("contact", world.contact_id("member"), BEGIN, "merged"))
        assert len({event.subject for event in found}) == 160


async def test_a_survivor_that_was_merged_itself_becomes_an_alias() -> None:
    async with source() as intercom:
        world = intercom.world.world
        for ref in ("a", "b", "c"):
            intercom.happens("person.upsert", ref, given=ref, email=f"{ref}@example.com")
        intercom.happens("person.merge", "a", into="b")
        intercom.happens("person.merge", "b", into="c")
        (event,) = await intercom.hydrated(Hint("contact", world.contact_id("b"), BEGIN, "merged"))
        assert (event.subject, event.into) == tuple(
            f"intercom/{intercom.account}/contact/{world.contact_id(ref)}" for ref in ("b", "c")
        )


async def test_a_poll_tells_merges_too() -> None:
    async with source() as intercom:
        world = intercom.world.world
        intercom.happens("person.upsert", "lead", given="Visitor", role="lead")
        intercom.happens("person.upsert", "member", given="Mia", family="Brandt", email="mia@example.com")
        intercom.happens("person.merge", "lead", into="member")
        merged = [event for event in events(await intercom.pages("contacts")) if event.action == "merged"]
        assert [event.subject.rpartition("/")[2] for event in merged] == [world.contact_id("lead")]


async def test_reading_a_merged_contact_gives_its_alias_over_several_merges() -> None:
    async with source() as intercom:
        world = intercom.world.world
        for ref in ("a", "b", "c"):
            intercom.happens("person.upsert", ref, given=ref, email=f"{ref}@example.com")
        intercom.happens("person.merge", "a", into="b")
        intercom.happens("person.merge", "b", into="c")
        (event,) = await intercom.hydrated(Hint("contact", world.contact_id("a"), BEGIN))
        assert (event.type, event.into) == (
            "person.merged", f"intercom/{intercom.account}/contact/{world.contact_id('c')}")  # fmt: skip


async def test_hydrating_reads_each_object_once_and_tells_what_is_gone() -> None:
    async with source() as intercom:
        world = intercom.world.world
        dana, thread = world.contact_id("dana"), world.conversation_id("v:dana.2")
        hints = [Hint("contact", dana, BEGIN), Hint("conversation", thread, BEGIN), Hint("contact", dana, BEGIN + 5)]
        intercom.http.asked.clear()
        gone = [Hint("contact", "0" * 24, BEGIN), Hint("ticket", "1", BEGIN), Hint("contact", "../me", BEGIN)]
        found = await intercom.hydrated(*hints, *gone)
        assert len(intercom.http.asked) == 5
        assert [event.type for event in found if event.action == "deleted"] == [
            "person.deleted", "conversation.deleted", "person.deleted"]  # fmt: skip
        assert {event.subject.split("/")[2] for event in found if event.action == "upserted"} == {
            "contact", "conversation", "part"}  # fmt: skip
        assert not any(event.final for event in found)


async def test_wrong_credentials_are_told_from_other_failures() -> None:
    async with source() as intercom:
        headers = CONNECTOR.auth(CONFIG.model_copy(update={"token": type(CONFIG.token)("wrong")}))
        async with plain_http(intercom.mock.url, headers) as http:
            with pytest.raises(TransientError, match="401"):
                await CONNECTOR.account(http, CONFIG)


async def test_answers_name_the_rate_limit() -> None:
    async with source() as intercom:
        response = await intercom.http.get("/me")
        names = CONNECTOR.rate_headers
        assert int(response.headers[names.limit]) > int(response.headers[names.remaining]) > 0
        assert int(response.headers[names.reset]) * 1000 > intercom.clock.now()
