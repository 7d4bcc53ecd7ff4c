"""What `hub run` tells in the terminal: what is connected, how to look at it, and then what happens, line by line."""

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from core import api
from core.api import tokens
from core.config import HubConfig
from core.hub import Running, mocks
from core.store import CustomerRow, Store

AUTH = "auth"  # in the data folder: a header line for curl, readable by its owner alone
_SETTLED = 45.0  # seconds to wait for the first polls before telling what is there
_BY = {"email": "same e-mail", "phone": "same phone", "external_id": "same customer number", "merge": "merged there"}
_out = Console(highlight=False, soft_wrap=True)


async def tell(running: Running) -> None:
    """Tell what runs, then what happens, until cancelled. Says nothing where nobody reads and nothing is invented."""
    await running.started.wait()
    if running.store is None or not running.api:
        return
    await authorize(running.store, running.config)
    if not (running.config.demo or sys.stdout.isatty()):
        return
    store, config = running.store, running.config
    await _settled(store, config)
    await _head(store, config)
    await _how(running)
    await mocks.play(running.mocks)
    await _follow(running, store)


async def authorize(store: Store, config: HubConfig) -> str:
    """The admin token of this hub's own command line, in a file that only its owner can read."""
    path = config.data / AUTH
    if path.exists():
        secret = path.read_text().strip().rpartition(" ")[2]
        if await store.token(tokens.hashed(secret)):
            return secret
    await api.revoke(store, "command line")
    secret = await api.new_token(store, "command line", api.SCOPES, int(time.time() * 1000))
    path.unlink(missing_ok=True)
    # SECURITY: the file is born readable for its owner alone, not changed to it afterwards.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"Authorization: Bearer {secret}\n")
    return secret


async def _settled(store: Store, config: HubConfig) -> None:
    """Until every stream was read once and nothing more comes of it, or it takes too long."""
    deadline, before = time.monotonic() + _SETTLED, -1
    while time.monotonic() < deadline:
        documents = {name: orjson.loads(document) for name, _, document, _ in await store.states()}
        read = all(_read(documents.get(name), each.connector.streams) for name, each in config.connections.items())
        seq = (await store.hub()).seq
        if read and seq == before:
            return
        before = seq
        await asyncio.sleep(0.7)


def _read(document: Mapping[str, Any] | None, streams: Any) -> bool:
    if document is None:
        return False
    if document["error"]:
        return True
    told = document["streams"]
    return all(told.get(stream.name, {}).get("complete_up_to") for stream in streams)


async def _head(store: Store, config: HubConfig) -> None:
    counts = await store.counts()
    documents = {name: orjson.loads(document) for name, _, document, _ in await store.states()}
    kind = "DEMO" if config.demo else "LIVE"
    database = "SQLite" if config.store.type == "sqlite" else "PostgreSQL"
    _out.print(f"\nsupporthub {_version()} · {kind} · {database} · {_short(config.data)}", markup=False)
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
        if mine.get("article"):
            told.append(f"{mine['article']:3} cards, {await store.verified_articles()} verified")
        _out.print(f"  {name:10} {state:4}{'  '.join(told)}", markup=False)
    _out.print(f"{people} people in {sources} tools are {counts.get(('', 'customer'), 0)} customers.\n", markup=False)


async def _how(running: Running) -> None:
    store, config = running.store, running.config
    assert store is not None
    once, _ = await api.new_login(store, int(time.time() * 1000))
    hub = _command()
    auth = f"@{_short(config.data / AUTH)}"
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
    _out.print("\n".join(lines) + "\n", markup=False)


