"""`python -m tests.dying BUS URL WHEN PAGE`: ingest of the desk at URL, which kills itself with SIGKILL at the moment
when its PAGE-th page of events is to be published (WHEN: before), or was, and nothing more (WHEN: after).

BUS is JSON: {"path": …} of an embedded one, or {"servers": …, "prefix": …}; with {"folder": …, "known": …} it knows so
many people, and listings wait in that folder. Prints where it listens.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from core import ingest
from core.bus import Bus, Message
from core.bus.embedded import open_embedded
from core.bus.kafka import open_kafka
from core.bus.topics import EVENTS, PAST
from core.config.model import Server
from core.metrics import Metrics
from tests.ingesting import QUICK
from tests.source import connection


class Dying:
    """The bus of a process that dies."""

    def __init__(self, bus: Bus, when: str, page: int) -> None:
        self._bus, self._when, self._page = bus, when, page
        self._pages = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, sent: Sequence[Message]) -> None:
        self._pages += any(message.topic in (EVENTS, PAST) for message in sent)
        last = self._pages == self._page
        if last and self._when == "after":
            await self._bus.publish(sent)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        await self._bus.publish(sent)


def opening(where: dict[str, Any]) -> AbstractAsyncContextManager[Bus]:
    if "path" in where:
        return open_embedded(Path(where["path"]), disk_cap=10**9)
    return open_kafka(where["servers"], prefix=where["prefix"], options={})


async def main(where: str, url: str, when: str, page: str) -> None:
    desk = connection(base_url=url, account="acme")

    async def lag() -> int:
        return 0

    async def report(name: str, document: dict[str, Any]) -> None:
        pass

    place = orjson.loads(where)

    async def known(prefix: str) -> AsyncIterator[Sequence[str]]:
        yield sorted(f"{prefix}{number}" for number in range(place["known"]))

    async with opening(place) as bus:
        await ingest.run(
            Dying(bus, when, int(page)),  # type: ignore[arg-type]
            {desk.name: desk},
            Server(webhooks="127.0.0.1:0"),
            metrics=Metrics(),
            clock=lambda: datetime.now(UTC),
            lag=lag,
            report=report,
            started=lambda address: print(address, flush=True),
            pace=QUICK,
            known=known if "known" in place else None,
            folder=Path(place["folder"]) if "folder" in place else None,
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
