"""Every error as problem+json (RFC 9457), with what to do about it."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import structlog
from aiohttp import HttpVersion11, hdrs, web

from core.errors import TransientError
from core.log import scrub
from schemas.answers import Problem as Shape

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = structlog.get_logger()

_REMEDIES = {
    404: "GET /v1/openapi.json lists every path",
    405: "the Allow header names the methods of this path",
    413: "send less: bodies are small here",
    415: "send application/json",
}


class Problem(Exception):
    """Raise it anywhere in a request. `errors` says per parameter what is wrong."""

    def __init__(
        self,
        status: int,
        detail: str,
        remedy: str | None = None,
        *,
        errors: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.remedy = status, detail, remedy
        self.errors = dict(errors or {})
        self.headers = dict(headers or {})
        self.instance: str | None = None

    def response(self) -> web.Response:
        shape = Shape(
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            remedy=self.remedy,
            errors=self.errors,
            instance=self.instance,
        )
        return web.Response(
            status=self.status,
            body=shape.model_dump_json(exclude_defaults=True).encode(),
            content_type="application/problem+json",
            headers={"Cache-Control": "no-store", **self.headers},
        )


async def continued(request: web.Request) -> web.StreamResponse | None:
    """What becomes of `Expect`, which aiohttp looks at before any middleware."""
    expected = request.headers.get(hdrs.EXPECT, "")
    if request.version >= HttpVersion11 and expected.lower() != "100-continue":
        return Problem(417, "nothing but 100-continue can be expected here", "leave the Expect header out").response()
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun
    return None


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost middleware: whatever fails below leaves as a problem."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _of_http(error).response()
    except TransientError as error:
        after = str(max(1, int(error.retry_after.total_seconds()))) if error.retry_after else "1"
        log.warning("api: unavailable", reason=str(error))
        return Problem(503, scrub(str(error)), "try again after Retry-After", headers={"Retry-After": after}).response()
    except Exception:
        failed = Problem(500, "the hub failed here", "look for `instance` in the hub's log")
        failed.instance = f"urn:hub:error:{secrets.token_hex(6)}"
        # PRIVACY: the route's pattern, never the path or the query: they hold ids, numbers and addresses.
        route = request.match_info.route.resource
        log.exception("api: request failed", instance=failed.instance, route=route and route.canonical)
        return failed.response()


def _of_http(error: web.HTTPException) -> Problem:
    detail = {404: "there is nothing at this path", 405: "this path does not know this method"}.get(
        error.status, error.reason.lower()
    )
    headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    return Problem(error.status, detail, _REMEDIES.get(error.status), headers=headers)
