"""The walk-throughs of the documentation, followed literally: every command, and what it is said to print."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.commands import COMMAND, ROOT
from tests.hubs import until
from tests.ports import free_ports

EXAMPLE = ROOT / "deploy" / "examples" / "erp"


class Shell:
    """One shell for a whole walk-through, with `hub` as its command."""

    def __init__(self, folder: Path) -> None:
        binaries = folder / "bin"
        binaries.mkdir()
        (binaries / "hub").write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
        (binaries / "hub").chmod(0o755)
        path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "300"}
        self._process = subprocess.Popen(
            ["bash"], cwd=folder, env=environment, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, command: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{command}\necho =end=\n")
        self._process.stdin.flush()
        said = []
        while (line := self._process.stdout.readline()) and line != "=end=\n":
            said.append(line)
        return "".join(said)

    def close(self) -> None:
        self.run("kill $(jobs -p) 2>/dev/null; wait")
        self._process.communicate("exit\n", timeout=60)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.close()


def steps(path: Path) -> list[tuple[str, list[str]]]:
    """(command, lines that it prints) of all `console` blocks, in order."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", path.read_text(), re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.strip():
                found[-1][1].append(line)
    return found


async def test_an_erps_files_are_in_the_record_by_following_the_page(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "deploy" / "examples" / "erp"
    shutil.copytree(EXAMPLE, folder)
    api, webhooks = free_ports(2)
    text = (folder / "hub.yaml").read_text()
    (folder / "hub.yaml").write_text(text.replace(":8080", f":{api}").replace(":8081", f":{webhooks}"))
    walk = steps(ROOT / "docs" / "import.md")
    assert sum(command.startswith("hub import") for command, _ in walk) == 5
    for command, printed in walk:

        def as_told(command: str = command, printed: list[str] = printed) -> str | None:
            """Where the hub that was just started is still taking things in, the same command again."""
            said = shell.run(command)
            return said if all(matches(line, said) for line in printed) else None

        if command.startswith("hub find"):
            await until(as_told, command)
        else:
            assert as_told() is not None, (command, printed, shell.run(command))
    # The page says: once more, while the hub runs, changes nothing.
    again = shell.run("hub import customers.csv --connection erp --map customers.yaml")
    assert "3 rows imported" in again and "wait on the bus" not in again
    said = shell.run("hub find dana@example.com --json")
    assert '"number": "SO-4711"' in said and '"number": "R-881"' in said
    by_address, by_name = (shell.run(f"hub find {words}").splitlines()[-1] for words in ("dana@example.com", "reyes"))
    assert by_address == by_name, "an open invoice is nothing to do, however she was found"


def matches(line: str, said: str) -> bool:
    form = re.escape(line.strip()).replace("…", ".*")
    return re.search(form, said) is not None
