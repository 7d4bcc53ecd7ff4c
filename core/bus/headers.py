"""A record's headers as bytes, for the embedded log."""

from functools import lru_cache

from core.bus import Headers
from core.errors import PermanentError


@lru_cache(1024)
def _name(encoded: bytes) -> str:
    return encoded.decode()


def pack(headers: Headers) -> bytes:
    """Names and values in turn, behind a separator that occurs in none of them: four bytes, which stand first. Headers
    are read for every record, so reading them is one `split`."""
    parts = [part for name, value in headers for part in (name.encode(), value)]
    if not parts:
        return b""
    for number in range(1000):
        separator = b"\x1f%03d" % number
        packed = separator.join(parts)
        if packed.count(separator) == len(parts) - 1:
            return separator + packed
    raise PermanentError("these headers hold every separator that there is")


def unpack(packed: bytes) -> Headers:
    parts = packed[4:].split(packed[:4]) if packed else []
    return tuple(zip(map(_name, parts[::2]), parts[1::2], strict=True))
