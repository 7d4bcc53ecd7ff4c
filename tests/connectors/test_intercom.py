"""Intercom: samples, signatures, topics, and the whole way against its contract mock over real HTTP."""

import copy
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from connectors.intercom import CONNECTOR
from connectors.intercom.config import Config, context
from connectors.intercom.mock import DEMO, Intercom, simulator
from connectors.intercom.normalize import KINDS, normalize
from connectors.intercom.poll import CONTACTS_OVERLAP, SKEW, following
from connectors.intercom.webhook import TOPICS, WEBHOOK
from core.projection.registers import Registers
from core.sdk import AccountError, Delivery, Hint, NormalizeError, Page, Payload, SignatureError, Split, TransientError
from core.sdk.mock import Clock, Mock, running
from schemas.event import Event
from tests.connectors.http import PlainHttp, plain_http

SAMPLES = sorted((Path(__file__).parents[2] / "connectors/intercom/samples").glob("*.payload.json"))
NOW = datetime(2026, 1, 12, 6, 47, tzinfo=UTC)
BEGIN = int(NOW.timestamp() * 1000)
SEED = 7
CONFIG = Config(type="intercom", token=DEMO["token"], webhook_secret=DEMO["webhook_secret"])
# The vector that the project's fact sheet on Intercom publishes: 339 bytes, keyed with `test_client_secret`.
VECTOR_BODY = (
    b'{"type":"notification_event","app_id":"abc123def","data":{"type":"notification_event_data","item":'
    b'{"type":"ping","message":"hello"}},"links":{},"id":"notif_00000000-0000-4000-8000-000000000001","topic":"ping",'
    b'"delivery_status":"pending","delivery_attempts":1,"delivered_at":0,"first_sent_at":1760000000,'
    b'"created_at":1760000000,"self":null}'
)
VECTOR_SIGNATURE = "sha1=0a5ae350b05d1aaefa8769928fd0d92043764c22"


def sample(path: Path) -> Payload:
    return Payload(**json.loads(path.read_text()))


def named(name: str) -> Payload:
    return sample(next(path for path in SAMPLES if path.name == f"{name}.payload.json"))


def delivery(body: bytes, signature: str | None) -> Delivery:
    headers = {} if signature is None else {"x-hub-signature": signature}
    return Delivery("POST", "https://hooks.example.com/hooks/intercom", headers, body)


def signed(body: bytes, key: str = DEMO["webhook_secret"]) -> str:
    return "sha1=" + hmac.new(key.encode(), body, hashlib.sha1).hexdigest()


def notification(topic: str, item: Any, app: str = "k7x2m9qa", **rest: Any) -> dict[str, Any]:
    envelope = {"type": "notification_event", "app_id": app, "topic": topic, "created_at": 1768200421}
    return envelope | {"data": {"type": "notification_event_data", "item": item}} | rest


def taken(body: Any, account: str = "k7x2m9qa", config: Config = CONFIG) -> Split:
    return WEBHOOK.split(body, delivery(b"", None), config, account, 1768200422000)


# Normalizing


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.removesuffix(".payload.json"))
def test_samples_normalize_to_the_recorded_events(path: Path) -> None:
    recorded = json.loads(path.with_name(path.name.replace(".payload.", ".events.")).read_text())
    assert [event.model_dump(mode="json") for event in normalize(sample(path))] == recorded


def test_every_kind_has_a_sample() -> None:
    assert {sample(path).kind for path in SAMPLES} >= set(KINDS)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.removesuffix(".payload.json"))
def test_normalizing_is_pure_and_gives_unique_stable_ids(path: Path) -> None:
    payload = sample(path)
    before = copy.deepcopy(payload)
    events = list(normalize(payload))
    assert payload == before
    assert events == list(normalize(payload))
    assert len({event.id for event in events}) == len(events)


FREE = ("custom_attributes", "ticket_attributes")  # what stands in these is data, known or not


def sprinkled(value: Any, key: str, extra: Any) -> Any:
    """The same payload with an unknown field in each of its objects."""
    match value:
        case dict():
            inner = {name: part if name in FREE else sprinkled(part, key, extra) for name, part in value.items()}
            return inner | {key: extra}
        case list():
            return [sprinkled(part, key, extra) if isinstance(part, dict) else part for part in value]
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


def test_unknown_kinds_give_no_event() -> None:
    assert list(normalize(replace(named("contact.read"), kind="segment"))) == []


