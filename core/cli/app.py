"""The application: its commands, and what becomes of errors. Exit codes: 0 done, 1 failed, 2 wrong use or hub.yaml.

Commands import what they need when they run, so that `hub --help` and mistyped commands answer at once.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from core.cli.acknowledge import acknowledge
from core.cli.attempt import attempt
from core.cli.backfill import backfill
from core.cli.check import check
from core.cli.conform import connectors, test_connector
from core.cli.dead import dead
from core.cli.demo import open_page, ring
from core.cli.docs import docs
from core.cli.find import find, show
from core.cli.importing import import_
from core.cli.ledger import ledger
from core.cli.mock import mock
from core.cli.new import new
from core.cli.purge import purge
from core.cli.rebuild import rebuild
from core.cli.run import run
from core.cli.schema import schema
from core.cli.status import status
from core.cli.tail import tail
from core.cli.token import token
from core.errors import ConfigError, HubError, PermanentError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="One live customer record out of the support tools that a team already has.",
)


def _examples(*lines: str) -> str:
    return "\n\n".join(["For example:", *lines])


def _version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import version

    typer.echo(f"supporthub {version('supporthub')}")
    raise typer.Exit


@app.callback()
def hub(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    pass


app.command(epilog=_examples("hub run", "hub run -c live.yaml --role ingest --role api"))(run)
app.command(epilog=_examples("hub check", "hub check --live"))(check)
app.command(epilog=_examples("hub status", "hub status --json"))(status)
app.command(epilog=_examples("hub ledger intercom", "hub ledger intercom --hours 72 --limit 1000 --json"))(ledger)
app.command(epilog=_examples("hub backfill hubspot --since 90d", "hub backfill hubspot 'all contact' --accept"))(
    backfill
)
app.command(epilog=_examples("hub acknowledge intercom"))(acknowledge)
app.command("open", epilog=_examples("hub open", "hub open --browser"))(open_page)
app.command(epilog=_examples("hub ring", "hub ring +12025550143"))(ring)
app.command(epilog=_examples("hub tail", "hub tail --ringing", "hub tail --all --json -n 100"))(tail)
app.command(epilog=_examples("hub find dana reyes", "hub find +12025550143", "hub find dana@example.com --json"))(find)
app.command(epilog=_examples("hub show d4a911db95acaf761c61"))(show)
app.add_typer(dead, name="dead", epilog=_examples("hub dead list", "hub dead replay --connection aircall"))
app.command(epilog=_examples("hub rebuild"))(rebuild)
app.command(epilog=_examples("hub purge desk", "hub purge desk --source intercom/ab12cd --yes"))(purge)
app.command("import", epilog=_examples("hub import orders.csv --connection erp --map orders.yaml --dry-run"))(import_)
app.add_typer(token, name="token", epilog=_examples("hub token add dialer --scope read --scope feed"))
app.command("try", epilog=_examples("hub try aircall delivery.json", "hub try aircall - --json < delivery.json"))(
    attempt
)
app.command(epilog=_examples("hub connectors", "hub connectors --json"))(connectors)
app.command("test-connector", epilog=_examples("hub test-connector aircall", "hub test-connector --json"))(
    test_connector
)
app.command(
    epilog=_examples("hub mock aircall --port 9001", "hub mock aircall --target http://127.0.0.1:8081/hooks/aircall")
)(mock)
app.command(epilog=_examples("hub new freshdesk", "hub new freshdesk --to ./my_connectors"))(new)
app.command(epilog=_examples("hub schema change", "hub schema --write"))(schema)
app.command(epilog=_examples("hub docs --check", "hub docs --write"))(docs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command (`arguments`: those of the process) and exit. Errors are one line each, on stderr."""
    try:
        app(arguments, prog_name="hub")
    except HubError as error:
        _end([error])
    except OSError as error:
        if error.filename is None:
            raise
        _end([_of_file(error)])
    except BaseExceptionGroup as group:
        errors = _ours(group)
        if not errors:
            raise
        _end(errors)


def _of_file(error: OSError) -> HubError:
    """A folder that is none, a disk that is full or read-only, a file of somebody else's."""
    remedy = "this user must be able to read and write there, and the disk must have room"
    return PermanentError(f"{error.filename}: {error.strerror}: {remedy}")


def _ours(group: BaseExceptionGroup[BaseException]) -> list[HubError]:
    """The errors of several tasks; none where one of them is not ours, because that one is worth its traceback."""
    found: list[HubError] = []
    for error in group.exceptions:
        match error:
            case BaseExceptionGroup():
                inner = _ours(error)
                if not inner:
                    return []
                found += inner
            case HubError():
                found.append(error)
            case OSError() if error.filename is not None:
                found.append(_of_file(error))
            case _:
                return []
    return found


def _end(errors: list[HubError]) -> None:
    for line in dict.fromkeys(line for error in errors for line in _lines(error)):
        sys.stderr.write(line + "\n")
    sys.exit(2 if any(isinstance(error, ConfigError) for error in errors) else 1)


def _lines(error: HubError) -> list[str]:
    """One, but for mistakes in hub.yaml, which are told all at once."""
    from core.cli.terminal import safe

    if isinstance(error, ConfigError):
        return [safe(line) for line in str(error).splitlines()]
    return ["hub: " + safe(" ".join(str(error).split()))]
