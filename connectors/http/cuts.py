"""What never enters the hub. Pure."""

from collections.abc import Container
from typing import Any


def cut(value: Any, names: Container[str]) -> Any:
    """The same JSON, in which members of these names say only whether there was something: `true`."""
    match value:
        case dict():
            return {name: True if inner and name in names else cut(inner, names) for name, inner in value.items()}
        case list():
            return [cut(inner, names) for inner in value]
    return value
