"""Seeded bugs: how a source is read, and in which orders things come."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from core.sdk import (
    Connector,
    Delivery,
    Hint,
    Http,
    Ids,
    Listing,
    Page,
    Payload,
    Split,
    Stream,
)
from schemas.entities import Note
from schemas.event import Event
from tests.conformance import desk
from tests.conformance.bugs import Memory, beyond, bug, changed, noted
from tests.conformance.bugs_deliveries import splitting
from tests.conformance.desk import CONNECTOR, WEBHOOK, Config

DAY = 86_400_000  # ms

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


@bug("backfill")
def a_list_is_never_read() -> Connector[Any]:
    """What webhooks name of it is fetched, and nothing of its past."""
    return replace(CONNECTOR, streams=CONNECTOR.streams[:1])


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


@bug("duplicate")
def deliveries_are_numbered_as_they_come() -> Connector[Any]:
    """Each arrival is noted by a number of its own, also where the source only tried once more."""
    memory = Memory()

    def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
        found, arrivals = desk.split(body, delivery, config, account, received), memory.of(config)
        payloads = []
        for payload in found.payloads:
            if isinstance(payload.data, dict) and isinstance(payload.data.get("id"), str):
                known = arrivals.setdefault(payload.data["id"], [])
                known += [] if received in known else [received]
                payload = replace(payload, data={**payload.data, "number": 1 + known.index(received)})
            payloads.append(payload)
        return replace(found, payloads=payloads)

    def normalize(payload: Payload) -> Iterator[Event]:
        yield from desk.normalize(payload)
        if payload.kind == "person" and (number := payload.data.get("number")):
            row = payload.data
            note = Note(body="The person has changed.")
            yield desk.MAKE.upserted(payload, "note", f"{row['id']}:{number}", note, clock=row["updated"])

    return replace(CONNECTOR, normalize=normalize, webhook=replace(WEBHOOK, split=split))


@bug("late")
def the_day_of_arrival_comes_before_the_sources_clock() -> Connector[Any]:
    """Deliveries of one day keep their order; those of a day later outdo what a poll has found meanwhile."""

    def pushed(payload: Payload, event: Event) -> Event:
        if not payload.pushed:
            return event
        order = event.order._replace(clock=payload.received - payload.received % DAY, sequence=event.order.clock)
        return noted(event, "pushed").model_copy(update={"id": f"{event.id}:pushed", "order": order})

    return changed(pushed)
