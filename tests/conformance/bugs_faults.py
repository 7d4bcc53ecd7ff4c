"""Seeded bugs: what is done when a source fails, its pages move or its clock differs, and after a crash."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import aiohttp

from core.errors import RateLimitedError
from core.sdk import (
    Connector,
    Http,
    Ids,
    Listing,
    Page,
    Payload,
    PermanentError,
    Response,
    Stream,
    TransientError,
    UnauthorizedError,
)
from tests.conformance import desk
from tests.conformance.bugs import Memory, bug
from tests.conformance.bugs_reading import reading
from tests.conformance.desk import CONNECTOR, Config

_LARGE = 5_000_000  # bytes
_MINUTE = 60_000  # ms


@bug("crash")
def a_bookmark_of_its_own_is_a_page_ahead() -> Connector[Any]:
    """It reads ahead, and where the hub has no cursor yet, it goes on behind what it has read and not given out."""
    memory = Memory()

    def stream(name: str, kind: str) -> Stream[Any]:
        async def poll(http: Http, config: Config, account: str, cursor: Any) -> AsyncIterator[Page]:
            bookmarks, ahead = memory.of(config), None
            async for page in desk.listed(http, account, cursor or bookmarks.get(name), name, kind):
                bookmarks[name] = page.cursor
                if ahead is not None:
                    yield ahead
                ahead = page
            if ahead is not None:
                yield ahead

        return Stream(name, poll)

    return replace(CONNECTOR, streams=(stream("people", "person"), stream("tickets", "ticket")))


# -- what fails


def giving_up(wanted: Callable[[TransientError], bool], mark: Callable[[Http], float]) -> Callable[..., Any]:
    """As desk.listed, but that such a failure ends the list; `mark` where nothing was read."""

    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        at = cursor
        try:
            async for page in desk.listed(http, account, cursor, name, kind):
                at = page.cursor
                yield page
        except TransientError as failure:
            if not wanted(failure):
                raise
            yield Page([], {"since": (at or {}).get("high", mark(http))})

    return poll


def swallowing(wanted: Callable[[TransientError], bool]) -> Connector[Any]:
    """Such a failure is taken for the end of the list, and the mark moves on."""
    return reading(giving_up(wanted, lambda http: http.now().timestamp() * 1000))


@bug("429")
def a_failure_ends_the_list() -> Connector[Any]:
    return swallowing(lambda failure: True)


@bug("429-unsaid")
def too_many_requests_end_the_list_where_no_time_is_told() -> Connector[Any]:
    return swallowing(lambda failure: isinstance(failure, RateLimitedError) and failure.retry_after is None)


@bug("5xx")
def an_error_of_the_server_ends_the_list() -> Connector[Any]:
    return swallowing(lambda failure: "answered 5" in str(failure))


@bug("timeout")
def no_answer_ends_the_list() -> Connector[Any]:
    return swallowing(lambda failure: isinstance(failure.__cause__, TimeoutError))


@bug("cut")
def a_connection_that_breaks_ends_the_list() -> Connector[Any]:
    return swallowing(lambda failure: isinstance(failure.__cause__, aiohttp.ClientError))


@bug("expired")
def an_expired_token_ends_the_list() -> Connector[Any]:
    return swallowing(lambda failure: isinstance(failure, UnauthorizedError))


@bug("no-json")
def an_answer_that_is_no_json_ends_the_list() -> Connector[Any]:
    return swallowing(lambda failure: "not JSON" in str(failure))


def hollow(name: str, kind: str) -> Callable[..., AsyncIterator[Page]]:
    """A list that ends where an answer holds no rows, whatever it holds."""
    poll = giving_up(lambda failure: "the answer has no" in str(failure), lambda http: 0)
    return lambda http, config, account, cursor: poll(http, account, cursor, name, kind)


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


@bug("odd-rows")
def rows_that_are_no_objects_are_passed_over() -> Connector[Any]:
    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        async for page in desk.listed(http, account, cursor, name, kind):
            yield replace(page, payloads=[each for each in page.payloads if isinstance(each.data, dict) and each.data])

    return reading(poll)


@bug("oversized")
def a_large_page_is_passed_over() -> Connector[Any]:
    def wary(http: Http) -> Any:
        async def get(path: str, **params: str | int) -> Response:
            response = await http.get(path, **params)
            large = int(response.headers["content-length"]) > _LARGE
            return replace(response, data={**response.data, path.strip("/"): []}) if large else response

        return SimpleNamespace(get=get)

    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        async for page in desk.listed(wary(http), account, cursor, name, kind):
            yield page

    return reading(poll)


# -- what moves


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


@bug("clock-behind")
def what_lies_ahead_of_our_clock_is_passed_over() -> Connector[Any]:
    """It is thought a mistake of the source's, and by the next poll the mark is behind it."""

    async def poll(http: Http, account: str, cursor: Any, name: str, kind: str) -> AsyncIterator[Page]:
        async for page in desk.listed(http, account, cursor, name, kind):
            latest = http.now().timestamp() * 1000 + _MINUTE
            rows = [it for it in page.payloads if not desk.moved(it.data) or it.data["updated"] <= latest]
            yield Page(rows, page.cursor)

    return reading(poll)
