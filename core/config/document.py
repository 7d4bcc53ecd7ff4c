"""A YAML file of settings: every node's line, `${ENV}` and `${file:…}` filled in node by node, mistakes collected.

Filling in after parsing means that a secret can never change the file's structure.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigError

Place = tuple[str | int, ...]
_MOST_VALUES, _DEEPEST = 100_000, 100  # of one file: aliases of aliases grow without end, or hold themselves
_FILL = re.compile(r"\$\{(?:(file):)?([^}]*)\}")


class Document:
    """One file. `read` must come first; `mistakes` are lines `file:line: field: what is wrong and what to do`.

    `guess`: what `${…}` names and is not there is filled in with its own name, because nobody will use it.
    """

    def __init__(self, path: Path, environ: Mapping[str, str], *, guess: bool = False) -> None:
        self.path = path
        self._environ = environ
        self._guess = guess
        self._lines: dict[Place, int] = {}
        self._mistakes: set[tuple[int, str, str]] = set()
        self._unfilled: set[Place] = set()
        self._met = 0  # values, those that aliases repeat included
        self._merging: list[yaml.Node] = []

    @property
    def mistakes(self) -> list[str]:
        """In the order of their lines, each once."""
        return [f"{self.path}:{line}: {place}: {why}" for line, place, why in sorted(self._mistakes)]

    def read(self) -> dict[str, Any]:
        """What the file says. Raises ConfigError where it is no YAML, or no mapping of settings."""
        node = self._composed()
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{self.path}:1: expected sections such as `data:` and `connections:`")
        value = self._value(node, ())
        assert isinstance(value, dict)
        return value

    def wrong(self, place: Place, why: str) -> None:
        """Note a mistake at the nearest place that has a line."""
        if place in self._unfilled and "is not set" not in why and "cannot be read" not in why:
            return  # an empty value follows from the mistake that was named already
        self._mistakes.add((self.line(place), shown(place), why))

    def lacks(self, place: Place) -> bool:
        """Whether something at or below this place could not be filled in, which was named as a mistake."""
        return any(each[: len(place)] == place for each in self._unfilled)

    def line(self, place: Place) -> int:
        return next((self._lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self._lines), 1)

    def _composed(self) -> yaml.Node | None:
        try:
            return yaml.compose(self.path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except FileNotFoundError:
            raise ConfigError(f"{self.path}: there is no such file; name yours with --config FILE") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self.path}:1: not UTF-8 text ({error.reason} at byte {error.start})") from None
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror}") from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigError(f"{self.path}:{line}: not YAML: {error.problem}") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"{self.path}:1: not YAML: {error}") from None
        except RecursionError:
            raise ConfigError(f"{self.path}:1: nested too deep") from None

    def _value(self, node: yaml.Node, path: Place) -> Any:
        self._lines[path] = node.start_mark.line + 1
        self._met += 1
        if self._met > _MOST_VALUES or len(path) > _DEEPEST:
            raise self._endless(path)
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self._value(each, (*path, index)) for index, each in enumerate(node.value)]
            case yaml.ScalarNode():
                value = self._scalar(node, path)
                return self._filled(value, path) if isinstance(value, str) else value
        return None

    def _scalar(self, node: yaml.ScalarNode, path: Place) -> Any:
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):  # 2026-13-45 looks like a date and is none
            self.wrong(path, f"YAML reads a {node.tag.rpartition(':')[2]} here, and it is none: put text in quotes")
            self._unfilled.add(path)
            return None

    def _mapping(self, node: yaml.MappingNode, path: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        shared = self._merged(node, path)
        for key_node, value_node in node.value:
            if key_node.tag.endswith(":merge"):
                continue
            named = key_node.tag.endswith(":str")
            key = str(yaml.SafeLoader("").construct_object(key_node)) if named else str(key_node.value)
            here = (*path, key)
            if key in found:
                first = self._lines[here]
                self._lines[here] = key_node.start_mark.line + 1
                self.wrong(here, f"this name stands in line {first} already; names must differ")
                continue
            found[key] = self._value(value_node, here)
            self._lines[here] = key_node.start_mark.line + 1
        return {**shared, **found}

    def _merged(self, node: yaml.MappingNode, path: Place) -> dict[str, Any]:
        """What `<<: *name` brings in, at the lines where it is written."""
        shared: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag.endswith(":merge"):
                if not isinstance(value_node, yaml.MappingNode):
                    self.wrong(path, "`<<:` takes settings, as in `<<: *name`")
                    continue
                if value_node in self._merging:
                    raise self._endless(path)
                self._met += 1
                self._merging.append(value_node)
                shared |= self._mapping(value_node, path)
                self._merging.pop()
        return shared

    def _endless(self, path: Place) -> ConfigError:
        return ConfigError(f"{self.path}:{self.line(path)}: too many values, or nested too deep: mind the aliases")

    def _filled(self, text: str, path: Place) -> str:
        def fill(found: re.Match[str]) -> str:
            kind, name = found.groups()
            if self._guess and (kind == "file" or name not in self._environ):
                return str(name)
            if kind == "file":
                try:
                    return (self.path.parent / name).read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError) as error:
                    why = getattr(error, "strerror", None) or "not UTF-8 text"
                    self._unfilled.add(path)
                    self.wrong(path, f"the file {name} cannot be read ({why})")
                    return ""
            if name in self._environ:
                return self._environ[name]
            self._unfilled.add(path)
            self.wrong(path, f"the environment variable {name} is not set")
            return ""

        return _FILL.sub(fill, text)


def shown(place: Place) -> str:
    """As people write it: `connections.desk.streams[0].rows`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")
