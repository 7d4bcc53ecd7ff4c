"""Each part of a declaration by itself: how lists go on, how deliveries are proved, what mappings make."""

import base64
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.config import Connection, declared
from core.errors import ConfigError, NormalizeError, PermanentError, SignatureError
from core.sdk import Delivery, Hint, Payload, Response, Split
from tests.connectors.declared_source import DESK, MS, NOW, Source, mapped, people, rows


async def ids(connection: Connection, source: Source, cursor: Any = None) -> tuple[list[list[Any]], Any]:
    """The pages' ids and the last cursor."""
    (stream,) = connection.connector.streams
    pages = [page async for page in stream.poll(source, connection.settings, "example", cursor)]
    return [[payload.data["id"] for payload in page.payloads] for page in pages], pages[-1].cursor


# Lists


async def test_a_cursor_in_the_answer_is_sent_back_and_left_out_of_the_first_request(desk: Any) -> None:
    connection = desk(**people(params={"after": "{cursor}"}, pages={"by": "cursor", "next": "meta.next"}))
    source = Source(
        lambda _, __, params, ___: {"rows": rows(2), "meta": {}} if params else {"rows": rows(1), "meta": {"next": "x"}}
    )
    assert (await ids(connection, source))[0] == [[1], [2]]
    assert [params for _, _, params, _ in source.asked] == [{}, {"after": "x"}]


async def test_an_address_in_the_answer_is_followed_as_it_is(desk: Any) -> None:
    connection = desk(**people(params={"size": 1}, pages={"by": "url", "next": "next"}))
    source = Source(lambda _, path, *__: {"rows": rows(2)} if "?" in path else {"rows": rows(1), "next": "/people?p=2"})
    assert (await ids(connection, source))[0] == [[1], [2]]
    assert [asked[1:3] for asked in source.asked] == [("/people", {"size": 1}), ("/people?p=2", {})]


async def test_the_link_header_is_followed_by_its_relation_alone(desk: Any) -> None:
    connection = desk(**people(pages={"by": "link"}))
    link = '<https://api.example.com/x>; rel="next-archive", < https://api.example.com/2 >; rel=next'
    source = Source(
        lambda _, path, *__: (
            {"rows": rows(2)} if path.endswith("/2") else Response(200, {"link": link}, {"rows": rows(1)}, MS)
        )
    )
    assert (await ids(connection, source))[0] == [[1], [2]]


async def test_offsets_count_rows_and_a_short_page_is_the_last(desk: Any) -> None:
    pages = {"by": "offset", "size": 2}
    connection = desk(**people(post="/people/search", get="", body={"skip": "{offset}", "take": "{size}"}, pages=pages))
    source = Source(lambda *asked: {"rows": rows(1, 2, 3)[asked[3]["skip"] :][:2]})
    assert (await ids(connection, source))[0] == [[1, 2], [3]]
    assert [body for *_, body in source.asked] == [{"skip": 0, "take": 2}, {"skip": 2, "take": 2}]


async def test_the_next_poll_begins_at_the_latest_change_less_the_look_back(desk: Any) -> None:
    since = {"field": "changed", "lookback": "1m"}
    connection = desk(**people(params={"from": "{since.iso_ms}"}, since=since))
    source = Source(lambda *_: {"rows": rows(5)})
    _, cursor = await ids(connection, source)
    assert cursor["mark"] == MS - 60_000 + 5
    await ids(connection, source, json.loads(json.dumps(cursor)))
    asked = [params["from"] for _, _, params, _ in source.asked]
    assert asked == ["2025-12-13T06:47:00.000Z", "2026-01-12T06:45:00.005Z"]


