"""The kit is proven: a connector that keeps every rule passes; each seeded bug is caught by the check that names it.

A bug is a small change of the good connector. `until_failure` stops at the first check that fails, so that it is the
named one: all before it passed.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import random
from typing import Any

import aiohttp
import pytest
from pydantic import Field

from core import conformance
from core.conformance import CHECKS
from core.conformance.manual import filled
from core.sdk import (
    Connector,
    Delivery,
    Hint,
    Http,
    Listing,
    NormalizeError,
    Page,
    Payload,
    PermanentError,
    SignatureError,
    Split,
    Stream,
    TransientError,
    UnauthorizedError,
)
from schemas.event import Event
from tests.conformance import desk
from tests.conformance.desk import CONNECTOR, WEBHOOK, Config

Bug = Callable[[], Connector[Any]]
README = "# Desk\n<!-- settings -->\n<!-- /settings -->\n<!-- streams -->\n<!-- /streams -->\n"
BUGS: dict[str, tuple[str, Bug]] = {}
T = Any


def bug(check: str) -> Callable[[Bug], Bug]:
    """A connector that breaks just this rule."""

    def note(made: Bug) -> Bug:
        BUGS[made.__name__] = check, made
        return made

    return note


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Samples and README of the good connector."""
    (tmp_path / "README.md").write_text(filled(README, CONNECTOR))
    (tmp_path / "samples").mkdir()
    for kind, data in (("person", {"id": "p1", "name": "Dana Reyes", "email": "dana@example.com", "updated": 1_000}),
                       ("ticket", {"id": "t1", "subject": "A bag", "status": "closed", "updated": 2_000})):  # fmt: skip
        payload = Payload(kind, data, "acme", False, 3_000)
        events = [event.model_dump_json() for event in CONNECTOR.normalize(payload)]
        stored = {"kind": kind, "data": data, "account": "acme", "pushed": False, "received": 3_000}
        (tmp_path / "samples" / f"{kind}.payload.json").write_bytes(desk.orjson.dumps(stored))
        (tmp_path / "samples" / f"{kind}.events.json").write_text(f"[{','.join(events)}]")
    return tmp_path


async def test_the_good_connector_passes_all(folder: Path) -> None:
    report = await conformance.run(CONNECTOR, folder=folder, mock=desk)
    assert [(each.check, each.outcome, each.reason) for each in report.results if each.outcome != "passed"] == []
    assert report.stability == "beta"
    assert [each.check for each in report.results] == list(CHECKS)


# -- what is declared


@bug("contract")
def listings_without_a_way_to_ask() -> Connector[Any]:
    return replace(CONNECTOR, hydrate=None, listings=(Listing("ticket", lambda *_: desk.people(*_)),))  # type: ignore[arg-type,return-value]


@bug("contract")
def a_webhook_that_nobody_can_set_up() -> Connector[Any]:
    return replace(CONNECTOR, webhook=replace(WEBHOOK, instructions=""))


@bug("settings")
def an_undescribed_setting() -> Connector[Any]:
    class Silent(Config):
        region: str = "us"

    return replace(CONNECTOR, config=Silent)


@bug("secrets")
def a_secret_that_stands_in_logs() -> Connector[Any]:
    class Open(Config):
        api_key: str = Field("", description="The key.")

    return replace(CONNECTOR, config=Open)


@bug("readme")
def a_setting_that_the_readme_does_not_know() -> Connector[Any]:
    class More(Config):
        region: str = Field("us", description="Where.")

    return replace(CONNECTOR, config=More)


# -- what is pure


def changed(change: Callable[[Payload, Event], Event]) -> Connector[Any]:
    def normalize(payload: Payload) -> Iterable[Event]:
        return [change(payload, event) for event in desk.normalize(payload)]

    return replace(CONNECTOR, normalize=normalize)


def noted(event: Event, value: Any) -> Event:
    return event.model_copy(update={"data": {**event.data, "attributes": {"note": value}}})


@bug("samples")
def names_in_capitals() -> Connector[Any]:
    def capitals(payload: Payload, event: Event) -> Event:
        return event.model_copy(update={"data": {**event.data, "subject": "X"}}) if payload.kind == "ticket" else event

    return changed(capitals)


def beyond(payload: Payload) -> bool:
    """Not one of the samples."""
    return payload.received > 3_000


@bug("deterministic")
def a_random_number_in_the_event() -> Connector[Any]:
    return changed(lambda payload, event: noted(event, random()) if beyond(payload) else event)


@bug("pure")
def the_clock_in_the_event() -> Connector[Any]:
    return changed(lambda payload, event: noted(event, datetime.now(UTC).year) if beyond(payload) else event)


