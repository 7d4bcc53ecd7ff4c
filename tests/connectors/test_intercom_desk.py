"""Intercom's tickets, calls, articles and staff against the contract mock over real HTTP."""

import json
from datetime import timedelta

import pytest

from connectors.intercom.normalize import normalize
from connectors.intercom.webhook import WEBHOOK
from core.sdk import Delivery, Hint, NormalizeError
from core.sdk.faults import Fault
from schemas.event import Event
from tests.connectors.intercom_source import BEGIN, CONFIG, Source, events, folded, receiver, source


async def told(intercom: Source, kept: list[Delivery]) -> list[Event]:
    """The events of what the mock has pushed, with what was fetched for its hints."""
    await intercom.mock.courier.settled()
    found: list[Event] = []
    for push in kept:
        split = WEBHOOK.split(json.loads(push.body), push, CONFIG, intercom.account, intercom.clock.now())
        assert not split.ignored
        found += [event for payload in split.payloads for event in normalize(payload)]
        found += await intercom.hydrated(*split.hints)
    kept.clear()
    return found


async def test_a_ticket_looks_the_same_pushed_and_read() -> None:
    async with receiver() as (url, kept), source(url) as intercom:
        intercom.happens("ticket.open", "t", person="dana", subject="Broken", text="It broke.", team="support")
        intercom.happens("ticket.reply", "t", by="customer", text="Any news?")
        intercom.happens("ticket.assign", "t", by="maya", to="maya")
        intercom.happens("ticket.note", "t", by="maya", text="Carrier called.")
        intercom.happens("ticket.reply", "t", by="maya", text="It is on its way.")
        intercom.happens("ticket.state", "t", state="resolved")
        pushed = folded(await told(intercom, kept))
        read = folded(events(await intercom.pages("tickets")))
        id = intercom.world.world.desk.ticket_id("t")
        key = intercom.key("ticket", id)
        assert {name: fact.value for name, fact in pushed[key].facts.items()} == {
            name: fact.value for name, fact in read[key].facts.items()
        }
        assert (read[key].get("status"), read[key].get("source_state")) == ("solved", "Resolved")
        said = {state.get("body"): (state.get("direction"), state.get("internal")) for each, state in read.items()
                if each.startswith(intercom.key("ticket_part", id))}  # fmt: skip
        assert said == {
            "Any news?": ("inbound", False), "Carrier called.": (None, True), "It is on its way.": ("outbound", False),
        }  # fmt: skip


async def test_a_complaint_of_the_story_is_a_ticket_that_ends_with_its_conversation() -> None:
    async with receiver() as (url, kept), source(url) as intercom:
        intercom.happens(
            "conversation.open", "v", person="dana", subject="Charged twice", text="Twice!", team="support"
        )
        intercom.happens("conversation.close", "v", by="maya")
        await intercom.mock.courier.settled()
        topics = [json.loads(push.body)["topic"] for push in kept if b'"ticket.' in push.body]
        assert sorted(topics) == ["ticket.closed", "ticket.created", "ticket.resolved", "ticket.state.updated"]
        state = folded(await told(intercom, kept))[intercom.key("ticket", intercom.world.world.desk.ticket_id("v"))]
        assert state.get("status") == "solved"
        (linked,) = state.get("linked")
        assert linked["key"] == intercom.key("conversation", intercom.world.world.conversation_id("v"))


async def test_a_call_that_was_given_up_comes_by_poll_alone() -> None:
    async with receiver() as (url, kept), source(url) as intercom:
        intercom.happens("phone.ring", "c1", phone="+12025550143", person="dana")
        intercom.happens("phone.ring", "c2", phone="+12025550144")
        intercom.later(20)
        intercom.happens("phone.end", "c1", by="maya", seconds=12)
        intercom.happens("phone.end", "c2")
        pushed, polled = folded(await told(intercom, kept)), folded(events(await intercom.pages("calls")))
        one, two = (intercom.key("call", intercom.world.world.desk.call_id(ref)) for ref in ("c1", "c2"))
        assert [pushed[key].get("status") for key in (one, two)] == ["answered", "ringing"]
        assert [polled[key].get("status") for key in (one, two)] == ["answered", "missed"]
        assert polled[one].get("talk_seconds") == 12
        assert polled[one].get("recording")["id"].startswith("recording/")


