"""One budget of requests per source account, for all connections and purposes of this process. See core.ingest.quota.

What the source tells in its headers is the truth; before that, and where it tells nothing, `Connector.quota` is.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from core.config.model import Connection
from core.errors import RateLimitedError
from core.ingest import rates
from core.ingest.allowance import Allowance
from core.ingest.claims import Claims, Purse, patience
from core.ingest.quota import LOOK, PURPOSES, Meter, Purpose, Window, usable
from core.ingest.status import Clock
from core.metrics import Metrics
from core.sdk import Connector, Quota, RateHeaders

Sleep = Callable[[float], Awaitable[None]]

_UNKNOWN = 1.0  # seconds for which a source's count holds, where nobody says how long its window is


class Budget:
    """Of one source account. `reserve` is the largest that a connection of it asks for."""

    def __init__(self, name: str, quotas: Sequence[Quota], clock: Clock) -> None:
        self.name = name
        self.reserve = 0.0
        self._claims: tuple[Claims, str] | None = None
        self._purses: dict[str, Purse] = {}
        self.meters = [_meter(each) for each in quotas]
        self.waiting: Counter[Purpose] = Counter()
        self._clock = clock
        self._not_before = 0.0  # epoch seconds; the source asked all our requests to wait until then
        self._told = 0.0  # until when the other processes know of

    @asynccontextmanager
    async def spending(self, purpose: Purpose, path: str, sleep: Sleep, longest: float) -> AsyncIterator[None]:
        """Wait for one's turn, and hold one request of the budget until the block is left. Raises RateLimitedError
        where the source wants a longer pause than `longest` seconds."""
        meters = [meter for meter in self.meters if meter.path in path]
        await self._turn(meters, purpose, sleep, longest)
        for meter in meters:
            meter.start(purpose)
        try:
            yield
        except RateLimitedError:
            await self._tell()
            raise
        finally:
            for meter in meters:
                meter.land(purpose, self._now())

    async def _turn(self, meters: Sequence[Meter], purpose: Purpose, sleep: Sleep, longest: float) -> None:
        self.waiting[purpose] += 1
        try:
            while (
                wait := self._wait(meters, purpose, longest)
                or await self._claim(meters, purpose)
                or await self._heard(longest)
            ):
                await sleep(wait)
        finally:
            self.waiting[purpose] -= 1

    def _wait(self, meters: Sequence[Meter], purpose: Purpose, longest: float) -> float:
        if pause := self._pause(longest):
            return pause
        now = self._now()
        waiting = [each for each in PURPOSES if self.waiting[each]]
        waits = [(meter.wait(purpose, waiting, self.reserve, now), meter) for meter in meters]
        wait, meter = max(waits, key=lambda each: each[0], default=(0.0, None))
        if meter and wait > 2 * longest:
            limit = f"{meter.limit} requests in {meter.window.per:.0f} s"
            message = f"what we may ask {self.name} is used up: it allows {limit}"
            raise RateLimitedError(message, retry_after=timedelta(seconds=wait))
        return min(wait, LOOK)

    def _pause(self, longest: float) -> float:
        """Seconds of silence that the source still wants."""
        pause = max(0.0, self._not_before - self._now())
        if pause > longest:
            raise RateLimitedError(f"{self.name} wants a pause", retry_after=timedelta(seconds=pause))
        return pause

    async def _heard(self, longest: float) -> float:
        """The same, as another process was told."""
        if self._claims:
            claims, key = self._claims
            until = await claims.paused(key)
            self._not_before, self._told = max(until, self._not_before), max(until, self._told)
        return self._pause(longest)

    async def _tell(self) -> None:
        """Many requests are refused at once, and say the same."""
        if self._claims and self._not_before > max(self._now(), self._told + LOOK):
            claims, key = self._claims
            self._told = self._not_before
            await claims.pause(key, self._not_before - self._now())

    def share(self, claims: Claims, key: str) -> None:
        """With other processes, which know this budget under the same key."""
        if self._claims != (claims, key):
            self._claims = claims, key
            # An allowance is counted by the source, for all processes.
            shared = (meter for meter in self.meters if not isinstance(meter, Allowance))
            self._purses = {meter.path: Purse(claims, f"{key}{meter.path}") for meter in shared}

    async def _claim(self, meters: Sequence[Meter], purpose: Purpose) -> float:
        """Seconds until to ask again, because other processes have taken all; 0 where they have not."""
        for meter in meters:
            purse, per = self._purses.get(meter.path), meter.window.per
            if purse is None or meter.limit is None or isinstance(meter, Allowance):
                continue
            if not await purse.take(purpose, usable(meter.limit, self.reserve), per, self._clock):
                return LOOK if purpose in ("lookup", "live") else patience(per)
        return 0.0

    def hear(self, names: RateHeaders, headers: Mapping[str, str]) -> None:
        """What a source's headers say: by `names` of the first limit that counts everything, by their own names of
        allowances."""
        now = self._clock()
        for meter in self.meters:
            if isinstance(meter, Allowance) and (told := rates.told(meter.headers, headers, now)):
                meter.told(told.remaining, now.timestamp(), limit=told.limit, until=told.until)
        if not (told := rates.told(names, headers, now)):
            return
        found = (meter for meter in self.meters if not meter.path and not isinstance(meter, Allowance))
        meter = next(found, None) or Meter(None, Window(_UNKNOWN))
        if meter not in self.meters:
            self.meters.append(meter)
        if told.per:
            meter.window.per = told.per
        meter.told(told.remaining, now.timestamp(), limit=told.limit, until=told.until)

    def refused(self, names: RateHeaders, headers: Mapping[str, str], said: Collection[str]) -> timedelta | None:
        """The source has had too many requests; `said` are the codes of its answer. Returns how long to wait, None
        where nobody knows."""
        now = self._clock()
        for meter in self.meters:
            if isinstance(meter, Allowance) and meter.policy and meter.policy in said:
                asked = rates.asked(meter.headers, headers, now)
                until = meter.refused(now.timestamp(), (now + asked).timestamp() if asked else None)
                return timedelta(seconds=until - now.timestamp())
        if wait := rates.asked(names, headers, now):
            self.hold(wait)
        return wait

    def hold(self, wait: timedelta) -> None:
        """The source wants silence."""
        self._not_before = max(self._not_before, self._now() + wait.total_seconds())

    def document(self) -> dict[str, Any]:
        """JSON-ready; of the limits that count everything the one with the least left. `paused_until` in epoch ms."""
        now = self._now()
        found: dict[str, Any] = {
            "waiting": {purpose: self.waiting[purpose] for purpose in PURPOSES if self.waiting[purpose]},
            "paused_until": int(self._not_before * 1000) if self._not_before > now else None,
        }
        known = [meter for meter in self.meters if not meter.path and meter.limit is not None]
        if meter := min(known, key=lambda each: each.left(self.reserve, now) or 0, default=None):
            found |= {
                "limit": meter.limit,
                "per": meter.window.per,
                "reserve": int((meter.limit or 0) * self.reserve),
                "left": meter.left(self.reserve, now),
            }
        return found

    def _now(self) -> float:
        return self._clock().timestamp()


def _meter(quota: Quota) -> Meter:
    window = Window(quota.per.total_seconds())
    if quota.headers is None:
        return Meter(quota.requests, window, quota.path)
    return Allowance(quota.requests, window, quota.path, headers=quota.headers, policy=quota.policy)


class Treasury:
    """All budgets of a process. `accounts`: the connections' source accounts, as far as they are known; it is looked
    at again and again. `claims`: other processes ask the same sources."""

    def __init__(
        self,
        connections: Mapping[str, Connection],
        accounts: Mapping[str, str],
        clock: Clock,
        metrics: Metrics | None = None,
        claims: Claims | None = None,
    ) -> None:
        self._connections = connections
        self._accounts = accounts
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._claims = claims
        self._budgets: dict[tuple[str, ...], Budget] = {}

    def budget(self, name: str) -> Budget:
        """Of a connection: its own until its account is known, then that of all connections of the account."""
        connection = self._connections[name]
        connector: Connector[Any] = connection.connector
        base, account = connector.base_url(connection.settings), self._accounts.get(name)
        alone = (connector.name, base, "", name)
        key = alone if account is None else (connector.name, base, account)
        if key not in self._budgets:
            made = Budget(connector.title, connector.quota(connection.settings), self._clock)
            self._budgets[key] = self._budgets.pop(alone, made)
        budget = self._budgets[key]
        if self._claims:
            budget.share(self._claims, "|".join(key))
        budget.reserve = max(budget.reserve, connection.settings.reserve)
        return budget

    @asynccontextmanager
    async def spending(
        self, name: str, purpose: Purpose, path: str, sleep: Sleep, longest: float
    ) -> AsyncIterator[None]:
        """See Budget.spending; `name` is the connection's."""
        async with self.budget(name).spending(purpose, path, sleep, longest):
            self._metrics.requests.labels(name, purpose).inc()
            yield
