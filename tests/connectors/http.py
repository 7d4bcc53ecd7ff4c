"""A plain `sdk.Http` over aiohttp for tests: real requests, the errors that the engine's client raises, no retries."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

import aiohttp

from core.errors import PermanentError, RateLimitedError, TransientError, UnauthorizedError, translated
from core.sdk import Response

Note = tuple[str, str, dict[str, Any], Any, int, Any]  # method, path, parameters, body, status, answer


class PlainHttp:
    """`clock` gives the time of day; `asked` are the paths and parameters asked for, in order."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        headers: Mapping[str, str],
        now_ms: Callable[[], int],
        timeout: float,
    ) -> None:
        self._session, self._base, self._headers, self.clock = session, base_url.rstrip("/"), headers, now_ms
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self.asked: list[tuple[str, dict[str, str | int]]] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        url = path if path.startswith("http") else f"{self._base}/{path.lstrip('/')}"
        if not url.startswith(self._base.split("/", 3)[0] + "//" + self._base.split("/")[2]):
            raise PermanentError(f"another host: {url}")
        started = self.clock()
        sent = {**self._headers, **(headers or {})}
        self.asked.append((url.removeprefix(self._base), dict(params or {})))
        with translated({aiohttp.ClientError: TransientError, TimeoutError: TransientError, OSError: TransientError}):
            async with self._session.request(
                method, url, params=params, json=json, headers=sent, timeout=self._timeout
            ) as answer:
                body = await answer.read()
                lower = {key.lower(): value for key, value in answer.headers.items()}
                _raise_for(answer.status, method, path, lower)
                data = None
                if body:
                    if "json" not in answer.content_type:
                        raise TransientError(f"{method} {path}: {answer.content_type} is not JSON")
                    data = await answer.json()
        return Response(answer.status, lower, data, started)

    async def get(self, path: str, **params: str | int) -> Response:
        return await self.request("GET", path, params=params)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock() / 1000, UTC)


class Noted:
    """An Http that notes what was asked and answered."""

    def __init__(self, http: PlainHttp) -> None:
        self._http = http
        self.notes: list[Note] = []

    async def request(
        self, method: str, path: str, *, params: Any = None, json: Any = None, headers: Any = None
    ) -> Response:
        asked = (method, path, dict(params or {}), json)
        try:
            response: Response = await self._http.request(method, path, params=params, json=json, headers=headers)
        except PermanentError as error:
            self.notes.append((*asked, error.status or 0, None))
            raise
        self.notes.append((*asked, response.status, response.data))
        return response

    async def get(self, path: str, **params: str | int) -> Response:
        return await self.request("GET", path, params=params)

    def now(self) -> datetime:
        return self._http.now()


def _raise_for(status: int, method: str, path: str, headers: Mapping[str, str]) -> None:
    if status < 300:
        return
    what = f"{method} {path}: {status}"
    if status == 401:
        raise UnauthorizedError(what)
    if status == 429:
        wait = headers.get("retry-after")
        raise RateLimitedError(what, retry_after=timedelta(seconds=float(wait)) if wait else None)
    if status >= 500:
        raise TransientError(what)
    raise PermanentError(what, status=status, headers=headers)


@asynccontextmanager
async def plain_http(
    base_url: str,
    headers: Mapping[str, str] | None = None,
    *,
    now_ms: Callable[[], int] = lambda: int(time() * 1000),
    timeout: float = 30.0,
) -> AsyncIterator[PlainHttp]:
    """For instance `async with plain_http(mock.url + "/v1", CONNECTOR.auth(config)) as http`."""
    async with aiohttp.ClientSession() as session:
        yield PlainHttp(session, base_url, headers or {}, now_ms, timeout)
