"""What Intercom's search shows late, what changes without a word, and what changes while a poll stands still: read all
the same, and without new versions."""

import json
from typing import Any

import pytest

from connectors.intercom import CONNECTOR
from connectors.intercom.poll import CONTACTS_OVERLAP
from connectors.intercom.reconcile import again
from core.sdk import Page
from tests.connectors.intercom_source import BEGIN, CONFIG, Source, events, folded, source

HOURS = 3_600
OPEN = {"field": "state", "operator": "IN", "value": ["open", "snoozed"]}


def named(intercom: Source, kind: str, id: str, pages: list[Page]) -> bool:
    return intercom.key(kind, id) in {event.subject for event in events(pages)}


def opened(intercom: Source, kind: str, ref: str) -> str:
    intercom.happens(f"{kind}.open", ref, person="dana", subject="S", text="T")
    world = intercom.world.world
    return world.conversation_id(ref) if kind == "conversation" else world.desk.ticket_id(ref)


async def last(intercom: Source, stream: str, cursor: Any = None) -> Any:
    return (await intercom.pages(stream, cursor))[-1].cursor


@pytest.mark.parametrize("kind", ["conversation", "ticket"])
async def test_a_row_that_the_search_shows_minutes_late_is_read_although_newer_ones_were_seen(kind: str) -> None:
    async with source() as intercom:
        cursor = await last(intercom, f"{kind}s")
        late = opened(intercom, kind, "late")
        intercom.world.world.late[late] = 200_000
        intercom.later(180)
        newer = opened(intercom, kind, "newer")
        pages = await intercom.pages(f"{kind}s", cursor)
        assert named(intercom, kind, newer, pages) and not named(intercom, kind, late, pages)
        intercom.later(60)
        assert named(intercom, kind, late, await intercom.pages(f"{kind}s", pages[-1].cursor))


@pytest.mark.parametrize("kind", ["conversation", "ticket"])
async def test_a_row_that_comes_hours_late_is_found_by_the_reconcile_whether_it_is_open_or_not(kind: str) -> None:
    async with source() as intercom:
        polled, begin = await last(intercom, f"{kind}s"), await last(intercom, f"open {kind}s")
        late, done = [opened(intercom, kind, ref) for ref in ("late", "done")]
        if kind == "conversation":
            intercom.happens("conversation.close", "done", by="maya")
        else:
            intercom.happens("ticket.state", "done", state="resolved")
        intercom.world.world.late |= {late: 5 * HOURS * 1000, done: 5 * HOURS * 1000}
        intercom.later(4 * HOURS)
        opened(intercom, kind, "newer")
        polled = await last(intercom, f"{kind}s", polled)
        early = await intercom.pages(f"open {kind}s", begin)
        assert not named(intercom, kind, late, early) and not named(intercom, kind, done, early)
        intercom.later(2 * HOURS)
        assert not named(intercom, kind, late, await intercom.pages(f"{kind}s", polled))
        pages = await intercom.pages(f"open {kind}s", early[-1].cursor)
        assert named(intercom, kind, late, pages) and named(intercom, kind, done, pages)


async def test_a_contact_that_the_search_shows_hours_late_is_found_by_the_long_look_back() -> None:
    async with source() as intercom:
        polled, late = await last(intercom, "contacts"), await last(intercom, "late contacts")
        intercom.happens("person.upsert", "dana", family="Reyes-Berg")
        intercom.world.world.late[intercom.world.world.contact_id("dana")] = 3 * HOURS * 1000
        for _ in range(2):
            intercom.later(5 * HOURS)
            intercom.happens("person.upsert", "ines", family="Berg")
            polled = await last(intercom, "contacts", polled)
        assert intercom.world.world.contact_id("dana") not in await found(intercom, "contacts", polled)
        assert CONTACTS_OVERLAP < 5 * HOURS
        assert intercom.world.world.contact_id("dana") in await found(intercom, "late contacts", late)


async def found(intercom: Source, stream: str, cursor: Any) -> set[str]:
    return {event.subject.rpartition("/")[2] for event in events(await intercom.pages(stream, cursor))}


async def test_an_open_conversation_that_changed_without_a_word_is_found_and_the_others_are_no_new_versions() -> None:
    async with source() as intercom:
        world = intercom.world.world
        id = opened(intercom, "conversation", "quiet")
        intercom.happens("conversation.snooze", "quiet", by="maya", seconds=86_400)
        before = events(await intercom.pages("conversations"))
        polled, begin = await last(intercom, "conversations"), await last(intercom, "open conversations")
        intercom.later(6 * HOURS)
        updated = world.conversations[id]["updated"]
        intercom.happens("conversation.tag", "quiet", tag="fraud", silent=True)
        assert world.conversations[id]["updated"] == updated
        polled = await last(intercom, "conversations", polled)  # the overlap of the newest row
        intercom.later(6 * HOURS)
        assert not named(intercom, "conversation", id, await intercom.pages("conversations", polled))
        after = events(await intercom.pages("open conversations", begin))
        key = intercom.key("conversation", id)
        assert folded([*before, *after])[key].get("tags") == folded([*after, *before])[key].get("tags") == ["fraud"]
        known = {event.id for event in before}
        assert {event.subject for event in after if event.id not in known} == {key}
        assert len(after) > 5


