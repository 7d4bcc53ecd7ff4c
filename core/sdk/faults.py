"""What a mock can be told to do wrong, over HTTP: the table of faults, and when each of them strikes."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from core.sdk.simulator import Simulator, answer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

FAULTS: Mapping[str, str] = {
    "429": "too many requests; `retry_after` (s) is told where it is given, and no other header tells the time",
    "500": "an internal error",
    "503": "overloaded; `retry_after` as above",
    "timeout": "no answer for two minutes",
    "unauthorized": "401, as if the token had just run out",
    "cut": "the connection ends in the middle of the body",
    "html": "status 200 and a proxy's page instead of JSON",
    "garbled": "status 200 and JSON with bytes that are no UTF-8",
    "empty": "status 200 and no body",
    "error": "status 200 and the source's error inside",
    "oversized": "the next page, blown up with blanks to `bytes` (default 10,000,000)",
    "rows": "the next page with two more rows before its own, `null` and `{}`",
    "redirect": "302 to `url` (default: another host)",
    "again": "the answer before this one once more, with the cursor that this request has used",
    "shift": "the next page, and then `beats` (default 20) old objects change, and as many beats of the story happen",
    "refuse": "not an answer: the source sends forged webhooks",
    "none": "not a fault: forgets all that are waiting",
}

_PAGES = frozenset({"oversized", "rows", "shift"})  # strike only answers that hold a list of objects
_FLIGHT = 0.05  # seconds: what was on its way already is not hasty
_CURSOR = 6  # letters at least: page numbers are no cursors
_ID = re.compile(r"/(?=[^/]*\d)[0-9a-f-]{6,}(?=/|$)")
_TEXT = re.compile(r'"([^"]+)"')


@dataclass
class Fault:
    """`times` requests fail, where `path` (a regular expression) is found in theirs, after `after` that pass. With
    `each` both are counted for every route alone, so that every list and every object's address fails once."""

    kind: str
    times: int = 1
    after: int = 0
    path: str = ""
    each: bool = False
    retry_after: int | None = None
    url: str = "http://elsewhere.example.com/"
    bytes: int = 10_000_000
    beats: int = 20
    _seen: dict[str, int] = field(default_factory=dict, init=False)  # so that `replace` begins to count anew

    def strikes(self, request: web.Request) -> bool:
        """Whether this request fails; counted."""
        if not re.search(self.path, request.path):
            return False
        route = route_of(request) if self.each else ""
        seen = self._seen[route] = self._seen.get(route, 0) + 1
        return self.after < seen <= self.after + self.times

    def spare(self, request: web.Request) -> None:
        """It did not strike after all."""
        self._seen[route_of(request) if self.each else ""] -= 1

    @property
    def waiting(self) -> int:
        """How many requests it will still strike; one and more with `each`, which never ends by itself."""
        if self.each:
            return self.times
        return self.times - max(0, self._seen.get("", 0) - self.after)


def route_of(request: web.Request) -> str:
    """Method and path without ids: `GET /v1/contacts/*`."""
    return f"{request.method} {_ID.sub('/*', request.path)}"


