"""The tutorial, followed to the letter: its files are written, its changes made, its commands run, outputs compared."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from supporthub import COMMAND

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Every `$ command` with the lines that it must print; `...` stands for any lines, or any end of one."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def run(command: str, folder: Path) -> str:
    program, *arguments = shlex.split(command)
    assert program == "hub", command
    environ = {name: value for name, value in os.environ.items() if name != "HUB_CONFIG"}
    ended = subprocess.run([*COMMAND, *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=300)
    assert ended.stderr == "", command
    return ended.stdout


def pattern(lines: list[str]) -> re.Pattern[str]:
    parts = [r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n" for line in lines]
    return re.compile("".join(parts))


def changed(text: str, diff: str) -> str:
    """What somebody does who is shown these lines: finds the old ones, which stand there once, and writes the new."""
    for hunk in diff.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[:1] in " -")
        new = "".join(line[1:] for line in lines if line[:1] in " +")
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.mark.slow
def test_who_follows_the_tutorial_word_by_word_has_a_connector_that_keeps_every_check(tmp_path: Path) -> None:
    followed = 0
    for kind, name, block in BLOCK.findall(TUTORIAL.read_text()):
        path = tmp_path / name if name else None
        if kind == "console":
            for command, lines in commands(block):
                said = run(command, tmp_path)
                assert pattern(lines).fullmatch(said), f"$ {command}\n{said}"
                followed += 1
        elif kind == "diff" and path:
            path.write_text(changed(path.read_text(), block))
        elif path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block)
    assert followed > 10


def test_every_block_of_the_tutorial_is_followed() -> None:
    """A block without a name would be shown and not tried: only the line for pytest, which stands inside of a list."""
    blocks = BLOCK.findall(TUTORIAL.read_text())
    assert [kind for kind, name, _ in blocks if kind != "console" and not name] == []
    assert TUTORIAL.read_text().count("```") == 2 * len(blocks) + 2


def test_its_commands_fit_onto_half_an_hour() -> None:
    minutes = [int(found) for found in re.findall(r"^## .*\((\d+) minutes\)$", TUTORIAL.read_text(), re.M)]
    assert 0 < sum(minutes) < 30
