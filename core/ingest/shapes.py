"""Which fields a kind of payload has, and of which types. Pure: no I/O, no clock.

Rule 1: a list is what its items are together. Rule 2: an object whose keys are data (ids) is a map: its values are one
shape, and its keys are never told. Custom fields (MAPS) come and go, so a new or missing one is no news; the type of
each of the first MOST_KNOWN is known, and of the others together. Rule 3: null fits anywhere, so what has been null or
empty so far is learnt without a word; a new field is told once it holds something. Rule 4: a name that is not plainly
one makes its object a map, because it may be somebody's; among custom fields it is known with the others alone. Rule 5:
a field that (nearly) every payload from one place had, and MISSES in a row from there lack, has vanished; a sample that
lacks it counts like a payload.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_FIELDS = 1_500  # of one kind; beyond it nothing is learnt or told any more
MOST_KEYS = 80  # an object with more is a map
MOST_KNOWN = 200  # custom fields of one object that are known by name
MOST_ITEMS = 20  # of a list that are looked at
STEADY = 50  # payloads with a field before its absence can be news, and so many for each payload that lacked it
MISSES = 20
DEEPEST = 12
MAPS = frozenset({"custom_attributes", "custom_fields", "properties", "metadata", "attributes"})

_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.:-]{0,60}")
_IDS = re.compile(r"\d{4}|[0-9a-f]{12}")
_TYPES: Mapping[type, str] = {
    str: "text", int: "number", float: "number", bool: "boolean", dict: "object", list: "list", type(None): "null"
}  # fmt: skip


class Shape:
    """What is known of one value. `fields` of an object; `items` of a list, or of a map's values. `steady`: the places
    from which it always comes. `lacking`: samples without it."""

    __slots__ = ("fields", "free", "items", "lacking", "steady", "types")

    def __init__(self) -> None:
        self.types: set[str] = set()
        self.fields: dict[str, Shape] = {}
        self.items: Shape | None = None
        self.free = False
        self.lacking = 0
        self.steady: set[str] = set()

    def document(self) -> dict[str, Any]:
        """JSON-ready; `shape_of` reads it."""
        found: dict[str, Any] = {"t": sorted(self.types)}
        if self.fields:
            found["f"] = {name: each.document() for name, each in self.fields.items()}
        if self.items is not None:
            found["i"] = self.items.document()
        if self.steady:
            found["s"] = sorted(self.steady)
        return {**found, "m": True} if self.free else found

    def merge(self, other: "Shape", name: str = "") -> bool:
        """Know what the other one knows, too; whether that was more. `name`: of the field that this is."""
        more = not other.types <= self.types or other.free > self.free
        self.types |= other.types
        self.steady |= other.steady
        if other.free and name not in MAPS:
            self._become_map()
        for field, each in other.fields.items():
            if self.free:
                more |= self._items().merge(each)
            elif field in self.fields:
                more |= self.fields[field].merge(each, field)
            else:
                self.fields[field], more = each, True
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
    shape.steady = set(document.get("s", ()))
    return shape


GONE = "gone"


@dataclass(frozen=True, slots=True)
class News:
    """`path` (names, `[]` for a list's items, `*` for a map's values) has a `type` that was not known there; `before`
    are the types that were, none where the field is new. Type GONE: the field has vanished."""

    path: str
    type: str
    before: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        path = self.path or "the payload"
        if self.type == GONE:
            return f"{path} is missing and always came"
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
        # Of this payload: objects with their path, and fields that stand in one of them.
        self._objects: dict[Shape, str] = {}
        self._present: set[Shape] = set()
        self._counts: dict[tuple[str, Shape], _Count] = {}

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

    def learn(self, data: Any, place: str | None = None) -> list[News]:
        """What of this payload was not known, each path once. From now on it is known. `place`: from where it comes,
        such as a stream's name; None: what it lacks is not counted."""
        self._news, self._objects, self._present = [], {}, set()
        if self.size < MOST_FIELDS:
            self._walk(self.root, data, "", not self.root.types, DEEPEST)
            if place is not None:
                self._count(place)
        return self._news

    def sampled(self, samples: Sequence[Any]) -> None:
        """Learn samples, and what they lack."""
        for data in samples:
            self.learn(data)
        for data in samples:
            self.learn(data)
            for shape in self._objects:
                for each in shape.fields.values():
                    each.lacking += each not in self._present
        self.changed = False

    def _count(self, place: str) -> None:
        """An object's field is there if one of the objects at its path has it: lists count once."""
        for shape, path in self._objects.items():
            for name, each in shape.fields.items():
                count = self._counts.get((place, each))
                if count is None:
                    count = self._counts[place, each] = _Count(lost=each.lacking)
                steady = place in each.steady
                if each in self._present:
                    now = count.there(steady)
                else:
                    now = count.missing(steady)
                    if steady and not now:
                        self._news.append(News(f"{path}.{name}".lstrip("."), GONE))
                if now != steady:
                    (each.steady.add if now else each.steady.discard)(place)
                    self.changed = True

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
        if path.rpartition(".")[2] in MAPS:
            self._custom(shape, value, path, quiet, depth)
            return
        if not shape.free:
            # Quiet, too, while the object was only ever seen empty.
            unheard = quiet or not shape.fields
            fields = shape.fields
            for name, each in value.items():
                known = fields.get(name)
                if known is None and each is None and not unheard and _named(name):
                    continue  # it is told once it holds something
                if known is None:
                    if not _named(name) or len(fields) >= MOST_KEYS:
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
                self._present.add(known)
            else:
                if value:  # an empty one says as little as null
                    self._objects[shape] = path
                return
        self._map(shape, value.values(), path, quiet, depth)

    def _custom(self, shape: Shape, value: Mapping[str, Any], path: str, quiet: bool, depth: int) -> None:
        """A company's own fields, by name as far as they are known so."""
        shape.free = False  # it was one in what older hubs learnt
        others = []
        for name, each in value.items():
            known = shape.fields.get(name)
            if known is not None:
                self._walk(known, each, f"{path}.{name}", quiet, depth)
            elif not _named(name) or len(shape.fields) >= MOST_KNOWN:
                others.append(each)
            elif each is not None:
                known = shape.fields[name] = Shape()
                self.size += 1
                self._walk(known, each, f"{path}.{name}", True, depth)
        if others:
            self._map(shape, others, path, quiet, depth)

    def _map(self, shape: Shape, values: Iterable[Any], path: str, quiet: bool, depth: int) -> None:
        items, unknown = shape._items(), quiet or not shape._items().types
        for each in values:
            self._walk(items, each, path + ".*", unknown, depth)


@dataclass(slots=True)
class _Count:
    """Payloads from one place that had a field, and that lacked it; `gone` of them just now, in a row."""

    seen: int = 0
    lost: int = 0
    gone: int = 0

    def there(self, steady: bool) -> bool:
        """One that has it; whether the field is steady now."""
        ended = self.gone > 0
        if self.seen:  # before it came at all, or since it vanished, nothing was lacking
            self.lost += self.gone
        self.gone = 0
        self.seen += 1
        # What was known to be steady from before this process stays so until one lacks it.
        return self._usual() if ended or not steady else True

    def missing(self, steady: bool) -> bool:
        self.gone += 1
        if not steady or self.gone < MISSES:
            return steady
        self.seen = self.lost = self.gone = 0
        return False

    def _usual(self) -> bool:
        return self.seen >= STEADY * (self.lost + 1)


def _named(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and _IDS.search(name) is None


def _size(shape: Shape) -> int:
    below = [*shape.fields.values(), *([shape.items] if shape.items else [])]
    return 1 + sum(_size(each) for each in below)


def _a(word: str) -> str:
    return f"an {word}" if word == "object" else word if word in ("text", "null") else f"a {word}"
