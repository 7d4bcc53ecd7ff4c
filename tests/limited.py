"""A source that enforces its limit to the letter, and a clock that runs faster than ours."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from aiohttp import web

from core.config.model import Connection
from core.sdk import Quota, RateHeaders
from tests.source import CONNECTOR, Config, Source

HEADERS = RateHeaders("x-remaining", "x-reset", "x-limit")
LIMIT, PER = 60, 3.0  # of a source that several processes ask
START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class Fast:
    """A time of day that runs `speed` times as fast, and sleeps that are so much shorter."""

    def __init__(self, speed: float = 50.0) -> None:
        self.speed, self._began = speed, monotonic()

    def now(self) -> datetime:
        return START + timedelta(seconds=(monotonic() - self._began) * self.speed)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)


class Still(Fast):
    """A time of day that stands until it is told to pass."""

    _at = START

    def now(self) -> datetime:
        return self._at

    def pass_by(self, seconds: float) -> None:
        self._at += timedelta(seconds=seconds)


class Limited(Source):
    """`limit` requests within any `per` seconds of its clock; `least` is the smallest number that ever remained, and
    `refused` how many were told 429. `tells`: it counts down in its headers. `others`: requests of other tools."""

    def __init__(
        self, clock: Callable[[], datetime], *, limit: int = 100, per: float = 10.0, tells: bool = False
    ) -> None:
        super().__init__()
        self.limit, self.per, self.tells = limit, per, tells
        self.least, self.refused = limit, 0
        self.by_purpose: dict[str, int] = {}
        self._clock = clock
        self._taken: deque[float] = deque()

    def others(self, count: int) -> None:
        self._taken.extend([self._clock().timestamp()] * count)

    def remaining(self) -> int:
        now = self._clock().timestamp()
        while self._taken and self._taken[0] <= now - self.per:
            self._taken.popleft()
        return self.limit - len(self._taken)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        left = self.remaining() - 1
        self.least = min(self.least, left)
        purpose = request.query.get("purpose", "")
        self.by_purpose[purpose] = self.by_purpose.get(purpose, 0) + 1
        reset = f"{self._clock().timestamp() + self.per:.3f}"
        headers = {"x-remaining": str(max(0, left)), "x-reset": reset, "x-limit": str(self.limit)} if self.tells else {}
        if left < 0:
            self.refused += 1
            return web.json_response({}, status=429, headers=headers)
        self._taken.append(self._clock().timestamp())
        answer = await super().answer(request)
        answer.headers.update(headers)
        return answer

    def regular(self, request: web.Request, body: Any) -> web.Response:
        return web.json_response({"account": self.account})

    def connection(self, name: str = "desk", *, quota: int | None = None, **settings: Any) -> Connection:
        """One whose connector knows the limit, or takes it to be `quota`."""
        made = untold(name, quota or self.limit, timedelta(seconds=self.per), self.url, **settings)
        return replace(made, connector=replace(made.connector, rate_headers=HEADERS)) if self.tells else made


def untold(name: str, limit: int, per: timedelta, url: str, **settings: Any) -> Connection:
    """A connection to a source that tells nothing of its limit."""
    connector = replace(CONNECTOR, quota=lambda config: (Quota(limit, per),), rate_headers=RateHeaders())
    return Connection(name, connector, Config(type="desk", base_url=url, **settings))
