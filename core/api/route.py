"""A route is a value: path, scope and shapes in one place, from which the server and OpenAPI are both made."""

import difflib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from core.api.guard import require
from core.api.problem import Problem
from core.api.room import ROOM, Room
from schemas.entities import Shape


class NoQuery(Shape):
    """A path that takes no parameters."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a handler sees it: `query` and `body` as the route's models parsed them, `path` by name."""

    room: Room
    request: web.Request
    query: Any
    body: Any
    path: Mapping[str, str]


Answering = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """`answer` is the model of the JSON answered with 200, or a media type. `scope` None: open to everybody who
    reaches the listener. `problems` are the statuses that the handler itself may answer."""

    method: str
    path: str
    handler: Answering
    answer: type[BaseModel] | str
    summary: str
    scope: str | None = "read"
    query: type[Shape] = NoQuery
    body: type[Shape] | None = None
    problems: tuple[int, ...] = ()
    also: Mapping[int, str] = field(default_factory=dict)  # other good statuses: 304

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if self.scope:
            await require(request, self.scope)
        _storable(request.path, *request.query.values())
        query = _query(self.query, request)
        body = await _body(self.body, request) if self.body else None
        return await self.handler(Call(request.app[ROOM], request, query, body, request.match_info))


def answer(shape: BaseModel | Mapping[str, Any], status: int = 200, **headers: str) -> web.Response:
    """JSON. A shape leaves out what is at its default; a mapping goes as it is."""
    raw = (
        shape.model_dump_json(exclude_none=True).encode() if isinstance(shape, BaseModel) else orjson.dumps(dict(shape))
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(
        body=raw, status=status, content_type="application/json", headers={"Cache-Control": "no-store", **named}
    )


def _storable(*texts: str) -> None:
    """PostgreSQL has no NUL in texts, and so nothing here can be named with one."""
    if any("\0" in text for text in texts):
        raise Problem(400, "the request holds a NUL character", "leave it out")


def _query(model: type[Shape], request: web.Request) -> Shape:
    given = request.query
    names = [parameter.alias or name for name, parameter in model.model_fields.items()]
    errors = {name: "given twice" for name in given if len(given.getall(name)) > 1}
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            errors[name] = f"unknown parameter; did you mean {near[0]}?" if near else "unknown parameter"
    try:
        query = model.model_validate_strings({name: given[name] for name in given if name in names})
    except ValidationError as error:
        raise _bad(errors | _by_name(model, error), names) from None
    if errors:
        raise _bad(errors, names)
    return query


async def _body(model: type[Shape], request: web.Request) -> Shape:
    try:
        raw = await request.read()
    except web.RequestPayloadError as error:
        raise Problem(400, "the body cannot be read to its end", "send it as its headers say") from error
    _storable(raw.decode(errors="replace").replace(r"\u0000", "\0"))
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        fields = ", ".join(model.model_fields)
        raise Problem(400, "the body is wrong", f"send JSON with: {fields}", errors=_by_name(model, error)) from None


def _by_name(model: type[Shape], error: ValidationError) -> dict[str, str]:
    # PRIVACY: what is wrong, never the value that was sent.
    found = {}
    for each in error.errors(include_input=False):
        field = model.model_fields.get(str(each["loc"][0])) if each["loc"] else None
        looks = each["type"] == "string_pattern_mismatch" and field is not None and field.examples
        said = f"write it as in {looks[0]}" if looks else each["msg"]
        found[".".join(map(str, each["loc"])) or "body"] = said
    return found


def _bad(errors: Mapping[str, str], names: list[str]) -> Problem:
    remedy = f"parameters here: {', '.join(names)}" if names else "this path takes no parameters"
    return Problem(400, f"wrong parameters: {', '.join(sorted(errors))}", remedy, errors=errors)
