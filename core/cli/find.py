"""`hub find` and `hub show`: who it is, in the terminal."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from core.cli.options import CONFIG, JSON, YAML


def find(
    words: Annotated[
        list[str], typer.Argument(help="Words of a name or organization; or a phone number, or an e-mail.")
    ],
    config: CONFIG = YAML,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
    json: JSON = False,
) -> None:
    """Find customers by words; a whole phone number or e-mail is looked up, and never guessed.

    Ends with 1 where there is nobody.
    """
    from core.cli.client import connect
    from core.cli.terminal import emit, finish
    from core.config import load

    typed = " ".join(words)

    async def asked() -> dict[str, Any]:
        async with connect(load(config)) as client:
            if kind := identifier_kind(typed):
                return await client.get("/v1/lookup", **{kind: typed})
            return await client.get("/v1/customers", q=typed, limit=limit)

    answer = finish(asked())
    if json:
        emit(answer)
    else:
        _show(answer)
    if answer.get("result") == "none" or answer.get("customers") == []:
        raise typer.Exit(1)


def show(
    id: Annotated[str, typer.Argument(help="A customer's id, also a former one; `hub find` names them.")],
    config: CONFIG = YAML,
    json: JSON = False,
) -> None:
    """Show a customer's whole record."""
    from core.cli.client import connect
    from core.cli.record import lines
    from core.cli.terminal import emit, finish, say
    from core.config import load

    async def asked() -> dict[str, Any]:
        async with connect(load(config)) as client:
            return await client.get(f"/v1/customers/{quote(id, safe='')}", absent="`hub find WORDS` names them")

    record = finish(asked())
    if json:
        emit(record)
        return
    for line in lines(record):
        say(line)


def identifier_kind(typed: str) -> str | None:
    """What kind of identifier this is as a whole; None: words."""
    if "@" in typed and " " not in typed:
        return "email"
    digits = sum(map(str.isdigit, typed))
    return "phone" if digits >= 7 and not any(map(str.isalpha, typed)) else None


def _show(answer: Mapping[str, Any]) -> None:
    from core.cli.terminal import ago, say, table

    head = ("id", "name", "organization", "e-mail", "phone", "open", "waiting")
    match answer.get("result"):
        case "none":
            say(answer.get("reason") or "nobody")
        case "candidates":
            say(f"{answer['reason']}: ask for the name")
            shown = [(c["id"], c.get("name"), c.get("organization"), c.get("reason")) for c in answer["candidates"]]
            table(("id", "name", "organization", "why"), shown, empty="")
        case "one":
            table(head, [_row(answer["customer"])], empty="")
        case _:
            rows = [
                (
                    c["id"], c.get("name"), c.get("organization"), c.get("email"), c.get("phone"), c["open"] or "",
                    ago(c.get("waiting_since")),
                )
                for c in answer["customers"]
            ]  # fmt: skip
            table(head, rows, empty="Nobody is found by these words.")


def _row(record: Mapping[str, Any]) -> tuple[Any, ...]:
    from core.cli.record import LISTED, opened, value
    from core.cli.terminal import ago

    organization = (value(record, "organization") or {}).get("name")
    shown = [value(record, fact) for fact in ("email", "phone")]
    waiting = ago(record.get("waiting_since"))
    return (record["id"], value(record, "name"), organization, *shown, len(opened(record, LISTED)) or "", waiting)
