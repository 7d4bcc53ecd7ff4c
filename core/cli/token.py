"""`hub token`: access tokens for programs that use the API."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from core.cli.options import CONFIG, JSON, YAML

token = typer.Typer(no_args_is_help=True, help="Access tokens for programs: add, list, revoke.")


@token.command()
def add(
    name: Annotated[str, typer.Argument(help="What the token is for, such as `dialer`.")],
    scope: Annotated[list[str], typer.Option(help="read, feed or admin (everything); may be repeated.")],
    config: CONFIG = YAML,
    json: JSON = False,
) -> None:
    """Make a token and print it; it cannot be read again."""
    from core.cli.client import connect
    from core.cli.terminal import emit, finish, say
    from core.config import load

    async def asked() -> dict[str, Any]:
        async with connect(load(config), write=True) as client:
            return await client.post("/v1/tokens", {"name": name, "scopes": scope})

    made = finish(asked())
    if json:
        emit(made)
    else:
        say(made["token"])


@token.command("list")
def list_(config: CONFIG = YAML, json: JSON = False) -> None:
    """List tokens with their scopes; only hashes of the tokens themselves are kept."""
    from core.cli.client import connect
    from core.cli.terminal import emit, finish, local, table
    from core.config import load

    async def asked() -> dict[str, Any]:
        async with connect(load(config)) as client:
            return await client.get("/v1/tokens")

    answer = finish(asked())
    if json:
        emit(answer)
        return
    rows = [(each["name"], " ".join(each["scopes"]), local(each["created"])) for each in answer["tokens"]]
    table(("name", "scopes", "made"), rows, empty="No tokens.")


@token.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The token's name.")], config: CONFIG = YAML, json: JSON = False
) -> None:
    """Drop a token: its requests are refused at once, its feeds end within a heartbeat."""
    from core.cli.client import connect
    from core.cli.terminal import emit, finish, say
    from core.config import load

    async def asked() -> dict[str, Any]:
        async with connect(load(config), write=True) as client:
            return await client.delete(f"/v1/tokens/{quote(name, safe='')}")

    gone = finish(asked())
    if json:
        emit(gone)
    else:
        say(f"{gone['name']} is revoked")
