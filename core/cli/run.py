"""`hub run`: starts the hub and tells what happens in the terminal."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from core import hub, log
from core.cli.story import tell
from core.config import load

CONFIG = Annotated[Path, typer.Option("--config", "-c", help="The file to run on.", envvar="HUB_CONFIG")]


def run(
    config: CONFIG = Path("hub.yaml"),
    role: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(hub.ROLES)}; default: all.")] = None,
) -> None:
    """Run the hub: take webhooks, poll, fold records, publish and serve them. Ctrl-C stops it in order."""
    loaded = load(config)
    log.setup()
    roles = frozenset(role or hub.ROLES)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_stopped(hub.run(loaded, roles, tell)))


async def _until_stopped(work: "asyncio.coroutines.Coroutine[None, None, None]") -> None:  # type: ignore[name-defined]
    """Ctrl-C and SIGTERM cancel; a second one does not wait."""
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
