"""Who may come in: bearer tokens for programs, a cookie for the page, and no other web page in a visitor's browser.

SECURITY: a foreign web page reaches a private address through the visitor's browser in two ways. With DNS rebinding it
does so under its own name: requests that a browser can make (no bearer token) must name us in Host. With cross-site
requests it does so under our name: what changes something must not come from another Origin, and the session's cookie
is SameSite=Strict.
"""

import ipaddress
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from core.api.problem import Handler, Problem
from core.api.room import ROOM, Room
from core.api.tokens import scopes_of

_OPEN_TO_PROBES = frozenset({"/healthz", "/readyz"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def harden(_: web.Request, response: web.StreamResponse) -> None:
    """On every answer, feeds included: see `on_response_prepare`."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


@web.middleware
async def doorkeeper(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses what came under a foreign name or from a foreign page."""
    if request.path not in _OPEN_TO_PROBES and _bearer(request) is None and not _is_ours(request, request.app[ROOM]):
        name = "the Host header names somebody else"
        raise Problem(421, name, "use the address under which `hub run` says that it listens")
    if request.method not in _SAFE and _is_foreign(request):
        raise Problem(403, "the request comes from another site", "call the API from a program, or from its own page")
    return await handler(request)


async def require(request: web.Request, scope: str) -> None:
    """Raises Problem 401 without a valid token or session, 403 where it lacks the scope."""
    granted = await granted_to(request)
    if granted is None:
        remedy = "send `Authorization: Bearer <token>` (make one with `hub token add`); for the page: `hub open`"
        raise Problem(401, "no valid token or session", remedy, headers={"WWW-Authenticate": 'Bearer realm="hub"'})
    if scope not in granted:
        challenge = f'Bearer realm="hub", error="insufficient_scope", scope="{scope}"'
        remedy = f"make a token with it: `hub token add NAME --scope {scope}`"
        raise Problem(403, f"this needs the scope {scope}", remedy, headers={"WWW-Authenticate": challenge})


async def granted_to(request: web.Request) -> frozenset[str] | None:
    """The scopes of the request's token or session at this moment; None where there is no valid one."""
    room = request.app[ROOM]
    if hdrs.AUTHORIZATION in request.headers:
        bearer = _bearer(request)
        return await scopes_of(room.store, bearer, "token", room.now()) if bearer else None
    session = request.cookies.get(cookie_name(request))
    return await scopes_of(room.store, session, "session", room.now()) if session else None


def cookie_name(request: web.Request) -> str:
    """One per port: cookies do not tell ports apart, and a demo hub must not log one out of the real one."""
    return f"hub_{request.url.port or 80}"


def _bearer(request: web.Request) -> str | None:
    kind, _, secret = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return secret.strip() if kind.lower() == "bearer" and secret.strip() else None


def _is_foreign(request: web.Request) -> bool:
    """A browser names the page that asks; programs name none. A form of a page without referrers, as ours is, says
    `Origin: null`: there Sec-Fetch-Site tells, which no page can write (https://www.w3.org/TR/fetch-metadata/)."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin == "null":
        return request.headers.get("Sec-Fetch-Site") != "same-origin"
    try:
        return origin is not None and urlsplit(origin).netloc != request.host
    except ValueError:
        return True


def _is_ours(request: web.Request, room: Room) -> bool:
    try:
        name = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name in room.hosts:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True  # a plain address cannot be rebound: there is no name that its owner could point elsewhere
