"""What never enters the hub: secrets and dropped paths; for NUL and lone surrogates see core.sdk.bodies. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson
from pydantic import BaseModel, SecretStr

from core.sdk import ConnectorConfig
from schemas.event import Event

Drops = Mapping[str, Sequence[tuple[str, ...]]]

BLANK = b"[secret]"
_SHORTEST_SECRET = 4  # blanking shorter ones would tear texts apart and protect nothing
LONG_SECRET = 8  # a shorter one may stand by chance in a phone number, an address or an id
_STRING = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?', re.DOTALL)  # of JSON, and whether it names a member

# PRIVACY: what connectors derive from a field goes with it, and with the entity that holds it.
_DERIVED = {"message": ("conversation.preview",), "message.body": ("conversation.preview",)}
# Of a person all of whose fields are dropped: without it staff and bots would become customers.
_KEPT = ("person", "role")


def secrets_of(settings: ConnectorConfig, shortest: int = _SHORTEST_SECRET) -> tuple[bytes, ...]:
    """Every SecretStr of a connection, of so many characters at least, in the forms in which a body or a URL may carry
    it, the longest first."""
    found: set[bytes] = set()
    for value in _secrets(settings):
        if len(value) >= shortest:
            found |= {value.encode(), json.dumps(value)[1:-1].encode(), orjson.dumps(value)[1:-1]}
            found |= {quote(value, safe="").encode(), quote(value).encode()}
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def blank(body: bytes, secrets: Sequence[bytes]) -> bytes:
    """The bytes with every known secret made unreadable. JSON stays JSON: there only what is in quotes is blanked, for
    a secret of digits may be a part of any number."""
    if not any(secret in body for secret in secrets):
        return body
    return _strings_blanked(body, secrets) if _is_json(body) else _replaced(body, secrets)


def blank_values(body: bytes, secrets: Sequence[bytes]) -> bytes:
    """The same of JSON whose members must keep their names: only values that are strings are blanked."""
    if not any(secret in body for secret in secrets):
        return body
    return _strings_blanked(body, secrets, names=False)


def drops_of(paths: Sequence[str]) -> Drops:
    """`drop:` of a connection by entity: `person.attributes.salary` is ("attributes", "salary") of person; `person`
    alone is (), which stands for all of its fields."""
    by_entity: dict[str, list[tuple[str, ...]]] = {}
    for path in [*paths, *(derived for named in paths for derived in _DERIVED.get(named, ()))]:
        entity, *rest = path.split(".")
        by_entity.setdefault(entity, []).append(tuple(rest))
    return by_entity


def without(event: Event, drops: Drops) -> Event:
    """The event without the dropped paths: not empty but unset. In lists a path counts for every element."""
    paths = drops.get(event.entity)
    if not paths or not event.data:
        return event
    data = orjson.loads(orjson.dumps(event.data))
    for path in paths:
        _remove(data, path)
    entity, field = _KEPT
    if event.entity == entity and field in event.data:
        data[field] = event.data[field]
    return event.model_copy(update={"data": data})


def _remove(data: Any, path: tuple[str, ...]) -> None:
    match data:
        case list():
            for item in data:
                _remove(item, path)
        case dict() if not path:
            data.clear()
        case dict() if len(path) == 1:
            data.pop(path[0], None)
        case dict():
            _remove(data.get(path[0]), path[1:])


def _is_json(body: bytes) -> bool:
    try:
        return isinstance(orjson.loads(body), dict | list)
    except orjson.JSONDecodeError:
        return False


def _strings_blanked(body: bytes, secrets: Sequence[bytes], *, names: bool = True) -> bytes:
    def blanked(found: re.Match[bytes]) -> bytes:
        string, colon = found.group(1), found.group(2) or b""
        if (colon and not names) or not any(secret in string for secret in secrets):
            return found.group()
        # As text, for as JSON a secret may seem to begin within an escape.
        text = orjson.loads(string).encode()
        return orjson.dumps(_replaced(text, secrets).decode()) + colon

    return _STRING.sub(blanked, body)


def _replaced(body: bytes, secrets: Sequence[bytes]) -> bytes:
    for secret in secrets:
        body = body.replace(secret, BLANK)
    return body


def _secrets(value: Any) -> list[str]:
    match value:
        case SecretStr():
            return [value.get_secret_value()]
        case BaseModel():
            return [secret for name in type(value).model_fields for secret in _secrets(getattr(value, name))]
        case Mapping():
            return [secret for inner in value.values() for secret in _secrets(inner)]
        case list() | tuple():
            return [secret for item in value for secret in _secrets(item)]
        case _:
            return []
