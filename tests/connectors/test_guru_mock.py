"""Guru's lists and webhooks, against its contract mock over real HTTP."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jsonschema
import pytest

from connectors.guru import CONNECTOR
from connectors.guru.normalize import normalize
from connectors.guru.poll import OVERLAP, SKEW, following
from connectors.guru.webhook import WEBHOOK
from core.sdk import Hint, Payload, SignatureError, TransientError
from tests.connectors.guru_source import (
    BEGIN,
    CONFIG,
    DAY,
    NOW,
    STREAMS,
    VENDOR,
    events,
    folded,
    needs_vendor_data,
    receiver,
    source,
    states,
)
from tests.connectors.http import Noted, plain_http


async def test_the_credentials_are_proved() -> None:
    async with source() as guru:
        assert await CONNECTOR.account(guru.http, CONFIG) == "example"
        headers = CONNECTOR.auth(CONFIG.model_copy(update={"user": "another@example.com"}))
        async with plain_http(guru.mock.url, headers) as http:
            with pytest.raises(TransientError, match="401"):
                await CONNECTOR.account(http, CONFIG)


async def test_the_story_opens_with_22_cards_of_which_19_are_verified() -> None:
    async with source() as guru:
        cards = folded(events(await guru.pages("cards")))
        assert len(cards) == 22
        assert sum(card.get("verified") for card in cards.values()) == 19


@pytest.mark.parametrize("stream", ["cards", "all cards"])
async def test_the_whole_world_arrives_by_polling(stream: str) -> None:
    async with source() as guru:
        guru.guru.page_size = 5
        guru.mock.send(guru.mock.player.step(500))
        truth = guru.guru.truth()["card"]
        pages = await guru.pages(stream)
        assert len(pages) > 4
        read = {id: next(iter(normalize(Payload("card", card, "example", False, BEGIN)))) for id, card in truth.items()}
        assert states(events(pages)) == states(read.values())


async def test_a_card_older_than_since_arrives_with_the_full_list() -> None:
    async with source() as guru:
        config = CONFIG.model_copy(update={"since": timedelta(days=3)})
        some = {event.subject for event in events(await guru.pages("cards", None, config))}
        every = {event.subject for event in events(await guru.pages("all cards", None, config))}
        assert some < every
        assert len(every) == 22


async def test_a_poll_that_stops_after_any_page_goes_on_where_it_was() -> None:
    async with source() as guru:
        guru.guru.page_size = 4
        for index in range(6):
            guru.happens("card.delete", f"k:{index}")
        for name in STREAMS:
            whole = await guru.pages(name)
            cursors = [json.dumps(page.cursor, sort_keys=True) for page in whole]
            assert len(set(cursors)) == len(cursors) > 1
            for stop in range(len(whole) - 1):
                saved = json.loads(json.dumps(whole[stop].cursor))
                resumed = [*whole[: stop + 1], *await guru.pages(name, saved)]
                assert states(events(resumed)) == states(events(whole)), name


async def test_a_poll_that_stood_still_for_a_day_puts_its_mark_no_later_than_its_beginning() -> None:
    """Whether the place where it goes on shows what changed meanwhile is the source's secret."""
    async with source() as guru:
        guru.guru.page_size = 4
        guru.later(7 * DAY)  # so that time, and no card, is what moves the mark on
        began = guru.clock.now()
        cursor = (await guru.pages("cards"))[0].cursor
        guru.later(DAY)
        ended = (await guru.pages("cards", json.loads(json.dumps(cursor))))[-1].cursor
        assert ended["since"] == began - OVERLAP - SKEW
        older = {name: value for name, value in cursor.items() if name != "began"}  # as it was saved before
        assert (await guru.pages("cards", older))[-1].cursor["since"] < began - OVERLAP - SKEW


async def test_a_forgotten_place_begins_again() -> None:
    async with source() as guru:
        guru.guru.page_size = 4
        whole = await guru.pages("cards")
        broken = whole[0].cursor | {"next": f"{guru.mock.url}/api/v1/gone?token=old"}
        assert states(events(await guru.pages("cards", broken))) == states(events(whole))


