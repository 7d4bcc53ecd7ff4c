"""`normalize` under the lens: samples, purity, ids, and payloads that are not what one knows."""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import orjson
from pydantic import ValidationError

from core.conformance.story import payloads
from core.conformance.subject import BrokenError, NotRunError, Subject, unless_told
from core.conformance.watch import watched
from core.errors import NormalizeError
from core.sdk import Connector, Payload
from schemas.event import Event

_MINUTE = 60_000
_NEW = "unheard_of"
# Fields that say what kind of thing it is: an unknown one may be refused.
_KINDS = frozenset({"type", "object", "kind", "event", "topic", "resource", "model"})
_WORD = re.compile(r"[a-zA-Z][a-zA-Z]*([_.-][a-zA-Z]+)*")
_DEEPEST = 3
_ODD: tuple[Any, ...] = (None, [], {}, "text", 7, [None], {"id": None}, {"id": {}})


async def samples(subject: Subject) -> None:
    if not subject.samples:
        raise NotRunError("there are no samples")
    for sample in subject.samples:
        try:
            events = [event.model_dump(mode="json") for event in subject.connector.normalize(sample.payload)]
        except Exception as error:
            raise BrokenError(f"{sample.name}: {type(error).__name__}: {error}") from error
        if events != sample.events:
            raise BrokenError(f"{sample.name} gives other events than {sample.name}.events.json records")


async def deterministic(subject: Subject) -> None:
    for payload in await payloads(subject):
        if _said(subject.connector, payload) != _said(subject.connector, payload):
            raise BrokenError(f"{payload.kind}: the same payload gives other events the second time")


async def pure(subject: Subject) -> None:
    connector, all_ = subject.connector, await payloads(subject)
    for payload in all_:
        before = copy.deepcopy(payload.data)
        _, said = watched(lambda payload=payload: _said(connector, payload))  # type: ignore[misc]
        if said:
            raise BrokenError(f"normalize({payload.kind}): {said[0]}")
        if payload.data != before:
            raise BrokenError(f"normalize({payload.kind}) changes the payload that it was given")
    first = [_said(connector, payload) for payload in all_]
    order = list(range(len(all_)))
    Random(1).shuffle(order)  # noqa: S311
    for index in order:
        if _said(connector, all_[index]) != first[index]:
            raise BrokenError(f"normalize({all_[index].kind}) depends on what came before: it keeps state")


async def ids(subject: Subject) -> None:
    known: dict[str, bytes] = {}
    for payload in await payloads(subject):
        events = _events(subject.connector, payload)
        for event in events:
            state = [event.subject, event.type, event.data, event.into, event.final, event.erased]
            content = orjson.dumps(state, option=orjson.OPT_SORT_KEYS)
            if known.setdefault(event.id, content) != content:
                raise BrokenError(f"{payload.kind}: two different states share the event id {event.id}")
        later = _events(subject.connector, replace(payload, received=payload.received + _MINUTE))
        for event, again in zip(events, later, strict=True):
            if event.order.clock == again.order.clock != 0 and event.id != again.id:
                raise BrokenError(f"{payload.kind}: the same state received a minute later has another id")
            if event.subject != again.subject:
                raise BrokenError(f"{payload.kind}: an object's key depends on when it was received")
    if not known:
        raise BrokenError("nothing that comes gives an event")


async def unknown_field(subject: Subject) -> None:
    unless_told(subject)
    grew = False
    for payload in await payloads(subject):
        if not isinstance(payload.data, dict) or not (events := _states(subject.connector, payload)):
            continue
        grew = True
        grown = replace(payload, data={**payload.data, "unheard_of_by_anybody": {"deep": [1, None]}})
        try:
            again = _states(subject.connector, grown)
        except Exception as error:
            raise BrokenError(f"{payload.kind}: an unknown field raises {type(error).__name__}") from error
        if again != events:
            raise BrokenError(f"{payload.kind}: an unknown field changes the events")
    if not grew:
        raise NotRunError("no payload is an object that gives events")


async def unknown_kind(subject: Subject) -> None:
    for payload in await payloads(subject):
        odd = replace(payload, kind="kind.unheard_of")
        try:
            events = list(subject.connector.normalize(odd))
        except Exception as error:
            raise BrokenError(f"an unknown kind raises {type(error).__name__}: it should give no events") from error
        if events:
            raise BrokenError("an unknown kind gives events: what is not known must not be guessed")


