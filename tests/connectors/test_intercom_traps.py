"""What surprises people about Intercom, a sentence each."""

import json
from typing import Any

import pytest
from aiohttp import web

from connectors.intercom import CONNECTOR
from connectors.intercom.normalize import normalize
from connectors.intercom.shapes import moment
from connectors.intercom.webhook import TOPICS, WEBHOOK
from core.sdk import Delivery, Hint, Payload, PermanentError, Split
from tests.connectors.intercom_source import BEGIN, CONFIG, events, folded, source

AT = 1768200421000


def taken(topic: str, item: Any, **rest: Any) -> Split:
    body = {"type": "notification_event", "app_id": "w", "topic": topic, "created_at": AT // 1000,
            "data": {"type": "notification_event_data", "item": item}, **rest}  # fmt: skip
    delivery = Delivery("POST", "https://hooks.example.com/hooks/intercom", {}, b"")
    return WEBHOOK.split(body, delivery, CONFIG, "w", AT)


def test_a_ping_has_no_id_and_changes_nothing() -> None:
    ping = {"type": "ping", "message": "hello"}
    assert taken("ping", ping, id=None, delivery_status=None) == Split(ignored=["ping"])


def test_newer_merges_name_whom_they_absorbed_and_the_history_is_asked_all_the_same() -> None:
    survivor = {"type": "contact", "id": "b", "role": "user", "updated_at": "2026-01-12T06:47:00.000+00:00"}
    split = taken("contact.merged", {**survivor, "merged_from": {"type": "contact", "id": "a"}})
    found = [event for payload in split.payloads for event in normalize(payload)]
    assert [(event.type, event.subject, event.into) for event in found] == [
        ("person.upserted", "intercom/w/contact/b", None),
        ("person.merged", "intercom/w/contact/a", "intercom/w/contact/b"),
    ]
    assert split.hints == [Hint("contact", "b", AT, "merged")]
    assert [payload.kind for payload in taken("contact.merged", survivor).payloads] == ["contact"]


def test_a_closed_ticket_comes_wrapped_and_a_resolved_one_bare() -> None:
    state = {"type": "ticket_state", "category": "resolved", "internal_label": "Done"}
    ticket = {"type": "ticket", "id": "7", "ticket_state": state, "updated_at": 1768200420}
    bare, wrapped = taken("ticket.resolved", ticket), taken("ticket.closed", {"ticket": ticket})
    assert bare == wrapped
    assert [event.data["status"] for payload in bare.payloads for event in normalize(payload)] == ["solved"]


@pytest.mark.parametrize("topic", ["user.created", "user.deleted", "contact.added_email", "user.tag.created"])
def test_topics_of_before_2_0_have_their_contact_read(topic: str) -> None:
    tagged = {"type": "user_tag", "contact": {"id": "5"}}
    assert taken(topic, tagged if "tag" in topic else {"type": "user", "id": "5"}).hints == [Hint("contact", "5", AT)]


def test_a_subscriptions_own_id_is_not_taken_for_its_contacts() -> None:
    item = {"type": "subscription", "id": "91", "contact": {"type": "contact", "id": "5"}}
    assert taken("granular.unsubscribe", item).hints == [Hint("contact", "5", AT)]


def test_ids_are_text_whether_they_come_as_numbers_or_not() -> None:
    hints = [taken("conversation.contact.attached", {"conversation": {"model": {"id": id}}}).hints
             for id in (215472630001122, "215472630001122")]  # fmt: skip
    assert hints[0] == hints[1] == [Hint("conversation", "215472630001122", AT)]


@pytest.mark.parametrize(
    "value", [1768200420, "1768200420", 1768200420999, "2026-01-12T06:47:00.999+00:00", "2026-01-12T07:47:00+0100"]
)
def test_seconds_milliseconds_and_iso_are_one_time(value: Any) -> None:
    assert moment(value) == 1768200420000