class Faulty:
    """Answers in the place of a simulator's handlers as long as faults are waiting."""

    def __init__(self, simulator: Simulator, stopped: asyncio.Event, play: Callable[[int], None]) -> None:
        self.faults: list[Fault] = []
        self.struck = 0  # how many requests
        self.hasty = 0  # how many came again before the time that a Retry-After had told
        self._until: dict[str, tuple[float, float]] = {}  # per route: when they were told, and when they may
        self._simulator, self._stopped, self._play = simulator, stopped, play
        self._last: dict[str, tuple[web.Response, frozenset[str]]] = {}

    @property
    def waiting(self) -> int:
        return sum(fault.waiting for fault in self.faults)

    def take(self, request: web.Request) -> Fault | None:
        """The first fault that strikes this request."""
        told, until = self._until.get(route_of(request), (0.0, 0.0))
        if told + _FLIGHT < asyncio.get_running_loop().time() < until - _FLIGHT:
            self.hasty += 1
        self.faults = [fault for fault in self.faults if fault.waiting > 0]
        return next((fault for fault in self.faults if fault.strikes(request)), None)

    async def note(self, request: web.Request, given: web.StreamResponse) -> None:
        """A good answer, for `again`."""
        if isinstance(given, web.Response) and isinstance(given.body, bytes) and given.status == 200:
            self._last[f"{request.method} {request.path}"] = given, await _asked(request)

    async def answer(
        self, fault: Fault, request: web.Request, handler: Handler, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """`headers` are the rate limit's. What needs the real answer asks `handler` for it."""
        if fault.kind == "again":
            return await self._again(request, handler)
        if fault.kind in _PAGES:
            return self._paged(fault, request, await handler(request))
        self.struck += 1
        failure = self._simulator.failure
        match fault.kind:
            case "429" | "503":
                wait = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                now = asyncio.get_running_loop().time()
                self._until[route_of(request)] = now, now + (fault.retry_after or 0)
                return answer(failure(int(fault.kind)), int(fault.kind), wait)
            case "500":
                return answer(failure(500), 500, headers)
            case "unauthorized":
                return answer(failure(401), 401)
            case "html":
                return web.Response(text="<html><body>We will be back soon.</body></html>", content_type="text/html")
            case "garbled":
                return web.Response(body=b'{"name": "Zo\xeb", "cut": ', content_type="application/json")
            case "empty":
                return web.Response(body=b"", content_type="application/json", headers=headers)
            case "error":
                return answer(failure(500), 200, headers)
            case "redirect":
                return web.Response(status=302, headers={"Location": fault.url})
            case "timeout":
                with suppress(TimeoutError):
                    async with asyncio.timeout(120):
                        await self._stopped.wait()
                return answer(failure(500), 500)
            case _:
                return await _cut(request, await handler(request))

    async def _again(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Only where the request goes on from the answer before: with something new in it that stood there."""
        last, before = self._last.get(f"{request.method} {request.path}", (None, frozenset()))
        if last is None or not any(value in _told(last) for value in await _asked(request) - before):
            return await handler(request)
        self.struck += 1
        return web.Response(body=last.body, headers=last.headers)

    def _paged(self, fault: Fault, request: web.Request, given: web.StreamResponse) -> web.StreamResponse:
        """A page, or the world after it, changed; any other answer is spared."""
        data = orjson.loads(_bytes(given) or b"{}") if given.content_type == "application/json" else None
        lists = _lists(data)
        if not isinstance(given, web.Response) or not lists:
            fault.spare(request)
            return given
        self.struck += 1
        match fault.kind:
            case "oversized":
                given.body = _bytes(given).ljust(fault.bytes)
            case "rows":
                for rows in lists:
                    rows[:0] = [None, {}]
                given.body = orjson.dumps(data)
            case _:
                self._play(fault.beats)
        return given


def _lists(data: Any) -> list[list[Any]]:
    """The lists of objects in an answer: itself, or right below."""
    below = [data] if isinstance(data, list) else list(data.values()) if isinstance(data, dict) else []
    return [rows for rows in below if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)]


def _bytes(given: web.StreamResponse) -> bytes:
    return given.body if isinstance(given, web.Response) and isinstance(given.body, bytes) else b"{}"


async def _asked(request: web.Request) -> frozenset[str]:
    """Values in a request that are long enough for a cursor."""
    values = [*request.query.values(), *_TEXT.findall(await request.text())]
    return frozenset(value for value in values if len(value) >= _CURSOR)


def _told(last: web.Response) -> str:
    return _bytes(last).decode(errors="replace") + " ".join(last.headers.values())


async def _cut(request: web.Request, given: web.StreamResponse) -> web.StreamResponse:
    body = _bytes(given)
    part = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await part.prepare(request)
    await part.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.abort()
    return part