async def _follow(running: Running, store: Store) -> None:
    seen = (await store.hub()).seq
    refused = _refusals(running)
    rung: deque[str] = deque(maxlen=100)  # a call rings once, however often its record changes meanwhile
    async with store.notified(0.5) as notices:
        async for _ in notices:
            while True:
                _, rows = await store.changes(seen, 200)
                if not rows:
                    break
                seen = rows[-1].seq
                for row in rows:
                    call = _ringing(row)
                    if call not in rung and (line := await line_of(store, row)):
                        _say(*line)
                    if call:
                        rung.append(call)
            now = _refusals(running)
            for (connection, reason), count in now.items():
                if count > refused.get((connection, reason), 0):
                    _say("refuse", f"{connection}: {reason} (401); see `hub status`")
            refused = now


def _ringing(row: CustomerRow) -> str | None:
    ringing = orjson.loads(row.record).get("ringing") if b'"kind":"ring"' in row.cause else None
    return str(ringing[0]["key"]) if ringing else None


async def line_of(store: Store, row: CustomerRow) -> tuple[str, str] | None:
    """(word, sentence) of a change that a person wants to hear of; None of all others."""
    cause = orjson.loads(row.cause)
    record = orjson.loads(row.record)
    match cause["kind"]:
        case "ring":
            return await _ring(store, record, cause)
        case "merge":
            by = [_BY.get(each.partition(":")[0], each) for each in cause["by"]]
            joins = f"{', '.join(cause['from'])} joins {', '.join(cause['to'])}"
            return "merge", f"{_name(record)}: {joins}, {by[0] if by else 'same person'}"
        case "split" if row.id == cause["into"][0]:
            names = [_name(orjson.loads(each.record)) for each in await store.customers_by_id(cause["into"])]
            return "split", f"{' and '.join(names)}: {', '.join(cause['reason']) or 'nothing joins them any more'}"
        case "shared":
            identifier = cause["identifier"].partition(":")[2]
            return "shared", f"{identifier}: {cause['people']} people; nobody merged"
    return None


async def _ring(store: Store, record: Mapping[str, Any], cause: Mapping[str, Any]) -> tuple[str, str]:
    took = f"({max(0, int(time.time() * 1000) - cause['received'])} ms)"
    parties = record["ringing"][0].get("parties") or [{}]
    number = (parties[0].get("identifier") or {}).get("value", "somebody")
    if candidates := record["candidates"]:
        people = await store.persons_by_key(candidates[0]["persons"])
        rows = await store.customers_by_id([person.customer for person in people])
        profiles = [orjson.loads(row.record)["profile"] for row in rows]
        organizations = {
            name for each in profiles if (name := each.get("organization", {}).get("value", {}).get("name"))
        }
        where = f", {organizations.pop()}" if len(organizations) == 1 else ""
        return "shared", f"{number}: {len(people)} people{where}; nobody merged {took}"
    if not _name(record):
        return "ring", f"{number} is a new caller {took}"
    open_ = next((c for c in record["conversations"] if c.get("status") in ("open", "pending", "snoozed")), None)
    about = f': "{open_.get("subject") or open_.get("preview") or ""}"' if open_ else ""
    waiting = f", waiting {_span(record['waiting_since'])}" if record["waiting_since"] else ""
    return "ring", f"{number} is {_name(record)}{waiting}{about} {took}"


def _refusals(running: Running) -> dict[tuple[str, str], float]:
    return {
        (connection, reason): count
        for connection in running.config.connections
        for reason, count in running.metrics.by("refused", "reason", connection=connection).items()
    }


def _say(word: str, sentence: str) -> None:
    _out.print(f"{datetime.now():%H:%M:%S} {word:6} {sentence}", markup=False)  # noqa: DTZ005  the reader's own time


def _name(record: Mapping[str, Any]) -> str:
    return str(record.get("profile", {}).get("name", {}).get("value", ""))


def _span(since: str) -> str:
    seconds = max(0, int(time.time() - datetime.fromisoformat(since).timestamp()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _version() -> str:
    return ".".join(version("supporthub").split(".")[:2])


def _command() -> str:
    return _short(Path(sys.argv[0])) if sys.argv[0].endswith("hub") else "hub"


def _short(path: Path) -> str:
    """Relative to where the command was given, where it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
