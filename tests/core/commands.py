"""The command line as tests call it: in this process where that is fast, as a process of its own where it must be."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from core.cli import main

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "core.cli"]


@dataclass(frozen=True)
class Said:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.out)


def hub(*arguments: str) -> Said:
    """A command in this process."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code
    return Said(code or 0, out.getvalue(), err.getvalue())


def spawned(*arguments: str, folder: Path, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> Said:
    """A command as a process, started in `folder`."""
    ended = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, input=stdin, capture_output=True, timeout=120,
        env={**os.environ, **(environ or {})},
    )  # fmt: skip
    return Said(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def demo_file(folder: Path, api: int, webhooks: int) -> Path:
    """The hub.yaml of this repository, on other ports."""
    text = (ROOT / "hub.yaml").read_text()
    path = folder / "hub.yaml"
    path.write_text(
        text.replace("127.0.0.1:8080", f"127.0.0.1:{api}").replace("127.0.0.1:8081", f"127.0.0.1:{webhooks}")
    )
    return path
