"""Runs this command again and again: whenever one of the files that it depends on has changed."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

LOOK = 0.2  # seconds between two looks at the files


def again(files: Sequence[Path]) -> NoReturn:
    """Until Ctrl-C. Each run is a process of its own, so that changed code is read anew."""
    import subprocess
    import time

    from core.cli.terminal import say
    from supporthub import COMMAND

    command = [word for word in sys.argv[1:] if word != "--watch"]
    while True:
        before = _state(files)
        ended = subprocess.run([*COMMAND, *command], check=False).returncode  # noqa: S603
        say(f"-- {'ok' if ended == 0 else 'failed'}; waiting for a change, Ctrl-C ends", "dim")
        sys.stdout.flush()
        try:
            while _state(files) == before:
                time.sleep(LOOK)
        except KeyboardInterrupt:
            sys.exit(0)
        say()


def _state(files: Sequence[Path]) -> list[tuple[int, int]]:
    found = []
    for file in files:
        try:
            known = file.stat()
        except OSError:
            found.append((0, 0))  # an editor may be replacing it
        else:
            found.append((known.st_mtime_ns, known.st_size))
    return found
