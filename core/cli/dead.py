"""`hub dead`: inputs that could not be handled; look at them, put them on their way again, or give them up."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

import typer

from core.cli.options import CONFIG, JSON, YAML

dead = typer.Typer(no_args_is_help=True, help="Inputs that could not be handled: list, show, replay, discard.")

_ABSENT = "`hub dead list` names them"
_IDS = Annotated[list[str] | None, typer.Argument(help="Letters' ids, as `hub dead list` names them.")]
_ALL = Annotated[bool, typer.Option("--all", help="All open letters.")]
_CONNECTION = Annotated[str | None, typer.Option("--connection", help="Only those of this connection.")]
_STAGE = Annotated[str | None, typer.Option("--stage", help="Only those of this stage: normalize, hydrate or fold.")]


@dead.command("list")
def list_(
    connection: _CONNECTION = None,
    stage: _STAGE = None,
    state: Annotated[str, typer.Option(help="open, replayed or discarded.")] = "open",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    config: CONFIG = YAML,
    json: JSON = False,
) -> None:
    """List dead letters with their reasons."""
    from core.cli.client import connect
    from core.cli.terminal import ago, emit, finish, table
    from core.config import load

    async def asked() -> list[dict[str, Any]]:
        async with connect(load(config)) as client:
            found: list[dict[str, Any]] = []
            async for letter in _letters(client, state, connection, stage):
                found.append(letter)
                if len(found) == limit:
                    break
            return found

    letters = finish(asked())
    if json:
        emit({"letters": letters})
        return
    rows = [(x["id"], x["connection"], x["stage"], ago(x["at"]), x["times"], x["reason"]) for x in letters]
    table(("id", "connection", "stage", "when", "times", "reason"), rows, empty=f"No {state} dead letters.")


@dead.command()
def show(
    id: Annotated[str, typer.Argument(help="The letter's id.")], config: CONFIG = YAML, json: JSON = False
) -> None:
    """Show a dead letter with its payload."""
    from core.cli.client import connect
    from core.cli.terminal import emit, finish, local, safe, say
    from core.config import load

    async def asked() -> dict[str, Any]:
        async with connect(load(config)) as client:
            return await client.get(f"/v1/dead/{quote(id, safe='')}", absent=_ABSENT)

    letter = finish(asked())
    if json:
        emit(letter)
        return
    say(f"{letter['id']} · {letter['connection']} · {letter['stage']} · {letter['state']}")
    say(f"{local(letter['at'])}, {letter['times']} times: {letter['reason']}")
    say()
    for line in _pretty(letter["payload"]).splitlines():
        say(safe(line))


def _order(verb: str, told: str) -> None:
    """A command that does something with letters, named or chosen."""

    def order(
        ids: _IDS = None,
        all_: _ALL = False,
        connection: _CONNECTION = None,
        stage: _STAGE = None,
        config: CONFIG = YAML,
        json: JSON = False,
    ) -> None:
        _handle(verb, ids, all_, connection, stage, config, json)

    order.__doc__ = told
    dead.command(verb)(order)


_order(
    "replay",
    """Put letters' inputs on their way again, after a fix. What fails once more is open again.

    Ends with 1 where one of them failed.
    """,
)
_order("discard", "Give letters up; they are kept as discarded until their time is over.")


def _handle(
    verb: str, ids: list[str] | None, all_: bool, connection: str | None, stage: str | None, config: Any, json: bool
) -> None:
    from core.cli.terminal import emit, finish, say, warn
    from core.config import load
    from core.errors import ConfigError

    if bool(ids) == bool(all_ or connection or stage):
        raise ConfigError(f"name letters' ids, or say --all (or --connection NAME): hub dead {verb} --help")
    done, failed = finish(_handled(load(config), verb, ids, connection, stage))
    if json:
        emit({"done": done, "failed": failed})
    else:
        for id, why in failed.items():
            warn(f"{id}: {why}")
        say(f"{len(done)} {verb}ed" + (f", {len(failed)} failed" if failed else ""))
    if failed:
        raise typer.Exit(1)


async def _handled(
    config: Any, verb: str, ids: list[str] | None, connection: str | None, stage: str | None
) -> tuple[list[str], dict[str, str]]:
    from core.cli.client import connect
    from core.cli.terminal import progress
    from core.errors import PermanentError

    done, failed = [], {}
    async with connect(config, write=True) as client:
        if not ids:
            ids = [letter["id"] async for letter in _letters(client, "open", connection, stage)]
        with progress(verb, len(ids)) as moved:
            for number, id in enumerate(ids, 1):
                try:
                    await client.post(f"/v1/dead/{quote(id, safe='')}/{verb}", absent=_ABSENT)
                    done.append(id)
                except PermanentError as error:
                    failed[id] = str(error)
                moved(number)
    return done, failed


async def _letters(client: Any, state: str, connection: str | None, stage: str | None) -> AsyncIterator[dict[str, Any]]:
    after: str | None = None
    while True:
        page = await client.get("/v1/dead", state=state, limit=100, after=after)
        for letter in page["letters"]:
            if connection in (None, letter["connection"]) and stage in (None, letter["stage"]):
                yield letter
        after = page.get("next")
        if not after:
            return


def _pretty(payload: str) -> str:
    import json

    try:
        return json.dumps(json.loads(payload), indent=2, ensure_ascii=False)
    except ValueError:  # it was cut
        return payload
