"""Which fields a kind of payload has, and of which types. Pure: no I/O, no clock.

Rule 1: a list is what its items are together. Rule 2: an object whose keys are data (custom fields, ids) is a map: its
values are one shape, and its keys are never told. Rule 3: null fits anywhere, so what has been null or empty so far is
learnt without a word; a new field is told once it holds something. Rule 4: a name that is not plainly one makes its
object a map, because it may be somebody's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_FIELDS = 1_500  # of one kind; beyond it nothing is learnt or told any more
MOST_KEYS = 80  # an object with more is a map
MOST_ITEMS = 20  # of a list that are looked at
DEEPEST = 12
MAPS = frozenset({"custom_attributes", "custom_fields", "properties", "metadata", "attributes"})

_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.:-]{0,60}")
_IDS = re.compile(r"\d{4}|[0-9a-f]{12}")
_TYPES: Mapping[type, str] = {
    str: "text", int: "number", float: "number", bool: "boolean", dict: "object", list: "list", type(None): "null"
}  # fmt: skip


class Shape:
    """What is known of one value. `fields` of an object; `items` of a list, or of a map's values."""

    __slots__ = ("fields", "free", "items", "types")

    def __init__(self) -> None:
        self.types: set[str] = set()
        self.fields: dict[str, Shape] = {}
        self.items: Shape | None = None
        self.free = False

    def document(self) -> dict[str, Any]:
        """JSON-ready; `shape_of` reads it."""
        found: dict[str, Any] = {"t": sorted(self.types)}
        if self.fields:
            found["f"] = {name: each.document() for name, each in self.fields.items()}
        if self.items is not None:
            found["i"] = self.items.document()
        return {**found, "m": True} if self.free else found

    def merge(self, other: "Shape") -> bool:
        """Know what the other one knows, too; whether that was more."""
        more = not other.types <= self.types or other.free > self.free
        self.types |= other.types
        if other.free:
            self._become_map()
        for name, each in other.fields.items():
            if self.free:
                more |= self._items().merge(each)
            elif name in self.fields:
                more |= self.fields[name].merge(each)
            else:
                self.fields[name], more = each, True
        if other.items is not None:
            more |= self._items().merge(other.items)
        return more

    def _items(self) -> "Shape":
        if self.items is None:
            self.items = Shape()
        return self.items

    def _become_map(self) -> None:
        if not self.free:
            self.free = True
            fields, self.fields = self.fields, {}
            for each in fields.values():
                self._items().merge(each)


def shape_of(document: Mapping[str, Any]) -> Shape:
    """Of what `Shape.document` gave. Raises KeyError, TypeError or AttributeError where it did not."""
    shape = Shape()
    shape.types = set(document["t"])
    shape.fields = {name: shape_of(each) for name, each in document.get("f", {}).items()}
    shape.items = shape_of(document["i"]) if "i" in document else None
    shape.free = bool(document.get("m"))
    return shape


@dataclass(frozen=True, slots=True)
class News:
    """`path` (names, `[]` for a list's items, `*` for a map's values) has a `type` that was not known there; `before`
    are the types that were, none where the field is new."""

    path: str
    type: str
    before: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        path = self.path or "the payload"
        return (
            f"{path} is {_a(self.type)} and was {' or '.join(map(_a, self.before))}"
            if self.before
            else f"{path} is new"
        )


class Learner:
    """Learns one kind's payloads. `root` is what is known."""

    def __init__(self) -> None:
        self.root = Shape()
        self.size = 1  # fields that are known
        self.changed = False  # since somebody set it to False
        self._news: list[News] = []

    def merge(self, shape: Shape) -> None:
        """Know what somebody else has learnt."""
        if self.root.merge(shape):
            self.size = _size(self.root)

    def knows(self, news: News) -> bool:
        """Whether it is none."""
        shape: Shape | None = self.root
        for name in news.path.replace("[]", ".[]").split(".") if news.path else ():
            if shape is not None and name:
                shape = shape.items if name in ("[]", "*") or shape.free else shape.fields.get(name)
        return shape is not None and news.type in shape.types

    def learn(self, data: Any) -> list[News]:
        """What of this payload was not known, each path once. From now on it is known."""
        self._news = []
        if self.size < MOST_FIELDS:
            self._walk(self.root, data, "", not self.root.types, DEEPEST)
        return self._news

    def _walk(self, shape: Shape, value: Any, path: str, quiet: bool, depth: int) -> None:
        word = _TYPES.get(type(value), "text")
        if word not in shape.types:
            known = shape.types - {"null"}
            if known and word != "null" and not quiet:
                self._news.append(News(path, word, tuple(sorted(known))))
            shape.types.add(word)
            self.changed = True
        if not depth or value is None:
            return
        if word == "object":
            self._object(shape, value, path, quiet, depth - 1)
        elif word == "list" and value:
            quiet = quiet or shape.items is None
            items = shape._items()
            for each in value[:MOST_ITEMS]:
                self._walk(items, each, path + "[]", quiet, depth - 1)

    def _object(self, shape: Shape, value: Mapping[str, Any], path: str, quiet: bool, depth: int) -> None:
        if not shape.free:
            # Quiet, too, while the object was only ever seen empty.
            unheard = quiet or not shape.fields
            fields = shape.fields
            for name, each in value.items():
                known = fields.get(name)
                if known is None and each is None and not unheard and _named(name):
                    continue  # it is told once it holds something
                if known is None:
                    if not _named(name) or len(fields) >= MOST_KEYS or path.rpartition(".")[2] in MAPS:
                        shape._become_map()
                        self.changed = True
                        break
                    known = fields[name] = Shape()
                    self.size += 1
                    if not unheard:
                        self._news.append(News(f"{path}.{name}".lstrip("."), _TYPES.get(type(each), "text")))
                    self._walk(known, each, f"{path}.{name}".lstrip("."), True, depth)
                else:
                    self._walk(known, each, f"{path}.{name}" if path else name, quiet, depth)
            else:
                return
        items, unknown = shape._items(), quiet or not shape._items().types
        for each in value.values():
            self._walk(items, each, path + ".*", unknown, depth)


def _named(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and _IDS.search(name) is None


def _size(shape: Shape) -> int:
    below = [*shape.fields.values(), *([shape.items] if shape.items else [])]
    return 1 + sum(_size(each) for each in below)


def _a(word: str) -> str:
    return f"an {word}" if word == "object" else word if word in ("text", "null") else f"a {word}"
