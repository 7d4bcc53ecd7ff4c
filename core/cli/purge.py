"""`hub purge`: takes a connection out again."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from core.cli.options import CONFIG, JSON, YAML


def purge(
    connection: Annotated[str, typer.Argument(help="Its name, as hub.yaml had it; take it out there first.")],
    source: Annotated[str | None, typer.Option(help="VENDOR/ACCOUNT, where the hub does not know it any more.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: CONFIG = YAML,
    json: JSON = False,
) -> None:
    """Take a connection out again: the records become those of a hub that never had it, and subscribers are told.

    Gone are its objects, what joined customers through it, its dead letters, cursors and counts, its messages on the
    bus (dead letters there within their 30 days), and its OAuth tokens in this data folder. Who was erased stays
    erased. It works while the hub runs and while it does not; interrupted, give it again. Adding the connection later
    fetches everything anew.
    """
    from core.cli.terminal import emit, finish, number, say
    from core.config import load
    from core.errors import ConfigError

    loaded = load(config, bare=True)
    if connection in loaded.connections:
        raise ConfigError(f"{config} still has the connection {connection!r}: take it out there first")
    answer = finish(_purged(loaded, connection, source, yes))
    if answer is None:
        say("nothing was changed")
        raise typer.Exit(1)
    if json:
        emit(answer)
        return
    say(f"{connection} ({answer['source']}) is gone: {number(answer['purged'], 'object')} forgotten")


async def _purged(config: Any, connection: str, source: str | None, yes: bool) -> dict[str, Any] | None:
    from core.cli.client import connect
    from core.cli.terminal import number, progress, say

    path = f"/v1/sources/{quote(connection, safe='')}/purge"
    async with connect(config, write=True) as client:
        plan = await client.post(path, {"source": source})
        total = sum(plan["objects"].values())
        if not yes:
            for entity, count in sorted(plan["objects"].items()):
                say(f"  {entity:20} {count}")
            told = f"{number(total, 'object')} and {number(plan['letters'], 'dead letter')} of {plan['source']}"
            if not typer.confirm(f"{told} will be forgotten for good. Go on?", default=False):
                return None
        order = {"source": plan["source"], "confirmed": True}
        with progress("purge", total) as done:
            answer = await client.post(path, order)
            while not answer["done"]:
                done(total - sum(answer["objects"].values()))
                answer = await client.post(path, {**order, "at": answer["at"]})
        return {"connection": connection, "source": plan["source"], "purged": total}
