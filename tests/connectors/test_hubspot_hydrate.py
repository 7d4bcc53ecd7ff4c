"""What HubSpot's webhooks name, fetched from its mock over real HTTP."""

from datetime import timedelta
from typing import Any

import pytest

from core.errors import (
    PermanentError,
    TransientError,
)
from core.sdk import Hint, Split
from schemas.event import Event
from tests.connectors.hubspot_source import (
    ACCOUNT,
    KINDS,
    MS,
    Bench,
    bench,
    config,
    crowd,
    hydrate,
    ids,
    normalized,
    split_as,
    states,
    stock,
)


async def test_hints_are_fetched_a_hundred_at_a_time_with_their_associations() -> None:
    async with bench() as hub:
        await crowd(hub, 250)
        hints = [Hint("contact", hub.portal.world.id("contacts", f"x{index}"), MS) for index in range(250)]
        hints.append(Hint("deal", hub.portal.world.id("deals", "d:1"), MS))
        hub.http.asked.clear()
        payloads = await hub.hydrated(hints)
        assert len(payloads) == 251
        asked = [path.removeprefix("/crm/").replace("/batch/read", "") for path, _ in hub.http.asked]
        assert asked == [
            *["objects/2026-03/contacts", "associations/2026-03/contacts/companies"] * 3,
            "objects/2026-03/deals", "associations/2026-03/deals/contacts", "owners/2026-03", "v3/pipelines/deals",
        ]  # fmt: skip
        (made,) = [event for payload in payloads if payload.kind == "deal" for event in normalized(payload)]
        assert made.data["stage"]["name"] == "Contract sent" and made.data["parties"]
        assert made.data["owner"]["name"] == "Jonas Petrov"
        too_many = {"inputs": [{"id": "1"}] * 101}
        with pytest.raises(PermanentError, match="400"):
            await hub.http.request("POST", "/crm/v3/objects/contacts/batch/read", json=too_many)


async def test_what_was_hydrated_and_what_was_listed_are_the_same_events() -> None:
    async with bench() as hub:
        stock(hub)
        for name, kind in KINDS.items():
            listed = [payload for page in await hub.poll(name) for payload in page.payloads]
            hints = [Hint(kind, payload.data["id"], MS) for payload in listed]
            fetched = await hub.hydrated(hints)
            assert {event.id for payload in fetched for event in normalized(payload)} == {
                event.id for payload in listed for event in normalized(payload)
            }


async def test_what_is_not_there_any_more_is_a_deletion_at_the_time_of_the_hint() -> None:
    async with bench() as hub:
        payloads = await hub.hydrated([Hint("contact", "424242", MS)])
        (event,) = [event for payload in payloads for event in normalized(payload)]
        assert (event.type, event.order.clock, event.final) == ("person.deleted", MS, False)
        assert event.subject == f"hubspot/{hub.account}/contact/424242"


@pytest.mark.parametrize("moves", [True, False], ids=["", "no date moves"])
async def test_a_restore_brings_back_what_a_deletion_took_and_the_next_one_takes_it_again(moves: bool) -> None:
    async with bench() as hub:
        hub.portal.world.archiving_moves = moves
        known: list[Event] = []
        found = []
        for what, data in (("upsert", {"given": "Ana"}), *(("delete", {}), ("restore", {})) * 2):
            hub.later(seconds=5)
            told = split_as(hub, hub.tell(f"person.{what}", "dana", **data))
            known += await events_of(hub, told)
            found.append(states(known))
        assert found == [{"live"}, {"deleted"}, {"live"}, {"deleted"}, {"live"}], "in whatever order they come"


async def events_of(hub: Bench, found: Split) -> list[Event]:
    """What a delivery tells, and what is read for its hints."""
    payloads = [*found.payloads, *await hub.hydrated(list(found.hints))]
    return [event for payload in payloads for event in normalized(payload)]


async def test_a_merge_with_a_new_id_aliases_both_old_ones_by_webhook_and_by_reading() -> None:
    async with bench() as hub:
        world = hub.portal.world
        for ref in ("a", "b", "c"):
            hub.tell("person.upsert", ref, given="Ana", family="Berg", email=f"{ref}@example.com")
            hub.later(seconds=1)
        told = split_as(hub, hub.tell("person.merge", "b", into="a", new="ab"))
        hub.later(seconds=1)
        again = split_as(hub, hub.tell("person.merge", "c", into="ab", new="abc"))
        aliases = [event for part in (told, again) for payload in part.payloads for event in normalized(payload)]
        old = {
            ref: f"hubspot/{hub.account}/contact/{world.id('contacts', ref)}" for ref in ("a", "b", "c", "ab", "abc")
        }
        assert {(event.subject, event.into) for event in aliases} == {
            (old["a"], old["ab"]), (old["b"], old["ab"]), (old["ab"], old["abc"]), (old["c"], old["abc"]),
        }  # fmt: skip
        (payload,) = await hub.hydrated(list(again.hints))
        person, *read_aliases = normalized(payload)
        assert {event.subject for event in read_aliases} == {old["a"], old["b"], old["c"], old["ab"]}
        assert {event.into for event in read_aliases} == {old["abc"]}
        assert {each["value"] for each in person.data["identifiers"]} == {f"{x}@example.com" for x in "abc"}
        # An old id in a late hint leads to the record that remains and deletes nothing.
        late = await hub.hydrated([Hint("contact", world.id("contacts", "a"), MS)])
        assert [normalized(each)[0].subject for each in late] == [old["abc"]]


