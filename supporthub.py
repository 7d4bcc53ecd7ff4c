"""The command `hub`. It stands beside `core` and not in it, because of whoever works in a project with a `core` of its
own: with that project on Python's path (PYTHONPATH, `python -m`), `import core` would find theirs.
"""

import sys
from pathlib import Path

# How the hub starts itself once more; -P: without the current folder on Python's path.
COMMAND = (sys.executable, "-P", str(Path(__file__).resolve()))


def main() -> None:
    """Look into our own folder first, then run the command line."""
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [here, *(place for place in sys.path if place != here)]
    from core.cli import main as run

    run()


if __name__ == "__main__":
    main()
