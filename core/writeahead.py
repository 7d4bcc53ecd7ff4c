"""How much of a SQLite write-ahead log waits for a checkpoint. The log's file does not tell: it keeps its size when the
log begins anew."""

import struct
from pathlib import Path

# https://www.sqlite.org/walformat.html, 2.1: page size, last frame and, behind both copies of that, frames copied.
_PAGE, _LAST, _COPIED = (struct.Struct("=H"), 14), (struct.Struct("=I"), 16), (struct.Struct("=I"), 96)
_HEAD = 100
_LARGE = 65536  # a page size that two bytes do not hold is written as 1


def log_size(database: Path) -> int:
    """Bytes of the log's file; 0 where there is none."""
    try:
        return database.with_name(database.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def not_copied(database: Path) -> int:
    """Bytes of the log that are not in the database's own file yet; 0 while nobody has it open."""
    try:
        with database.with_name(database.name + "-shm").open("rb", buffering=0) as shared:
            head = shared.read(_HEAD)
    except FileNotFoundError:
        return 0
    if len(head) < _HEAD:
        return 0
    page, last, copied = (int(form.unpack_from(head, at)[0]) for form, at in (_PAGE, _LAST, _COPIED))
    return max(0, last - copied) * (_LARGE if page == 1 else page)