async def test_articles_are_told_with_the_name_of_their_collection() -> None:
    async with receiver() as (url, kept), source(url) as intercom:
        read = events(await intercom.pages("articles"))
        assert {event.data["collection"]["name"] for event in read} == {"Orders and delivery", "Payment"}
        assert {event.data["audience"] for event in read} == {"public"}
        intercom.later(60)
        intercom.happens("article.upsert", "a:0", text="Look into the mail.", state="draft")
        pushed = await told(intercom, kept)
        key = intercom.key("article", intercom.world.world.desk.article_id("a:0"))
        for order in ([*read, *pushed], [*pushed, *read]):
            state = folded(order)[key]
            assert state.get("collection")["name"] == "Orders and delivery"
            assert (state.get("audience"), state.get("body")) == ("internal", "Look into the mail.")
        intercom.happens("article.delete", "a:0")
        assert [event.type for event in await told(intercom, kept)] == ["article.deleted"]


async def test_articles_are_read_back_to_the_newest_of_last_time() -> None:
    async with source() as intercom:
        intercom.world.desk.article_page = 2
        whole = await intercom.pages("articles")
        assert len(whole) == 3
        intercom.later(7200)
        intercom.happens("article.upsert", "new", title="New", text="Text", state="published")
        pages = await intercom.pages("articles", whole[-1].cursor)
        assert len(pages) == 1
        assert {event.data["title"] for event in events(pages)} == {"New"}


async def test_a_row_that_tells_no_time_neither_ends_a_list_nor_is_lost() -> None:
    async with source() as intercom:
        intercom.world.desk.article_page = 2
        whole = await intercom.pages("articles")
        intercom.later(7200)
        for number in range(3):
            intercom.happens("article.upsert", f"n{number}", title=f"New {number}", text="Text", state="published")
        intercom.mock.faulty.faults.append(Fault("rows", path="/articles$", times=9))
        pages = await intercom.pages("articles", whole[-1].cursor)
        payloads = [payload for page in pages for payload in page.payloads]
        odd = [payload for payload in payloads if "id" not in payload.data]
        assert len(odd) == 2 * len(pages)
        for payload in odd:
            with pytest.raises(NormalizeError):
                list(normalize(payload))
        good = [event for each in payloads if each not in odd for event in normalize(each)]
        assert {event.data["title"] for event in good} == {"New 0", "New 1", "New 2"}


async def test_internal_articles_are_for_staff_only() -> None:
    async with source() as intercom:
        found = events(await intercom.pages("internal articles"))
        assert {event.data["title"] for event in found} == {"Tone of voice", "Who may refund"}
        assert {event.data["audience"] for event in found} == {"internal"}


async def test_who_leaves_the_workspace_is_gone_and_who_is_away_is_shown_so() -> None:
    async with receiver() as (url, kept), source(url) as intercom:
        before = events(await intercom.pages("admins"))
        intercom.later(60)
        intercom.happens("admin.away", "maya")
        intercom.happens("admin.leave", "sam")
        state = folded([*before, *await told(intercom, kept)])
        keys = {
            slug: intercom.key("admin", str(intercom.world.world.admin_id(slug))) for slug in ("maya", "sam", "leila")
        }
        assert state[keys["maya"]].get("availability") == "away"
        assert [state[keys[slug]].state for slug in ("sam", "leila")] == ["deleted", "live"]


async def test_a_redacted_part_loses_its_text_here_too() -> None:
    async with receiver() as (url, kept), source(url) as intercom:
        before = events(await intercom.pages("conversations"))
        intercom.happens("conversation.reply", "v:dana.2", by="customer", text="My card is 4111.")
        first = await told(intercom, kept)
        assert any("4111" in str(event.data) for event in first)
        intercom.later(60)
        intercom.happens("conversation.redact", "v:dana.2")
        state = folded([*before, *first, *await told(intercom, kept)])
        assert not any("4111" in str(each.get("body")) for each in state.values())


async def test_a_deleted_tickets_hint_ends_it() -> None:
    async with source() as intercom:
        intercom.happens("ticket.open", "t", person="dana", subject="Broken", text="It broke.")
        id = intercom.world.world.desk.ticket_id("t")
        before = events(await intercom.pages("tickets"))
        intercom.happens("ticket.delete", "t")
        gone = await intercom.hydrated(Hint("ticket", id, BEGIN + 60_000, "missing"))
        assert folded([*before, *gone])[intercom.key("ticket", id)].state == "deleted"


async def test_since_bounds_the_first_fetch_of_tickets_and_calls() -> None:
    async with source() as intercom:
        for day in range(6):
            intercom.happens("ticket.open", f"t{day}", person="dana", subject="Broken", text="It broke.")
            intercom.happens("phone.ring", f"c{day}", phone="+12025550143")
            intercom.later(86_400)
        config = CONFIG.model_copy(update={"since": timedelta(days=3)})
        for name in ("tickets", "calls"):
            assert [len(events(await intercom.pages(name, None, each))) for each in (CONFIG, config)] == [6, 3], name
