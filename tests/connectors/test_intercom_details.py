"""What a contact of Intercom only names: tags and subscriptions by id, ten of anything, notes without text."""

import json

import pytest

from connectors.intercom.details import Details
from connectors.intercom.normalize import normalize
from connectors.intercom.webhook import WEBHOOK
from core.sdk import Hint, Payload
from schemas.event import Event
from tests.connectors.intercom_source import BEGIN, CONFIG, Source, events, folded, receiver, source


async def dana(intercom: Source) -> Event:
    """Dana Reyes as the next poll tells her."""
    key = intercom.key("contact", intercom.world.world.contact_id("dana"))
    return next(event for event in events(await intercom.pages("contacts")) if event.subject == key)


async def test_tags_are_told_by_name() -> None:
    async with source() as intercom:
        intercom.happens("person.tag", "dana", tag="vip")
        intercom.happens("person.tag", "dana", tag="beta")
        intercom.happens("person.tag", "ines", tag="vip")
        intercom.http.asked.clear()
        assert (await dana(intercom)).data["tags"] == ["vip", "beta"]
        assert [path for path, _ in intercom.http.asked].count("/tags") == 1  # of all tags, once for the whole poll
        intercom.happens("person.untag", "dana", tag="vip")
        assert (await dana(intercom)).data["tags"] == ["beta"]


async def test_of_more_than_ten_companies_or_tags_all_are_told() -> None:
    async with source() as intercom:
        for index in range(13):
            intercom.happens("person.tag", "dana", tag=f"tag {index}")
        for slug in ("bakery", "bikes", "books", "clinic"):
            intercom.happens("person.upsert", "dana", organization=slug)
        world = intercom.world.world
        for index in range(9):
            made = {
                "id": f"{index:024x}",
                "slug": f"x{index}",
                "name": f"X{index}",
                "domain": "example.com",
                "created": BEGIN,
            }
            world.companies[made["id"]] = made
            world.contacts[world.contact_id("dana")]["companies"].append(made["id"])
        event = await dana(intercom)
        assert len(event.data["tags"]) == 13
        assert len(event.data["organizations"]) == 13
        assert event.mode == "full"


async def test_what_a_contact_subscribed_to_or_refused_is_its_consent() -> None:
    async with source() as intercom:
        intercom.happens("person.choose", "dana", subscription="Newsletter", chosen=False)
        intercom.happens("person.choose", "dana", subscription="Offers by text", chosen=True)
        consents = {
            (each["channel"], each["purpose"]): each["state"] for each in (await dana(intercom)).data["consent"]
        }
        assert consents == {
            ("email", "marketing"): "unknown", ("email", "Newsletter"): "denied", ("sms", "Offers by text"): "granted",
        }  # fmt: skip
        intercom.happens("person.choose", "dana", subscription="Newsletter", chosen=True)
        intercom.happens("person.unsubscribe", "dana")
        consents = {
            (each["channel"], each["purpose"]): each["state"] for each in (await dana(intercom)).data["consent"]
        }
        assert consents == {("email", "marketing"): "denied", ("sms", "Offers by text"): "granted"}


async def test_notes_on_a_contact_are_read_with_their_text() -> None:
    async with source() as intercom:
        for index in range(60):  # several pages
            intercom.happens("person.note", "dana", by="maya", text=f"Note {index} & more")
        found = [event for event in events(await intercom.pages("contacts")) if event.entity == "note"]
        assert {event.data["body"] for event in found} == {f"Note {index} & more" for index in range(60)}
        assert found[0].data["author"]["name"] == "Maya Lindqvist"
        assert found[0].data["visibility"] == "internal"


async def test_a_webhook_that_names_tags_by_id_leaves_them_as_they_were() -> None:
    async with receiver() as (url, kept), source(url) as intercom:
        intercom.happens("person.tag", "dana", tag="vip")
        read = [event for event in events(await intercom.pages("contacts")) if event.data.get("tags")]
        await intercom.mock.courier.settled()
        kept.clear()
        intercom.later(60)
        intercom.happens("person.upsert", "dana", given="Danuta")
        await intercom.mock.courier.settled()
        (push,) = kept
        split = WEBHOOK.split(json.loads(push.body), push, CONFIG, intercom.account, intercom.clock.now())
        pushed = [event for payload in split.payloads for event in normalize(payload)]
        assert "tags" not in pushed[0].data
        for order in ([*read, *pushed], [*pushed, *read]):
            (state,) = folded(order).values()
            assert (state.get("tags"), state.get("display_name")) == (["vip"], "Danuta Reyes")


@pytest.mark.parametrize(
    ("kind", "data"),
    [("tag", {"tag": "vip"}), ("choose", {"subscription": "Newsletter", "chosen": False}), ("unsubscribe", {})],
)
async def test_a_webhook_about_tags_or_subscriptions_has_its_contact_read(kind: str, data: dict[str, object]) -> None:
    async with receiver() as (url, kept), source(url) as intercom:
        intercom.happens(f"person.{kind}", "dana", **data)
        await intercom.mock.courier.settled()
        (push,) = kept
        split = WEBHOOK.split(json.loads(push.body), push, CONFIG, intercom.account, intercom.clock.now())
        assert split == type(split)(hints=[Hint("contact", intercom.world.world.contact_id("dana"), BEGIN)])
        (event,) = await intercom.hydrated(*split.hints)
        assert event.data["tags"] == (["vip"] if kind == "tag" else [])
        assert ("denied" in {each["state"] for each in event.data["consent"]}) == (kind != "tag")


async def test_without_a_permission_contacts_come_as_they_are() -> None:
    """Whoever may read contacts and not their notes still gets the contacts."""
    async with source() as intercom:
        intercom.happens("person.note", "dana", by="maya", text="Secret")
        intercom.happens("person.tag", "dana", tag="vip")
        contact = intercom.world.truth()["contact"][intercom.world.world.contact_id("dana")]
        gone = {**contact, "id": "0" * 24, "tags": {**contact["tags"], "has_more": True}}
        filled = await Details(intercom.http).filled(gone)
        (event,) = normalize(Payload("contact", filled, intercom.account, False, BEGIN))
        assert (event.mode, event.data.get("tags"), event.data["display_name"]) == ("patch", None, "Dana Reyes")
