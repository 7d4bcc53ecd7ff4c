"""What a mistake that pydantic found means for the person who wrote the file. Pure."""

import difflib
from collections.abc import Sequence
from datetime import date
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Loc = Sequence[str | int]


def explained(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """What is wrong and what to do; a secret is never quoted."""
    given, loc = detail.get("input"), detail["loc"]
    field = str(loc[-1]) if loc else ""
    holder = _model_of(_at(model, loc[:-1]))
    scalar = isinstance(given, str | int | float | bool | None)
    shown = f", got {given!r}" if scalar and not _secret(model, loc) else ""
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown setting{did_you_mean(field, list(holder.model_fields) if holder else [])}"
        case "missing":
            described = holder.model_fields[field].description if holder and field in holder.model_fields else None
            return f"is missing{': ' + described if described else ''}"
        case "string_type" if isinstance(given, bool):
            return f"YAML reads this as {str(given).lower()}; put it in quotes"
        case "string_type" if isinstance(given, int | float | date):
            return f"YAML reads a {'date' if isinstance(given, date) else 'number'} here; put it in quotes"
        case "literal_error":
            return f"must be {(detail.get('ctx') or {}).get('expected', '')}{shown}"
        case "value_error":
            said = detail["msg"].removeprefix("Value error, ")
            return said if shown and str(given) in said else f"{said}{shown}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "write its settings below it, each as `name: value`"
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}{shown}"


def did_you_mean(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; there are: {', '.join(sorted(known))}"


def _secret(model: type[BaseModel], loc: Loc) -> bool:
    """Also where a secret stands below: its section is not quoted."""
    found = [_at(model, loc[:n]) for n in range(1, len(loc) + 1)]
    return any("SecretStr" in str(each) for each in found)


def _at(model: Any, loc: Loc) -> Any:
    """The annotation of what stands at a place; None where the model knows nothing of it."""
    for part in loc:
        model = _inside(model, part)
    return model


def _inside(annotation: Any, part: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    if get_origin(annotation) in (list, dict):
        return get_args(annotation)[-1]
    return next((found for each in get_args(annotation) if (found := _inside(each, part)) is not None), None)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_of(each)) is not None), None)