@pytest.mark.parametrize("until", ["{until.ms}", ""], ids=["up to the beginning", "without end"])
async def test_what_changed_while_a_poll_stood_still_for_a_day_comes_by_the_next_one(desk: Any, until: str) -> None:
    connection = desk(**people(
        params={"from": "{since.ms}", "page": "{page}", "to": until}, pages={"by": "page", "size": 2},
        since={"field": "changed", "skew": "1h", "lookback": "5m"},
    ))  # fmt: skip
    known = dict.fromkeys(range(5), MS - 86_400_000)

    def ask(_: str, __: str, params: Mapping[str, Any], ___: Any) -> Any:
        """By id, so that what changed may stand before the place where the poll goes on."""
        window = range(int(params["from"]), int(params["to"] or source.ms) + 1)
        found = [{"id": id, "changed": at} for id, at in known.items() if at in window]
        return {"rows": found[(int(params["page"]) - 1) * 2 :][:2]}

    source = Source(ask)
    (stream,) = connection.connector.streams
    first = await anext(stream.poll(source, connection.settings, "example", None))
    source.ms += 600_000
    known[0] = source.ms
    source.ms += 24 * 3_600_000
    known[4] = source.ms
    _, cursor = await ids(connection, source, json.loads(json.dumps(first.cursor)))
    source.ms += 300_000
    (found, *_), _ = await ids(connection, source, cursor)
    assert found == [0, 4]


async def test_a_window_with_more_rows_than_the_source_shows_is_halved(desk: Any) -> None:
    connection = desk(**people(
        params={"from": "{since.s}", "to": "{until.s}"}, total="total",
        since={"most": 10, "smallest": "1h"},
    ))  # fmt: skip

    def ask(_: str, __: str, params: Mapping[str, Any], ___: Any) -> Any:
        days = (params["to"] - params["from"]) / 86_400
        return {"rows": rows(1), "total": int(days)}

    source = Source(ask)
    await ids(connection, source)
    read = [
        (params["from"], params["to"])
        for _, _, params, _ in source.asked
        if params["to"] - params["from"] < 11 * 86_400
    ]
    assert read[0][0] == MS // 1000 - 30 * 86_400
    assert read[-1][1] == MS // 1000
    assert [end for _, end in read[:-1]] == [begin for begin, _ in read[1:]]


async def test_an_answer_without_the_list_is_never_taken_for_an_empty_one(desk: Any) -> None:
    with pytest.raises(NormalizeError, match="has no list at rows"):
        await ids(desk(**people()), Source(lambda *_: {"error": "try later"}))


async def test_secrets_of_the_query_go_with_every_request(desk: Any) -> None:
    connection = desk(
        auth={"query": {"api_key": "k-1"}, "headers": {"X-Key": "k-2"}}, **people(pages={"by": "url", "next": "next"})
    )
    source = Source(lambda _, path, *__: {"rows": rows(2)} if path == "/2" else {"rows": rows(1), "next": "/2"})
    await ids(connection, source)
    assert [params for _, _, params, _ in source.asked] == [{"api_key": "k-1"}, {"api_key": "k-1"}]
    assert connection.connector.auth(connection.settings) == {"X-Key": "k-2"}
    assert "k-1" not in repr(connection.settings)


async def test_a_listing_brings_ids_and_what_is_gone_is_mapped_as_missing(desk: Any) -> None:
    def ask(_: str, path: str, *__: Any) -> Any:
        if path == "/people/7":
            raise PermanentError("gone", status=404)
        return [1, 2] if path == "/ids" else {"person": {"id": 3, "name": "Dana", "changed": MS}}

    connection = desk(
        listings=[{"kind": "person", "get": "/ids", "id": "@"}],
        hydrate={"person": {"get": "/people/{id}", "row": "person", "missing": "person.gone"}},
        mapping={**DESK["mapping"], "person.gone": [{"entity": "person", "deleted": True, "clock": "payload().at"}]},
    )
    source, connector = Source(ask), connection.connector
    (listing,) = connector.listings
    assert [page.ids async for page in listing.ids(source, connection.settings, "example", None)] == [["1", "2"]]
    assert connector.hydrate is not None
    hints = [Hint("person", "3", 1), Hint("person", "7", MS)]
    found = [each async for each in connector.hydrate(source, connection.settings, "example", hints)]
    events = [event for payload in found for event in connector.normalize(payload)]
    assert [(event.type, event.subject) for event in events] == [
        ("person.upserted", "desk/example/person/3"), ("person.deleted", "desk/example/person/7"),
    ]  # fmt: skip


# Deliveries

HOOK: dict[str, Any] = {"kind": "event", "payload": {"data": "person"}}
BODY = json.dumps({"event": "person", "person": {"id": 1}}).encode()


