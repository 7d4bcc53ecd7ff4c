"""`hub acknowledge`: what has changed in a source's payloads is known."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from core.cli.options import CONFIG, JSON, YAML


def acknowledge(
    connection: Annotated[str, typer.Argument(help="As hub.yaml names it.")], config: CONFIG = YAML, json: JSON = False
) -> None:
    """Take away what hub status says of fields that are new, missing or changed; the next change is told again."""
    from core.cli.client import connect
    from core.cli.terminal import emit, finish, say
    from core.config import load

    async def asked() -> dict[str, Any]:
        async with connect(load(config), write=True) as client:
            path = f"/v1/sources/{quote(connection, safe='')}/acknowledge"
            return await client.post(path, {}, absent="`hub status` names them")

    answer = finish(asked())
    if json:
        emit(answer)
        return
    say(f"{connection}: what has changed until now is known")
