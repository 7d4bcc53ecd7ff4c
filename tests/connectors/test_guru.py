"""Guru: samples, the secret in the URL, both delivery modes, and the way against its contract mock over real HTTP."""

import copy
import json
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.guru import CONNECTOR
from connectors.guru.config import Config
from connectors.guru.mock import DEMO, Guru, simulator
from connectors.guru.normalize import normalize
from connectors.guru.poll import OVERLAP, SKEW, following
from connectors.guru.webhook import WEBHOOK
from core.projection.registers import Registers
from core.sdk import Delivery, Hint, NormalizeError, Page, Payload, Response, SignatureError, Split, TransientError
from core.sdk.mock import Clock, Mock, running
from schemas.event import Event
from tests.connectors.http import PlainHttp, plain_http

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "connectors/guru/samples").glob("*.payload.json"))
VENDOR = Path(os.environ.get("HUB_VENDOR_DATA") or ROOT / "../shared/vendor-data") / "knowledge/guru"
needs_vendor_data = pytest.mark.skipif(
    not VENDOR.exists(), reason="no vendor descriptions: set HUB_VENDOR_DATA to the folder that holds knowledge/guru"
)
NOW = datetime(2026, 1, 12, 6, 47, tzinfo=UTC)
BEGIN = int(NOW.timestamp() * 1000)
DAY = 86_400
CONFIG = Config(type="guru", account="example", **DEMO)
STREAMS = [stream.name for stream in CONNECTOR.streams]


def sample(path: Path) -> Payload:
    return Payload(**json.loads(path.read_text()))


def named(name: str) -> Payload:
    return sample(next(path for path in SAMPLES if path.name == f"{name}.payload.json"))


def delivery(secret: str, body: bytes = b"{}") -> Delivery:
    return Delivery("POST", f"https://hooks.example.com/hooks/guru/{secret}", {}, body, path_secret=secret)


def taken(body: Any) -> Split:
    return WEBHOOK.split(body, delivery(DEMO["webhook_secret"]), CONFIG, "example", BEGIN)


def told(kind: str, card: str | None = "c1", at: str = "2026-01-05T10:20:30.125+0000") -> dict[str, Any]:
    event = {"id": "e1", "eventType": kind, "user": "sam@example.com", "eventDate": at}
    return event | ({"properties": {"cardId": card, "source": "UI"}} if card else {})


def batch(*events: Any) -> dict[str, Any]:
    messages = [{"id": "m:0", "timestamp": BEGIN, "data": json.dumps(event), "action": 0} for event in events]
    return {
        "items": [{"webhookId": "w", "name": "channel.message", "data": {"channelId": "wh:1", "messages": messages}}]
    }


# Normalizing


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.removesuffix(".payload.json"))
def test_samples_normalize_to_the_recorded_events(path: Path) -> None:
    recorded = json.loads(path.with_name(path.name.replace(".payload.", ".events.")).read_text())
    assert [event.model_dump(mode="json") for event in normalize(sample(path))] == recorded


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.removesuffix(".payload.json"))
def test_normalizing_is_pure_and_gives_unique_stable_ids(path: Path) -> None:
    payload = sample(path)
    before = copy.deepcopy(payload)
    events = list(normalize(payload))
    assert payload == before
    assert events == list(normalize(payload))
    assert len({event.id for event in events}) == len(events)


def sprinkled(value: Any, key: str, extra: Any) -> Any:
    """The same payload with an unknown field in each of its objects."""
    match value:
        case dict():
            return {name: sprinkled(part, key, extra) for name, part in value.items()} | {key: extra}
        case list():
            return [sprinkled(part, key, extra) for part in value]
        case _:
            return value


@given(
    path=st.sampled_from(SAMPLES),
    key=st.text(min_size=1).map(lambda name: f"new_{name}"),
    extra=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2)
    ),
)
def test_unknown_fields_change_no_event(path: Path, key: str, extra: Any) -> None:
    payload = sample(path)
    assert list(normalize(replace(payload, data=sprinkled(payload.data, key, extra)))) == list(normalize(payload))


@pytest.mark.parametrize("data", [None, [], "text", {}])
def test_what_is_no_card_is_refused_by_name(data: Any) -> None:
    with pytest.raises(NormalizeError):
        list(normalize(replace(named("card.trusted"), data=data)))


