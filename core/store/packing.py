"""Records and registers are kept packed: they are long, repeat themselves, and change with every event.

LZ4 makes a third of them in a few microseconds, which is less than any database takes to write the rest.
"""

from collections.abc import Sequence
from typing import Any

from cramjam import lz4

from core.store import CustomerRow, ObjectRow

_MARK = b"\0"  # what stands there without it is kept as it is
_WORTH = 256  # bytes


def packed(data: bytes) -> bytes:
    plain = len(data) < _WORTH and data[:1] != _MARK
    return data if plain else _MARK + bytes(lz4.compress_block(data))


def unpacked(data: bytes) -> bytes:
    return bytes(lz4.decompress_block(data[1:])) if data[:1] == _MARK else data


def to_customer(row: Sequence[Any]) -> CustomerRow:
    """The columns of `core.store.search.COLUMNS`."""
    id, seq, status, into, hash, record, search, cause, identity = row
    return CustomerRow(id, seq, status, into, hash, unpacked(record), search, cause, unpacked(identity))


def to_object(row: Sequence[Any]) -> ObjectRow:
    key, entity, parent, registers, card, text = row
    return ObjectRow(key, entity, parent, unpacked(registers), card, text)
