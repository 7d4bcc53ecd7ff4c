"""The smallest source as a mock: an entry per beat of the story's telephone; and a hub that takes its webhooks."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from core.sdk.mock import Mock, Push, answer, now
from core.sdk.story import Beat

KEY = "key-of-the-mock"
MS = 1_768_200_000_000


class Diary:
    """The smallest source there is: an entry per beat of the story's telephone, each told by a webhook."""

    name = "aircall"
    timeout = 2.0
    retries = 3
    limit = 1_000

    def __init__(self, seed: int = 7) -> None:
        self.seed = seed
        self.entries: list[dict[str, Any]] = []

    def apply(self, beat: Beat, now_ms: int) -> Sequence[Push]:
        if beat.kind == "refuse":
            return [Push("forged", {"id": "forged"}, "refuse", forged=True)]
        entry = {"id": f"{beat.ref}:{len(self.entries)}", "kind": beat.kind, "at": now_ms}
        self.entries.append(entry)
        return [Push(str(entry["id"]), entry, beat.kind)]

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.get("/entries", self._list)]

    async def _list(self, request: web.Request) -> web.Response:
        return answer({"entries": self.entries, "now": now(request)})

    def authorized(self, request: web.Request) -> bool:
        return request.headers.get("key") == KEY

    def sign(self, push: Push, target: str, now: datetime) -> tuple[str, dict[str, str], bytes]:
        return target, {"signature": "wrong" if push.forged else KEY}, json.dumps(push.body).encode()

    def failure(self, status: int) -> Any:
        return {"failure": status}

    def rate_headers(self, limit: int, remaining: int, reset_seconds: int, now_ms: int) -> Mapping[str, str]:
        return {"remaining": str(remaining)}

    def counts(self) -> Mapping[str, int]:
        return {"entries": len(self.entries)}

    def truth(self) -> Mapping[str, Any]:
        return {"entry": {entry["id"]: entry for entry in self.entries}}


class Hub:
    """Takes webhooks; answers 401 to a wrong signature, else `status`."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.refused = 0
        self.status = 202
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/hooks/diary", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}/hooks/diary"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        if request.headers["signature"] != KEY:
            self.refused += 1
            return web.Response(status=401)
        if self.status < 300:
            self.taken.append(await request.json())
        return web.Response(status=self.status)

    def ids(self) -> set[str]:
        return {entry["id"] for entry in self.taken}


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub()
    await hub.start()
    yield hub
    await hub.stop()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


async def until(true: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


async def post(client: aiohttp.ClientSession, mock: Mock, name: str, **body: Any) -> Any:
    async with client.post(f"{mock.url}/_mock/{name}", json=body) as response:
        return await response.json()


async def get(client: aiohttp.ClientSession, mock: Mock, path: str = "/entries", key: str = KEY) -> tuple[int, Any]:
    async with client.get(mock.url + path, headers={"key": key}) as response:
        return response.status, await response.json()


def kinds(diary: Diary) -> list[str]:
    return [entry["kind"] for entry in diary.entries]
