"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

CONFIG = Annotated[Path, typer.Option("--config", "-c", help="The file that says what runs.", envvar="HUB_CONFIG")]
JSON = Annotated[bool, typer.Option("--json", help="JSON on stdout, for machines.")]
YAML = Path("hub.yaml")
