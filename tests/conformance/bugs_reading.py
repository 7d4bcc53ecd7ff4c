"""Seeded bugs: how a source is read, and what is done when it fails."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import aiohttp

from core.sdk import (
    Connector,
    Delivery,
    Hint,
    Http,
    Ids,
    Listing,
    Page,
    Payload,
    PermanentError,
    Split,
    Stream,
    TransientError,
    UnauthorizedError,
)
from schemas.event import Event
from tests.conformance import desk
from tests.conformance.bugs import beyond, bug, changed
from tests.conformance.bugs_deliveries import splitting
from tests.conformance.desk import CONNECTOR, Config

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


@bug("resume")
def a_mark_that_jumps_past_the_beginning() -> Connector[Any]:
    """The list ends where the poll began, and the mark is the time of the last answer: what changed while the poll
    stood still lies between them."""

    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        until = (cursor or {}).get("until") or http.now().timestamp() * 1000
        async for page in desk.listed(http, account, cursor, name, kind):
            found = [payload for payload in page.payloads if not until < (payload.data or {}).get("updated", 0)]
            at = {**page.cursor, "until": until} if "next" in page.cursor else page.cursor
            yield Page(found, at if "next" in at else {"since": int(http.now().timestamp() * 1000) - 3_600_000})

    return reading(poll)


@bug("resume")
def a_listing_that_knows_no_end() -> Connector[Any]:
    """Killed behind the last page, it is asked once more with the cursor of that."""

    async def ids(http: Http, config: Config, account: str, cursor: Any) -> AsyncIterator[Ids]:
        at = {"since": 0, "next": cursor["next"]} if cursor else None
        async for page in desk.listed(http, account, at, "tickets", "ticket"):
            yield Ids([str(payload.data["id"]) for payload in page.payloads], page.cursor)

    return replace(CONNECTOR, listings=(Listing("ticket", ids),))


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


def hollow(name: str, kind: str) -> Callable[..., AsyncIterator[Page]]:
    """A list that ends where an answer holds no rows, whatever it holds."""

    async def poll(http: Http, config: Config, account: str, cursor: Any) -> AsyncIterator[Page]:
        at = cursor
        try:
            async for page in desk.listed(http, account, cursor, name, kind):
                at = page.cursor
                yield page
        except TransientError as failure:
            if "the answer has no" not in str(failure):
                raise
            yield Page([], {"since": (at or {}).get("high", 0)})

    return poll


@bug("error-in-200")
def an_error_ends_a_list() -> Connector[Any]:
    return replace(CONNECTOR, streams=(Stream("people", hollow("people", "person")), *CONNECTOR.streams[1:]))


@bug("error-in-200")
def an_error_ends_lists_of_one_address() -> Connector[Any]:
    """What it takes from one, another brings."""
    poll = hollow("people", "person")
    lists = (Stream(name, poll) for name in ("people", "new people", "all people"))
    return replace(CONNECTOR, streams=(*CONNECTOR.streams[1:], *lists))


@bug("error-in-200")
def an_error_ends_a_listing() -> Connector[Any]:
    async def ids(http: Http, config: Config, account: str, cursor: Any) -> AsyncIterator[Ids]:
        async for page in hollow("tickets", "ticket")(http, config, account, cursor):
            yield Ids([str(payload.data["id"]) for payload in page.payloads], page.cursor)

    return replace(CONNECTOR, listings=(Listing("ticket", ids),))


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
