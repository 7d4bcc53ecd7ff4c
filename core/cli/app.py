"""The application: its commands, and what becomes of errors. Exit codes: 0 done, 1 failed, 2 wrong use or hub.yaml."""

import sys

import typer
from rich.console import Console

from core.cli.mock import mock
from core.cli.run import run
from core.errors import ConfigError, HubError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=(
    "One live customer record out of the support tools that a team already has."
))  # fmt: skip
app.command()(run)
app.command()(mock)


def main() -> None:
    """Run a command; errors are one line each, on stderr, without a traceback."""
    try:
        app()
    except ConfigError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(error), markup=False)
        sys.exit(2)
    except HubError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"hub: {error}", markup=False)
        sys.exit(1)