def verified(connection: Connection, headers: Mapping[str, str], body: bytes = BODY, **rest: Any) -> str:
    """Empty where it is taken, else the code of the refusal."""
    assert connection.connector.webhook is not None
    delivery = Delivery("POST", "https://hooks.example.com/hooks/desk", dict(headers), body, **rest)
    try:
        connection.connector.webhook.verify(delivery, connection.settings, NOW)
    except SignatureError as error:
        return error.code
    return ""


def signed(text: bytes, algorithm: str = "sha256") -> "hmac.HMAC":
    return hmac.new(b"key-of-desk", text, algorithm)


def test_a_signature_in_hex_with_a_prefix(desk: Any) -> None:
    connection = desk(
        webhook={
            **HOOK,
            "hmac": {"secret": "key-of-desk", "header": "X-Signature", "prefix": "sha1=", "algorithm": "sha1"},
        }
    )
    good = "sha1=" + signed(BODY, "sha1").hexdigest()
    assert verified(connection, {"x-signature": good}) == ""
    assert verified(connection, {"x-signature": good}, BODY + b" ") == "wrong signature"
    assert verified(connection, {"x-signature": good.removeprefix("sha1=")}) == "missing signature"
    assert verified(connection, {}) == "missing signature"


def test_a_signature_in_base64_over_time_and_body_is_fresh(desk: Any) -> None:
    part = {
        "secret": "key-of-desk",
        "header": "X-Sig",
        "encoding": "base64",
        "signed": "{timestamp}.{body}",
        "timestamp": "X-Time",
    }
    connection = desk(webhook={**HOOK, "hmac": part})

    def delivered(at: datetime) -> dict[str, str]:
        time = str(int(at.timestamp()))
        return {"x-time": time, "x-sig": base64.b64encode(signed(f"{time}.".encode() + BODY).digest()).decode()}

    assert verified(connection, delivered(NOW)) == ""
    assert verified(connection, delivered(NOW - timedelta(minutes=6))) == "stale"
    assert verified(connection, delivered(NOW) | {"x-time": str(int(NOW.timestamp()) + 1)}) == "wrong signature"
    assert verified(connection, delivered(NOW) | {"x-time": "soon"}) == "missing timestamp"


def test_a_header_of_several_parts(desk: Any) -> None:
    part = {
        "secret": "key-of-desk",
        "header": "Desk-Signature",
        "part": "v1",
        "timestamp": "t",
        "signed": "{timestamp}.{body}",
    }
    connection = desk(webhook={**HOOK, "hmac": part})
    time = int(NOW.timestamp())
    good = signed(f"{time}.".encode() + BODY).hexdigest()
    assert verified(connection, {"desk-signature": f"t={time},v0=x,v1=old,v1={good}"}) == ""
    assert verified(connection, {"desk-signature": f"t={time},v0={good}"}) == "missing signature"


@pytest.mark.parametrize(
    ("place", "given"),
    [
        ({"place": "header", "name": "X-Token"}, {"headers": {"x-token": "word-of-desk"}}),
        ({"place": "query", "name": "token"}, {"headers": {}, "query": {"token": "word-of-desk"}}),
        ({"place": "path"}, {"headers": {}, "path_secret": "word-of-desk"}),
        ({"place": "body", "name": "t"}, {"headers": {}, "body": b'{"t": "word-of-desk"}'}),
    ],
)
def test_a_token_wherever_it_stands(desk: Any, place: dict[str, str], given: dict[str, Any]) -> None:
    connection = desk(webhook={**HOOK, "token": {"secret": "word-of-desk", **place}})
    other = json.loads(json.dumps({k: v for k, v in given.items() if k != "body"}).replace("word-of-desk", "guess"))
    other |= {"body": given["body"].replace(b"word", b"guess")} if "body" in given else {}
    assert verified(connection, **given) == ""
    assert verified(connection, **other) == "wrong token"
    assert verified(connection, {}) == "missing token"


def test_user_and_password(desk: Any) -> None:
    connection = desk(webhook={**HOOK, "basic": {"user": "desk", "password": "word-of-desk"}})
    assert verified(connection, {"authorization": "Basic " + base64.b64encode(b"desk:word-of-desk").decode()}) == ""
    assert verified(connection, {"authorization": "Basic x"}) == "wrong credentials"


