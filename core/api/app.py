"""The listener: every route, in the order of the doors that a request passes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from importlib.metadata import version

from aiohttp import web

from core.api import access, admin, customers, lookup, page, sources
from core.api.feed import FeedQuery, feed
from core.api.follower import Follower
from core.api.guard import doorkeeper, harden
from core.api.openapi import document
from core.api.problem import continued, problems
from core.api.room import FOLLOWER, ROOM, Room
from core.api.route import Call, Route, answer
from core.api.watched import serving

_BODY_AT_MOST = 64 * 1024


def app(room: Room) -> web.Application:
    """The API as an aiohttp application; it follows the store between its start-up and its clean-up."""
    table = routes()
    application = web.Application(middlewares=[problems, doorkeeper], client_max_size=_BODY_AT_MOST)
    application[ROOM] = room
    application[FOLLOWER] = Follower(room.store)
    application.on_response_prepare.append(harden)
    application.cleanup_ctx.append(_following)
    application.on_shutdown.append(_close)
    for route in table:
        application.router.add_route(route.method, route.path, route.__call__, expect_handler=continued)
        if route.method == "GET" and route.handler is not feed:
            application.router.add_route("HEAD", route.path, route.__call__, expect_handler=continued)
    application.add_routes(page.routes())
    return application


def routes() -> list[Route]:
    """The API's route table, from which OpenAPI is made, too."""
    table = [
        *lookup.ROUTES,
        *customers.ROUTES,
        *sources.ROUTES,
        Route(
            "GET", "/v1/feed", feed, "text/event-stream", "Every change of a customer: a snapshot, then deltas.",
            scope="feed", query=FeedQuery, problems=(400, 404),
        ),
        *admin.ROUTES,
        *access.ROUTES,
    ]  # fmt: skip

    async def describe(_: Call) -> web.StreamResponse:
        return answer(described)

    table.append(Route("GET", "/v1/openapi.json", describe, "application/json", "This document.", scope=None))
    described = document(table, version("supporthub"))
    return table


@asynccontextmanager
async def listening(room: Room, host: str, port: int) -> AsyncIterator[str]:
    """Serve until the end of the block; yields the address (`http://127.0.0.1:8080`; port 0 takes a free one).

    `host` may be named by browsers. Raises OSError where the address is taken.
    """
    application = app(replace(room, hosts=room.hosts | {host}))
    async with serving(application, host, port) as address:
        yield address


async def _following(application: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(application[FOLLOWER].run(), name="api: follow the store")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _close(application: web.Application) -> None:
    application[FOLLOWER].close()