async def unknown_value(subject: Subject) -> None:
    unless_told(subject)
    await _bent(subject, _other_words, "an unknown value of", tolerate=_is_kind)


async def missing_field(subject: Subject) -> None:
    await _bent(subject, without_fields, "without", tolerate=lambda path: True)


async def malformed(subject: Subject) -> None:
    for payload in await payloads(subject):
        for odd in _ODD:
            _only_normalize_errors(subject.connector, replace(payload, data=odd), f"data {odd!r}")
        for path, bent in numbers_as_text(payload.data):
            _only_normalize_errors(subject.connector, replace(payload, data=bent), f"text for the number {path}")


async def _bent(
    subject: Subject,
    bend: Callable[[Any], Iterator[tuple[str, Any]]],
    words: str,
    *,
    tolerate: Callable[[str], bool],
) -> None:
    """Every way to bend a payload may lose what it bends, and refuse where that is tolerated, and nothing else."""
    bent = False
    for payload in await payloads(subject):
        for path, data in bend(payload.data):
            bent = True
            refused = _only_normalize_errors(subject.connector, replace(payload, data=data), f"{words} {path}")
            if refused and not tolerate(path):
                raise BrokenError(f"{payload.kind}: {words} {path} is refused, so a whole object would be lost")
    if not bent:
        raise NotRunError("no payload has a field that could be bent so")


def _only_normalize_errors(connector: Connector[Any], payload: Payload, what: str) -> bool:
    """Whether it was refused: by the connector, or by the schema, which says as well what is wrong. Whatever else it
    raises is a mistake in the connector."""
    try:
        list(connector.normalize(payload))
    except (NormalizeError, ValidationError):
        return True
    except Exception as error:
        raise BrokenError(f"{payload.kind}: {what} raises {type(error).__name__}: say NormalizeError") from error
    return False


def _events(connector: Connector[Any], payload: Payload) -> list[Event]:
    try:
        return list(connector.normalize(payload))
    except (NormalizeError, ValidationError):
        return []


def _said(connector: Connector[Any], payload: Payload) -> list[str]:
    """Everything that the events say; a refusal is an answer, too."""
    try:
        return [event.model_dump_json() for event in connector.normalize(payload)]
    except NormalizeError as error:
        return [str(error)]


def _states(connector: Connector[Any], payload: Payload) -> list[tuple[str, str, Any]]:
    return [(event.subject, event.type, event.data) for event in _events(connector, payload)]


def _places(data: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Callable[[Any], Any], Any]]:
    """Every field down to some depth: its path, a function that gives the whole with another value there (Ellipsis:
    without it), and its value."""
    if isinstance(data, list) and data and not depth:  # a batch: its first item
        for place, put_inside, value in _places(data[0], "0"):
            yield place, lambda new, put=put_inside: [put(new), *data[1:]], value  # type: ignore[misc]
    if not isinstance(data, Mapping) or depth >= _DEEPEST:
        return
    for name, value in data.items():
        here = f"{path}.{name}" if path else str(name)

        def put(new: Any, name: str = name) -> Any:
            return {key: new if key == name else its for key, its in data.items() if key != name or new is not ...}

        yield here, put, value
        inner = value[0] if isinstance(value, list) and value else value
        for deeper, put_deeper, its in _places(inner, here, depth + 1):

            def put_inside(new: Any, put: Any = put, put_deeper: Any = put_deeper, value: Any = value) -> Any:
                changed = put_deeper(new)
                return put([changed, *value[1:]] if isinstance(value, list) else changed)

            yield deeper, put_inside, its


def _other_words(data: Any) -> Iterator[tuple[str, Any]]:
    for path, put, value in _places(data):
        if isinstance(value, str) and _WORD.fullmatch(value) and len(value) < 40:
            yield path, put(_NEW)


def without_fields(data: Any) -> Iterator[tuple[str, Any]]:
    """Each field that is named gone, and null."""
    for path, put, _ in _places(data):
        yield path, put(...)
        yield path, put(None)


def numbers_as_text(data: Any) -> Iterator[tuple[str, Any]]:
    """Each number that is named as a text, and as a word."""
    for path, put, value in _places(data):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield path, put(str(value))
            yield path, put("no number")


def _is_kind(path: str) -> bool:
    return path.rpartition(".")[2] in _KINDS
