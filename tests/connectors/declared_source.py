"""A declared source for tests: what it says when nothing else is said, and an Http that answers by a function."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from core.config import Connection
from core.sdk import Payload, Response
from schemas.event import Event

NOW = datetime(2026, 1, 12, 6, 47, tzinfo=UTC)
MS = int(NOW.timestamp() * 1000)
DESK: dict[str, Any] = {
    "vendor": "desk", "title": "Desk", "category": "helpdesk", "account": "example", "api": "https://api.example.com",
    "proof": {"get": "/me"},
    "mapping": {"person": [{"entity": "person", "clock": "changed", "fields": {"display_name": "name"}}]},
}  # fmt: skip
Ask = Callable[[str, str, Mapping[str, Any], Any], Any]


class Source:
    """An sdk.Http that answers by a function; `asked` are the requests, `ms` the time of day."""

    def __init__(self, ask: Ask, headers: Mapping[str, str] | None = None) -> None:
        self._ask, self._headers, self.ms = ask, dict(headers or {}), MS
        self.asked: list[tuple[str, str, dict[str, Any], Any]] = []

    async def request(
        self, method: str, path: str, *, params: Any = None, json: Any = None, headers: Any = None
    ) -> Response:
        self.asked.append((method, path, dict(params or {}), json))
        answer = self._ask(method, path, params or {}, json)
        if isinstance(answer, Response):
            return answer
        return Response(200, self._headers, answer, self.ms)

    async def get(self, path: str, **params: str | int) -> Response:
        return await self.request("GET", path, params=params)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.ms / 1000, UTC)


def people(**rest: Any) -> dict[str, Any]:
    return {"streams": [{"name": "people", "kind": "person", "get": "/people", "rows": "rows", **rest}]}


def rows(*ids: int) -> list[dict[str, Any]]:
    return [{"id": id, "changed": MS - 60_000 + id} for id in ids]


def mapped(connection: Connection, data: Any, **rest: Any) -> list[Event]:
    return list(connection.connector.normalize(Payload("person", data, "example", False, MS, **rest)))
