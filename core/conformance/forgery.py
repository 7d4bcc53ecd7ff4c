"""Deliveries bent in one respect: without their proof, with another body, of another event or account. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

PLAIN = frozenset({"content-type", "user-agent"})  # headers that prove nothing
_ODD = "unheard_of.event"


@dataclass(frozen=True, slots=True)
class Signed:
    """A delivery as the source sends it."""

    url: str
    headers: Mapping[str, str]
    body: bytes


def bare(given: Signed, target: str, secrets: frozenset[str]) -> Signed:
    """Without every header of its own, without what follows the address, without secrets in the body."""
    headers = {name: value for name, value in given.headers.items() if name.lower() in PLAIN}
    return Signed(target, headers, orjson.dumps(cut(orjson.loads(given.body), secrets)))


def cut(data: Any, values: frozenset[str]) -> Any:
    """Without what holds just one of these values."""
    match data:
        case dict():
            return {name: cut(its, values) for name, its in data.items() if not _among(its, values)}
        case list():
            return [cut(its, values) for its in data if not _among(its, values)]
        case _:
            return data


def _among(value: Any, values: frozenset[str]) -> bool:
    return isinstance(value, str) and value in values


def changed(body: bytes) -> bytes:
    """Still JSON, and another."""
    data = json.loads(body)
    match data:
        case dict():
            return orjson.dumps({**data, "tampered": True})
        case list():
            return orjson.dumps([*data, *data[-1:]])
        case _:
            return body + b" "


def renamed(data: Any, old: str, new: str = _ODD) -> Any:
    """With every value `old` replaced, also in JSON that stands in a text."""
    match data:
        case dict():
            return {name: renamed(its, old, new) for name, its in data.items()}
        case list():
            return [renamed(its, old, new) for its in data]
        case str() if data.lstrip().startswith(("{", "[")):
            try:
                inner = json.loads(data)
            except ValueError:
                return data
            changed = renamed(inner, old, new)
            return data if changed == inner else json.dumps(changed)
        case bool():
            return data
        case str() | int() if str(data) == old:
            return new
        case _:
            return data


def alone(data: Any) -> Any:
    """Of every list the first item only, so that one event is left of a batch."""
    match data:
        case dict():
            return {name: alone(its) for name, its in data.items()}
        case list():
            return [alone(its) for its in data[:1]]
        case _:
            return data
