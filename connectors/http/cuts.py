"""What never enters the hub. Pure."""

from collections.abc import Container, Mapping, Sequence
from typing import Any


def cut(value: Any, names: Container[str]) -> Any:
    """The same JSON, in which members of these names say only whether there was something: `true`."""
    match value:
        case dict():
            return {name: True if inner and name in names else cut(inner, names) for name, inner in value.items()}
        case list():
            return [cut(inner, names) for inner in value]
    return value


def only(value: Any, wanted: Mapping[int, Sequence[str]]) -> Any:
    """The same JSON, in which objects of these identities have no more than these members."""
    match value:
        case dict():
            names = wanted.get(id(value), value)
            return {name: only(inner, wanted) for name, inner in value.items() if name in names}
        case list():
            return [only(inner, wanted) for inner in value]
    return value
