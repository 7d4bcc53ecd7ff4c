"""`hub ring` and `hub open`: what one tries first."""

from typing import Annotated

import typer

from core.cli.options import CONFIG, JSON, YAML


def ring(
    phone: Annotated[
        str | None, typer.Argument(help="Who calls: +12025550143, or anonymous. Left out: somebody out of the story.")
    ] = None,
    config: CONFIG = YAML,
    json: JSON = False,
) -> None:
    """Let a mocked customer call: the page pops up, `hub tail` shows it."""
    import re

    from core.cli.client import connect
    from core.cli.terminal import emit, finish, say
    from core.config import load

    async def asked() -> dict[str, str]:
        async with connect(load(config), running=True) as client:
            return await client.post("/v1/ring", {"phone": re.sub(r"[ ().-]", "", phone)} if phone else {})

    rung = finish(asked())
    if json:
        emit(rung)
        return
    say(f"{rung['phone']} is calling ({rung['connection']})")


def open_page(
    config: CONFIG = YAML,
    browser: Annotated[bool, typer.Option("--browser", help="Open it here, too.")] = False,
    json: JSON = False,
) -> None:
    """Print a link that logs a browser into the page, once, within ten minutes."""
    import webbrowser

    from core.cli.client import connect
    from core.cli.terminal import emit, finish, say, warn
    from core.config import load

    async def asked() -> dict[str, str]:
        async with connect(load(config), running=True) as client:
            return await client.post("/v1/login-links")

    link = finish(asked())
    if json:
        emit(link)
    else:
        say(link["url"])
    if browser and not webbrowser.open(link["url"]):
        warn("no browser opens here: paste the link into one")