def test_an_empty_address_is_no_identifier_and_leads_may_share_one() -> None:
    leads = [{"type": "contact", "id": id, "role": "lead", "email": "info@shop.example.com"} for id in ("a", "b")]
    nobody = [{"type": "contact", "id": id, "role": "user", "email": email} for id, email in (("c", ""), ("d", None))]
    found = [next(iter(normalize(Payload("contact", each, "w", True, AT, AT)))) for each in (*leads, *nobody)]
    assert [len(event.data["identifiers"]) for event in found] == [1, 1, 0, 0]
    assert CONNECTOR.evidence["lead", "email"] == "claimed"  # so that it joins nobody


def test_all_topics_that_bear_on_the_record_are_taken() -> None:
    families = {topic.partition(".")[0] for topic in TOPICS}
    assert families == {
        "admin", "article", "call", "company", "contact", "conversation", "conversation_part", "granular", "ticket",
        "user", "visitor",
    }  # fmt: skip


def test_the_api_version_is_a_setting() -> None:
    older = CONFIG.model_copy(update={"api_version": "2.15"})
    assert [CONNECTOR.auth(config)["Intercom-Version"] for config in (CONFIG, older)] == ["2.16", "2.15"]


async def test_a_workspace_in_another_region_is_named_with_the_remedy() -> None:
    async with source() as intercom:
        with pytest.raises(PermanentError, match="region: us"):
            await CONNECTOR.account(intercom.http, CONFIG.model_copy(update={"region": "eu"}))


async def test_a_backfill_tells_how_many_rows_it_will_bring() -> None:
    async with source() as intercom:
        for index in range(330):
            intercom.happens("person.upsert", f"x{index}", given="Xu", family=str(index))
        for name, kind in (("contacts", "contact"), ("conversations", "conversation"), ("articles", "article")):
            pages = await intercom.pages(name)
            assert {page.total for page in pages} == {sum(len(page.payloads) for page in pages)}, kind
            assert pages[0].total == len(intercom.world.truth()[kind])
        later = await intercom.pages("contacts", pages[-1].cursor)
        assert {page.total for page in later} == {None}  # it ends before the list does


async def test_of_many_parts_the_newest_500_are_read_and_older_ones_stay_as_they_came() -> None:
    async with source() as intercom:
        before = events(await intercom.pages("conversations"))
        key = intercom.key("part", intercom.world.world.conversation_id("v:dana.1"))
        first = {event.subject for event in before if event.subject.startswith(key)}
        for index in range(600):
            intercom.happens("conversation.reply", "v:dana.1", by="customer", text=f"Again {index}")
        after = events(await intercom.pages("conversations"))
        read = {event.subject for event in after if event.subject.startswith(key)}
        assert len(read) == 501  # with the opening message
        assert len(first - read) > 0
        state = folded([*before, *after])
        assert all(state[each].state == "live" for each in first | read)


async def test_a_delivery_that_was_refused_comes_once_more_and_never_again() -> None:
    """What then is still missing, a poll finds."""
    asked: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        asked.append(json.loads(await request.read())["id"])
        return web.Response(status=503)

    app = web.Application()
    app.router.add_post("/hooks/intercom", refuse)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with source(f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/intercom") as intercom:
            intercom.happens("person.upsert", "dana", phone="+12025550143")
            await intercom.mock.courier.settled()
            assert len(asked) == 2
            assert len(set(asked)) == 1
            phones = {item["value"] for event in events(await intercom.pages("contacts"))
                      for item in event.data["identifiers"]}  # fmt: skip
            assert "+12025550143" in phones
    finally:
        await runner.cleanup()


async def test_a_lead_that_signs_up_stays_one_person_with_another_role() -> None:
    async with source() as intercom:
        intercom.happens("person.upsert", "lead", given="Mia", role="lead", email="mia@example.com")
        intercom.later(60)
        before = events(await intercom.pages("contacts"))
        intercom.happens("person.upsert", "lead", role="user")
        after = events(await intercom.pages("contacts", {"since": BEGIN // 1000}))
        key = intercom.key("contact", intercom.world.world.contact_id("lead"))
        assert [folded(found)[key].get("role") for found in (before, [*before, *after])] == ["lead", "customer"]
