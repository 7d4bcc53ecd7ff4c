"""What Guru does not tell, or tells without a name: found by its mock's lists, and what a listing lacks."""

import json
from dataclasses import replace
from typing import Any

import pytest

from connectors.guru import CONNECTOR
from connectors.guru.normalize import normalize
from connectors.guru.poll import VISIBLE
from core.errors import PermanentError, TransientError
from core.sdk import Hint
from schemas.event import Event
from tests.connectors.guru_source import (
    BEGIN,
    CONFIG,
    DAY,
    SAMPLES,
    Source,
    events,
    folded,
    receiver,
    sample,
    source,
    taken,
    told,
)


async def listed(guru: Source) -> list[str]:
    (listing,) = CONNECTOR.listings
    return [id async for page in listing.ids(guru.http, CONFIG, "example", None) for id in page.ids]


def one(found: list[Event], id: str) -> Any:
    return folded(found)[f"guru/example/card/{id}"]


async def test_a_listing_names_every_card_that_may_be_read_and_nothing_else() -> None:
    async with source() as guru:
        guru.guru.page_size = 5
        guru.happens("card.delete", "k:1")
        guru.happens("card.hide", "k:2")
        found = await listed(guru)
        assert sorted(found) == sorted(card["id"] for card in guru.guru._live()) and len(found) == 20
        (listing,) = CONNECTOR.listings
        whole = [page async for page in listing.ids(guru.http, CONFIG, "example", None)]
        for stop in range(1, len(whole)):
            rest = [page async for page in listing.ids(guru.http, CONFIG, "example", whole[stop - 1].cursor)]
            assert rest == whole[stop:]


async def test_cards_that_go_with_their_collection_are_found_by_the_listing_that_its_event_makes_due() -> None:
    async with receiver() as (url, kept), source(url) as guru:
        id = guru.happens("card.upsert", "new", title="Notice", text="T", collection="Old")
        await guru.mock.courier.settled()
        known = events(await guru.pages("all cards"))
        guru.later(60)
        guru.happens("card.collect", "new")
        await guru.mock.courier.settled()
        split = taken(json.loads(kept[-1].body))
        assert split.due == ("all card",) and not split.hints
        assert events(await guru.pages("archived cards")) == []
        missing = {event.subject.rpartition("/")[2] for event in known} - set(await listed(guru))
        assert missing == {id}
        found = await guru.hydrated(*(Hint("card", each, guru.clock.now(), "missing") for each in missing))
        assert one([*known, *found], id).state == "deleted"


@pytest.mark.parametrize(("change", "state"), [("card.delete", "deleted"), ("card.hide", "deleted"), (None, "live")])
async def test_what_a_listing_lacks_is_asked_for_by_itself(change: str | None, state: str) -> None:
    """Archived, hidden from the token (403), or only moved between two pages."""
    async with source() as guru:
        known = events(await guru.pages("all cards"))
        guru.later(60)
        id = guru.happens(change, "k:3") if change else guru.guru.team.card_id("k:3")
        found = await guru.hydrated(Hint("card", id, guru.clock.now(), "missing"))
        assert one([*known, *found], id).state == state


@pytest.mark.parametrize("notice", ["webhook", "list", "listing"])
async def test_a_restored_card_whose_webhook_was_lost_lives_again_with_the_next_walk(notice: str) -> None:
    async with receiver() as (url, kept), source(url) as guru:
        known = events(await guru.pages("all cards"))
        guru.later(60)
        id = guru.happens("card.delete", "k:3")
        await guru.mock.courier.settled()
        guru.later(60)
        match notice:
            case "webhook":
                known += await guru.hydrated(*taken(json.loads(kept[-1].body)).hints)
            case "list":
                known += events(await guru.pages("archived cards"))
            case _:  # which notices it an hour later
                known += await guru.hydrated(Hint("card", id, guru.clock.now() + 3_600_000, "missing"))
        assert one(known, id).state == "deleted"
        guru.later(DAY)
        guru.happens("card.restore", "k:3")  # and nobody heard it; the card's clock stands where it stood
        assert one([*known, *events(await guru.pages("all cards"))], id).state == "live"


