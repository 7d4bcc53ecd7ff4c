"""The engine's HTTP client for connectors: paced, retried, bounded; credentials go to the source's own host only.

Messages name method, host and path, never the query, headers or bodies: those may hold secrets and people.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import aiohttp
import tenacity
from yarl import URL

from core.config.model import Connection
from core.errors import PermanentError, RateLimitedError, TransientError, UnauthorizedError
from core.ingest import rates
from core.ingest.answers import codes, parsed
from core.ingest.oauth import Keyring, Token
from core.ingest.quota import Purpose
from core.ingest.status import Clock, ms
from core.ingest.treasury import Budget, Sleep, Treasury
from core.sdk import Response

MOST_BYTES = 64_000_000
MOST_REDIRECTS = 3


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request is tried: waits in seconds. A source that wants a longer pause than `longest` gets it, but
    the caller is told instead of kept waiting."""

    tries: int = 5
    first: float = 0.5
    longest: float = 60.0
    timeout: float = 30.0


class Client:
    """An sdk.Http for one connection. As it is made it asks for a person who waits for the answer; see `of`."""

    def __init__(
        self,
        connection: Connection,
        session: aiohttp.ClientSession,
        clock: Clock,
        *,
        patience: Patience | None = None,
        sleep: Sleep = asyncio.sleep,
        treasury: Treasury | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        self._connection = connection
        self._session = session
        self._clock = clock
        self._patience = patience or Patience()
        self._sleep = sleep
        self._treasury = treasury or Treasury({connection.name: connection}, {}, clock)
        self._keyring = keyring or Keyring(session, clock, None)
        self._purpose: Purpose = "lookup"

    def of(self, purpose: Purpose) -> "Client":
        """The same client; what it asks is paid from this purpose's share of the budget."""
        other = copy.copy(self)
        other._purpose = purpose
        return other

    # Both are the connector's code, and its mistakes belong to the request, or no other connection could start.
    @cached_property
    def _base(self) -> URL:
        return URL(self._connection.connector.base_url(self._connection.settings))

    @cached_property
    def _token(self) -> Token | None:
        return self._keyring.token(self._connection)

    def now(self) -> datetime:
        return self._clock()

    async def get(self, path: str, **params: str | int) -> Response:
        return await self.request("GET", path, params=params)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        url = self._url(path)
        if params:
            url = url.update_query({name: str(value) for name, value in params.items()})
        patient = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(self._worth_repeating),
            wait=self._wait,
            stop=tenacity.stop_after_attempt(self._patience.tries),
            sleep=self._sleep,
            reraise=True,
        )
        return await patient(self._once, method, url, json, dict(headers or {}))

    def _url(self, path: str) -> URL:
        if "://" not in path and not path.startswith("//"):
            return URL(str(self._base).rstrip("/") + "/" + path.lstrip("/"))
        url = _read(path, self._base.host)
        if url.origin() != self._base.origin():
            # SECURITY: a page's link must not carry the credentials elsewhere.
            raise PermanentError(f"{self._base.host} names an address on another host")
        return url

    async def _once(self, method: str, url: URL, json: Any, headers: dict[str, str]) -> Response:
        for _ in range(MOST_REDIRECTS):
            answer = await self._sent(method, url, json, headers)
            if isinstance(answer, Response):
                return answer
            url = answer
        raise PermanentError(f"{_shown(method, url)}: too many redirects")

    async def _sent(self, method: str, url: URL, json: Any, headers: dict[str, str]) -> Response | URL:
        """The answer, or where it redirects to. Every failure is raised as one of ours."""
        if self._token is None:
            return await self._paid(method, url, json, headers)
        access = await self._token.get()
        try:
            return await self._paid(method, url, json, {"Authorization": f"Bearer {access}", **headers})
        except UnauthorizedError:
            self._token.refused(access)
        access = await self._token.get()
        return await self._paid(method, url, json, {"Authorization": f"Bearer {access}", **headers})

    async def _paid(self, method: str, url: URL, json: Any, headers: dict[str, str]) -> Response | URL:
        name, patience = self._connection.name, self._patience
        async with self._treasury.spending(name, self._purpose, url.path, self._sleep, patience.longest):
            return await self._exchanged(method, url, json, headers)

    async def _exchanged(self, method: str, url: URL, json: Any, headers: dict[str, str]) -> Response | URL:
        shown = _shown(method, url)
        connector, settings = self._connection.connector, self._connection.settings
        started = ms(self._clock())
        with _translated(shown):
            async with self._session.request(
                method,
                url,
                json=json,
                headers={"Accept": "application/json", **connector.auth(settings), **headers},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._patience.timeout, connect=self._patience.timeout / 2),
            ) as answer:
                names = {name.lower(): value for name, value in answer.headers.items()}
                self._budget.hear(connector.rate_headers, names)
                if 300 <= answer.status < 400:
                    return self._redirected(method, url, answer.status, names)
                if answer.status >= 400:
                    said = await _said(answer, shown) if answer.status == 429 else frozenset()
                    raise self._error(shown, answer.status, names, said)
                body = await _bounded(answer, shown)
        return Response(answer.status, names, parsed(shown, method, answer.status, body), started)

    @property
    def _budget(self) -> Budget:
        return self._treasury.budget(self._connection.name)

    def _redirected(self, method: str, url: URL, status: int, headers: Mapping[str, str]) -> URL:
        to = url.join(_read(headers.get("location", ""), url.host))
        if to == url or status == 304:
            raise PermanentError(f"{_shown(method, url)}: answered {status}", status=status, headers=headers)
        if to.origin() != self._base.origin():
            # SECURITY: the credentials stay with the host that they are for.
            raise PermanentError(f"{_shown(method, url)}: redirected to another host", status=status, headers=headers)
        if method != "GET" and status not in (307, 308):
            raise PermanentError(f"{_shown(method, url)}: redirected ({status})", status=status, headers=headers)
        return to

    def _error(self, shown: str, status: int, headers: Mapping[str, str], said: Collection[str]) -> Exception:
        match status:
            case 429:
                wait = self._budget.refused(self._connection.connector.rate_headers, headers, said)
                return RateLimitedError(f"{shown}: too many requests (429)", retry_after=wait)
            case 401:
                return UnauthorizedError(f"{shown}: the credentials are refused (401)")
            case _ if status in (408, 425) or status >= 500:
                # When the window of its rate limit ends says nothing of when the source is well again.
                wait = rates.later(headers.get("retry-after", ""), self._clock())
                return TransientError(f"{shown}: answered {status}", retry_after=wait)
            case _:
                return PermanentError(f"{shown}: answered {status}", status=status, headers=headers)

    def _worth_repeating(self, error: BaseException) -> bool:
        """Not what a person must repair, and not what the source wants to hear of much later."""
        if not isinstance(error, TransientError) or isinstance(error, UnauthorizedError):
            return False
        return error.retry_after is None or error.retry_after.total_seconds() <= self._patience.longest

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after.total_seconds() if isinstance(error, TransientError) and error.retry_after else 0.0
        first, longest = self._patience.first, self._patience.longest
        return asked + tenacity.wait_exponential_jitter(multiplier=first, max=longest, jitter=first)(state)


