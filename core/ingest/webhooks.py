"""The listener for webhooks, the only door to publish: bounded bodies in, an answer once the bus has them.

No line in the log per request: what is refused and what breaks is counted and said once (see status.py).
"""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import orjson
import structlog
from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from core.config.model import Connection, Server
from core.deadletter import reason_of
from core.errors import TransientError
from core.ingest.intake import Intake, Outcome
from core.ingest.status import Board, Clock, ms
from core.log import SILENT
from core.sdk import Delivery, Webhook

BODY_SECONDS = 30  # within which a body must have come
IDLE_SECONDS = 75  # after which a connection without a whole request is closed
MOST_BYTES = 32_000_000  # of all bodies that are being read or published; more are asked to come again
STOP_SECONDS = 2  # that requests get to finish when the listener stops
RETRY_AFTER = timedelta(seconds=5)
_UNREAD = frozenset({400, 408, 413, 415})

log = structlog.get_logger()


class _Refused(Exception):
    """`detail` is for the sender and counts as the reason; `said` is for who runs the hub, where that is more."""

    def __init__(self, status: int, detail: str, said: str = "", remedy: str | None = None, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.said, self.remedy = status, said or detail, remedy
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Listener:
    """Answers `POST /hooks/<connection>` and `/hooks/<connection>/<secret>`. Known shapes of answers: 202 kept, 207
    kept but for some items, 401 not proved, 403 another account, 404, 405, 408, 413, 415, 503 with Retry-After; all
    from 400 on are problem+json."""

    def __init__(
        self,
        intake: Intake,
        connections: Mapping[str, Connection],
        board: Board,
        clock: Clock,
        *,
        public_url: str = "",
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._intake = intake
        self._connections = connections
        self._board = board
        self._clock = clock
        self._public_url = public_url.rstrip("/")
        self._free = most_bytes
        self._mistakes: set[str] = set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, from its first byte to its answer."""
        try:
            return await self._answer(request)
        except _Refused as refused:
            return _problem(refused.status, str(refused), refused.headers)
        except TransientError as error:
            seconds = math.ceil((error.retry_after or RETRY_AFTER).total_seconds())
            return _problem(503, "not taken, please send it again later", {"Retry-After": str(max(1, seconds))})
        except Exception as error:
            if (mistake := reason_of(error)) not in self._mistakes and len(self._mistakes) < 100:
                self._mistakes.add(mistake)
                log.error("a delivery failed by a mistake of ours; said once", reason=mistake)
            return _problem(500, "not taken: a mistake of the hub")

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        received = ms(self._clock())
        connection, secret = self._find(request)
        webhook = self._webhook(connection, request.method, secret)
        if request.method == "HEAD" and request.method in webhook.methods:
            return web.Response(status=200)
        try:
            outcome = await self._outcome(request, connection, secret, received)
        except TransientError:
            self._board.turned_away(connection.name)
            raise
        if outcome.status not in (202, 207):
            return _problem(outcome.status, outcome.detail)
        return _told(outcome) if webhook.tells else web.Response(status=202)

    async def _outcome(self, request: web.BaseRequest, connection: Connection, secret: str, received: int) -> Outcome:
        try:
            body = await self._body(request, connection)
        except _Refused as refused:
            self._board.received(connection.name)
            self._board.refused(connection.name, refused.said, str(refused), refused.status, refused.remedy)
            raise
        try:
            return await self._intake.delivery(connection.name, self._delivery(request, body, secret), received)
        finally:
            self._free += len(body)

    def _find(self, request: web.BaseRequest) -> tuple[Connection, str]:
        """The path as it was sent: only its parts are decoded."""
        parts = request.raw_path.partition("?")[0].split("/")
        if len(parts) not in (3, 4) or parts[:2] != ["", "hooks"]:
            raise _Refused(404, "webhooks are under /hooks/<connection>")
        connection = self._connections.get(unquote(parts[2]))
        if connection is None:
            raise _Refused(404, "no such connection")
        return connection, unquote(parts[3]) if len(parts) == 4 else ""

    def _webhook(self, connection: Connection, method: str, secret: str) -> Webhook[Any]:
        webhook = connection.connector.webhook
        if webhook is None or not webhook.enabled(connection.settings):
            raise _Refused(404, "this connection polls only: no webhook secret is set for it")
        if secret and not webhook.path_secret:
            raise _Refused(404, "this connection's address ends with its name")
        if method not in webhook.methods:
            raise _Refused(405, f"{method} is not for webhooks", Allow=", ".join(sorted(webhook.methods)))
        return webhook

    async def _body(self, request: web.BaseRequest, connection: Connection) -> bytes:
        """The decompressed body; it counts against the budget of all bodies until the caller gives it back."""
        limit = connection.settings.max_body
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "deflate", ""):
            raise _Refused(415, "bodies may be plain, gzip or deflate", Accept_Encoding="gzip, deflate")
        if (request.content_length or 0) > limit:
            raise _too_large(connection)
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                # aiohttp decompresses by and by, so that a bomb is stopped here before it goes off.
                async for chunk in request.content.iter_any():
                    self._free -= len(chunk)
                    body += chunk
                    if len(body) > limit:
                        raise _too_large(connection)
                    if self._free < 0:
                        raise TransientError("too many bodies at once")
        except BaseException as error:
            self._free += len(body)
            match error:
                case TimeoutError():
                    raise _Refused(408, "the body did not come in time") from None
                case ClientPayloadError() | HttpProcessingError() | web.RequestPayloadError():
                    raise _Refused(400, "the body is broken") from None
                case _:
                    raise
        return bytes(body)

    def _delivery(self, request: web.BaseRequest, body: bytes, secret: str) -> Delivery:
        # HubSpot signs the address as it was called, percent-escapes included.
        address = self._public_url or f"http://{request.headers.get('Host', '')}"
        return Delivery(
            request.method,
            address + request.raw_path,
            {name.lower(): _text(value) for name, value in request.headers.items()},
            body,
            {_text(name): _text(value) for name, value in request.query.items()},
            secret,
        )


@asynccontextmanager
async def listening(listener: Listener, server: Server, *, idle: float = IDLE_SECONDS) -> AsyncIterator[str]:
    """Serve on `server.webhooks`; yields the address, `http://host:port` (port 0 chooses a free one). Who says nothing
    or trickles headers for `idle` seconds is hung up on.

    On leaving requests in progress get two seconds. Raises OSError where the address cannot be bound.
    """
    host, _, port = server.webhooks.rpartition(":")
    web_server = web.Server(listener.handle, access_log=None, logger=SILENT, lingering_time=1.0, keepalive_timeout=idle)
    runner = web.ServerRunner(web_server, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host.strip("[]") or None, int(port), backlog=1024)
        await site.start()
        bound = runner.addresses[0]
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        yield f"http://{shown}:{bound[1]}"
    finally:
        await runner.cleanup()


def _too_large(connection: Connection) -> _Refused:
    said = f"the body is too large: more than {connection.settings.max_body:,} bytes"
    swept = bool(connection.connector.streams)
    rest = "; what it told of comes with the next sweep" if swept else ", or send smaller batches"
    return _Refused(413, "the body is too large", said, f"raise connections.{connection.name}.max_body{rest}")


def _told(outcome: Outcome) -> web.Response:
    refused = sum(item["status"] == "refused" for item in outcome.items)
    body = {"accepted": len(outcome.items) - refused, "refused": refused, "items": outcome.items}
    return web.Response(body=orjson.dumps(body), status=outcome.status, content_type="application/json")


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """RFC 9457."""
    body = orjson.dumps({"type": "about:blank", "status": status, "detail": detail})
    answer = web.Response(body=body, status=status, headers=headers, content_type="application/problem+json")
    if status in _UNREAD:
        answer.force_close()  # what is left of the body is not worth reading
    return answer


def _text(value: str) -> str:
    """Header bytes that are no UTF-8 come as lone surrogates."""
    return value if value.isascii() else value.encode(errors="ignore").decode()