async def test_a_card_that_may_be_read_again_lives_again_with_the_next_walk_although_nobody_edited_it() -> None:
    async with source() as guru:
        known = events(await guru.pages("all cards"))
        guru.later(60)
        id = guru.happens("card.hide", "k:3")
        known += await guru.hydrated(Hint("card", id, guru.clock.now(), "missing"))
        assert one(known, id).state == "deleted"
        guru.later(60)
        guru.happens("card.show", "k:3")
        again = events(await guru.pages("all cards"))
        assert one([*known, *again], id).state == one([*again, *known], id).state == "live"


async def test_another_refusal_than_of_one_card_is_no_deletion() -> None:
    class Down:
        def __init__(self, guru: Source) -> None:
            self.request, self.now = guru.http.request, guru.http.now

        async def get(self, path: str, **params: str | int) -> Any:
            raise PermanentError("GET: 400", status=400)

    async with source() as guru:
        assert CONNECTOR.hydrate is not None
        hints = [Hint("card", "unknown", BEGIN, "missing")]
        with pytest.raises(PermanentError):
            [each async for each in CONNECTOR.hydrate(Down(guru), CONFIG, "example", hints)]  # type: ignore[arg-type]


async def test_a_card_put_into_a_folder_shows_it_although_no_clock_moved() -> None:
    async with receiver() as (url, kept), source(url) as guru:
        known = events(await guru.pages("all cards"))
        guru.later(60)
        id = guru.happens("card.file", "k:3", folder="Delivery")
        await guru.mock.courier.settled()
        (hint,) = taken(json.loads(kept[-1].body)).hints
        known += await guru.hydrated(hint)
        assert one(known, id).get("attributes") == {"folders": ["Delivery"]}


async def test_a_merged_tag_names_no_card_and_the_walk_over_all_cards_tells() -> None:
    async with receiver() as (url, kept), source(url) as guru:
        known = folded(events(await guru.pages("all cards")))
        before = {key: card.get("tags") for key, card in known.items() if card.get("tags")}
        (key, (tag, *_)), *_ = before.items()
        guru.later(60)
        guru.happens("card.retag", "k:0", tag=tag, into="merged")
        await guru.mock.courier.settled()
        assert taken(json.loads(kept[-1].body)).due == ("all cards",)
        after = folded(events(await guru.pages("all cards")))
        assert after[key].get("tags") == ["merged"]
        guru.later(60)
        guru.happens("card.retag", "k:0", tag=tag)
        await guru.mock.courier.settled()
        assert taken(json.loads(kept[-1].body)).due == ("all cards",)
        assert not folded(events(await guru.pages("all cards")))[key].get("tags")


async def test_a_card_that_is_made_private_is_marked_so() -> None:
    async with receiver() as (url, kept), source(url) as guru:
        guru.happens("card.share", "k:3", status="PRIVATE")
        await guru.mock.courier.settled()
        (hint,) = taken(json.loads(kept[-1].body)).hints
        (event,) = await guru.hydrated(hint)
        assert (hint.action, event.data["visibility"], event.data["audience"]) == (
            "card-unshared",
            "private",
            "internal",
        )


async def test_a_card_verified_again_is_trusted_until_the_next_time() -> None:
    async with receiver() as (url, kept), source(url) as guru:
        id = guru.happens("card.upsert", "new", title="Notice", text="T", verified=True, verify_days=7)
        known = events(await guru.pages("all cards"))
        guru.later(8 * DAY)
        known += events(await guru.pages("all cards"))
        assert one(known, id).get("verified") is False
        guru.happens("card.verify", "new", by="maya")
        await guru.mock.courier.settled()
        (hint,) = taken(json.loads(kept[-1].body)).hints
        known += await guru.hydrated(hint)
        card = one(known, id)
        assert card.get("verified") is True and card.get("verified_until") > card.get("verified_at")


