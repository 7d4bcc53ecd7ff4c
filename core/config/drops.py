"""Which paths of the schema `drop:` may name. Pure."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from core.config.explain import did_you_mean
from schemas.entities import ENTITIES

_NEEDED = {"person.role": "staff and bots would become customers without it; take this path out"}


def wrong_path(path: str) -> str | None:
    """What is wrong with it and what to do; None where it names an entity, a field, or anything below a free map."""
    if path in _NEEDED:
        return _NEEDED[path]
    entity, *names = path.split(".")
    if entity not in ENTITIES:
        return f"there is no entity {entity!r}{did_you_mean(entity, list(ENTITIES))}"
    shape: Any = ENTITIES[entity]
    above = entity
    for name in names:
        if shape is None:
            return f"nothing stands below {above}: write `{above}`"
        if shape is dict:
            return None if all(names) else f"a name is missing in {path!r}"
        field = shape.model_fields.get(name)
        if field is None:
            return f"{above} has no field {name!r}{did_you_mean(name, list(shape.model_fields))}"
        if field.is_required():
            return f"nothing of {above} can be read without its {name}: write `{above}`, which drops the whole"
        shape, above = _inside(field.annotation), f"{above}.{name}"
    return None


def paths() -> Iterator[str]:
    """All that can be named, apart from what stands below a free map."""
    for entity, model in ENTITIES.items():
        yield entity
        yield from _below(entity, model)


def free() -> Iterator[str]:
    """The free maps among them."""
    return (path for path in paths() if wrong_path(f"{path}.anything") is None)


def _below(path: str, shape: Any) -> Iterator[str]:
    for name, field in shape.model_fields.items() if shape not in (None, dict) else ():
        if wrong_path(f"{path}.{name}") is None:
            yield f"{path}.{name}"
            yield from _below(f"{path}.{name}", _inside(field.annotation))


def _inside(annotation: Any) -> Any:
    """The model of what stands there, of the elements of a list; `dict` for a free map, None for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    origin = get_origin(annotation)
    if origin is dict:
        return dict
    if origin in (Annotated, list, Union, UnionType):
        return next((found for each in get_args(annotation) if (found := _inside(each)) is not None), None)
    return None
