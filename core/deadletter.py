"""Dead letters: an input that cannot be handled, kept with its reason, so that it can be replayed after a fix.

A letter's payload is JSON; its `form` says what it holds and how it is replayed:
  payload   one raw item after the cuts: it is normalized again
  body      a delivery that could not be taken apart, or not wholly: it is split again
  bytes     a body that is not JSON, known secrets blanked (`text`, or `base64` where it is not UTF-8): parsed again
  hint      an object that could not be fetched: it is fetched again
  record    a message of the bus that could not be read or applied: it is published again
  customer  a record that could not be folded, named by its id: it is folded again
  withheld  nothing but size and SHA-256, because the connection has `drop:`: it cannot be replayed
"""

import base64
import hashlib
import re
import traceback
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import orjson
from pydantic import ValidationError

from core.bus import Message, Record
from core.bus.codec import connection_headers
from core.bus.topics import DEAD
from core.errors import HubError, NormalizeError
from core.log import scrub
from core.store import DeadRow

Stage = Literal["normalize", "hydrate", "fold"]

# What differs between two deliveries of the same input.
_VOLATILE = frozenset({"received", "at", "headers", "url", "query", "method"})
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_HIDDEN = "…"


class Letter(NamedTuple):
    """`content` is the JSON-ready payload with its `form`; `at` epoch ms; `reason` without personal data."""

    connection: str
    stage: Stage
    reason: str
    content: Mapping[str, Any]
    at: int


def encode(letter: Letter) -> Message:
    """The letter as a message of the dead letters' topic; its key derives from the input, so that a redelivery is the
    same letter."""
    value = {**letter._asdict(), "id": _id(letter)}
    return Message(DEAD, value["id"], orjson.dumps(value), headers=connection_headers(letter.connection, ""))


def decode(record: Record) -> DeadRow:
    """The store's row of a message. Raises NormalizeError where it is none of ours."""
    try:
        value = orjson.loads(record.value or b"")
        return DeadRow(
            value["id"],
            value["connection"],
            value["stage"],
            value["reason"],
            orjson.dumps(value["content"]),
            value["at"],
            "open",
            1,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NormalizeError(f"not a dead letter of ours: {type(error).__name__}") from error


def row(letter: Letter) -> DeadRow:
    """The store's row of a letter that never was on the bus."""
    return DeadRow(
        _id(letter), letter.connection, letter.stage, letter.reason, orjson.dumps(letter.content), letter.at, "open", 1
    )


def of_record(record: Record, reason: str, at: int) -> DeadRow:
    """The row of a message of the bus that cannot be applied (stage fold). `at`: epoch ms; see `reason_of`."""
    content = whole(record)
    return row(Letter(content["headers"].get("ce_connection", ""), "fold", reason, content, at))


def whole(record: Record) -> dict[str, Any]:
    """The content of a letter of form `record`."""
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    return {
        "form": "record",
        "topic": record.topic,
        "key": record.key,
        "partition_by": headers.get("ce_subject") or headers.get("connection", ""),  # as events and hints are laid out
        "headers": headers,
        "value": _text(record.value or b""),
    }


def to_message(content: Mapping[str, Any]) -> Message:
    """The message that a letter of form `record` holds."""
    headers = [(name, value.encode()) for name, value in content["headers"].items()]
    return Message(content["topic"], content["key"], to_bytes(content["value"]), content["partition_by"], headers)


def of_bytes(body: bytes) -> dict[str, Any]:
    """The content of a letter of form `bytes`; secrets must be blanked already."""
    return {"form": "bytes", "body": _text(body)}


def to_bytes(kept: Mapping[str, str]) -> bytes:
    """What `of_bytes` kept under `body`."""
    return kept["text"].encode() if "text" in kept else base64.b64decode(kept["base64"])


def withheld(body: bytes) -> dict[str, Any]:
    """PRIVACY: the content of a letter whose connection has `drop:`: by which one can tell inputs apart, no more."""
    return {"form": "withheld", "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def reason_of(error: BaseException, given: Any = None) -> str:
    """Why, in one line without personal data: what stands in `given` (the input, JSON-like) is not repeated.

    An error that is not ours is named by its class and the place in the code where it was raised.
    """
    if isinstance(error, ValidationError):
        places = [f"{'.'.join(map(str, item['loc']))}: {item['type']}" for item in error.errors(include_input=False)]
        return _without(f"does not fit the schema: {'; '.join(places[:3])}", given)
    said = _said(error)
    if isinstance(error, HubError):
        return _without(said, given)
    return _without(f"{type(error).__name__}{said and f': {said}'} ({_place(error)})", given)


def _said(error: BaseException) -> str:
    """An exception of somebody's own may be one that cannot even be told."""
    try:
        return str(error)
    except Exception:
        return ""


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "unknown place"
    ours = [frame for frame in frames if "/connectors/" in frame.filename]
    frame = (ours or frames)[-1]
    return "/".join(frame.filename.split("/")[-2:]) + f":{frame.lineno}"


def _id(letter: Letter) -> str:
    content = {name: value for name, value in letter.content.items() if name not in _VOLATILE}
    named = [letter.connection, letter.stage, content]
    return hashlib.sha256(orjson.dumps(named, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _text(body: bytes) -> dict[str, str]:
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _without(text: str, given: Any) -> str:
    values = {value for value in _strings(given) if len(value) >= 3}

    def hide(quoted: re.Match[str]) -> str:
        inner = quoted[0][1:-1]
        known = any(inner in value or value in inner for value in values)
        return f"'{_HIDDEN}'" if inner and known else quoted[0]

    text = _QUOTED.sub(hide, text)
    # The longest first: a value may contain another.
    for value in sorted((value for value in values if value in text), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", _HIDDEN, text)
    return scrub(text.replace("\0", "").encode(errors="ignore").decode())[:300]


def _strings(given: Any) -> Iterator[str]:
    """Every value, not the names of fields; without recursion, because the input may be deep."""
    waiting = [given]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case bool() | None:
                pass
            case int() | float() as number:
                yield str(number)
            case Mapping() as mapping:
                waiting += mapping.values()
            case list() | tuple() as items:
                waiting += items
