"""Access tokens, for whoever has an admin one."""

from aiohttp import web

from core.api.problem import Problem
from core.api.route import Call, Route, answer
from core.api.tokens import new_token, revoke
from core.errors import ConfigError
from core.sdk import from_ms
from schemas.answers import NewToken, Revoked, Token, TokenOrder, Tokens


async def _list(call: Call) -> web.StreamResponse:
    rows = sorted(await call.room.store.tokens("token"), key=lambda row: (row.created, row.name))
    shown = [
        Token(
            name=row.name,
            scopes=row.scopes.split(),
            created=from_ms(row.created) or "",
            expires=from_ms(row.expires or None),
        )
        for row in rows
    ]
    return answer(Tokens(tokens=shown))


async def _add(call: Call) -> web.StreamResponse:
    order = call.body
    try:
        secret = await new_token(call.room.store, order.name, order.scopes, call.room.now())
    except ConfigError as error:
        raise Problem(400, str(error)) from None
    return answer(NewToken(name=order.name, scopes=order.scopes, token=secret))


async def _revoke(call: Call) -> web.StreamResponse:
    name = call.path["name"]
    if not await revoke(call.room.store, name):
        raise Problem(404, f"there is no token {name!r}", "`hub token list` names them")
    return answer(Revoked(name=name))


ROUTES = (
    Route("GET", "/v1/tokens", _list, Tokens, "Access tokens, without their secrets.", scope="admin"),
    Route("POST", "/v1/tokens", _add, NewToken, "Make an access token; its secret is told this once.",
          scope="admin", body=TokenOrder, problems=(400,)),
    Route("DELETE", "/v1/tokens/{name}", _revoke, Revoked, "Drop an access token; its feeds end.",
          scope="admin", problems=(404,)),
)  # fmt: skip
