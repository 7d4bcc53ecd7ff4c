"""The payloads beside a connector's code, `samples/X.payload.json`, as far as they are any."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from core.sdk import Connector


class Sample(NamedTuple):
    """One payload of the source."""

    kind: str
    data: Any
    pushed: bool


class Samples(NamedTuple):
    """`unreadable`: one sentence, with remedy, for each file that is no sample."""

    readable: list[Sample]
    unreadable: list[str]


def samples_of(connector: Connector[Any]) -> Samples:
    """None where the connector has no files. Never raises: people put files there by hand."""
    found = Samples([], [])
    for path in _paths(connector):
        try:
            said = orjson.loads(path.read_bytes())
        except OSError as error:
            found.unreadable.append(f"{path} cannot be read ({error.strerror}): make it readable, or take it away")
            continue
        except orjson.JSONDecodeError as error:
            found.unreadable.append(f"{path}:{error.lineno} is not JSON: correct it, or take it out of samples/")
            continue
        match said:
            case {"kind": str(kind), "data": data}:
                found.readable.append(Sample(kind, data, bool(said.get("pushed"))))
            case _:
                remedy = 'write it as {"kind": …, "data": …}, as the samples beside it, or take it out of samples/'
                found.unreadable.append(f"{path} is no sample, which has a kind and its data: {remedy}")
    return found


def _paths(connector: Connector[Any]) -> list[Path]:
    normalize: Callable[..., Any] = connector.normalize
    try:
        return sorted((Path(inspect.getfile(normalize)).parent / "samples").glob("*.payload.json"))
    except (TypeError, OSError):
        return []