def test_no_address_of_staff_stands_in_a_key() -> None:
    (event,) = normalize(named("card.trusted"))
    assert "@" not in event.subject
    assert "@" not in event.data["owner"]["key"]


def test_a_verification_that_ran_out_is_seen_although_no_clock_moved() -> None:
    before, after = named("card.trusted"), named("card.expired")
    for order in ((before, after), (after, before)):
        (card,) = folded(event for each in order for event in normalize(each)).values()
        assert card.get("verified") is False
        assert card.get("verified_until") == "2026-04-05T10:20:30.000Z"


def test_a_restored_card_lives_again_although_no_clock_moved() -> None:
    first, gone, back = named("card.trusted"), named("card.archived"), named("card.restored")
    for order in ((first, gone, back), (back, gone, first)):
        (card,) = folded(event for each in order for event in normalize(each)).values()
        assert card.state == "live"
    (card,) = folded(event for each in (first, gone) for event in normalize(each)).values()
    assert card.state == "deleted"


def folded(found: Iterable[Event]) -> dict[str, Any]:
    """What each object says in the end, by the hub's own registers."""
    registers: dict[str, Registers] = {}
    for event in found:
        registers.setdefault(event.subject, Registers(event.entity)).apply(event)
    return {key: each.visible() for key, each in registers.items()}


# Deliveries


def test_the_secret_in_the_url_is_accepted() -> None:
    WEBHOOK.verify(delivery(DEMO["webhook_secret"]), CONFIG, NOW)


@pytest.mark.parametrize("secret", ["", "wrong", DEMO["webhook_secret"] + "x", DEMO["webhook_secret"][:-1], "ü"])
def test_any_other_url_is_refused(secret: str) -> None:
    with pytest.raises(SignatureError):
        WEBHOOK.verify(delivery(secret), CONFIG, NOW)


def test_without_a_secret_the_connection_only_polls() -> None:
    config = CONFIG.model_copy(update={"webhook_secret": None})
    assert WEBHOOK.enabled(CONFIG)
    assert not WEBHOOK.enabled(config)
    with pytest.raises(SignatureError):
        WEBHOOK.verify(delivery(""), config, NOW)
    assert WEBHOOK.path_secret in Config.model_fields


def test_an_account_and_a_secret_that_cannot_be_guessed_are_required() -> None:
    with pytest.raises(ValidationError, match="account"):
        Config(type="guru", user="u", token="t")
    with pytest.raises(ValidationError, match="webhook_secret"):
        Config(type="guru", account="example", user="u", token="t", webhook_secret="short")


def test_a_single_event_is_a_hint_at_its_card() -> None:
    assert taken(told("card-updated")) == Split(hints=(Hint("card", "c1", 1767608430125, "card-updated"),))


def test_a_batch_is_decoded_twice() -> None:
    split = taken(batch(told("card-created", "c1"), told("card-verified", "c2"), told("card-viewed", "c3")))
    assert [(hint.id, hint.action) for hint in split.hints] == [("c1", "card-created"), ("c2", "card-verified")]
    assert split.ignored == ("card-viewed",)


@pytest.mark.parametrize(
    "kind", ["card-viewed", "login", "collection-deleted", "something-new", "card-comment-created"]
)
def test_events_that_change_no_card_are_ignored(kind: str) -> None:
    assert taken(told(kind)) == Split(ignored=(kind,))


def test_an_event_that_names_no_card_is_ignored() -> None:
    assert taken(told("card-updated", card=None)) == Split(ignored=("card-updated",))


@pytest.mark.parametrize(
    "body",
    [None, [], "x", {}, {"items": {}}, {"items": [1]}, {"items": [{}]}, {"items": [{"data": {"messages": [{}]}}]},
     {"items": [{"data": {"messages": [{"data": "{"}]}}]}, batch("text"), told("card-updated", at="yesterday")],
)  # fmt: skip
def test_a_wrong_shape_is_named(body: Any) -> None:
    with pytest.raises(NormalizeError):
        taken(body)


@needs_vendor_data
def test_the_composed_deliveries_are_understood() -> None:
    single = taken(json.loads((VENDOR / "samples/composed.webhook.single.json").read_text()))
    several = taken(json.loads((VENDOR / "samples/composed.webhook.batch.json").read_text()))
    assert [hint.action for hint in single.hints] == ["card-verified"]
    assert [hint.action for hint in several.hints] == ["card-verified", "card-updated"]
    assert {hint.id for hint in (*single.hints, *several.hints)} == {"5a1e2f30-1111-4222-8333-444455556666"}