@pytest.mark.parametrize("data", [None, [], "text", {}])
def test_what_is_no_object_of_its_kind_is_refused_by_name(data: Any) -> None:
    with pytest.raises(NormalizeError):
        list(normalize(replace(named("contact.read"), data=data)))


def test_a_contact_looks_the_same_pushed_and_read() -> None:
    pushed, read = next(iter(normalize(named("contact.pushed")))), next(iter(normalize(named("contact.read"))))
    assert pushed.data == read.data
    assert pushed.id == read.id
    assert pushed.order < read.order  # of one second's two looks the read is the later one


def test_both_api_versions_look_the_same() -> None:
    newer = named("conversation.read")
    older = replace(newer, data={**newer.data, "admin_assignee_id": None, "priority": "priority"})
    changed = replace(newer, data={**newer.data, "admin_assignee_id": 0, "priority": "high"})
    assert next(iter(normalize(older))).data == next(iter(normalize(changed))).data


def test_a_text_keeps_its_signs_whether_it_came_as_markup_or_plain() -> None:
    payload = named("conversation.pushed")
    plain = {**payload.data["source"], "body": "a < b & c > d"}
    markup = {**payload.data["source"], "body": "<p>a &lt; b &amp; c &gt; d</p>"}
    bodies = [
        next(event.data["body"] for event in normalize(replace(payload, data={**payload.data, "source": source}))
             if event.subject.endswith(":source"))
        for source in (plain, markup)
    ]  # fmt: skip
    assert bodies == ["a < b & c > d"] * 2


def test_a_redaction_beats_the_text_whose_clock_it_shares() -> None:
    payload = named("conversation.pushed")
    (part,) = payload.data["conversation_parts"]["conversation_parts"]
    later = {**payload.data, "updated_at": payload.data["updated_at"] + 60}
    gone = {**part, "redacted": True, "body": None}
    redacted = replace(payload, data={**later, "conversation_parts": {"conversation_parts": [gone]}})
    for order in ((payload, redacted), (redacted, payload)):
        message = folded(event for each in order for event in normalize(each))[f"{subject(payload)}:{part['id']}"]
        assert message.get("body") == ""


def subject(payload: Payload) -> str:
    return f"intercom/{payload.account}/part/{payload.data['id']}"


def test_of_two_pushes_within_one_second_the_later_one_wins() -> None:
    payload = named("contact.pushed")
    first = replace(payload, data={**payload.data, "name": "Old", "updated_at": "2026-01-12T06:47:00.120+00:00"})
    then = replace(payload, data={**payload.data, "name": "New", "updated_at": "2026-01-12T06:47:00.640+00:00"})
    for order in ((first, then), (then, first)):
        (state,) = folded(event for each in order for event in normalize(each)).values()
        assert state.get("display_name") == "New"


def test_a_leads_made_up_external_id_is_no_identifier() -> None:
    lead = next(iter(normalize(named("contact.lead"))))
    assert [item["kind"] for item in lead.data["identifiers"]] == ["email"]


def test_the_namespace_of_external_ids_is_a_setting() -> None:
    config = CONFIG.model_copy(update={"external_id_namespace": "shop"})
    (payload,) = taken(notification("contact.user.updated", named("contact.pushed").data), config=config).payloads
    (own,) = [item for item in next(iter(normalize(payload))).data["identifiers"] if item["kind"] == "external_id"]
    assert own["namespace"] == "shop"


def test_an_unarchived_contact_lives_again() -> None:
    archived, back = named("contact.archived"), named("contact.unarchived")
    first = named("contact.pushed")
    state = folded(event for payload in (first, archived, back) for event in normalize(payload))
    assert state[f"intercom/{first.account}/contact/{first.data['id']}"].state == "live"


def test_a_deleted_contact_stays_deleted_whatever_comes_later() -> None:
    gone, first = named("contact.deleted"), named("contact.pushed")
    later = replace(first, data={**first.data, "updated_at": "2026-02-01T00:00:00.000+00:00"})
    state = folded(event for payload in (gone, later) for event in normalize(payload))
    assert state[f"intercom/{first.account}/contact/{first.data['id']}"].state == "deleted"


# Deliveries


def test_the_published_vector_is_accepted() -> None:
    config = CONFIG.model_copy(update={"webhook_secret": type(CONFIG.token)("test_client_secret")})
    assert len(VECTOR_BODY) == 339
    WEBHOOK.verify(delivery(VECTOR_BODY, VECTOR_SIGNATURE), config, NOW)


