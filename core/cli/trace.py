"""Finds the place in a payload at which a normalizer stumbled: the value that it looked at last. Pure."""

from collections.abc import Callable
from typing import Any


def last_place(given: Any, use: Callable[[Any], object]) -> str | None:
    """Call `use` with `given`, which makes it raise, and say where it was: `data.user.id`. None where it raises not,
    or looked at nothing."""
    seen: list[str] = []
    try:
        use(_traced(given, "", seen))
    except Exception:
        return seen[-1] if seen else None
    return None


def _traced(given: Any, path: str, seen: list[str]) -> Any:
    match given:
        case dict():
            inner = _Dict(
                (key, _traced(value, f"{path}.{key}" if path else str(key), seen)) for key, value in given.items()
            )
            inner.path, inner.seen = path, seen
            return inner
        case list():
            listed = _List(_traced(value, f"{path}[{index}]", seen) for index, value in enumerate(given))
            listed.path, listed.seen = path, seen
            return listed
    return given


class _Dict(dict[str, Any]):
    path: str
    seen: list[str]

    def __getitem__(self, key: str) -> Any:
        self._look(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._look(key)
        return super().get(key, default)

    def _look(self, key: str) -> None:
        self.seen.append(f"{self.path}.{key}" if self.path else str(key))


class _List(list[Any]):
    path: str
    seen: list[str]

    def __getitem__(self, index: Any) -> Any:
        self.seen.append(f"{self.path}[{index}]")
        return super().__getitem__(index)