async def test_a_later_poll_finds_what_changed_and_little_else() -> None:
    async with source() as guru:
        cursor = (await guru.pages("cards"))[-1].cursor
        guru.later((OVERLAP + SKEW) / 1000 + 60)
        (page,) = await guru.pages("cards", cursor)
        guru.later(60)
        guru.happens("card.upsert", "k:3", text="Now with a picture.")
        (later,) = await guru.pages("cards", page.cursor)
        (event,) = events([later])
        assert (event.subject, event.data["body"]) == (
            f"guru/example/card/{guru.guru.team.card_id('k:3')}", "Now with a picture.")  # fmt: skip


async def test_an_empty_answer_is_an_empty_list() -> None:
    async with source() as guru:
        assert events(await guru.pages("archived cards")) == []
        assert [path for path, _ in guru.http.asked] == ["/api/v1/search/cardmgr"]


async def test_a_list_never_asks_for_a_page_size() -> None:
    """With `maxResults` the source leaves the Link header out, and everything behind the first page is missed."""
    async with source() as guru:
        await guru.pages("cards")
        assert not any("maxResults" in params for _, params in guru.http.asked)
        guru.guru.page_size = 5
        bounded = await guru.http.get("/api/v1/search/query", queryType="cards", maxResults=5)
        assert len(bounded.data) == 5
        assert following(bounded) is None


async def test_a_verification_runs_out_without_an_event_and_the_full_list_tells() -> None:
    async with receiver() as (url, kept), source(url) as guru:
        id = guru.happens("card.upsert", "new", title="Notice", text="T", verified=True, verify_days=7)
        await guru.mock.courier.settled()
        before = len(kept)
        first = events(await guru.pages("all cards"))
        guru.later(8 * DAY)
        cursor = (await guru.pages("cards"))[-1].cursor
        assert not any(id in event.subject for event in events(await guru.pages("cards", cursor)))
        then = folded([*first, *events(await guru.pages("all cards"))])
        assert then[f"guru/example/card/{id}"].get("verified") is False
        assert len(kept) == before


async def test_a_deleted_card_is_told_by_the_archive() -> None:
    async with source() as guru:
        first = events(await guru.pages("cards"))
        guru.later(60)
        id = guru.happens("card.delete", "k:3")
        last = folded([*first, *events(await guru.pages("archived cards"))])
        assert {key for key, card in last.items() if card.state == "deleted"} == {f"guru/example/card/{id}"}


async def test_hydrating_reads_a_batch_and_asks_alone_for_what_is_missing() -> None:
    async with source() as guru:
        guru.happens("card.delete", "k:1")
        guru.happens("card.purge", "k:2")
        ids = [guru.guru.team.card_id(f"k:{index}") for index in range(4)]
        hints = [Hint("card", id, BEGIN + 1000, "card-updated") for id in (*ids, *ids)]
        found = await guru.hydrated(*hints)
        assert [path for path, _ in guru.http.asked] == [
            "/api/v1/cards/bulk", f"/api/v1/cards/{ids[1]}", f"/api/v1/cards/{ids[2]}"]  # fmt: skip
        assert {event.subject.rpartition("/")[2]: event.action for event in found} == {
            ids[0]: "upserted", ids[1]: "deleted", ids[2]: "deleted", ids[3]: "upserted"}  # fmt: skip
        assert not any(event.final for event in found)


async def test_deleting_and_restoring_a_card_ends_live() -> None:
    async with receiver() as (url, kept), source(url) as guru:
        found = events(await guru.pages("all cards"))
        for kind in ("card.delete", "card.restore"):
            guru.later(60)
            id = guru.happens(kind, "k:1")
            await guru.mock.courier.settled()
            found += await guru.hydrated(
                *WEBHOOK.split(json.loads(kept[-1].body), kept[-1], CONFIG, "example", BEGIN).hints
            )
            assert folded(found)[f"guru/example/card/{id}"].state == ("deleted" if kind == "card.delete" else "live")


