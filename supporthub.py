"""The command `hub`, and the line for pytest. They stand beside `core` and not in it, because of whoever works in a
project with a `core` of its own: with that project on Python's path (PYTHONPATH, `python -m`), `import core` would find
theirs.

    test_freshdesk = supporthub.keeps_every_check("freshdesk", folders=["my_connectors"])
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# How the hub starts itself once more; -P: without the current folder on Python's path.
COMMAND = (sys.executable, "-P", str(Path(__file__).resolve()))


def main() -> None:
    """Look into our own folder first, then run the command line."""
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [here, *(place for place in sys.path if place != here)]
    from core.cli import main as run

    run()


def keeps_every_check(name: str, folders: Sequence[Path | str] = ()) -> Callable[[], None]:
    """A test for pytest: the connector keeps every check, or the test fails with what `hub test-connector` says. It is
    examined in a process of its own, in which `core` is ours."""

    def test() -> None:
        places = [word for folder in folders for word in ("--folder", str(folder))]
        command = [*COMMAND, "test-connector", name, *places]
        ended = subprocess.run(command, capture_output=True, text=True)  # noqa: S603  ourselves
        assert ended.returncode == 0, ended.stdout + ended.stderr

    return test


if __name__ == "__main__":
    main()
