"""`hub run`: starts the hub and tells what happens in the terminal."""

from collections.abc import Coroutine
from typing import Annotated

import typer

from core.cli.options import CONFIG, YAML


def run(
    config: CONFIG = YAML,
    role: Annotated[
        list[str] | None, typer.Option(help="ingest, process, publish or api; may be repeated. Left out: all of them.")
    ] = None,
) -> None:
    """Run the hub: take webhooks, poll, fold records, publish and serve them. Ctrl-C stops it in order."""
    import asyncio
    import sys

    import uvloop

    from core import hub, log
    from core.cli.story import tell
    from core.cli.terminal import number, say
    from core.config import load

    loaded = load(config)
    roles = frozenset(role or hub.ROLES)
    # The story tells of refusals on the same terminal.
    log.setup(told_elsewhere={"delivery refused"} if sys.stdout.isatty() and "api" in roles else ())
    if loaded.demo or sys.stdout.isatty():
        mocked = " (mock)" if loaded.demo else ""
        say(f"environment ready · {config.name} ok · {number(len(loaded.connections), 'connection')}{mocked}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_stopped(hub.run(loaded, roles, tell)))


async def _until_stopped(work: Coroutine[None, None, None]) -> None:
    """Ctrl-C and SIGTERM cancel; a second one does not wait."""
    import asyncio
    import signal
    import sys

    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if stopping:
            sys.exit(1)
        stopping = True
        task.cancel()

    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not stopping:
            raise