@needs_vendor_data
def test_the_composed_answer_of_a_search_is_understood() -> None:
    composed = json.loads((VENDOR / "samples/composed.api.search_query.response.json").read_text())
    headers = {name.lower(): value for name, value in composed["headers"].items()}
    after = following(Response(200, headers, composed["body"], BEGIN))
    assert after == "https://api.getguru.com/api/v1/search/query?token=opaque123"
    (event,) = normalize(Payload("card", composed["body"][0], "example", False, BEGIN))
    assert event.data["title"] == "Refund policy"
    assert event.data["body"] == "Refunds within 30 days."
    assert (event.data["verified"], event.data["verified_until"]) == (True, "2026-04-05T10:20:30.000Z")


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ('< https://a.example.com/x?token=1 >; rel="next-page"', "https://a.example.com/x?token=1"),
        ('<https://a.example.com/x?token=1>; rel="next-page"', "https://a.example.com/x?token=1"),
        ("<https://a.example.com/x>; rel=next-page", "https://a.example.com/x"),
        (
            '<https://a.example.com/p>; rel="prev", < https://a.example.com/n >; rel="next-page"',
            "https://a.example.com/n",
        ),
        ('<https://a.example.com/p>; rel="prev"', None),
        ("", None),
    ],
)
def test_the_next_page_is_found_with_and_without_blanks(header: str, url: str | None) -> None:
    assert following(Response(200, {"link": header}, [], BEGIN)) == url


# Against the mock


@dataclass
class Source:
    """A running mock with a client and a clock that stands until it is set."""

    mock: Mock
    guru: Guru
    http: PlainHttp
    clock: Clock

    def happens(self, kind: str, ref: str, **data: Any) -> str:
        self.mock.send(self.mock.player.insert(kind, ref, data))
        return self.guru.team.card_id(ref)

    def later(self, seconds: float) -> None:
        self.mock.player.set_clock(self.clock.now() + int(seconds * 1000), None)

    async def pages(self, stream: str, cursor: dict[str, Any] | None = None, config: Config = CONFIG) -> list[Page]:
        poll = next(each.poll for each in CONNECTOR.streams if each.name == stream)
        return [page async for page in poll(self.http, config, "example", cursor)]

    async def hydrated(self, *hints: Hint) -> list[Event]:
        assert CONNECTOR.hydrate is not None
        found = [payload async for payload in CONNECTOR.hydrate(self.http, CONFIG, "example", hints)]
        return [event for payload in found for event in normalize(payload)]


@asynccontextmanager
async def source(target: str = "") -> AsyncIterator[Source]:
    clock, guru = Clock(BEGIN, rate=0), simulator(7, {})
    async with running(guru, pace=0, clock=clock, target=target) as mock:
        async with plain_http(mock.url, CONNECTOR.auth(CONFIG), now_ms=clock.now) as http:
            yield Source(mock, guru, http, clock)


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, list[Delivery]]]:
    """A hub's door: keeps what comes and answers 202."""
    kept: list[Delivery] = []

    async def take(request: web.Request) -> web.Response:
        secret = request.match_info["secret"]
        kept.append(Delivery("POST", str(request.url), {}, await request.read(), path_secret=secret))
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/hooks/guru/{secret}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/guru", kept
    finally:
        await runner.cleanup()


def events(pages: Iterable[Page]) -> list[Event]:
    return [event for page in pages for payload in page.payloads for event in normalize(payload)]


def states(found: Iterable[Event]) -> set[str]:
    return {json.dumps([event.subject, event.type, event.data], sort_keys=True) for event in found}


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


@needs_vendor_data
async def test_the_mocks_cards_have_the_described_shape() -> None:
    schema = json.loads((VENDOR / "jsonschema/card.schema.json").read_text())
    async with source() as guru:
        guru.mock.send(guru.mock.player.step(200))
        for card in guru.guru.truth()["card"].values():
            jsonschema.validate(card, schema)
            assert set(card) <= {*schema["properties"], "teamId", "version", "cardInfo"} | set(composed_card())


def composed_card() -> dict[str, Any]:
    body = json.loads((VENDOR / "samples/composed.api.search_query.response.json").read_text())["body"]
    return dict(body[0])