@bug("pure")
def a_file_is_read_for_each_event() -> Connector[Any]:
    return changed(lambda payload, event: noted(event, Path(__file__).read_text()[:3]) if beyond(payload) else event)


@bug("pure")
def the_first_value_is_remembered() -> Connector[Any]:
    known: dict[str, str] = {}

    def remembered(event: Event) -> Event:
        if known.get("now") != event.subject:
            known["before"], known["now"] = known.get("now", ""), event.subject
        return noted(event, known["before"])

    return changed(lambda payload, event: remembered(event) if beyond(payload) else event)


@bug("pure")
def the_payload_is_emptied() -> Connector[Any]:
    def normalize(payload: Payload) -> Iterable[Event]:
        events = list(desk.normalize(payload))
        if beyond(payload) and payload.kind == "person":
            payload.data["seen"] = payload.data.get("seen", 0) + 1
        return events

    return replace(CONNECTOR, normalize=normalize)


@bug("ids")
def an_id_that_tells_when_it_was_received() -> Connector[Any]:
    return changed(
        lambda payload, event: (
            event.model_copy(update={"id": f"{event.subject}@{payload.received}"}) if beyond(payload) else event
        )
    )


@bug("ids")
def one_id_for_all_states_of_an_object() -> Connector[Any]:
    return changed(lambda payload, event: event.model_copy(update={"id": event.subject}) if beyond(payload) else event)


def guarded(check: Callable[[Payload], None]) -> Connector[Any]:
    def normalize(payload: Payload) -> Iterable[Event]:
        if isinstance(payload.data, dict):
            check(payload)
        return desk.normalize(payload)

    return replace(CONNECTOR, normalize=normalize)


@bug("unknown-field")
def an_unknown_field_is_a_mistake() -> Connector[Any]:
    known = {"id", "name", "email", "phone", "updated", "subject", "status"}

    def strict(payload: Payload) -> None:
        if payload.data.keys() - known:
            raise NormalizeError("unknown field")

    return guarded(strict)


@bug("unknown-kind")
def an_unknown_kind_is_taken_for_a_ticket() -> Connector[Any]:
    def normalize(payload: Payload) -> Iterable[Event]:
        kind = payload.kind if payload.kind in ("person", "ticket") else "ticket"
        return desk.normalize(replace(payload, kind=kind))

    return replace(CONNECTOR, normalize=normalize)


@bug("unknown-value")
def an_unknown_status_is_a_mistake() -> Connector[Any]:
    def strict(payload: Payload) -> None:
        if payload.kind == "ticket" and payload.data.get("status") not in (*desk.STATUS, None):
            raise NormalizeError("unknown status")

    return guarded(strict)


@bug("missing-field")
def a_missing_name_is_a_key_error() -> Connector[Any]:
    def careless(payload: Payload) -> None:
        if payload.kind == "person":
            payload.data["name"]

    return guarded(careless)


@bug("malformed")
def every_payload_is_thought_an_object() -> Connector[Any]:
    def normalize(payload: Payload) -> Iterable[Event]:
        if payload.kind in ("person", "ticket"):
            payload.data.get("id")
        return desk.normalize(payload)

    return replace(CONNECTOR, normalize=normalize)


# -- what deliveries prove


def proving(verify: Callable[[Delivery, Config, datetime], None]) -> Connector[Any]:
    return replace(CONNECTOR, webhook=replace(WEBHOOK, verify=verify))


def bare(delivery: Delivery, name: str) -> bool:
    return name not in delivery.headers


@bug("genuine")
def a_header_is_expected_that_the_source_does_not_send() -> Connector[Any]:
    def verify(delivery: Delivery, config: Config, now: datetime) -> None:
        if bare(delivery, "x-desk-version"):
            raise SignatureError("no version")
        desk.verify(delivery, config, now)

    return proving(verify)


@bug("unsigned")
def what_is_not_signed_is_trusted() -> Connector[Any]:
    def verify(delivery: Delivery, config: Config, now: datetime) -> None:
        if not bare(delivery, "x-desk-signature"):
            desk.verify(delivery, config, now)

    return proving(verify)


@bug("wrong-key")
def any_signature_will_do() -> Connector[Any]:
    def verify(delivery: Delivery, config: Config, now: datetime) -> None:
        if bare(delivery, "x-desk-signature"):
            raise SignatureError("no signature")

    return proving(verify)


@bug("tampered")
def one_signature_stays_good_for_other_bodies() -> Connector[Any]:
    """The signatures of this process' first deliveries are remembered, and then good for whatever comes with them."""
    good: set[str] = set()

    def verify(delivery: Delivery, config: Config, now: datetime) -> None:
        given = delivery.headers.get("x-desk-signature", "")
        try:
            desk.verify(delivery, config, now)
            good.add(given)
        except SignatureError as error:
            if given not in good or error.code == "stale":
                raise

    return proving(verify)