def test_events_are_taken_ignored_or_refused_by_their_shape(desk: Any) -> None:
    connection = desk(
        webhook={
            **HOOK,
            "token": {"secret": "x", "place": "path"},
            "rows": "events",
            "decode": True,
            "take": "event == 'person'",
        }
    )
    webhook, delivery = connection.connector.webhook, Delivery("POST", "", {}, b"")
    assert webhook is not None

    def split(body: Any) -> Any:
        return webhook.split(body, delivery, connection.settings, "example", MS)

    found = split({"events": [json.dumps({"event": "person", "person": {"id": 1}}), {"event": "seen"}]})
    assert found.payloads == (Payload("person", {"id": 1}, "example", True, MS),)
    assert found.ignored == ("seen",)
    mixed = split({"events": ["{", {"event": "seen"}, {"event": "person"}, {"event": "person", "person": {"id": 1}}]})
    assert (mixed.ignored, mixed.payloads) == (("seen",), (Payload("person", {"id": 1}, "example", True, MS),))
    for bad, reason in zip(mixed.odd, ("JSON in JSON", "no object at webhook.payload.data"), strict=True):
        assert reason in bad
    for odd in (
        {"events": [1]},
        {"events": ["{"]},
        {"events": [{}]},
        {"events": [{"event": "person"}]},
    ):
        found = split(odd)
        assert found == Split(odd=found.odd) and len(found.odd) == 1
    for wrong in ({}, {"events": 1}):
        with pytest.raises(NormalizeError):
            split(wrong)


# Mappings


def test_what_a_field_cannot_take_is_told_with_its_place_and_without_its_value(desk: Any) -> None:
    connection = desk()
    with pytest.raises(NormalizeError, match=r"mapping\.person\[0\]\.fields\.display_name: Input should be") as error:
        mapped(connection, {"id": 1, "name": ["secret name"]})
    assert "secret name" not in str(error.value)


def test_a_function_that_cannot_use_its_argument_is_told_without_its_value(desk: Any) -> None:
    connection = desk(mapping={"person": [{"entity": "person", "fields": {"display_name": "lower(name)"}}]})
    with pytest.raises(NormalizeError, match=r"fields\.display_name: lower\(\) cannot use object in lower\(name\)"):
        mapped(connection, {"id": 1, "name": {"secret": "name"}})


def test_a_source_that_merges_its_own_people_says_into_whom(desk: Any) -> None:
    rules = [{"entity": "person", "merged_into": "into", "clock": "changed"}]
    (event,) = mapped(desk(mapping={"person": rules}), {"id": 1, "into": 2, "changed": MS})
    assert (event.type, event.into) == ("person.merged", "desk/example/person/2")
    assert mapped(desk(mapping={"person": rules}), {"id": 1}) == []


@pytest.mark.parametrize(
    "time", [1768200421, "1768200421", 1768200421000, "2026-01-12T07:47:01+0100", "2026-01-12T06:47:01Z"]
)
def test_times_come_in_any_form(desk: Any, time: Any) -> None:
    (event,) = mapped(desk(), {"id": 1, "name": "Dana", "changed": time})
    assert event.order.clock == 1768200421000


def test_members_that_are_cut_leave_only_that_there_was_something(desk: Any) -> None:
    connection = desk(cut=["pin"], webhook={**HOOK, "token": {"secret": "x", "place": "path"}})
    assert connection.connector.webhook is not None
    body = {"person": {"id": 1, "pin": "1234", "more": [{"pin": ""}]}}
    assert connection.connector.webhook.cut(body) == {"person": {"id": 1, "pin": True, "more": [{"pin": ""}]}}


def test_a_declaration_without_its_mandatory_parts_says_which(tmp_path: Path) -> None:
    file = tmp_path / "desk.yaml"
    file.write_text("vendor: desk\n")
    with pytest.raises(ConfigError) as error:
        declared(file)
    missing = [line.split(": ")[1] for line in str(error.value).splitlines()]
    assert missing == ["api", "category", "mapping", "proof", "title"]
