"""What `hub run` tells in the terminal: what is connected, how to look at it, and then what happens, line by line."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any

import orjson

from core import api
from core.cli.auth import AUTH, authorize
from core.cli.terminal import clock, command, say, short
from core.cli.words import StoreLook, Words, change_of
from core.config import HubConfig
from core.errors import TransientError
from core.hub import Running, mocks
from core.store import Store

_SETTLED = 45.0  # seconds to wait for the first polls before telling what is there
_ROWS = 200  # changes that are read at once
_READ = 0.1  # seconds between two looks at what happened: nobody reads faster
_PAUSE = 1.0  # seconds between two tries while the store is down


async def tell(running: Running) -> None:
    """Tell what runs, then what happens, until cancelled. Says nothing where nobody reads and nothing is invented."""
    await running.started.wait()
    if running.store is None or not running.api:
        return
    store, config = running.store, running.config
    await _patiently(lambda: authorize(store, config))
    if not (config.demo or sys.stdout.isatty()):
        return
    await _patiently(lambda: _settled(store, config))
    await _patiently(lambda: _head(store, config))
    await _patiently(lambda: _how(running))
    await mocks.play(running.mocks)
    await _patiently(lambda: _follow(running, store))


async def _patiently(telling: Callable[[], Awaitable[Any]]) -> None:
    """A store that is down for a while must not end the hub for the sake of its story."""
    while True:
        try:
            await telling()
        except TransientError:
            await asyncio.sleep(_PAUSE)
        else:
            return


async def _settled(store: Store, config: HubConfig) -> None:
    """Until every stream was read once and nothing more comes of it, or it takes too long."""
    deadline, before = time.monotonic() + _SETTLED, -1
    while time.monotonic() < deadline:
        documents = await _documents(store)
        read = all(_read(documents.get(name), each.connector.streams) for name, each in config.connections.items())
        seq = (await store.hub()).seq
        if read and seq == before:
            return
        before = seq
        await asyncio.sleep(0.7)


async def _documents(store: Store) -> dict[str, Mapping[str, Any]]:
    """The newest of each connection."""
    states = sorted(await store.states(), key=lambda row: row[3])
    return {name: orjson.loads(document) for name, _, document, _ in states}


def _read(document: Mapping[str, Any] | None, streams: Any) -> bool:
    if document is None:
        return False
    if document["error"]:
        return True
    told = document["streams"]
    return all(told.get(stream.name, {}).get("complete_up_to") for stream in streams)


async def _head(store: Store, config: HubConfig) -> None:
    counts = await store.counts()
    documents = await _documents(store)
    kind = "DEMO" if config.demo else "LIVE"
    database = "SQLite" if config.store.type == "sqlite" else "PostgreSQL"
    say()
    say(f"supporthub {_version()} · {kind} · {database} · {short(config.data)}")
    people = sources = 0
    for name, connection in config.connections.items():
        document = documents.get(name, {})
        source = f"{connection.connector.name}/{document.get('account')}"
        mine = {entity: count for (at, entity), count in counts.items() if at == source}
        people, sources = people + mine.get("person", 0), sources + bool(mine.get("person"))
        state = "DOWN" if document.get("error") else "ok"
        told = [f"{mine['person']:3} people"] if mine.get("person") else ["          "]
        for entity, word in (("conversation", "conversations"), ("call", "calls"), ("deal", "deals")):
            told += [f"{mine[entity]:3} {word}"] if mine.get(entity) else []
        if mine.get("article") and connection.connector.category == "knowledge":
            told.append(f"{mine['article']:3} cards, {await store.verified_articles()} verified")
        say(f"  {name:10} {state:4}{'  '.join(told)}")
    say(f"  {people} people in {sources} tools are {counts.get(('', 'customer'), 0)} customers.")
    say()


async def _how(running: Running) -> None:
    store, config = running.store, running.config
    assert store is not None
    once, _ = await api.new_login(store, int(time.time() * 1000))
    hub = command()
    auth = f"@{short(config.data / AUTH)}"
    at = running.api.removeprefix("http://")
    lines = [f"Look    {running.api}/login/{once}   (once; again: {hub} open)"]
    if config.demo:
        lines.append(f"Ring    {hub} ring")
    lines += [
        f"Follow  {hub} tail",
        f"Ask     curl -H {auth} '{at}/v1/lookup?phone=%2B12025550143'",
        f"Search  curl -H {auth} '{at}/v1/customers?q=dana'",
        f"Feed    curl -NH {auth} {at}/v1/feed",
    ]
    if config.demo:
        lines.append(f"Break   kill -9 {os.getpid()}; make run   (nothing acknowledged is lost)")
    for line in [*lines, ""]:
        say(line)


async def _follow(running: Running, store: Store) -> None:
    seen = (await store.hub()).seq
    words = Words(StoreLook(store))
    refused = _refusals(running)
    async with store.notified(0.5) as notices:
        async for _ in notices:
            more = True
            while more:
                _, rows = await store.changes(seen, _ROWS)
                more = len(rows) == _ROWS
                for row in rows:
                    seen = row.seq
                    if line := await words.line(change_of(row)):
                        _say(*line)
            now = _refusals(running)
            for (connection, reason, status), count in now.items():
                if count > refused.get((connection, reason, status), 0):
                    _say("refuse", f"{connection}: {reason} ({status}); see `hub status`")
            refused = now
            await asyncio.sleep(_READ)


def _refusals(running: Running) -> dict[tuple[str, str, str], float]:
    by = running.metrics.by
    return {
        (connection, reason, status): count
        for connection in running.config.connections
        for status in by("refused", "status", connection=connection)
        for reason, count in by("refused", "reason", connection=connection, status=status).items()
    }


def _say(word: str, sentence: str) -> None:
    say(f"{clock()} {word:6} {sentence}")


def _version() -> str:
    return ".".join(version("supporthub").split(".")[:2])