async def test_a_round_is_bounded_and_the_next_one_goes_on_behind_it() -> None:
    async with source() as intercom:
        for number in range(230):
            intercom.happens("conversation.open", f"c{number}", person="dana", subject="S", text="T")
            intercom.later(1)
        wanted = {id for id, thread in intercom.world.world.conversations.items() if thread["state"] != "closed"}
        poll = again("conversation", "/conversations/search", "conversations", OPEN, most=100)
        cursor = (await intercom.pages("open conversations"))[-1].cursor
        intercom.later(40 * HOURS)
        read: list[set[str]] = []
        for _ in range(3):
            saved = json.loads(json.dumps(cursor))
            pages = [page async for page in poll(intercom.http, CONFIG, intercom.account, saved)]
            assert len({json.dumps(page.cursor, sort_keys=True) for page in pages}) == len(pages)
            read.append({payload.data["id"] for page in pages for payload in page.payloads})
            cursor = pages[-1].cursor
        assert [len(each) for each in read[:2]] == [100, 100]
        assert wanted <= set().union(*read)
        assert set(cursor) == {"from", "at"}, "the pass has ended"


async def test_a_crowd_that_was_created_in_one_second_does_not_hold_up_the_reconcile() -> None:
    async with source() as intercom:
        for number in range(120):
            intercom.happens("conversation.open", f"c{number}", person="dana", subject="S", text="T")
        poll = again("conversation", "/conversations/search", "conversations", OPEN, most=50)
        cursor = (await intercom.pages("open conversations"))[-1].cursor
        places = []
        for _ in range(9):
            cursor = [page async for page in poll(intercom.http, CONFIG, intercom.account, cursor)][-1].cursor
            places.append(cursor.get("behind"))
        assert None in places, "a pass ends"


async def test_a_reconcile_that_stops_after_any_page_goes_on_where_it_was() -> None:
    async with source() as intercom:
        for number in range(130):
            intercom.happens("conversation.open", f"c{number}", person="dana", subject="S", text="T")
            intercom.later(1)
        begin = await last(intercom, "open conversations")
        whole = await intercom.pages("open conversations", begin)
        assert len(whole) > 2
        everything = {event.id for event in events(whole)}
        for stop in range(len(whole) - 1):
            rest = await intercom.pages("open conversations", json.loads(json.dumps(whole[stop].cursor)))
            assert {event.id for event in events([*whole[: stop + 1], *rest])} == everything


async def test_the_reconcile_reads_nothing_at_first_and_nothing_that_was_never_fetched() -> None:
    async with source() as intercom:
        id = opened(intercom, "conversation", "old")
        intercom.world.world.conversations[id]["updated"] = BEGIN - 90 * 86_400_000
        intercom.http.asked.clear()
        cursor = await last(intercom, "open conversations")
        assert intercom.http.asked == []
        assert not named(intercom, "conversation", id, await intercom.pages("open conversations", cursor))


def changed(intercom: Source, stream: str, ref: str) -> str:
    """Something that the stream is to bring; answers its key."""
    world = intercom.world.world
    match stream:
        case "contacts":
            intercom.happens("person.upsert", ref, given="Dana", email=f"{ref}@example.com")
            return intercom.key("contact", world.contact_id(ref))
        case "articles":
            intercom.happens("article.upsert", ref, title="T", text="T")
            return intercom.key("article", world.desk.article_id(ref))
    id = opened(intercom, "conversation", ref)
    intercom.happens("conversation.delete", ref)
    return intercom.key("conversation", id)


@pytest.mark.parametrize("stream", ["contacts", "articles", "deleted conversations"])
@pytest.mark.parametrize("told", [True, False], ids=["", "cut by an older hub"])
async def test_what_changed_while_a_poll_stood_still_for_a_day_comes_by_the_next_one(stream: str, told: bool) -> None:
    """Newest first, it stands above the place where the poll goes on."""
    async with source() as intercom:
        intercom.mock.rows = 2
        for number in range(5):
            changed(intercom, stream, f"p{number}")
            intercom.later(60)
        cursor = json.loads(json.dumps((await intercom.pages(stream))[0].cursor))
        assert cursor["next"]
        if not told:
            del cursor["began"]
        intercom.later(600)
        key = changed(intercom, stream, "meanwhile")
        intercom.later(24 * HOURS)
        resumed = await intercom.pages(stream, cursor)
        intercom.later(300)
        after = await intercom.pages(stream, resumed[-1].cursor)
        assert key in {event.subject for event in events([*resumed, *after])}


def test_what_a_reconcile_finds_counts_as_what_sweeps_find() -> None:
    slow = [stream for stream in CONNECTOR.streams if stream.name.startswith(("open ", "late ", "all "))]
    assert len(slow) == 4 and not any(stream.pull_only for stream in slow)
