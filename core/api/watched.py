"""What a monitor asks of a process that need not serve the API: is it well, and its figures. No people, no doors."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from core.api.problem import problems
from core.api.route import answer
from core.log import SILENT

Ready = Mapping[str, Callable[[], Awaitable[str | None]]]
_IDLE = 75.0  # seconds after which a connection without a whole request is closed
_PATIENCE = 1.0  # seconds that requests and open feeds have to end when the process stops


async def readiness(ready: Ready) -> web.Response:
    """200 where no check finds anything wrong, else 503, with what each found."""
    checks = {name: await check() for name, check in ready.items()}
    well = not any(checks.values())
    return answer({"ready": well, "checks": checks}, status=200 if well else 503)


def alive() -> web.Response:
    return answer({"status": "ok"})


def figures(metrics: Callable[[], bytes]) -> web.Response:
    """Prometheus' text format, 0.0.4."""
    return web.Response(body=metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


@asynccontextmanager
async def watched(metrics: Callable[[], bytes], ready: Ready, host: str, port: int) -> AsyncIterator[str]:
    """Serve /healthz, /readyz and /metrics alone until the end of the block; yields the address. Raises OSError where
    it is taken."""

    async def handle_alive(_: web.Request) -> web.StreamResponse:
        return alive()

    async def handle_ready(_: web.Request) -> web.StreamResponse:
        return await readiness(ready)

    async def handle_figures(_: web.Request) -> web.StreamResponse:
        return figures(metrics)

    application = web.Application(middlewares=[problems])
    for path, handler in (("/healthz", handle_alive), ("/readyz", handle_ready), ("/metrics", handle_figures)):
        application.router.add_get(path, handler)
    async with serving(application, host, port) as address:
        yield address


@asynccontextmanager
async def serving(application: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """Listen until the end of the block; yields the address. Raises OSError where it is taken."""
    # PRIVACY: no access log: paths and queries hold ids, numbers and addresses.
    runner = web.AppRunner(
        application, access_log=None, logger=SILENT, shutdown_timeout=_PATIENCE, keepalive_timeout=_IDLE
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0]
        yield f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"
    finally:
        await runner.cleanup()