@bug("stale")
def old_deliveries_are_good() -> Connector[Any]:
    def verify(delivery: Delivery, config: Config, now: datetime) -> None:
        try:
            desk.verify(delivery, config, now)
        except SignatureError as error:
            if error.code != "stale":
                raise

    return proving(verify)


@bug("garbled")
def the_time_is_thought_a_number() -> Connector[Any]:
    def verify(delivery: Delivery, config: Config, now: datetime) -> None:
        if not bare(delivery, "x-desk-sent"):
            int(delivery.headers["x-desk-sent"])
        desk.verify(delivery, config, now)

    return proving(verify)


def splitting(split: Callable[[Any, Delivery, Config, str, int], Split]) -> Connector[Any]:
    return replace(CONNECTOR, webhook=replace(WEBHOOK, split=split))


@bug("other-account")
def the_account_is_not_looked_at() -> Connector[Any]:
    def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
        body = {**body, "account": account} if isinstance(body, dict) else body
        return desk.split(body, delivery, config, account, received)

    return splitting(split)


@bug("pure-webhook")
def the_clock_in_a_split() -> Connector[Any]:
    def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
        found = desk.split(body, delivery, config, account, received)
        return found if time.time() else Split()

    return splitting(split)


@bug("unknown-event")
def an_unknown_event_is_a_mistake() -> Connector[Any]:
    def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
        found = desk.split(body, delivery, config, account, received)
        if found.ignored:
            raise NormalizeError("unknown event")
        return found

    return splitting(split)


@bug("odd-body")
def every_delivery_is_thought_to_have_data() -> Connector[Any]:
    def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
        if isinstance(body, dict) and body.get("event") in ("person.changed", "ticket.changed"):
            body["data"]["id"]
        return desk.split(body, delivery, config, account, received)

    return splitting(split)


@bug("secret-cut")
def the_token_is_kept() -> Connector[Any]:
    def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
        found = desk.split(body, delivery, config, account, received)
        payloads = [
            replace(payload, data={**payload.data, "envelope": config.token.get_secret_value()})
            for payload in found.payloads
            if isinstance(payload.data, dict)
        ]
        return replace(found, payloads=payloads)

    return splitting(split)


# -- what is asked for


def reading(poll: Callable[..., AsyncIterator[Page]]) -> Connector[Any]:
    """`poll(http, account, cursor, name, kind)` for both lists."""

    def stream(name: str, kind: str) -> Stream[Any]:
        return Stream(name, lambda http, config, account, cursor: poll(http, account, cursor, name, kind))

    return replace(CONNECTOR, streams=(stream("people", "person"), stream("tickets", "ticket")))


@bug("backfill")
def only_the_first_page() -> Connector[Any]:
    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        async for page in desk.listed(http, account, cursor, name, kind):
            yield Page(page.payloads, {"since": page.cursor.get("high", page.cursor["since"])})
            return

    return reading(poll)


@bug("cursors")
def a_cursor_that_stands_still() -> Connector[Any]:
    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        async for page in desk.listed(http, account, None, name, kind):
            yield Page(page.payloads, {"since": 0})

    return reading(poll)


@bug("cursors")
def a_cursor_that_is_no_json() -> Connector[Any]:
    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        async for page in desk.listed(http, account, cursor, name, kind):
            yield Page(page.payloads, {**page.cursor, "at": http.now()})

    return reading(poll)


@bug("cursors")
def a_list_without_end() -> Connector[Any]:
    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        number = 0
        while True:
            async for page in desk.listed(http, account, None, name, kind):
                number += 1
                yield Page(page.payloads, {**page.cursor, "number": number})

    return reading(poll)


@bug("resume")
def a_cursor_one_page_too_far() -> Connector[Any]:
    """The page that was read ahead is lost when the poll is stopped."""

    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        waiting: list[Page] = []
        async for page in desk.listed(http, account, cursor, name, kind):
            waiting.append(page)
            if len(waiting) == 2:
                first = waiting.pop(0)
                yield Page(first.payloads, {**page.cursor, "ahead": True})
        for page in waiting:
            yield page

    return reading(poll)


@bug("incremental")
def later_polls_find_nothing() -> Connector[Any]:
    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        if cursor and "next" not in cursor:
            yield Page([], {"since": cursor["since"] + 1})
            return
        async for page in desk.listed(http, account, cursor, name, kind):
            yield page

    return reading(poll)


@bug("webhooks")
def a_webhook_writes_another_name() -> Connector[Any]:
    def pushed(payload: Payload, event: Event) -> Event:
        if not payload.pushed:
            return event
        newer = event.order._replace(clock=event.order.clock + 1)
        return event.model_copy(update={"order": newer, "data": {**event.data, "display_name": "Somebody"}})

    return changed(pushed)


