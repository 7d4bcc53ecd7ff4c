"""Under which name a process reports how its connections are."""

import fcntl
import itertools
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROLES = ("ingest", "process", "publish", "api")
_WORD = re.compile(b"[0-9a-f]{8}")


@contextmanager
def process_name(folder: Path, roles: frozenset[str]) -> Iterator[str]:
    """Its own as long as the block lasts, and the first such process of this data folder's after a restart has the same
    again: what it said before it died is replaced, not joined by another row.

    A lock in the folder says who has which name, and the system lets go of it whatever becomes of the process. Where
    nothing can be written there, the name is good for this once.
    """
    told = [socket.gethostname(), *(role for role in ROLES if role in roles)]
    slot, word = _taken(folder / "processes", "-".join(told[1:]))
    try:
        yield "-".join([*told, word])
    finally:
        if slot is not None:
            os.close(slot)


def _taken(folder: Path, kind: str) -> tuple[int | None, str]:
    """The first free place, as long as its descriptor is open, and the word that stands there: hosts may have the same
    name and different folders."""
    try:
        folder.mkdir(exist_ok=True)
        for number in itertools.count():
            slot = os.open(folder / f"{kind}-{number}", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return slot, _word(slot)
            except BlockingIOError:
                os.close(slot)
            except OSError:
                os.close(slot)
                raise
    except OSError:
        pass
    return None, secrets.token_hex(4)


def _word(slot: int) -> str:
    """What stands there; a power cut may have left anything in its place, and then it is drawn anew."""
    if _WORD.fullmatch(stood := os.pread(slot, 9, 0)):
        return stood.decode()
    word = secrets.token_hex(4)
    os.ftruncate(slot, 0)
    os.pwrite(slot, word.encode(), 0)
    return word
