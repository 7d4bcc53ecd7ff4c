"""Secrets and what `drop:` names are sent in, in every way that there is, and then looked for everywhere."""

import asyncio
import base64
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from cramjam import DecompressionError
from psycopg import sql

from core.bus.topics import TOPICS
from core.sdk.cast import TOPICS as TALKS
from core.store.packing import unpacked
from tests import hubs
from tests.hubs import Hub, Tools
from tests.ingesting import messages

SECRETS: dict[str, dict[str, str]] = {
    "aircall": {"api_token": "canary-aircall-api", "webhook_token": "canary-aircall-body"},
    "guru": {"token": "canary-guru-token", "webhook_secret": "canary-guru-part-of-the-url"},
    "hubspot": {"token": "canary-hubspot-token", "client_secret": "canary-hubspot-client"},
    "intercom": {"token": "canary-intercom-token", "webhook_secret": "canary-intercom-signing"},
}
USERS = {"aircall": "demo-aircall-id", "guru": "reader@example.com"}  # of Basic authentication
DROP = {"intercom": ["message.body"], "aircall": ["note.body"], "guru": ["article.body"]}
KEPT = "dana.reyes@example.com"  # is everywhere: who looks would find it
CARE = ("Promised to call back with proof of delivery.", "It happened again.", "Same as last week; see the card.")


def canaries() -> Iterator[str]:
    """What must be found nowhere, in the forms in which it might be kept."""
    for name, secrets in SECRETS.items():
        for secret in secrets.values():
            yield from (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("="))
            yield base64.b64encode(f"{USERS.get(name, '')}:{secret}".encode()).decode()
    yield from CARE
    for _, asked, answered, _, card in TALKS:
        yield from (asked, answered, card)


async def send_in(tools: Tools, hub: Hub) -> None:
    """The story, and whatever is refused, cannot be read, or fails."""
    await tools.point(hub.webhooks)
    await tools.all("step", beats=120)
    await tools.post("hubspot", "push", body={"odd": SECRETS["hubspot"]["client_secret"]})
    await tools.post("hubspot", "push", body=[{"subscriptionType": "contact.creation", "objectId": [KEPT]}])
    await tools.post("intercom", "push", body={"type": "notification_event", "text": CARE[0], "data": 7})
    await tools.post("aircall", "push", body={"event": "call.ended", "data": {"comments": [{"content": CARE[0]}]}})
    await tools.post("aircall", "push", body={"event": "call.created", "data": {}}, forged=True)
    await tools.post("guru", "push", body={"items": CARE[0], "token": SECRETS["guru"]["webhook_secret"]})
    for name in SECRETS:
        async with hub.session.post(
            f"{hub.webhooks}/hooks/{name}",
            data=SECRETS[name]["webhook_secret" if name == "guru" else next(iter(SECRETS[name]))],
        ):
            pass
        for fault in ("unauthorized", "500", "html"):
            await tools.post(name, "fault", kind=fault, times=2)
    await tools.all("step", beats=10)
    await hubs.until(tools.delivered, "all webhooks are delivered")
    await hub.settled()


async def told(hub: Hub) -> AsyncIterator[tuple[str, bytes]]:
    """Everything that the hub says: to readers, to subscribers, to its log."""
    for path in ("/metrics", "/v1/sources", "/v1/dead", "/v1/customers?q=dana", "/v1/lookup?phone=%2B12025550143"):
        async with hub.session.get(f"{hub.api}{path}", headers=hub.authorization) as answer:
            yield path, await answer.read()
    feed = b""
    async with hub.session.get(f"{hub.api}/v1/feed", headers=hub.authorization) as answer:
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                async for chunk in answer.content.iter_any():
                    feed += chunk
    yield "the feed", feed
    for path in (each["id"] for each in (await hub.get("/v1/dead"))["letters"]):
        async with hub.session.get(f"{hub.api}/v1/dead/{path}", headers=hub.authorization) as answer:
            yield "a dead letter", await answer.read()
    yield "the log", hub.log().encode()


async def kept(hub: Hub, database: str | None) -> AsyncIterator[tuple[str, bytes]]:
    """Everything that is kept, row by row and, of files, byte by byte; the hub is stopped."""
    async with hub.opened() as (bus, _):
        for topic in TOPICS:
            for record in await messages(bus, topic):
                headers = b"\n".join(value for _, value in record.headers)
                yield f"topic {topic}", b"\n".join([record.key.encode(), record.value or b"", headers])
    rows = postgres_rows(database) if database else sqlite_rows(hub.folder / "data" / "hub.db")
    for table, row in rows:
        yield f"table {table}", b"\n".join(_bytes(value) for value in row)
    for path in sorted((hub.folder / "data").rglob("*")):
        if path.is_file():
            yield path.name, path.read_bytes()


def sqlite_rows(path: Path) -> Iterator[tuple[str, Any]]:
    store = sqlite3.connect(path)
    for (table,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        with suppress(sqlite3.OperationalError):  # what full text search keeps for itself
            yield from ((table, row) for row in store.execute(f'SELECT * FROM "{table}"').fetchall())
    store.close()


def postgres_rows(url: str) -> Iterator[tuple[str, Any]]:
    with psycopg.connect(url) as store:
        tables = store.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
            yield from ((table, row) for row in store.execute(query).fetchall())


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes | memoryview):
        return str(value).encode()
    with suppress(DecompressionError):  # random bytes may begin as what is packed
        return unpacked(bytes(value))
    return bytes(value)


async def searched(folder: Path, sections: dict[str, Any]) -> None:
    found: list[str] = []
    control: set[str] = set()
    wanted = {each.encode() for each in canaries()}

    def look(where: str, what: bytes) -> None:
        found.extend(f"{each.decode()} is in {where}: …{_around(what, each)}…" for each in wanted if each in what)
        if KEPT.encode() in what:
            control.add(where)

    async with hubs.tools(folder / "mocks", secrets=SECRETS) as tools:
        connections = hubs.settings(tools, {name: {"drop": paths} for name, paths in DROP.items()})
        async with hubs.hub(folder / "hub", connections, **sections) as hub:
            hub.start()
            await hub.ready()
            await hub.polled()
            await send_in(tools, hub)
            async for where, what in told(hub):
                look(where, what)
            assert len((await hub.get("/v1/dead"))["letters"]) >= 4
            await hub.stop()
            async for where, what in kept(hub, sections.get("store", {}).get("url")):
                look(where, what)
    assert not found, "\n".join(found[:20])
    assert control >= {"the feed", "topic raw", "topic customers", "table object", "table customer"}
    assert control & {"topic events", "topic past"}  # whichever way it came in first


def _around(what: bytes, canary: bytes) -> str:
    at = what.index(canary)
    return what[max(0, at - 80) : at + 80].decode(errors="replace")


@pytest.mark.timeout(600)
async def test_no_secret_and_nothing_dropped_is_found_anywhere(tmp_path: Path) -> None:
    await searched(tmp_path, {})


@pytest.mark.kafka
@pytest.mark.postgres
@pytest.mark.timeout(600)
async def test_no_secret_and_nothing_dropped_is_found_in_kafka_and_postgres(
    tmp_path: Path, machines: dict[str, Any]
) -> None:
    await searched(tmp_path, machines)
