"""Texts with placeholders, `{since.iso}`: in paths, parameters, bodies and signed texts. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import AfterValidator

Values = Mapping[str, Any]

# Of a list's request. Times are epoch ms; what has no value yet (the cursor on the first page) is left out whole.
OF_LISTS = ("since", "until", "cursor", "page", "offset", "size", "account")
OF_OBJECTS = ("id", "ids", "account")
_PLACE = re.compile(r"\{(\w+)(?:\.(\w+))?\}")


def _utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


_FORMATS: dict[str | None, Callable[[int], str | int]] = {
    None: lambda ms: f"{_utc(ms):%Y-%m-%dT%H:%M:%SZ}",
    "iso": lambda ms: f"{_utc(ms):%Y-%m-%dT%H:%M:%SZ}",
    "iso_ms": lambda ms: f"{_utc(ms):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z",
    "offset": lambda ms: f"{_utc(ms):%Y-%m-%dT%H:%M:%S}+00:00",
    "date": lambda ms: f"{_utc(ms):%Y-%m-%d}",
    "s": lambda ms: ms // 1000,
    "ms": lambda ms: ms,
}
_TIMES = ("since", "until")


def fill(template: Any, values: Values) -> Any:
    """The same JSON with its texts filled in. A text that is nothing but a placeholder becomes the value, with its
    type; what needs a value that is None becomes None, and members of objects that do are left out."""
    match template:
        case str():
            return _filled(template, values)
        case dict():
            made = {name: fill(inner, values) for name, inner in template.items()}
            return {name: value for name, value in made.items() if value is not None or template[name] is None}
        case list():
            return [fill(inner, values) for inner in template]
    return template


def names(template: Any) -> Iterator[str]:
    """The placeholders' names, without their formats."""
    match template:
        case str():
            yield from (found[1] for found in _PLACE.finditer(template))
        case dict():
            for inner in template.values():
                yield from names(inner)
        case list():
            for inner in template:
                yield from names(inner)


def _filled(text: str, values: Values) -> Any:
    if whole := _PLACE.fullmatch(text):
        return _value(whole, values)
    found = [_value(place, values) for place in _PLACE.finditer(text)]
    if None in found:
        return None
    rest = iter(found)
    return _PLACE.sub(lambda _: str(next(rest)), text)


def _value(place: re.Match[str], values: Values) -> Any:
    name, form = place.groups()
    value = values.get(name)
    return _FORMATS[form](value) if name in _TIMES and value is not None else value


def _checked(template: Any) -> Any:
    match template:
        case str():
            for place in _PLACE.finditer(template):
                _check(*place.groups())
        case dict():
            for inner in template.values():
                _checked(inner)
        case list():
            for inner in template:
                _checked(inner)
    return template


def _check(name: str, form: str | None) -> None:
    known = dict.fromkeys((*OF_LISTS, *OF_OBJECTS))
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {{{close[0]}}}?" if close else f"there are: {', '.join(known)}"
        raise ValueError(f"no placeholder {{{name}}}; {hint}")
    if form is not None and name not in _TIMES:
        raise ValueError(f"{{{name}}} is no time and has no format: write {{{name}}}")
    if form not in _FORMATS:
        raise ValueError(f"no format {form!r}; there are: {', '.join(each for each in _FORMATS if each)}")


Template = Annotated[str, AfterValidator(_checked)]
Body = Annotated[Any, AfterValidator(_checked)]
