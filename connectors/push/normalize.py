"""An item of a pushed batch becomes an event. What is wrong is told with the path of the field and what to write.

Pure: no I/O, no clock.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from core.sdk import Maker, NormalizeError, Payload, from_iso, from_ms, to_ms
from schemas.entities import ENTITIES, Entity
from schemas.event import Event
from schemas.key import parse
from schemas.push import TIME, Item

MAKER = Maker("push")
MOST_TOLD = 3  # mistakes of one item
AHEAD = 86_400_000  # ms by which a sender's clock and zone may be wrong

# Fields that name another object by its key, beside `key` and `person`, which do so everywhere.
_NAMING = {
    "conversation": ("merged_into",),
    "message": ("conversation",),
    "payment": ("invoice",),
    "rating": ("subject",),
}
_FREE = "attributes"  # the company's own fields: never looked into

Place = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


def normalize(payload: Payload) -> Iterable[Event]:
    """Raises NormalizeError for the sender's eyes."""
    if payload.kind != "item":
        return
    if isinstance(payload.data, NormalizeError):
        raise payload.data
    item = _shaped(Item, payload.data, ())
    if wrong := list(_contradictions(item)):
        raise NormalizeError("; ".join(wrong[:MOST_TOLD]))
    entity = ENTITIES[item.entity]
    kind = f"custom.{item.kind}" if item.kind else item.entity
    order = {"clock": _clock(item.updated_at, payload.received), "sequence": item.version or 0}
    match item.action:
        case "upserted":
            yield MAKER.upserted(payload, kind, item.id, _data(item, entity, payload), mode=item.mode, **order)
        case "deleted":
            yield MAKER.deleted(payload, kind, item.id, entity, final=item.final, erased=item.erased, **order)
        case "merged":
            assert item.into is not None
            yield MAKER.merged(payload, kind, item.id, entity, into=item.into, **order)


def _contradictions(item: Item) -> Iterator[str]:
    if item.entity not in ENTITIES:
        yield f"entity: there is none of that name{_near('', item.entity, list(ENTITIES))}"
    if (item.entity == "custom") != bool(item.kind):
        yield "kind: of custom objects, and of no others, say what the system calls them, for instance contract"
    if item.updated_at is None and item.version is None:
        yield "updated_at: is missing, and `version`, too: one of them must tell old states from new ones"
    if (item.action == "merged") != (item.into is not None):
        yield "into: with the action merged, and no other, say the id of the object that remains"
    if item.into is not None and str(item.into).strip() in ("", str(item.id).strip()):
        yield "into: say the id of another object, the one that remains"
    if not str(item.id).strip():
        yield "id: is empty"
    if item.action != "deleted" and (item.final or item.erased):
        yield "action: only what is deleted can be final or erased"
    if item.action != "upserted" and item.data:
        yield f"data: an object that is {item.action} brings no fields: leave it out"


def _data(item: Item, entity: type[Entity], payload: Payload) -> Entity:
    data = _keyed(item.data, ("data",), payload.account, frozenset(_NAMING.get(item.entity, ())))
    if item.kind:
        data = {**data, "kind": item.kind}
    held = data.get("identifiers")
    for index, each in enumerate(held if isinstance(held, list) else ()):
        if not isinstance(each, dict):
            continue
        if each.get("class_"):
            raise NormalizeError(f"data.identifiers.{index}.class_: leave it out, `evidence:` in hub.yaml says it")
        each["class_"] = payload.headers.get("evidence")
    return _shaped(entity, data, ("data",))


def _keyed(value: Any, place: Place, account: str, names: frozenset[str]) -> Any:
    """A copy with whole keys in the place of `entity/id`."""
    match value:
        case dict():
            top = len(place) == 1
            return {
                name: _key(inner, (*place, name), account)
                if isinstance(inner, str) and (name in ("key", "person") or (top and name in names))
                else inner
                if top and name == _FREE
                else _keyed(inner, (*place, name), account, names)
                for name, inner in value.items()
            }
        case list():
            return [_keyed(inner, (*place, index), account, names) for index, inner in enumerate(value)]
        case _:
            return value


def _key(text: str, place: Place, account: str) -> str:
    entity, _, id = text.partition("/")
    if entity.partition(".")[0] in ENTITIES and id:
        return str(MAKER.key(Payload("", None, account, True, 0), entity, id))
    try:
        return str(parse(text))
    except ValueError:
        raise NormalizeError(f"{_told(place)}: write entity/id, such as person/C-17, or another source's key") from None


def _clock(updated_at: str | None, received: int) -> int | None:
    try:
        said = from_iso(updated_at)
    except NormalizeError:
        raise NormalizeError(f"updated_at: {_WRITE_TIME}") from None
    if said is None:
        return None
    clock = to_ms(said)
    if clock > received + AHEAD:  # taken, it would outlast every state until then
        raise NormalizeError(
            f"updated_at: lies more than a day ahead of {from_ms(received)}, when it came: write when this "
            "state began, and look at the sender's clock"
        )
    return clock


def _shaped(model: type[M], data: Any, place: Place) -> M:
    """Valid, or NormalizeError. Times may come in any precision and zone: they are brought into ours."""
    while True:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)
            times = [each["loc"] for each in wrong if (each.get("ctx") or {}).get("pattern") == TIME]
            if not times:
                told = dict.fromkeys(_explained(each, place, model) for each in wrong)
                raise NormalizeError("; ".join(list(told)[:MOST_TOLD])) from None
        for loc in times:
            _mend(data, loc, place)


def _mend(data: Any, loc: Sequence[str | int], place: Place) -> None:
    for step in loc[:-1]:
        data = data[step]
    try:
        data[loc[-1]] = from_iso(data[loc[-1]])
    except NormalizeError:
        raise NormalizeError(f"{_told((*place, *loc))}: {_WRITE_TIME}") from None


_WRITE_TIME = "no time: write it like 2026-03-01T09:30:00Z"


def _explained(detail: ErrorDetails, place: Place, model: type[BaseModel]) -> str:
    loc = detail["loc"]
    if loc[-1:] in (("str",), ("int",)):  # of a field that may be either
        return f"{_told((*place, *loc[:-1]))}: write text or a whole number"
    where = _told((*place, *loc)) or "the item"
    context: Mapping[str, Any] = detail.get("ctx") or {}
    match detail["type"]:
        case "extra_forbidden":
            known = list(model.model_fields) if len(loc) == 1 else []
            return f"{where}: unknown field{_near(place, str(loc[-1]), known)}"
        case "missing":
            return f"{where}: is missing"
        case "literal_error":
            return f"{where}: must be {context['expected']}"
        case "string_pattern_mismatch":
            return f'{where}: write a decimal as text, such as "19.90"'
        case "string_type":
            return f'{where}: must be text: put it in quotes (money, too: "19.90")'
        case "model_type" | "model_attributes_type":
            return f"{where}: must be a JSON object"
    return f"{where}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _near(place: object, word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean `{close[0]}`?"
    if not known:
        return ""
    more = "; what has no field goes into `data.attributes`" if place else ""
    return f"; there are: {', '.join(known)}{more}"


def _told(place: Place) -> str:
    return ".".join(map(str, place))
