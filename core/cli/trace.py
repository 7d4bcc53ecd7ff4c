"""Finds the place in a payload at which a normalizer stumbled. Pure."""

from collections.abc import Callable
from typing import Any

_Seen = list[tuple[str, Any]]  # (place, value) of everything that was looked at, in order


def place_of(given: Any, use: Callable[[Any], object]) -> str | None:
    """Call `use` with `given`, which makes it raise, and say where: `user.id`. None where it does not raise.

    It is the value that the error quotes, otherwise the one that was looked at last.
    """
    seen: _Seen = []
    try:
        use(_traced(given, "", seen))
    except Exception as error:
        said = str(error)
        quoted = [place for place, value in seen if isinstance(value, str | int | float) and repr(value) in said]
        places = quoted or [place for place, _ in seen]
        return places[-1] if places else None
    return None


def _traced(given: Any, place: str, seen: _Seen) -> Any:
    match given:
        case dict():
            return _Dict(given, place, seen)
        case list():
            return _List(given, place, seen)
    return given


class _Dict(dict[str, Any]):
    def __init__(self, given: dict[str, Any], place: str, seen: _Seen) -> None:
        self._place, self._seen = place, seen
        super().__init__((key, _traced(value, self._at(key), seen)) for key, value in given.items())

    def __getitem__(self, key: str) -> Any:
        self._seen.append((self._at(key), super().get(key)))
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._seen.append((self._at(key), super().get(key)))
        return super().get(key, default)

    def _at(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else str(key)


class _List(list[Any]):
    def __init__(self, given: list[Any], place: str, seen: _Seen) -> None:
        self._place, self._seen = place, seen
        super().__init__(_traced(value, f"{place}[{index}]", seen) for index, value in enumerate(given))

    def __getitem__(self, index: Any) -> Any:
        self._seen.append((f"{self._place}[{index}]", None))
        return super().__getitem__(index)
