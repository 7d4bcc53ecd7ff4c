"""`hub ledger`: what a connection brought, what webhooks missed, and which objects were repaired."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from core.cli.options import CONFIG, JSON, YAML


def ledger(
    connection: Annotated[str, typer.Argument(help="As hub.yaml names it.")],
    hours: Annotated[int, typer.Option(min=1, max=2160, help="So many hours back.")] = 24,
    limit: Annotated[int, typer.Option(min=0, max=1000, help="At most so many repaired objects.")] = 20,
    config: CONFIG = YAML,
    json: JSON = False,
) -> None:
    """Show by hour what came and what webhooks missed, and name the objects that sweeps repaired."""
    from core.cli.client import connect
    from core.cli.terminal import ago, emit, finish, local, say, table
    from core.config import load

    async def asked() -> dict[str, Any]:
        async with connect(load(config)) as client:
            path = f"/v1/sources/{quote(connection, safe='')}/ledger"
            return await client.get(path, hours=hours, limit=limit, absent="`hub status` names them")

    answer = finish(asked())
    if json:
        emit(answer)
        return
    rows = [
        (
            local(row["hour"]),
            row.get("stream"),
            row["way"],
            *(row.get(name) or "" for name in ("received", "missing", "early", "repaired")),
        )
        for row in answer["hours"]
    ]
    head = ("hour", "stream", "way", "received", "missing", "early", "repaired")
    table(head, rows, empty=f"Nothing came within {hours} h.")
    say()
    repaired = [(ago(row["at"]), row["stream"], row["found"], row["key"]) for row in answer["repaired"]]
    table(("repaired", "stream", "it was", "object"), repaired, empty="Nothing had to be repaired.")
