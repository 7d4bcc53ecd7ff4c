"""What Intercom tells nobody: found by listing all ids, and asked for one by one."""

import json

import pytest

from connectors.intercom import CONNECTOR
from core.sdk import Hint, TransientError
from tests.connectors.intercom_source import BEGIN, Source, events, folded, source

KINDS = [listing.kind for listing in CONNECTOR.listings]
LATER = BEGIN + 7_200_000


async def crowd(intercom: Source) -> None:
    """So many that every listing that has pages needs several."""
    intercom.world.scroll_size = intercom.world.desk.article_page = 2
    for index in range(170):
        intercom.happens("person.upsert", f"x{index}", given="Xu", family=str(index))
        intercom.happens("conversation.open", f"y{index}", person=f"x{index}", subject="S", text="T")
        intercom.happens("ticket.open", f"z{index}", person=f"x{index}", subject="S", text="T")


async def test_listings_name_exactly_what_lives() -> None:
    async with source() as intercom:
        await crowd(intercom)
        intercom.happens("person.merge", "x1", into="x2")
        intercom.happens("person.archive", "x3")
        intercom.happens("person.delete", "x4")
        truth = intercom.world.truth()
        assert set(KINDS) == set(truth) - {"call"}
        several = 0
        for kind in KINDS:
            pages = await intercom.ids(kind)
            several += len(pages) > 1
            ids = [id for page in pages for id in page.ids]
            assert sorted(ids) == sorted(truth[kind]), kind
        assert several == 5  # contacts, companies, conversations, tickets, articles


@pytest.mark.parametrize("kind", KINDS)
async def test_a_listing_that_stops_after_any_page_goes_on_where_it_was(kind: str) -> None:
    async with source() as intercom:
        await crowd(intercom)
        whole = await intercom.ids(kind)
        assert len({json.dumps(page.cursor, sort_keys=True) for page in whole}) == len(whole)
        for stop in range(len(whole) - 1):
            if kind == "company":
                intercom.later(61)  # a workspace has one scroll, and the first one is forgotten by now
                rest = await intercom.ids(kind, whole[stop].cursor)
                assert {id for page in rest for id in page.ids} == {id for page in whole for id in page.ids}
                continue
            rest = await intercom.ids(kind, json.loads(json.dumps(whole[stop].cursor)))
            ids = [id for page in [*whole[: stop + 1], *rest] for id in page.ids]
            assert ids == [id for page in whole for id in page.ids]


async def test_a_second_scroll_of_companies_waits() -> None:
    async with source() as intercom:
        intercom.world.scroll_size = 2
        listing = next(each for each in CONNECTOR.listings if each.kind == "company")
        first = listing.ids(intercom.http, CONNECTOR.config(type="intercom", token="t"), intercom.account, None)
        await anext(first)
        with pytest.raises(TransientError, match="another scroll"):
            await intercom.pages("companies")
        await first.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "deleted"),
    [
        ("contact", "person.deleted"), ("conversation", "conversation.deleted"), ("ticket", "conversation.deleted"),
        ("company", "organization.deleted"), ("admin", "staff.deleted"), ("team", "team.deleted"),
        ("article", "article.deleted"), ("internal_article", "article.deleted"), ("call", "call.deleted"),
    ],
)  # fmt: skip
async def test_what_is_missing_and_cannot_be_read_was_deleted(kind: str, deleted: str) -> None:
    async with source() as intercom:
        (event,) = await intercom.hydrated(Hint(kind, "999", LATER, "missing"))
        assert (event.type, event.subject) == (deleted, intercom.key(kind, "999"))
        assert not event.final  # a listing may be wrong; what comes back lives again


@pytest.mark.parametrize("kind", ["contact", "conversation", "ticket", "company", "admin", "team", "article"])
async def test_what_only_moved_between_pages_is_read_again_and_lives(kind: str) -> None:
    async with source() as intercom:
        intercom.happens("ticket.open", "t", person="dana", subject="Broken", text="It broke.")
        id = next(iter(intercom.world.truth()[kind]))
        found = await intercom.hydrated(Hint(kind, id, LATER, "missing"))
        assert folded(found)[intercom.key(kind, id)].state == "live"


async def test_a_missing_contact_that_was_merged_becomes_an_alias() -> None:
    async with source() as intercom:
        world = intercom.world.world
        intercom.happens("person.upsert", "lead", given="Visitor", role="lead")
        intercom.happens("person.merge", "lead", into="dana")
        (event,) = await intercom.hydrated(Hint("contact", world.contact_id("lead"), LATER, "missing"))
        assert (event.type, event.into) == ("person.merged", intercom.key("contact", world.contact_id("dana")))


async def test_a_missing_contact_that_was_archived_is_gone_although_it_can_be_read() -> None:
    async with source() as intercom:
        id = intercom.world.world.contact_id("dana")
        before = events(await intercom.pages("contacts"))
        intercom.happens("person.archive", "dana")
        intercom.later(7200)
        found = await intercom.hydrated(Hint("contact", id, LATER, "missing"))
        assert [event.type for event in found] == ["person.upserted", "person.deleted"]
        for order in ([*before, *found], [*reversed(found), *before]):
            assert folded(order)[intercom.key("contact", id)].state == "deleted"
        intercom.later(60)
        intercom.happens("person.unarchive", "dana")
        intercom.happens("person.upsert", "dana", given="Dana")  # a message of hers, for instance
        state = folded([*before, *found, *events(await intercom.pages("contacts"))])
        assert state[intercom.key("contact", id)].state == "live"


async def test_a_contact_too_new_to_be_searched_is_not_taken_for_archived() -> None:
    async with source() as intercom:
        world = intercom.world.world
        intercom.happens("person.upsert", "new", given="New")
        # Readable by its id and in no list yet, as an archived one.
        world.archived[world.contact_id("new")] = world.contacts.pop(world.contact_id("new"))
        intercom.later(60)
        found = await intercom.hydrated(Hint("contact", world.contact_id("new"), BEGIN + 60_000, "missing"))
        assert [event.type for event in found] == ["person.upserted"]
