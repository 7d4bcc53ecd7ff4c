"""`hub backfill`: lets streams of a connection begin anew."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from core.cli.options import CONFIG, JSON, YAML


def backfill(
    connection: Annotated[str, typer.Argument(help="As hub.yaml names it.")],
    stream: Annotated[
        str | None, typer.Argument(help="As hub status names it; all, where none is given (listings aside).")
    ] = None,
    since: Annotated[str | None, typer.Option(help="How far back, such as 90d; else as hub.yaml says.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Believe a listing, however many objects it says are gone.")
    ] = False,
    config: CONFIG = YAML,
    json: JSON = False,
) -> None:
    """Read streams again from their beginning: after a loss on the bus, or with a longer `since:`.

    Nothing is forgotten meanwhile, and what is known already changes nothing. A hub that runs begins at once, otherwise
    the next `hub run` does; hub status shows how far it is.
    """
    from core.cli.client import connect
    from core.cli.terminal import emit, finish, say
    from core.config import load

    async def asked() -> dict[str, Any]:
        async with connect(load(config), write=True) as client:
            order = {"stream": stream, "since": since, "accept": accept}
            path = f"/v1/sources/{quote(connection, safe='')}/backfill"
            return await client.post(path, order, absent="`hub status` names them")

    answer = finish(asked())
    if json:
        emit(answer)
        return
    say(f"{connection}: {', '.join(answer['streams'])} begin anew; hub status shows how far they are")
