"""What keeps a declaration short: listings of streams, shared values and parameters, and what goes without saying."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from core.config import Connection
from core.errors import NormalizeError, PermanentError
from core.sdk import Delivery, Hint, Payload
from tests.connectors.declared_source import DESK, MS, Source, mapped, people, rows

Made = Callable[..., Connection]
PERSON = DESK["mapping"]["person"][0]
FETCH = {"person": {"get": "/people/{id}"}}
HOOK = {"token": {"secret": "word", "place": "path"}, "kind": "event", "payload": {"data": "about"}}


async def listed(connection: Connection, source: Source, cursor: Any = None) -> tuple[list[str], Any]:
    """The ids of the only listing and its last cursor."""
    (listing,) = connection.connector.listings
    pages = [page async for page in listing.ids(source, connection.settings, "example", cursor)]
    return [id for page in pages for id in page.ids], pages[-1].cursor


async def fetched(connection: Connection, source: Source, *hints: Hint) -> list[tuple[str, str]]:
    assert connection.connector.hydrate is not None
    found = [each async for each in connection.connector.hydrate(source, connection.settings, "example", hints)]
    events = [event for payload in found for event in connection.connector.normalize(payload)]
    return [(event.type, event.subject) for event in events]


def gone(status: int) -> Source:
    def ask(*_: Any) -> Any:
        raise PermanentError("gone", status=status)

    return Source(ask)


# Listings


async def test_a_stream_that_is_also_a_listing_is_read_from_the_beginning_each_time(desk: Made) -> None:
    since = {"field": "changed", "lookback": "1m"}
    connection = desk(**people(params={"from": "{since.s}"}, since=since, listing="6h", pull_only=True), hydrate=FETCH)
    (listing,) = connection.connector.listings
    assert (listing.kind, listing.every.total_seconds(), listing.pull_only) == ("person", 6 * 3_600, True)
    source = Source(lambda *_: {"rows": rows(1, 2)})
    ids, cursor = await listed(connection, source)
    assert ids == ["1", "2"]
    await listed(connection, source, cursor)
    assert [params for _, _, params, _ in source.asked] == [{"from": 0}, {"from": 0}]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mapping": {"person": [{**PERSON, "id": "uuid"}]}}, "needs a mapping without `id:`"),
        ({"mapping": {"person": [{**PERSON, "kind": "human"}]}}, "needs a mapping without `id:`"),
        ({"listings": [{"kind": "person", "get": "/ids"}]}, "'person' is listed elsewhere already"),
    ],
)
def test_a_listing_that_cannot_work_is_told(desk: Made, change: Mapping[str, Any], told: str) -> None:
    with pytest.raises(Exception, match=told):
        desk(**people(listing="1d"), **{"hydrate": FETCH, **change})


async def test_what_is_not_there_any_more_was_deleted_without_a_word_in_the_mapping(desk: Made) -> None:
    assert await fetched(desk(hydrate=FETCH), gone(404), Hint("person", "7", MS, "missing")) == [
        ("person.deleted", "desk/example/person/7")
    ]


@pytest.mark.parametrize("action", ["person.created", "changed", "comment.deleted", "person.tag_removed"])
@pytest.mark.parametrize("status", [404, 410])
async def test_what_a_webhook_named_and_is_not_there_yet_fails_with_its_reason(
    desk: Made, action: str, status: int
) -> None:
    with pytest.raises(PermanentError) as error:
        await fetched(desk(hydrate=FETCH), gone(status), Hint("person", "7", MS, action))
    assert error.value.status == status


@pytest.mark.parametrize("action", ["deleted", "person.deleted", "person-destroyed", "personRemoved"])
async def test_what_a_webhook_said_was_deleted_and_is_not_there_is_deleted(desk: Made, action: str) -> None:
    assert await fetched(desk(hydrate=FETCH), gone(404), Hint("person", "7", MS, action)) == [
        ("person.deleted", "desk/example/person/7")
    ]


@pytest.mark.parametrize(("missing", "rules"), [("", "person.missing"), ("person.gone", "person.gone")])
async def test_what_is_not_there_becomes_what_the_mapping_says_whatever_named_it(
    desk: Made, missing: str, rules: str
) -> None:
    hydrate = {"person": {**FETCH["person"], "missing": missing}}
    for said, count in (([{"entity": "person", "deleted": True, "clock": "payload().at"}], 1), ([], 0)):
        connection = desk(hydrate=hydrate, mapping={**DESK["mapping"], rules: said})
        for action in ("person.created", "missing"):
            assert len(await fetched(connection, gone(404), Hint("person", "7", MS, action))) == count


async def test_what_is_only_a_part_of_another_object_deletes_nothing(desk: Made) -> None:
    mapping = {**DESK["mapping"], "extra": [{**PERSON, "kind": "person", "id": "about"}]}
    connection = desk(mapping=mapping, hydrate={"extra": {"get": "/people/{id}/extra"}})
    assert await fetched(connection, gone(404), Hint("extra", "7", MS, "missing")) == []


async def test_only_the_statuses_that_say_so_mean_that_an_object_is_gone(desk: Made) -> None:
    connection = desk(hydrate={"person": {**FETCH["person"], "gone": [403]}})
    assert len(await fetched(connection, gone(403), Hint("person", "7", MS, "missing"))) == 1
    with pytest.raises(PermanentError):
        await fetched(connection, gone(404), Hint("person", "7", MS, "missing"))


async def test_parameters_of_pages_go_with_those_of_the_request(desk: Made) -> None:
    pages = {"by": "page", "size": 2, "params": {"page": "{page}", "per": "{size}"}}
    connection = desk(**people(params={"sort": "id"}, pages=pages))
    source = Source(lambda _, __, params, ___: {"rows": rows(1, 2) if params["page"] == 1 else rows(3)})
    (stream,) = connection.connector.streams
    _ = [page async for page in stream.poll(source, connection.settings, "example", None)]
    assert [params for _, _, params, _ in source.asked] == [
        {"sort": "id", "page": 1, "per": 2}, {"sort": "id", "page": 2, "per": 2},
    ]  # fmt: skip


# Deliveries


def split(connection: Connection, body: Any) -> Any:
    webhook = connection.connector.webhook
    assert webhook is not None
    return webhook.split(webhook.cut(body), Delivery("POST", "", {}, b""), connection.settings, "example", MS)


def test_events_are_wanted_by_their_name_or_its_beginning_and_of_others_nothing_is_kept(desk: Made) -> None:
    connection = desk(webhook={**HOOK, "events": ["person", "talk.ended"]})
    for event, wanted in (("person", 1), ("person.made", 1), ("talk.ended", 1), ("talk", 0), ("personal", 0)):
        body = {"event": event, "about": {"id": 1, "text": "said"}}
        found = split(connection, body)
        assert (len(found.payloads), list(found.ignored)) == ((1, []) if wanted else (0, [event]))
        assert connection.connector.webhook is not None
        assert ("said" in repr(connection.connector.webhook.cut(body))) == bool(wanted)


def test_of_some_objects_only_what_may_be_kept_enters(desk: Made) -> None:
    connection = desk(webhook={**HOOK, "keep": {"person": ["id", "more"]}}, cut=["pin"])
    about = {"id": 1, "text": "said", "more": {"pin": "1234", "text": "kept"}}
    (payload,) = split(connection, {"event": "person.made", "about": about}).payloads
    assert payload.data == {"id": 1, "more": {"pin": True, "text": "kept"}}
    (payload,) = split(connection, {"event": "other", "about": about}).payloads
    assert payload.data["text"] == "said"


def test_some_rows_are_whole_objects_and_others_name_one_by_the_first_word_of_their_kind(desk: Made) -> None:
    mapping = {**DESK["mapping"], "note": [{"entity": "note"}]}
    hint = {"of": ["note"], "id": "about.id"}
    connection = desk(webhook={**HOOK, "hint": hint}, mapping=mapping, hydrate={"note": {"get": "/notes/{id}"}})
    found = split(connection, {"event": "note.made", "about": {"id": 5}})
    assert (found.payloads, found.hints) == ((), (Hint("note", "5", MS, "note.made"),))
    assert len(split(connection, {"event": "person", "about": {"id": 5}}).payloads) == 1


def test_a_row_that_names_what_nobody_can_fetch_is_ignored(desk: Made) -> None:
    hook = {**HOOK, "hint": {"id": "about.id"}}
    del hook["payload"]
    connection = desk(webhook=hook, hydrate=FETCH)
    assert split(connection, {"event": "person.made", "about": {"id": 5}}).hints[0].kind == "person"
    assert split(connection, {"event": "tag.made", "about": {"id": 5}}).ignored == ("tag.made",)


# Mappings


def said(connection: Connection, data: Any) -> dict[str, Any]:
    (event,) = mapped(connection, {"id": 1, **data})
    return event.data


def test_shared_values_are_read_by_all_rules_and_a_rule_may_say_otherwise(desk: Made) -> None:
    rule = {"entity": "person", "fields": {"display_name": "let('whole')"}}
    connection = desk(
        let={"given": "first", "whole": "words([let('given'), last])"},
        mapping={"person": [rule, {**rule, "let": {"given": "nick"}}]},
    )
    found = mapped(connection, {"id": 1, "first": "Dana", "nick": "Dee", "last": "Reyes"})
    assert [event.data["display_name"] for event in found] == ["Dana Reyes", "Dee Reyes"]


def test_a_shared_value_that_does_not_fit_a_payload_harms_only_who_asks_for_it(desk: Made) -> None:
    fields = {"given_name": "first", "display_name": "let('low')"}
    rule = {"entity": "person", "fields": fields}
    for only, fits in ((["given_name"], True), ([], False)):
        connection = desk(let={"low": "lower(last)"}, mapping={"person": [{**rule, "only": only}]})
        if fits:
            assert said(connection, {"first": "Dana", "last": 5}) == {"given_name": "Dana"}
        else:
            with pytest.raises(NormalizeError, match="display_name: lower"):
                said(connection, {"first": "Dana", "last": 5})


def test_fields_of_the_same_name_times_in_any_form_and_lists_of_one_need_no_words(desk: Made) -> None:
    rule = {
        "entity": "person",
        "same": ["country", "updated_at"],
        "fields": {"created_at": "made", "identifiers": "{kind: 'email', value: mail}"},
    }
    connection = desk(mapping={"person": [rule]})
    assert said(connection, {"country": "PT", "made": 1768200421, "mail": "ines@example.com"}) == {
        "country": "PT",
        "updated_at": None,
        "created_at": "2026-01-12T06:47:01.000Z",
        "identifiers": [{"kind": "email", "value": "ines@example.com"}],
    }
    with pytest.raises(NormalizeError, match=r"mapping\.person\[0\]\.fields\.created_at: "):
        said(connection, {"made": {"at": 1}})


def test_what_and_leaves_over_is_nothing_where_no_truth_is_wanted(desk: Made) -> None:
    fields = {"display_name": "id == `2` && name", "blocked": "id == `2`", "tags": "word && [word]", "tier": "word"}
    rule = {"entity": "person", "fields": fields}
    assert said(desk(mapping={"person": [rule]}), {"name": "Dana", "word": ""}) == {
        "display_name": None, "blocked": False, "tags": None, "tier": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("words(text)", "My bag never arrived."),
        ("lines(['a', '', `null`, 'b'])", "a\nb"),
        ("text('{}/{}', id, 'x')", "1/x"),
        ("text('{}/{}', id, gone)", None),
        ("text('{}/{}', id, '')", None),
        ("start(text, `3`)", " My"),
        ("start(gone, `3`)", None),
        ("numbered(items)[].index", [0, 1]),
        ("numbered(gone)", None),
        ("ref('team', 'odd')", None),
        ("given({a: '', b: `[]`, c: `0`, d: gone})", {"c": 0}),
        ("party('caller', gone, 'Dana', 'anonymous')", None),
        ("party('caller', 'k', gone, gone)", {"role": "caller", "person": "k"}),
        (
            "party('caller', gone, 'Dana', '+1 202-555-0143')",
            {"role": "caller", "identifier": {"kind": "phone", "value": "+12025550143"}, "name": "Dana"},
        ),
        (
            "parties([party('caller', 'k', '', '+12025550143'), gone, [party('cc', gone, '', '+1 202 555 0143'),"
            " party('cc', 'k', '', ''), party('cc', 'm', '', '')]])[].[role, person]",
            [["caller", "k"], ["cc", "m"]],
        ),
        ("parties([gone])", None),
    ],
)
def test_what_functions_make(desk: Made, expression: str, found: Any) -> None:
    rule = {"entity": "person", "fields": {"attributes": f"{{found: {expression}}}"}}
    data = {"text": " My bag\nnever arrived. ", "items": [{"n": 1}, "odd", {"n": 2}]}
    assert said(desk(mapping={"person": [rule]}), data)["attributes"] == {"found": found}


def test_a_text_with_more_places_than_values_is_told(desk: Made) -> None:
    rule = {"entity": "person", "fields": {"display_name": "text('{} {}', id)"}}
    with pytest.raises(NormalizeError, match=r"text\(\) has 2 places for 1 values"):
        said(desk(mapping={"person": [rule]}), {})


def test_a_payload_of_a_kind_that_is_missing_by_another_name_is_left_alone(desk: Made) -> None:
    payload = Payload("other.missing", {"id": 1}, "example", False, MS)
    assert list(desk(hydrate=FETCH).connector.normalize(payload)) == []