async def test_a_privacy_deletion_is_told_whatever_comes_first() -> None:
    async with bench() as hub:
        events = await events_of(hub, split_as(hub, hub.tell("person.erase", "dana")))
        assert sorted((event.erased, event.final) for event in events) == [(False, False), (True, True)]
        assert len({event.order.clock for event in events}) == 1, "both tell of the same millisecond"
        assert states(events) == {"erased"}
        assert hub.portal.world.id("contacts", "dana") not in ids(await hub.poll("contacts"))


async def test_long_lists_of_associations_are_read_to_their_end() -> None:
    async with bench() as hub:
        hub.portal.api.inline, hub.portal.api.association_page = 2, 3
        for index in range(8):
            hub.tell("person.upsert", f"x{index}", given="Ana")
            hub.tell("deal.upsert", "big", title="Big", person=f"x{index}")
        id = hub.portal.world.id("deals", "big")
        (listed,) = [
            payload for page in await hub.poll("deals") for payload in page.payloads if payload.data["id"] == id
        ]
        (fetched,) = await hub.hydrated([Hint("deal", id, MS)])
        for payload in (listed, fetched):
            assert len(normalized(payload)[0].data["parties"]) == 8


async def test_the_settings_choose_the_customer_number_and_further_properties() -> None:
    async with bench(properties=["vip_level"], external_id_property="member", external_id_namespace="club") as hub:
        hub.tell("person.upsert", "dana", properties={"member": "42", "vip_level": "gold", "unasked": "x"})
        hub.later(seconds=5)
        id = hub.portal.world.id("contacts", "dana")
        (payload,) = await hub.hydrated([Hint("contact", id, MS)])
        data = normalized(payload)[0].data
        numbers = [each for each in data["identifiers"] if each["kind"] == "external_id"]
        assert [(each["value"], each["namespace"]) for each in numbers] == [("42", "club")]
        assert data["attributes"] == {"vip_level": "gold"}


@pytest.mark.parametrize(("status", "wait", "seconds"), [(423, None, 2), (477, "7200", 7200), (477, None, 3600)])
async def test_hubspots_own_words_for_later_are_not_the_end(status: int, wait: str | None, seconds: int) -> None:
    class Busy:
        now: Any = None
        get: Any = None

        async def request(self, method: str, path: str, **rest: Any) -> Any:
            raise PermanentError(str(status), status=status, headers={"retry-after": wait} if wait else {})

    with pytest.raises(TransientError) as caught:
        [payload async for payload in hydrate(Busy(), config(), ACCOUNT, [Hint("contact", "1", MS)])]
    assert caught.value.retry_after == timedelta(seconds=seconds)


def standing(events: list[Event]) -> set[str]:
    """The subjects that exist after these events, in whatever order they came; aliases do not stand."""
    last: dict[str, Event] = {}
    gone = {event.subject for event in events if event.action == "merged" or event.final}
    for event in events:
        if event.action == "merged":
            continue
        known = last.get(event.subject)
        if known is None or (event.order, event.id) > (known.order, known.id):
            last[event.subject] = event
    return {subject for subject, event in last.items() if event.action == "upserted"} - gone


async def test_webhooks_keep_up_with_a_story_of_many_days() -> None:
    async with bench() as hub:
        events = [
            event for name in KINDS for page in await hub.poll(name) for payload in page.payloads
            for event in normalized(payload)
        ]  # fmt: skip
        for _ in range(1200):
            hub.later(seconds=2)
            told = [event for _, push in hub.mock.player.step(1) for event in push.body]
            found = split_as(hub, told)
            assert not found.ignored
            payloads = [*found.payloads, *await hub.hydrated(list(found.hints))]
            events += [event for payload in payloads for event in normalized(payload)]
        truth = {
            f"hubspot/{hub.account}/{kind}/{id}" for kind, rows in hub.portal.truth().items() for id in rows
        }  # fmt: skip
        assert {event.action for event in events} == {"upserted", "merged", "deleted"}
        assert standing(events) == standing(events[::-1]) == truth