@pytest.mark.parametrize(
    "bad",
    [
        delivery(b'{"a":1}', None),
        delivery(b'{"a":1}', ""),
        delivery(b'{"a":1}', "sha1="),
        delivery(b'{"a":1}', signed(b'{"a":1}').removeprefix("sha1=")),
        delivery(b'{"a":1}', signed(b'{"a":1}', "another key")),
        delivery(b'{"a":2}', signed(b'{"a":1}')),
        delivery(b'{"a":1} ', signed(b'{"a":1}')),
        delivery(b'{"a":1}', "sha1=ü" + "0" * 39),
        delivery(b'{"a":1}', "sha256=" + hmac.new(DEMO["webhook_secret"].encode(), b'{"a":1}', "sha256").hexdigest()),
    ],
    ids=["unsigned", "empty", "no digest", "no scheme", "other key", "tampered", "longer", "not hex", "other hash"],
)
def test_a_delivery_that_does_not_prove_itself_is_refused(bad: Delivery) -> None:
    with pytest.raises(SignatureError):
        WEBHOOK.verify(bad, CONFIG, NOW)


def test_without_the_client_secret_the_connection_only_polls() -> None:
    config = Config(type="intercom", token="t")
    assert not WEBHOOK.enabled(config)
    with pytest.raises(SignatureError):
        WEBHOOK.verify(delivery(b"{}", signed(b"{}", "")), config, NOW)
    assert WEBHOOK.enabled(CONFIG)


def test_the_address_may_be_validated_with_head() -> None:
    assert "HEAD" in WEBHOOK.methods


@pytest.mark.parametrize("topic", ["contact.user.updated", "ping", "something.new"])
def test_another_workspaces_delivery_is_refused(topic: str) -> None:
    with pytest.raises(AccountError):
        taken(notification(topic, named("contact.pushed").data, app="other"))


@pytest.mark.parametrize("topic", ["ping", "segment.created", "content_stat.news_item", "contact.user.tag.created"])
def test_topics_that_are_not_needed_are_ignored(topic: str) -> None:
    assert taken(notification(topic, {"type": "whatever"}, id=None)) == Split(ignored=[topic])


@pytest.mark.parametrize(
    "body", [None, [], "x", {}, {"topic": 3}, notification("contact.user.created", None),
             notification("contact.merged", {}), notification("company.created", {"name": "x"})],
)  # fmt: skip
def test_a_wrong_shape_is_named(body: Any) -> None:
    if isinstance(body, dict) and "app_id" not in body and "topic" in body:
        body["app_id"] = "k7x2m9qa"
    with pytest.raises(NormalizeError):
        taken(body)


@given(
    item=st.dictionaries(st.sampled_from(["id", "type", "contact", "conversation", "ticket"]), st.none() | st.text())
)
def test_no_item_breaks_the_split_in_an_unnamed_way(item: dict[str, Any]) -> None:
    for topic in TOPICS:
        try:
            taken(notification(topic, item))
        except NormalizeError:
            continue


def test_the_envelopes_time_travels_with_its_payload() -> None:
    (payload,) = taken(notification("conversation.deleted", {"type": "conversation", "conversation_id": "9"})).payloads
    assert payload.at == 1768200421000
    (event,) = normalize(payload)
    assert (event.type, event.subject) == ("conversation.deleted", "intercom/k7x2m9qa/conversation/9")
    assert event.order.clock == 1768200421000


@pytest.mark.parametrize(
    ("topic", "item", "hint"),
    [
        ("company.contact.attached", {"company": {"id": "c"}, "contact": {"id": "p"}}, ("contact", "p")),
        ("conversation.contact.attached", {"conversation": {"model": {"id": 12}}, "contact": {"id": 3}},
         ("conversation", "12")),
        ("contact.subscribed", {"type": "contact", "id": "p"}, ("contact", "p")),
        ("ticket.contact.attached", {"ticket": {"id": "t"}, "contact": {}}, ("ticket", "t")),
        ("conversation_part.redacted", {"type": "conversation_part", "conversation_id": 7}, ("conversation", "7")),
    ],
)  # fmt: skip
def test_what_comes_in_an_internal_shape_is_fetched(topic: str, item: Any, hint: tuple[str, str]) -> None:
    assert [(each.kind, each.id) for each in taken(notification(topic, item)).hints] == [hint]


def test_a_merge_brings_the_survivor_and_asks_whom_it_absorbed() -> None:
    split = taken(notification("contact.merged", named("contact.pushed").data))
    assert [payload.kind for payload in split.payloads] == ["contact"]
    assert split.hints == [Hint("contact", "6962f1c19b981fb5a0b90aaa", 1768200421000, "merged")]