@bug("webhooks")
def what_webhooks_name_is_never_asked_for() -> Connector[Any]:
    """The next poll finds it, so that nothing is missing: only late."""

    async def hydrate(http: Http, config: Config, account: str, hints: Sequence[Hint]) -> AsyncIterator[Payload]:
        for payload in ():
            yield payload

    return replace(CONNECTOR, hydrate=hydrate)


@bug("webhooks")
def webhooks_are_taken_and_forgotten() -> Connector[Any]:
    def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
        desk.split(body, delivery, config, account, received)
        return Split(ignored=["all of it"])

    return splitting(split)


@bug("reordered")
def what_comes_last_wins() -> Connector[Any]:
    """The time of arrival in the place of the source's clock."""

    def normalize(payload: Payload) -> Iterator[Event]:
        for event in desk.normalize(payload):
            if payload.pushed and payload.kind == "person" and beyond(payload):
                order = event.order._replace(sequence=payload.received, clock=0)
                event = event.model_copy(update={"order": order})
            yield event

    return replace(CONNECTOR, normalize=normalize)


# -- what goes wrong


def swallowing(error: type[Exception]) -> Connector[Any]:
    """What fails is taken for the end of the list."""

    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        at = cursor
        try:
            async for page in desk.listed(http, account, cursor, name, kind):
                at = page.cursor
                yield page
        except error as failure:
            if type(failure) is not error and error is not TransientError:
                raise
            yield Page([], {"since": (at or {}).get("high", http.now().timestamp() * 1000)})

    return reading(poll)


@bug("429")
def a_failure_ends_the_list() -> Connector[Any]:
    return swallowing(TransientError)


@bug("expired")
def an_expired_token_ends_the_list() -> Connector[Any]:
    return swallowing(UnauthorizedError)


@bug("redirect")
def a_redirect_is_followed_wherever_it_leads() -> Connector[Any]:
    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        try:
            async for page in desk.listed(http, account, cursor, name, kind):
                yield page
        except PermanentError as error:
            async with aiohttp.ClientSession() as session, session.get(error.headers["location"]) as answer:
                await answer.read()
            raise

    return reading(poll)


@bug("odd-rows")
def every_row_is_thought_to_tell_its_time() -> Connector[Any]:
    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        async for page in desk.listed(http, account, cursor, name, kind):
            sorted(page.payloads, key=lambda payload: payload.data["updated"])
            yield page

    return reading(poll)


@bug("same-cursor")
def a_repeated_cursor_ends_the_list() -> Connector[Any]:
    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        last = (cursor or {}).get("next")
        async for page in desk.listed(http, account, cursor, name, kind):
            if last is not None and page.cursor.get("next") == last:
                yield Page(page.payloads, {"since": page.cursor["high"]})
                return
            last = page.cursor.get("next")
            yield page

    return reading(poll)


@bug("shift")
def rows_are_counted_while_they_move() -> Connector[Any]:
    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        at = cursor or {"since": 0, "high": 0}
        at = at if "offset" in at else {"since": at["high"], "high": at["high"], "offset": 0}
        while True:
            response = await http.get(f"/{name}", since=at["since"], offset=at["offset"])
            found = desk.rows(response.data, name)
            high = max([at["high"], *(row["updated"] for row in found if desk.moved(row))])
            offset = at["offset"] + sum(map(desk.moved, found))
            ended = offset >= response.data["total"]
            at = {"since": at["since"], "high": high, **({} if ended else {"offset": offset})}
            yield Page([Payload(kind, row, account, False, response.started) for row in found], at)
            if ended:
                return

    return reading(poll)


@bug("clock-ahead")
def our_own_clock_in_the_cursor() -> Connector[Any]:
    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        began = int(http.now().timestamp() * 1000)
        async for page in desk.listed(http, account, cursor, name, kind):
            yield page if "next" in page.cursor else Page(page.payloads, {"since": began})

    return reading(poll)


@pytest.mark.parametrize("name", BUGS)
async def test_a_bug_is_caught_by_the_check_that_names_it(name: str, folder: Path) -> None:
    check, made = BUGS[name]
    report = await conformance.run(made(), folder=folder, mock=desk, until_failure=True)
    assert [each.check for each in report.failures] == [check], report.failures


def test_there_is_a_bug_for_all_that_a_connector_can_do_wrong() -> None:
    # What only the hub's own client and bus can break is proved by the good connector and by their own tests.
    engine = {
        "duplicate", "late", "crash", "429-unsaid", "5xx", "timeout", "cut", "no-json", "error-in-200",
        "oversized", "clock-behind",
    }  # fmt: skip
    assert {check for check, _ in BUGS.values()} == CHECKS.keys() - engine
    assert len(BUGS) >= 20
