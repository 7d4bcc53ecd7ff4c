"""How a row of a file becomes an item of `schemas.push`: the mapping file, and what it does with a row. Pure.

A value of the mapping is a column's name, a recipe (it has `column` or `constant`), or an object or a list of values. A
cell that is empty gives no value; an object none of whose columns has a value is left out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple

import yaml

from core.errors import ConfigError, NormalizeError
from core.ingest.recipes import ORDERS, RECIPE, cook, wrong_recipe
from core.ingest.rows import Cells
from core.sdk import from_ms
from core.sdk.bodies import clean
from schemas.entities import ENTITIES

Place = tuple[str | int, ...]
_AS_WRITTEN = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary")
_TOP = (
    "entity", "kind", "id", "updated_at", "version", "action", "mode", "fields", "empty", "delimiter", "encoding",
)  # fmt: skip
# What spreadsheets leave of a formula that failed, and of a number that is too long for its column.
_FAILED = re.compile(r"#(N/A|REF!|VALUE!|DIV/0!|NAME\?|NUM!|NULL!|NV|BEZUG!|WERT!|ZAHL!)")
_SHORTENED = re.compile(r"\d[.,]\d+E\+\d+")


class Mistake(NamedTuple):
    """What of a row cannot be mapped: `column` as the file names it."""

    column: str
    why: str


@dataclass(frozen=True, slots=True)
class Built:
    """An item, from which column each of its places came, and what went wrong (then the item is not to be sent)."""

    item: dict[str, Any]
    columns: Mapping[str, str]
    mistakes: Sequence[Mistake]

    def column_of(self, place: str) -> str | None:
        """From which column a refused field came (`data.parties.0.person`), or something below it."""
        below = (column for at, column in self.columns.items() if at == place or at.startswith(place + "."))
        return next(below, None)


@dataclass(slots=True)
class _Making:
    cells: Cells
    columns: dict[str, str] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)


class Plan:
    """A mapping file that holds together."""

    def __init__(self, text: str, name: str, *, region: str, modified: int) -> None:
        """`modified`: of the data file, epoch ms. Raises ConfigError: a line per mistake, `name:line: place: what is
        wrong and what to do`."""
        self._name, self._region, self._modified = name, region, modified
        self._lines: dict[Place, int] = {}
        self._wrong: list[str] = []
        self._top = self._read(text)
        self._check()
        if self._wrong:
            raise ConfigError("\n".join(self._wrong))
        if isinstance(updated := self._top.get("updated_at"), dict):
            self._top["updated_at"] = {**updated, ORDERS: True}
        self._empty: Sequence[str] = self._top.get("empty") or ()
        self.delimiter: str | None = self._top.get("delimiter")
        self.encoding: str | None = self._top.get("encoding")

    def check_columns(self, columns: Sequence[str], file: str) -> None:
        """Raises ConfigError where the file lacks a column that the mapping names."""
        for place, column in self._named(self._top, ()):
            if column not in columns:
                self._mistake(
                    place, f"{file} has no column {column!r}{_near(column, [each for each in columns if each])}"
                )
        if self._wrong:
            raise ConfigError("\n".join(self._wrong))

    def build(self, cells: Cells) -> Built:
        """The item of one row."""
        making, top = _Making(cells), self._top
        item: dict[str, Any] = {"entity": top["entity"], "mode": top.get("mode", "full")}
        if "kind" in top:
            item["kind"] = top["kind"]
        for name in ("id", "version", "action"):
            if name in top:
                item[name] = self._value(top[name], (name,), making)
        if "updated_at" in top:
            item["updated_at"] = self._updated(making)
        if item.setdefault("action", "upserted") == "upserted":
            item["data"] = self._value(top.get("fields", {}), ("data",), making) or {}
        return Built({name: it for name, it in item.items() if it is not None}, making.columns, making.mistakes)

    def _updated(self, making: _Making) -> Any:
        given = self._top["updated_at"]
        if isinstance(given, dict) and "file" in given:
            return from_ms(self._modified)
        return self._value(given, ("updated_at",), making)

    def _value(self, given: Any, place: Place, making: _Making) -> Any:
        match given:
            case str():
                return self._made({"column": given}, place, making)
            case {"column": _} | {"constant": _}:
                return self._made(given, place, making)
            case dict():
                before = len(making.columns)
                made = {name: self._value(it, (*place, name), making) for name, it in given.items()}
                if len(making.columns) == before and next(self._named(given, place), None):
                    return None
                return {name: it for name, it in made.items() if it is not None}
            case list():
                kept: list[Any] = []
                for each in given:
                    if (it := self._value(each, (*place, len(kept)), making)) is not None:
                        kept.append(it)
                return kept
        return given

    def _made(self, recipe: Mapping[str, Any], place: Place, making: _Making) -> Any:
        if "constant" in recipe:
            return recipe["constant"]
        column = recipe["column"]
        value = _cell(making.cells, column)
        if value in (None, "") or value in self._empty:
            return None
        if isinstance(value, str) and (why := _damaged(value, key=place == ("id",) or "prefix" in recipe)):
            making.mistakes.append(Mistake(column, why))
            return None
        try:
            made = cook(value, recipe, self._region)
        except NormalizeError as error:
            making.mistakes.append(Mistake(column, str(error)))
            return None
        if made is not None:
            making.columns[".".join(map(str, place))] = column
        return made

    def _named(self, given: Any, place: Place) -> Iterator[tuple[Place, str]]:
        """Every column that is named, and where."""
        match given:
            case {"column": str(column)}:
                yield place, column
            case {"constant": _} | {"file": _}:
                return
            case dict():
                for name, inner in given.items():
                    if place or name in ("id", "updated_at", "version", "action", "fields"):
                        yield from self._named(inner, (*place, name))
            case list():
                for index, inner in enumerate(given):
                    yield from self._named(inner, (*place, index))
            case str():
                yield place, given

    # -- the mapping file itself
    def _read(self, text: str) -> dict[str, Any]:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            value = self._plain(node, ()) if node is not None else None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigError(f"{self._name}:{line}: not YAML: {error.problem}") from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"{self._name}:1: not YAML that we read: {error}") from None
        if not isinstance(value, dict):
            raise ConfigError(f"{self._name}:1: expected a mapping with {', '.join(_TOP[:4])} and fields")
        return value

    def _plain(self, node: yaml.Node, place: Place) -> Any:
        self._lines[place] = node.start_mark.line + 1
        match node:
            case yaml.MappingNode():
                made: dict[str, Any] = {}
                for key, value in node.value:
                    if (name := str(clean(key.value))) in made:
                        self._lines[*place, name] = key.start_mark.line + 1
                        self._mistake((*place, name), "stands twice")
                    made[name] = self._plain(value, (*place, name))
                return made
            case yaml.SequenceNode():
                return [self._plain(each, (*place, index)) for index, each in enumerate(node.value)]
        if node.tag in _AS_WRITTEN:
            return node.value
        return clean(yaml.SafeLoader("").construct_object(node))

    def _check(self) -> None:
        top = self._top
        for name in top:
            if name not in _TOP:
                self._mistake((name,), f"unknown{_near(name, _TOP)}")
        entity = top.get("entity")
        if entity not in ENTITIES:
            self._mistake(("entity",), f"say what a row is{_near(str(entity or ''), list(ENTITIES))}")
        if (entity == "custom") != ("kind" in top) or not isinstance(top.get("kind", ""), str):
            self._mistake(("kind",), "of custom objects, and of no others, say what they are called")
        if "id" not in top:
            self._mistake(("id",), "name the column with the object's own id")
        if not {"updated_at", "version"} & top.keys():
            self._mistake(
                ("updated_at",), "name the column that tells old states from new ones, or say {file: modified}"
            )
        if top.get("mode", "full") not in ("full", "patch"):
            self._mistake(("mode",), "full or patch")
        fields = top.get("fields")
        if not isinstance(fields, dict) or not fields:
            self._mistake(("fields",), "say which field comes from which column")
        elif entity in ENTITIES:
            known = list(ENTITIES[entity].model_fields)
            for name in fields:
                if name not in known:
                    self._mistake(("fields", name), f"{entity} has no such field{_near(name, known)}")
        for name in top.keys() & {"id", "updated_at", "version", "action"}:
            self._check_recipes(top[name], (name,))
        self._check_recipes(fields or {}, ("fields",))
        self._check_form()

    def _check_form(self) -> None:
        """Of the data file: of what is left out, or null, it is found out."""
        delimiter, encoding = self._top.get("delimiter"), self._top.get("encoding")
        empty = self._top.get("empty") or []
        if not isinstance(empty, list) or not all(isinstance(word, str) for word in empty):
            self._mistake(("empty",), 'a list of words, in quotes: ["NULL", "n/a"]')
        if delimiter is not None and not (isinstance(delimiter, str) and re.fullmatch(r'[^"\r\n]', delimiter)):
            self._mistake(("delimiter",), 'one mark in quotes, such as ";" or "\\t"; left out, it is found out')
        try:
            if encoding is not None:
                str(encoding).encode(encoding)
        except (LookupError, TypeError, ValueError):
            self._mistake(("encoding",), "none of that name; there are utf-8, utf-16-le, cp1252, iso8859-15, …")

    def _check_recipes(self, given: Any, place: Place) -> None:
        match given:
            case {"column": _} | {"constant": _}:
                for name in given:
                    if name not in RECIPE:
                        self._mistake((*place, name), f"unknown{_near(name, RECIPE)}")
                if found := wrong_recipe(given):
                    self._mistake((*place, found[0]), found[1])
            case {"file": word}:
                if word != "modified" or place != ("updated_at",):
                    self._mistake((*place, "file"), "only `updated_at: {file: modified}` is known")
            case dict():
                for name, inner in given.items():
                    self._check_recipes(inner, (*place, name))
            case list():
                for index, inner in enumerate(given):
                    self._check_recipes(inner, (*place, index))
            case str():
                pass
            case _:
                self._mistake(place, "name a column, or write {constant: …}")

    def _mistake(self, place: Place, why: str) -> None:
        line = next((self._lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self._lines), 1)
        self._wrong.append(f"{self._name}:{line}: {'.'.join(map(str, place))}: {why}")


def _cell(cells: Cells, column: str) -> Any:
    """A column, or a path into an object: `customer.id`."""
    if column in cells:
        value = cells[column]
    else:
        value = cells
        for step in column.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
    return value.strip() if isinstance(value, str) else value


def _damaged(value: str, *, key: bool) -> str:
    """Why a cell is not what its system said; `key`: objects are told apart by it."""
    if _FAILED.fullmatch(value):
        return f"{value} is what a spreadsheet leaves of a formula that failed"
    if key and _SHORTENED.fullmatch(value):
        return f"{value} is what a spreadsheet leaves of a long number: export the column as text"
    return ""


def _near(word: str, known: Sequence[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; there are: {', '.join(known)}"