@pytest.mark.parametrize("mode", ["BATCH", "SINGLE"])
async def test_webhooks_of_the_mock_lead_to_the_true_cards(mode: str) -> None:
    async with receiver() as (url, kept), source(url) as guru:
        guru.guru.team.delivery_mode = mode
        found = events(await guru.pages("all cards"))
        guru.later(60)
        guru.mock.send(guru.mock.player.step(300))
        await guru.mock.courier.settled()
        hints = []
        for each in kept:
            WEBHOOK.verify(each, CONFIG, NOW)
            assert ("items" in json.loads(each.body)) == (mode == "BATCH")
            split = WEBHOOK.split(json.loads(each.body), each, CONFIG, "example", guru.clock.now())
            assert split.hints
            assert not split.ignored
            hints += split.hints
        assert {hint.action for hint in hints} >= {"card-created", "card-updated", "card-verified", "card-deleted"}
        found += await guru.hydrated(*hints) + events(await guru.pages("cards"))
        live = {key.rpartition("/")[2]: card for key, card in folded(found).items() if card.state == "live"}
        truth = guru.guru.truth()["card"]
        assert set(live) == set(truth)
        assert {id: card.get("title") for id, card in live.items()} == {
            id: card["preferredPhrase"] for id, card in truth.items()
        }


async def test_a_forged_webhook_of_the_mock_is_refused() -> None:
    async with receiver() as (url, kept), source(url) as guru:
        (queued,) = guru.mock.player.insert("card.verify", "k:1", {"by": "maya"})
        await guru.mock.courier.send(replace(queued[1], forged=True))
        with pytest.raises(SignatureError):
            WEBHOOK.verify(kept[0], CONFIG, NOW)


TAKES = {  # path -> parameters; everything else is in the address of the next page
    r"/api/v1/whoami": set[str](), r"/api/v1/search/visible": set(), r"/api/v1/cards/[^/]+-[^/]+": set(),
    r"/api/v1/search/query": {"q", "sortField", "sortOrder", "showArchived", "queryType"},
    r"/api/v1/search/cardmgr": set(), r"/api/v1/cards/bulk": set(),
}  # fmt: skip


@pytest.mark.slow
@needs_vendor_data
async def test_what_we_ask_is_described_and_every_card_that_is_answered_has_the_described_shape() -> None:
    schema = json.loads((VENDOR / "jsonschema/card.schema.json").read_text())
    known = {*schema["properties"], "teamId", "version", "cardInfo", "status"} | set(composed_card())
    async with source() as guru:
        guru.mock.send(guru.mock.player.step(200))
        gone = guru.happens("card.delete", "k:3")
        guru.guru.page_size = 7
        http = Noted(guru.http)
        await CONNECTOR.account(http, CONFIG)
        for stream in CONNECTOR.streams:
            async for _ in stream.poll(http, CONFIG, "example", None):
                pass
        for listing in CONNECTOR.listings:
            async for _ in listing.ids(http, CONFIG, "example", None):
                pass
        assert CONNECTOR.hydrate is not None
        hints = [Hint("card", id, BEGIN) for id in (*guru.guru.truth()["card"], gone)]
        async for _ in CONNECTOR.hydrate(http, CONFIG, "example", hints):
            pass
    checked, asked = 0, set()
    for method, path, params, body, _, answer in http.notes:
        path, _, next_page = path.removeprefix(guru.mock.url).partition("?")
        (takes,) = [names for pattern, names in TAKES.items() if re.fullmatch(pattern, path)]
        assert set(params) <= takes and (not next_page or re.fullmatch("token=[^&]+", next_page)), path
        assert (body is not None) == (method == "POST") == path.endswith(("/cardmgr", "/bulk")), path
        cards = answer if isinstance(answer, list) else answer.values() if path.endswith("/bulk") else [answer]
        for card in cards if ("/search/" in path and answer) or "/cards/" in path else ():
            if isinstance(card, dict) and card:
                jsonschema.validate(card, schema)
                assert set(card) <= known
                checked += 1
        asked.add(path.rpartition("/")[0] if "-" in path else path)
    assert checked > 60
    assert asked >= {"/api/v1/search/query", "/api/v1/search/cardmgr", "/api/v1/cards/bulk", "/api/v1/cards"}


def composed_card() -> dict[str, Any]:
    body = json.loads((VENDOR / "samples/composed.api.search_query.response.json").read_text())["body"]
    return dict(body[0])
