"""A running mock: a simulator's routes with authentication, rate limits and faults before them, and its controls.

Under `/_mock/` (no authentication; loopback only):

| request | what it does |
| --- | --- |
| GET state[?truth=0] | name, n, cycle, pace, clock, requests, queue, spilled, acknowledged, struck, counts, truth |
| GET deliveries | the log of webhook attempts: n, subject, kind, status (0: no answer), forged, attempt |
| POST ring {phone?} | a customer calls now (Aircall): {phone, name, call} |
| POST step {beats} | plays so many beats of the story now |
| POST beat {kind, ref, data} | plays a beat that is not in the story, now |
| POST pace {pace} | story seconds per second; 0 stands still |
| GET, POST clock {now?, rate?} | the mock's time of day in epoch ms; rate 0 stops it |
| POST fault {kind, times?, after?, path?, each?, …} | the next answers go wrong: `core.sdk.faults` tells how |
| POST target {url} | where webhooks go; empty: nowhere |
| POST limit {requests?, per?} | so many requests before 429, in so many seconds (else in the source's own window) |
| POST limit {daily} | so many requests a day, where the source has such a limit |
| POST retries {source} | true: refused webhooks come again as the source's would, with its pauses; false: hurried |
| POST rows {rows} | at most so many per page, whatever is asked for; 0: as the source has it |
| POST push {body, subject?, kind?, forged?} | signs and sends this body once, now: {status} |
| POST stop | ends the mock |
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from time import time
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from core.sdk.courier import Courier
from core.sdk.faults import FAULTS, Fault, Faulty, Handler
from core.sdk.limits import Window
from core.sdk.player import Player, Queued
from core.sdk.simulator import Push, Simulator, answer
from core.sdk.story import STRIDE

TICK = 0.1
_SETTINGS = frozenset(field.name for field in fields(Fault) if not field.name.startswith("_"))


class Mock:
    """A running mock. `url` is its base address; a simulator's routes stand below it as the source has them. Times are
    those of the event loop."""

    def __init__(self, simulator: Simulator, player: Player, courier: Courier, limit: int) -> None:
        self.simulator, self.player, self.courier, self.limit = simulator, player, courier, limit
        self.url = ""
        self.requests = 0  # of the API, also those that were refused
        self.stopped = asyncio.Event()
        self.touched = asyncio.get_running_loop().time()
        self.today = time  # the machine's time of day, which rate limits tell
        self.rows = 0  # at most so many per page; 0: as many as the source gives
        self.faulty = Faulty(simulator, self.stopped, self._shift)
        self._window = self._windowed(getattr(simulator, "per", 60.0))

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=20_000_000)
        app[_MOCK] = self
        app.add_routes(self.simulator.routes())
        control = {
            "GET state": self._state, "GET deliveries": self._deliveries, "POST ring": self._ring,
            "POST step": self._step, "POST beat": self._beat, "POST pace": self._pace, "GET clock": self._clock,
            "POST clock": self._clock, "POST fault": self._fault, "POST target": self._target,
            "POST limit": self._limit, "POST rows": self._rows, "POST retries": self._retries,
            "POST push": self._push, "POST stop": self._stop,
        }  # fmt: skip
        for words, handler in control.items():
            method, name = words.split()
            app.router.add_route(method, f"/_mock/{name}", handler)
        return app

    def send(self, queued: Sequence[Queued]) -> None:
        self.courier.put(queued)

    async def play(self) -> None:
        """Until cancelled, stopped or idle for too long."""
        self.send(self.player.restored())
        while not self.stopped.is_set():
            self.send(self.player.due())
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopped.wait(), TICK)

    def _shift(self, beats: int) -> None:
        self.send(self.player.touch(beats))
        self.send(self.player.step(beats))

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.touched = asyncio.get_running_loop().time()
        if request.path.startswith("/_mock/"):
            return await handler(request)
        self.requests += 1
        limit = getattr(self.simulator, "limit_of", lambda request, limit: limit)(request, self.limit)
        remaining, reset = self._window.spend(limit, asyncio.get_running_loop().time())
        headers = self.simulator.rate_headers(limit, max(remaining, 0), reset, int(self.today() * 1000))
        if not self.simulator.authorized(request):
            return answer(self.simulator.failure(401), 401)
        if fault := self.faulty.take(request):
            return await self.faulty.answer(fault, request, handler, headers)
        if remaining < 0:
            wait = {"Retry-After": str(reset)} if getattr(self.simulator, "tells_wait", True) else {}
            return answer(self.simulator.failure(429), 429, {**headers, **wait})
        response = await handler(request)
        await self.faulty.note(request, response)
        if UNMETERED not in response:
            response.headers.update(headers)
        return response

    def _windowed(self, per: float) -> Window:
        return Window(per, rolling=getattr(self.simulator, "rolling", False))

    async def _state(self, request: web.Request) -> web.Response:
        log = self.courier.log
        shown: dict[str, Any] = {
            "name": self.simulator.name, "n": self.player.n, "cycle": self.player.n // STRIDE, "pace": self.player.pace,
            "clock": self.player.clock.now(), "requests": self.requests, "queue": len(self.courier),
            "spilled": self.courier.spilled, "off": self.courier.off,
            "acknowledged": sum(200 <= entry["status"] < 300 for entry in log), "struck": self.faulty.struck,
            "hasty": self.faulty.hasty,
            "counts": self.simulator.counts(),
        }  # fmt: skip
        if request.query.get("truth") != "0":
            shown["truth"] = self.simulator.truth()
        return answer(shown)

    async def _deliveries(self, request: web.Request) -> web.Response:
        return answer(list(self.courier.log))

    async def _ring(self, request: web.Request) -> web.Response:
        who, pushes = self.player.ring((await _body(request)).get("phone"))
        self.send(pushes)
        return answer(who, 200 if who["call"] else 404)

    async def _step(self, request: web.Request) -> web.Response:
        self.send(self.player.step(int((await _body(request)).get("beats", 1))))
        return answer({"n": self.player.n})

    async def _beat(self, request: web.Request) -> web.Response:
        wanted = await _body(request)
        pushes = self.player.insert(wanted["kind"], wanted["ref"], wanted.get("data", {}))
        self.send(pushes)
        return answer({"pushes": len(pushes)})

    async def _pace(self, request: web.Request) -> web.Response:
        self.player.set_pace(float((await _body(request))["pace"]))
        return answer({"pace": self.player.pace})

    async def _clock(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            wanted = await _body(request)
            self.player.set_clock(wanted.get("now"), wanted.get("rate"))
            self.courier.look()
        return answer({"now": self.player.clock.now(), "rate": self.player.clock.rate})

    async def _fault(self, request: web.Request) -> web.Response:
        wanted = await _body(request)
        kind = str(wanted.get("kind"))
        if kind not in FAULTS:
            return answer({"error": f"no fault {kind!r}; there are: {', '.join(FAULTS)}"}, 400)
        if unknown := sorted(wanted.keys() - _SETTINGS):
            return answer({"error": f"a fault has no {unknown[0]!r}; there are: {', '.join(sorted(_SETTINGS))}"}, 400)
        match kind:
            case "refuse":
                for _ in range(int(wanted.get("times", 1))):
                    self.send(self.player.insert("refuse", "", {}))
            case "none":
                self.faulty.faults.clear()
            case _:
                self.faulty.faults.append(Fault(**{**wanted, "kind": kind}))
        return answer({"waiting": self.faulty.waiting})

    async def _target(self, request: web.Request) -> web.Response:
        self.courier.target = str((await _body(request)).get("url", ""))
        return answer({"target": self.courier.target})

    async def _limit(self, request: web.Request) -> web.Response:
        wanted = await _body(request)
        if "daily" in wanted:
            if not hasattr(self.simulator, "daily"):
                return answer({"error": f"{self.simulator.name} has no limit of a day"}, 400)
            self.simulator.daily = int(wanted["daily"])
        if "requests" in wanted or "per" in wanted:
            self.limit = int(wanted.get("requests", self.limit))
            self._window = self._windowed(float(wanted.get("per") or self._window.per))
        return answer({"limit": self.limit, "per": self._window.per})

    async def _retries(self, request: web.Request) -> web.Response:
        schedule = getattr(self.simulator, "schedule", ()) if (await _body(request)).get("source") else ()
        self.courier.keep(schedule)
        return answer({"schedule": list(schedule)})

    async def _rows(self, request: web.Request) -> web.Response:
        self.rows = int((await _body(request))["rows"])
        return answer({"rows": self.rows})

    async def _push(self, request: web.Request) -> web.Response:
        wanted = await _body(request)
        push = Push(wanted.get("subject", ""), wanted["body"], wanted.get("kind", ""), bool(wanted.get("forged")))
        try:
            return answer({"status": await self.courier.send(push)})
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return answer({"status": 0, "error": type(error).__name__})

    async def _stop(self, request: web.Request) -> web.Response:
        asyncio.get_running_loop().call_later(0.05, self.stopped.set)
        return answer({"stopping": True})


_MOCK: web.AppKey[Mock] = web.AppKey("mock", Mock)
UNMETERED: web.ResponseKey[bool] = web.ResponseKey("unmetered", bool)  # an answer that tells no rate limits


def now(request: web.Request) -> int:
    """The mock's time of day, epoch ms."""
    return request.app[_MOCK].player.clock.now()


def set_live(request: web.Request) -> None:
    """The webhook is switched on; what waits is tried at once."""
    mock = request.app[_MOCK]
    mock.player.insert("webhook.on", "", {})
    mock.courier.resume()


def page_size(request: web.Request, asked: int) -> int:
    """How many rows this page may have: what was asked for, unless the mock was told to give less."""
    most = request.app[_MOCK].rows
    return min(asked, most) if most else asked


async def _body(request: web.Request) -> dict[str, Any]:
    raw = await request.read()
    return dict(orjson.loads(raw)) if raw else {}
