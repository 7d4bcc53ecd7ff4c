"""`python -m tests.simulated CLOCK -c hub.yaml`: `hub run`, all roles, whose time of day a file tells.

For journeys that take days. The file is JSON: {"now": epoch ms, "at": Unix time at which that was, "rate": its speed}.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson

from core import hub, log
from core.cli.run import _until_stopped
from core.cli.story import tell
from core.config import load


def clock_of(path: Path) -> Callable[[], datetime]:
    """The file is read at each look: the test may move it while the hub runs."""

    def clock() -> datetime:
        told = orjson.loads(path.read_bytes())
        now = told["now"] + (time.time() - told["at"]) * 1000 * told["rate"]
        return datetime.fromtimestamp(now / 1000, UTC)

    return clock


def main(clock: str, _: str, config: str) -> None:
    log.setup()
    with asyncio.Runner() as runner:
        work = hub.run(load(Path(config)), frozenset(hub.ROLES), tell, clock=clock_of(Path(clock)))
        runner.run(_until_stopped(work))


if __name__ == "__main__":
    main(*sys.argv[1:])
