"""`hub mock NAME`: one source's contract mock, for demos and for anybody's tests."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.options import CONFIG, YAML

if TYPE_CHECKING:
    from core.sdk.mock import Mock


def mock(
    name: Annotated[str, typer.Argument(help="The connector, for instance aircall.")],
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    target: Annotated[str, typer.Option(help="Where signed webhooks go; empty: nowhere.")] = "",
    pace: Annotated[float, typer.Option(help="Story seconds per second; 0 stands still.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed tells the same story.")] = 7,
    state: Annotated[Path | None, typer.Option(help="File in which the mock keeps where the story stands.")] = None,
    cycle: Annotated[int | None, typer.Option(help="Begin with this cycle of the story.")] = None,
    told: Annotated[Path | None, typer.Option(help="File to write address and process id to, when ready.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting: token=..., account=...")] = None,
    config: CONFIG = YAML,
) -> None:
    """Run the contract mock of one source: its API, its limits, its signed webhooks, over a world that plays a story.

    What can be driven from outside stands under /_mock/: GET state, deliveries; POST ring, step, beat, pace, clock,
    target, limit, rows, retries, push, stop.

    POST fault {kind} makes the next answers go wrong: 429, 500, 503, timeout, unauthorized, cut, html, garbled, empty,
    error, oversized, rows, redirect, again, shift, refuse; none forgets them. docs/conformance.md tells what each does.
    """
    import asyncio

    import orjson

    from core import registry
    from core.config import look_in_folders_of
    from core.errors import ConfigError
    from core.sdk.mock import serve

    look_in_folders_of(config)
    module = registry.mock(name)
    secrets = dict(module.DEMO)
    for each in set_ or ():
        setting, equals, value = each.partition("=")
        if not equals:
            raise ConfigError(f"--set {each}: write SETTING=VALUE")
        secrets[setting] = value

    def ready(running: "Mock") -> None:
        typer.echo(f"{name} mock at {running.url}")
        if told:
            temporary = told.with_suffix(".new")
            temporary.write_bytes(orjson.dumps({"url": running.url, "pid": os.getpid()}))
            temporary.replace(told)

    simulator = module.simulator(seed, secrets)
    asyncio.run(serve(simulator, port=port, target=target, pace=pace, state=state, cycle=cycle, ready=ready))
