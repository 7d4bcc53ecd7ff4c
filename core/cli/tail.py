"""`hub tail`: follows the feed, one line per change, and goes on where it stopped when the hub comes back."""

import sys
from typing import Annotated, Any

import typer

from core.cli.options import CONFIG, YAML

_PAUSE = 1.0  # seconds before the hub is looked for again


def tail(
    config: CONFIG = YAML,
    customer: Annotated[str | None, typer.Option(help="Only this customer, by any of its ids.")] = None,
    entity: Annotated[str | None, typer.Option(help="Only changes of these: call,conversation.")] = None,
    ringing: Annotated[bool, typer.Option("--ringing", help="Only while a call rings, and when it ends.")] = False,
    staff: Annotated[str | None, typer.Option(help="Only what is assigned to this key.")] = None,
    since: Annotated[str | None, typer.Option(help="Go on behind this position, such as 1-233.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Begin with everything that is there.")] = False,
    count: Annotated[int, typer.Option("--count", "-n", help="End after so many changes; 0: never.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="The changes as they come, one JSON object per line.")] = False,
) -> None:
    """Follow the feed: one line per change. Survives a restart of the hub without gap or double."""
    from core.cli.terminal import finish
    from core.config import load

    filters = {"customer": customer, "entity": entity, "ringing": "1" if ringing else None, "staff": staff}
    params = {**filters, "snapshot": None if all_ or since else "0"}
    finish(_follow(load(config), params, since, count, json))


async def _follow(config: Any, params: dict[str, str | None], last: str | None, count: int, json: bool) -> None:
    import asyncio

    from core.cli.client import connect
    from core.cli.terminal import warn
    from core.errors import TransientError

    seen, lost = 0, False
    async with connect(config, running=config.store.type == "sqlite") as client:
        show = _shown(client, json)
        while True:
            try:
                async for frame in client.feed(params, last):
                    if lost:
                        warn("the hub is back")
                        lost = False
                    last = frame.id or last
                    if frame.event == "reset":
                        warn("the hub began a new generation: everything comes again")
                    if frame.event != "customer":
                        continue
                    await show(frame.data)
                    seen += 1
                    if seen == count:
                        return
            except TransientError as error:
                if not lost:
                    warn(f"{error}; waiting for it (Ctrl-C ends)")
                lost = True
            await asyncio.sleep(_PAUSE)


def _shown(client: Any, json: bool) -> Any:
    import orjson

    from core.cli.terminal import clock, say
    from core.cli.words import ApiLook, Words, plainly

    words = Words(ApiLook(client))

    async def raw(data: bytes) -> None:
        sys.stdout.write(data.decode() + "\n")
        sys.stdout.flush()

    async def line(data: bytes) -> None:
        change = orjson.loads(data)
        word, sentence = await words.line(change) or plainly(change)
        say(f"{clock()} {word:6} {sentence}")

    return raw if json else line
