"""The kit for contract mocks: a source's API as a real HTTP server on 127.0.0.1, over a world that plays the story.

A connector's `mock.py` gives two module-level names:

    def simulator(seed: int, secrets: Mapping[str, str]) -> Simulator   # secrets: setting -> value; absent: DEMO's
    DEMO: Mapping[str, str]   # settings that the hub fills into the connection where `mock: true` stands

A `Simulator` is the world of one source (see the protocol below). Its handlers are plain aiohttp handlers that read the
time with `now(request)` (epoch ms), ask `page_size(request, wanted)` for rows per page and answer with `answer(data,
status=200)`; authentication, rate limits, faults and everything under `/_mock/` are the kit's. `apply` must depend on
its arguments alone: a restarted mock replays it.

    await serve(simulator(7, {}), port=8201, target="http://127.0.0.1:8081/hooks/aircall", state=Path("aircall.json"))
    async with running(simulator(7, {}), pace=0) as mock: ...    # for tests: mock.url, mock.player, mock.courier

What stands under `/_mock/` is told in `core.sdk.mockserver`, what can be made to fail in `core.sdk.faults`.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp
import orjson
from aiohttp import web

from core.sdk.courier import Courier
from core.sdk.mockserver import UNMETERED, Mock, now, page_size, set_live
from core.sdk.player import Clock, Player
from core.sdk.simulator import Push, Simulator, answer
from core.sdk.story import STRIDE

__all__ = ["UNMETERED", "Clock", "Mock", "Push", "Simulator", "answer", "next_cycle", "now", "page_size", "running",
           "serve", "set_live"]  # fmt: skip

IDLE = 900.0  # seconds without a request after which a mock ends, so that nothing is orphaned for ever


def next_cycle(states: Sequence[Path]) -> int:
    """The cycle at which mocks that stopped together go on together: give it to each of them."""
    kept = [orjson.loads(path.read_bytes()) for path in states if path.exists()]
    return max((-(-saved["n"] // STRIDE) for saved in kept), default=0)


@asynccontextmanager
async def running(
    simulator: Simulator,
    *,
    port: int = 0,
    target: str = "",
    pace: float = 1.0,
    clock: Clock | None = None,
    state: Path | None = None,
    cycle: int | None = None,
    limit: int | None = None,
) -> AsyncIterator[Mock]:
    """A mock that plays until the block is left. `port` 0 takes a free one; `cycle` as `next_cycle` says."""
    clock = clock or Clock()
    player = Player(simulator, clock, pace, state, cycle)
    pause: Callable[[int, int, float], float] = getattr(simulator, "pause", lambda status, attempt, at: 0.0)

    def switched(on: bool) -> None:
        player.insert("webhook.on" if on else "webhook.off", "", {})

    async with aiohttp.ClientSession() as session:
        courier = Courier(session, target, simulator.sign, timeout=simulator.timeout, retries=simulator.retries,
                          now=clock.now, done=player.acknowledged, pause=pause, switched=switched,
                          forgives=getattr(simulator, "forgives", False))  # fmt: skip
        mock = Mock(simulator, player, courier, limit or simulator.limit)
        runner = web.AppRunner(mock.application(), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            mock.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            tasks = [asyncio.create_task(courier.run()), asyncio.create_task(mock.play())]
            for task in tasks:
                task.add_done_callback(lambda _: mock.stopped.set())
            try:
                yield mock
            finally:
                mock.stopped.set()
                for task in tasks:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                player.save()
        finally:
            await runner.cleanup()
    for result in results:
        if isinstance(result, Exception):
            raise result


async def serve(
    simulator: Simulator,
    *,
    port: int,
    target: str,
    pace: float = 1.0,
    clock: Clock | None = None,
    state: Path | None = None,
    cycle: int | None = None,
    ready: Callable[[Mock], None] = lambda mock: None,
    idle: float = IDLE,
) -> None:
    """Runs a mock until SIGTERM, SIGINT, `/_mock/stop`, or `idle` seconds without a request or an accepted webhook.

    `ready` is called once with the running mock (its `url` names the port). Raises OSError where the port is taken.
    """
    async with running(simulator, port=port, target=target, pace=pace, clock=clock, state=state, cycle=cycle) as mock:
        with _signals(mock.stopped.set):
            ready(mock)
            await _idle(mock, idle)


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    loop, names = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
    for name in names:
        loop.add_signal_handler(name, stop)
    try:
        yield
    finally:
        for name in names:
            loop.remove_signal_handler(name)


async def _idle(mock: Mock, most: float) -> None:
    """Until the mock is stopped, or nobody has asked it anything or taken a webhook for so many seconds."""
    loop = asyncio.get_running_loop()
    while not mock.stopped.is_set() and loop.time() - max(mock.touched, mock.courier.heard) <= most:
        with suppress(TimeoutError):
            await asyncio.wait_for(mock.stopped.wait(), min(5.0, most / 2))
