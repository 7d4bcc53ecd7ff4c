"""The page: its files, the login link that opens a session, and logging out. The page's data comes from the API.

The files hold no data, so they are served to everybody; what a logged-out visitor sees says what to do.
"""

from importlib.resources import files

from aiohttp import hdrs, web

from core.api.guard import cookie_name
from core.api.problem import Problem
from core.api.room import ROOM
from core.api.tokens import SESSION_MS, hashed, open_session

_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
_REFUSED = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Link used up</title><link rel="stylesheet" href="/static/page.css"></head>
<body><main class="notice"><h1>This link no longer works</h1>
<p>It was used already, or is older than ten minutes. In the hub's folder, run</p>
<pre><code>hub open</code></pre><p>as you started it (<code>.venv/bin/hub open</code>) for a new one.</p>
</main></body></html>
"""


def _read() -> dict[str, tuple[bytes, str]]:
    folder = files("core.api") / "static"
    return {
        each.name: (each.read_bytes(), _TYPES[each.name.rpartition(".")[2]])
        for each in folder.iterdir()
        if each.name.rpartition(".")[2] in _TYPES
    }


def routes() -> list[web.RouteDef]:
    """`/`, `/static/{name}`, `/login/{once}`, `/logout`."""
    static = _read()

    async def page(_: web.Request) -> web.Response:
        return _file(*static["index.html"])

    async def file(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in static:
            raise Problem(404, "there is no such file", "GET /")
        return _file(*static[name])

    return [
        web.get("/", page),
        web.get("/static/{name}", file),
        web.get("/login/{once}", _login, allow_head=False),  # a HEAD would use the link up and show nothing
        web.post("/logout", _logout),
    ]


def _file(body: bytes, kind: str) -> web.Response:
    return web.Response(body=body, content_type=kind, charset="utf-8", headers={"Cache-Control": "no-cache"})


async def _login(request: web.Request) -> web.Response:
    room = request.app[ROOM]
    session = await open_session(room.store, request.match_info["once"], room.now())
    if session is None:
        return web.Response(status=410, body=_REFUSED, content_type="text/html", charset="utf-8")
    response = web.Response(status=303, headers={hdrs.LOCATION: "/", "Cache-Control": "no-store"})
    response.set_cookie(
        cookie_name(request),
        session,
        path="/",
        max_age=SESSION_MS // 1000,
        httponly=True,
        samesite="Strict",
        secure=request.secure,
    )
    return response


async def _logout(request: web.Request) -> web.Response:
    session = request.cookies.get(cookie_name(request))
    if session:
        row = await request.app[ROOM].store.token(hashed(session))
        if row is not None and row.kind == "session":
            await request.app[ROOM].store.take_token(row.hash)
    response = web.Response(status=303, headers={hdrs.LOCATION: "/", "Cache-Control": "no-store"})
    response.del_cookie(cookie_name(request), path="/", httponly=True, samesite="Strict", secure=request.secure)
    return response