@asynccontextmanager
async def sessions() -> AsyncIterator[aiohttp.ClientSession]:
    """One pool of connections for all sources; no cookies, no proxies from the environment."""
    connector = aiohttp.TCPConnector(limit=100, limit_per_host=8)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@contextmanager
def _translated(shown: str) -> Iterator[None]:
    """The library's errors as ours; by their class only, because their texts may quote the address."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        what = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        raise TransientError(f"{shown}: {what}") from error


async def _bounded(answer: aiohttp.ClientResponse, shown: str) -> bytes:
    chunks, size = [], 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > MOST_BYTES:
            raise PermanentError(f"{shown}: the answer is larger than {MOST_BYTES} bytes", status=answer.status)
        chunks.append(chunk)
    return b"".join(chunks)


async def _said(answer: aiohttp.ClientResponse, shown: str) -> frozenset[str]:
    """What a refusal says by code. One whose body cannot be read is a refusal all the same."""
    try:
        return codes(await _bounded(answer, shown))
    except (aiohttp.ClientError, TimeoutError, OSError, PermanentError):
        return frozenset()


def _read(address: str, host: str | None) -> URL:
    try:
        return URL(address)
    except ValueError:
        raise PermanentError(f"{host} names an address that is none") from None


def _shown(method: str, url: URL) -> str:
    return f"{method} {url.host}{url.path}"