@pytest.mark.parametrize(
    ("pages", "params"),
    [
        ({"type": "pages", "next": {"per_page": 5, "starting_after": "WzE"}}, {"starting_after": "WzE"}),
        ({"next": "https://api.intercom.io/conversations/deleted?per_page=2&order=desc&page=2"},
         {"per_page": "2", "order": "desc", "page": "2"}),
        ({"next": None}, {}),
        ({"next": {"starting_after": None}}, {}),
        ({"type": "pages", "page": 1}, {}),
        (None, {}),
    ],
)  # fmt: skip
def test_the_next_page_is_found_in_every_scheme(pages: Any, params: dict[str, str]) -> None:
    assert following({"data": [], "pages": pages}) == params


# Against the mock


@dataclass
class Source:
    """A running mock with a client, its account and a clock that stands until it is set."""

    mock: Mock
    world: Intercom
    http: PlainHttp
    clock: Clock
    account: str

    def happens(self, kind: str, ref: str, **data: Any) -> None:
        self.mock.send(self.mock.player.insert(kind, ref, data))

    def later(self, seconds: float) -> None:
        self.mock.player.set_clock(self.clock.now() + int(seconds * 1000), None)

    async def pages(self, stream: str, cursor: dict[str, Any] | None = None, config: Config = CONFIG) -> list[Page]:
        poll = next(each.poll for each in CONNECTOR.streams if each.name == stream)
        return [page async for page in poll(self.http, config, self.account, cursor)]

    async def hydrated(self, *hints: Hint) -> list[Event]:
        assert CONNECTOR.hydrate is not None
        found = [payload async for payload in CONNECTOR.hydrate(self.http, CONFIG, self.account, hints)]
        return [event for payload in found for event in normalize(payload)]


@asynccontextmanager
async def source(target: str = "") -> AsyncIterator[Source]:
    clock, world = Clock(BEGIN, rate=0), simulator(SEED, {})
    async with running(world, pace=0, clock=clock, target=target) as mock:
        async with plain_http(mock.url, CONNECTOR.auth(CONFIG), now_ms=clock.now) as http:
            yield Source(mock, world, http, clock, await CONNECTOR.account(http, CONFIG))


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, list[Delivery]]]:
    """A hub's door: keeps what comes and answers 202."""
    kept: list[Delivery] = []

    async def take(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        kept.append(Delivery(request.method, str(request.url), headers, await request.read()))
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/hooks/intercom", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/intercom", kept
    finally:
        await runner.cleanup()


def events(pages: Iterable[Page]) -> list[Event]:
    return [event for page in pages for payload in page.payloads for event in normalize(payload)]


def states(found: Iterable[Event]) -> set[str]:
    return {json.dumps([event.subject, event.type, event.data], sort_keys=True) for event in found}


def folded(found: Iterable[Event]) -> dict[str, Any]:
    """What each object says in the end, by the hub's own registers."""
    registers: dict[str, Registers] = {}
    for event in found:
        registers.setdefault(event.subject, Registers(event.entity)).apply(event)
    return {key: each.visible() for key, each in registers.items()}


STREAMS = [stream.name for stream in CONNECTOR.streams]


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


async def test_since_bounds_the_first_fetch() -> None:
    async with source() as intercom:
        config = CONFIG.model_copy(update={"since": timedelta(days=3)})
        threads = [event for event in events(await intercom.pages("conversations", None, config))
                   if event.entity == "conversation"]  # fmt: skip
        assert threads
        oldest = BEGIN - 3 * 86_400_000
        assert all(event.order.clock >= oldest for event in threads)
        assert len(threads) < len(intercom.world.world.conversations)


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
        remaining, reset = CONNECTOR.rate_headers
        assert int(response.headers[remaining]) > 0
        assert int(response.headers[reset]) * 1000 > intercom.clock.now()


def test_requests_carry_the_pinned_version_and_what_normalize_needs() -> None:
    assert CONNECTOR.auth(CONFIG)["Intercom-Version"] == "2.16"
    assert CONNECTOR.base_url(CONFIG.model_copy(update={"region": "eu"})) == "https://api.eu.intercom.io"
    assert CONNECTOR.base_url(CONFIG.model_copy(update={"base_url": "http://127.0.0.1:1"})) == "http://127.0.0.1:1"
    assert context(CONFIG) == {"namespace": "customer", "app": "https://app.intercom.com"}
