"""JSON as sources send it, made storable: without NUL and lone surrogates, and never deeper than we can write. Pure."""

import codecs
import re
from collections.abc import Mapping
from typing import Any

import orjson

_MARGIN = 6  # levels that our own envelopes put around a source's JSON
_INTEGERS = range(-(2**63), 2**64)  # that orjson writes
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # PostgreSQL takes no NUL, UTF-8 no lone surrogate
_SUSPECT = re.compile(rb"(?i)\\u(?:0000|d[89a-f])")
# The same as escapes, behind an even number of backslashes; whole pairs come first, so that they stay.
_ESCAPED = re.compile(
    rb"(?i)(?<!\\)(?:((?:\\\\)*(?:\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})+)"
    rb"|((?:\\\\)*)\\u(?:0000|d[89a-f][0-9a-f]{2}))"
)


def loads(body: bytes | str) -> Any:
    """Parsed JSON without NUL and lone surrogates; bytes that are no UTF-8 become U+FFFD, one bad name must not cost a
    page. Raises ValueError where it is no JSON or nested too deep."""
    body = body.encode(errors="ignore") if isinstance(body, str) else body
    if _SUSPECT.search(body):
        body = _stripped(body)
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        if (readable := _text(body)) == body:
            raise
        data = orjson.loads(readable)
    if body.count(b"[") + body.count(b"{") > 100:
        check_depth(data)
    return data


def clean(value: Any) -> Any:
    """JSON without NUL and lone surrogates in texts and names; what is no JSON, or no number that we can write, becomes
    text."""
    match value:
        case str():
            return _UNSTORABLE.sub("", value)
        case Mapping():
            return {clean(name): clean(inner) for name, inner in value.items()}
        case list() | tuple():
            return [clean(item) for item in value]
        case int() if value not in _INTEGERS:
            return str(value)
        case None | bool() | int() | float():
            return value
        case _:
            return str(value)


def _stripped(body: bytes) -> bytes:
    found = _ESCAPED.sub(lambda escape: escape[1] or escape[2] or b"", body)
    # SECURITY: what was no JSON must not become one that holds them.
    if any(escape[1] is None for escape in _ESCAPED.finditer(found)):
        raise ValueError("broken escapes")
    return found


def _text(body: bytes) -> bytes:
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        body.decode()
    except UnicodeDecodeError:
        return body.decode(errors="replace").encode()
    return body


def check_depth(data: Any) -> None:
    """Raises ValueError where clean JSON could not be kept: what orjson reads it may refuse to write."""
    for _ in range(_MARGIN):
        data = [data]
    try:
        orjson.dumps(data)
    except TypeError:
        raise ValueError("nested too deep") from None
