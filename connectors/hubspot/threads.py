"""The inbox's threads, with their messages: read one by one, for HubSpot has no batch read of them."""

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import timedelta
from typing import Any

from connectors.hubspot.config import Config
from connectors.hubspot.kinds import INBOX
from connectors.hubspot.labels import Labels, Row, ask, by_their_clock, following, odd, rows
from core.sdk import Http, Ids, Page, Payload, PermanentError, from_ms

PAGE = 100
LOOK_BACK = timedelta(minutes=5)

Cursor = dict[str, Any]


async def read_threads(
    http: Http, config: Config, account: str, ids: Iterable[str], labels: Labels
) -> AsyncIterator[Payload]:
    """Threads whole, as they are now. One that is not there is gone since it was asked for."""
    for id in ids:
        try:
            answer = await ask(http, "GET", config.path("thread", id=id), params={"association": "TICKET"})
        except PermanentError as error:
            if error.status != 404:
                raise
            gone = int(http.now().timestamp() * 1000)
            yield Payload(f"{INBOX}.gone", {"id": id}, account, pushed=False, received=gone, at=gone)
            continue
        messages, strange = await _messages(http, config, account, id)
        row = await _staffed({**answer.data, "messages": messages}, labels)
        yield Payload(INBOX, row, account, pushed=False, received=answer.started)
        for each in strange:
            yield each


async def _messages(http: Http, config: Config, account: str, id: str) -> tuple[list[Row], list[Payload]]:
    """Messages, and what else stands among them."""
    found: list[Row] = []
    strange: list[Payload] = []
    after = ""
    while True:
        params: dict[str, str | int] = {"limit": PAGE, **({"after": after} if after else {})}
        answer = await ask(http, "GET", config.path("messages", id=id), params=params)
        found += rows(answer, "id", "createdAt")
        strange += odd(answer, account, "id", "createdAt")
        if not (after := following(answer.data)):
            return found, strange


async def _staffed(row: Row, labels: Labels) -> Row:
    """With `staff`: user id -> {id, name} of the owner, of everybody who has the thread or wrote in it."""
    actors = [str(row.get("assignedTo") or "")]
    actors += [
        str(sender.get("actorId") or "") for each in row.get("messages", ()) for sender in each.get("senders") or ()
    ]
    users = {actor[2:] for actor in actors if actor.startswith("A-")}
    owners = await labels.users(users)
    names = await labels.owners({owners[user] for user in users if owners[user]})
    return {**row, "staff": {user: {"id": id, "name": names[id]} for user in sorted(users) if (id := owners[user])}}


async def conversations(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """Threads with messages since, the oldest first. Cursor: `{since}`, on the way `{lower, upper, after}`; epoch ms.

    A state or an assignment that changes without a message shows in no such list: webhooks and `states` tell it.
    """
    if INBOX not in config.objects:
        return
    now = int(http.now().timestamp() * 1000)
    if cursor is None:
        cursor = {"since": now - _ms(config.since)}
    if "since" in cursor:
        cursor = {"lower": cursor["since"] - _ms(LOOK_BACK), "upper": now, "after": ""}
    labels = Labels(http, config)
    while "after" in cursor:
        params: dict[str, str | int] = {
            "sort": "latestMessageTimestamp", "latestMessageTimestampAfter": from_ms(cursor["lower"]) or "",
            **_paged(cursor["after"]),
        }  # fmt: skip
        answer = await ask(http, "GET", config.path("threads"), params=params)
        cursor = by_their_clock(cursor, answer)
        ids = [str(row["id"]) for row in rows(answer, "id")]
        payloads = odd(answer, account, "id")
        payloads += [payload async for payload in read_threads(http, config, account, ids, labels)]
        after = following(answer.data)
        cursor = {**cursor, "after": after} if after else {"since": cursor["upper"]}
        yield Page(payloads, cursor)


async def states(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Page]:
    """Who has which thread and whether it is done, of all that have a message within `since`."""
    if INBOX not in config.objects:
        return
    now = int(http.now().timestamp() * 1000)
    if cursor is None or "after" not in cursor:
        cursor = {"lower": now - _ms(config.since), "upper": now, "after": ""}
    labels = Labels(http, config)
    while "after" in cursor:
        answer = await ask(http, "GET", config.path("threads"), params=_paged(cursor["after"]))
        recent = [row for row in rows(answer, "id") if _latest(row) >= (from_ms(cursor["lower"]) or "")]
        payloads = [
            Payload(f"{INBOX}.status", await _staffed(row, labels), account, pushed=False, received=answer.started)
            for row in recent
        ]
        after = following(answer.data)
        cursor = {**cursor, "after": after} if after else {"since": cursor["upper"]}
        yield Page(payloads, cursor)


async def living_threads(http: Http, config: Config, account: str, cursor: Cursor | None) -> AsyncIterator[Ids]:
    """The ids of all threads that are not deleted."""
    after = (cursor or {}).get("after", "")
    while INBOX in config.objects:
        answer = await ask(http, "GET", config.path("threads"), params=_paged(after))
        after = following(answer.data)
        yield Ids([str(row["id"]) for row in rows(answer, "id")], {"after": after} if after else {})
        if not after:
            return


def _paged(after: str) -> dict[str, str | int]:
    return {"limit": PAGE, **({"after": after} if after else {})}


def _latest(row: Mapping[str, Any]) -> str:
    return str(row.get("latestMessageTimestamp") or row.get("createdAt") or "")


def _ms(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)