async def test_the_whole_list_tells_its_total_from_the_beginning() -> None:
    async with source() as guru:
        guru.guru.page_size = 4
        whole = await guru.pages("all cards")
        assert {page.total for page in whole} == {22} == {sum(len(page.payloads) for page in whole)}
        resumed = await guru.pages("all cards", whole[2].cursor)
        assert {page.total for page in resumed} == {22}
        (again, *_) = await guru.pages("all cards", whole[-1].cursor)
        assert again.total == 22


async def test_tables_and_frames_become_plain_text_that_harms_nobody() -> None:
    async with source() as guru:
        html = (
            "<table><tr><th>Plan</th><th>Price</th></tr><tr><td>Care</td><td>12&nbsp;USD</td></tr></table>"
            '<iframe src="https://video.example.com"></iframe><p onclick="x()">See &lt;b&gt;</p>'
            "<script>alert(1)</script>"
        )
        id = guru.happens("card.upsert", "new", title="Prices", html=html)
        (event,) = await guru.hydrated(Hint("card", id, BEGIN, "card-updated"))
        assert event.data["body"] == "Plan Price\nCare 12 USD\nSee <b>"


def test_comments_questions_and_drafts_bear_on_no_article() -> None:
    for kind in ("card-comment-created", "question-created", "question-answered", "draft-created", "draft-deleted"):
        assert taken(told(kind)).ignored == (kind,)


def test_there_is_a_sample_of_every_kind_and_state() -> None:
    found = [sample(path) for path in SAMPLES]
    assert {payload.kind for payload in found} >= {"card", "card.missing"}
    data = [event.data for payload in found for event in normalize(payload) if event.action == "upserted"]
    assert {each.get("verified") for each in data} >= {True, False, None}
    assert {each.get("visibility") for each in data} >= {"public", "internal", "private"}


@pytest.mark.parametrize("answer", [{"status": 500, "message": "Failed"}, {"cards": "none"}, None, "none"])
@pytest.mark.parametrize("after", [0, 1])
async def test_what_is_no_list_is_asked_for_again_and_never_taken_for_an_empty_one(answer: Any, after: int) -> None:
    """Else hours would be skipped, and every card be missing from a listing."""
    async with source() as guru:
        guru.guru.page_size = 5
        guru.happens("card.delete", "k:1")
        for ask in (*(stream.poll for stream in CONNECTOR.streams), CONNECTOR.listings[0].ids):
            skipped = after if ask is not CONNECTOR.streams[-1].poll else 0  # one card is archived: one page
            pages = ask(_Hollow(guru, answer, skipped), CONFIG, "example", None)  # type: ignore[arg-type]
            for _ in range(skipped):
                assert "next" in (await anext(pages)).cursor
            with pytest.raises(TransientError):
                await anext(pages)


@pytest.mark.parametrize("answer", [{"status": 500, "message": "Failed"}, [], None])
async def test_a_card_whose_answer_holds_no_card_is_asked_for_again(answer: Any) -> None:
    async with source() as guru:
        assert CONNECTOR.hydrate is not None
        hints = [Hint("card", guru.guru.team.card_id("k:3"), BEGIN, "card-updated")]
        with pytest.raises(TransientError):
            [each async for each in CONNECTOR.hydrate(_Hollow(guru, answer), CONFIG, "example", hints)]  # type: ignore[arg-type]


class _Hollow:
    """After so many requests that are answered, status 200 and something else."""

    def __init__(self, guru: Source, data: Any, after: int = 0) -> None:
        self._http, self._data, self._left, self.now = guru.http, data, after, guru.http.now

    async def request(self, method: str, path: str, **asked: Any) -> Any:
        self._left -= 1
        response = await self._http.request(method, path, **asked)
        return response if self._left >= 0 else replace(response, status=200, data=self._data)

    async def get(self, path: str, **params: str | int) -> Any:
        if path == VISIBLE:
            return await self._http.get(path)
        return await self.request("GET", path, params=params)


async def test_the_next_pages_address_is_complete_and_nothing_is_added_to_it() -> None:
    async with source() as guru:
        guru.guru.page_size = 5
        await guru.pages("all cards")
        followed = [(path, params) for path, params in guru.http.asked if "token=" in path]
        assert len(followed) == 4 and not any(params for _, params in followed)
