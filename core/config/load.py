"""Reads `hub.yaml`: YAML first, then `${ENV}` and `${file:…}` node by node, then the models; all mistakes at once.

Filling in after parsing means that a secret can never change the file's structure.
"""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from core import registry
from core.config.model import BusConfig, Connection, HubConfig, Identity, Server, Show, StoreConfig
from core.errors import ConfigError

SECTIONS: dict[str, type[BaseModel]] = {
    "identity": Identity,
    "show": Show,
    "server": Server,
    "bus": BusConfig,
    "store": StoreConfig,
}
_TOP = ("data", "connections", *SECTIONS)
_FILL = re.compile(r"\$\{(?:(file):)?([^}]*)\}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
Path_ = tuple[str | int, ...]


def load(path: Path, environ: Mapping[str, str] | None = None) -> HubConfig:
    """The valid file. Raises ConfigError: a line per mistake, `file:line: field: what is wrong and what to do`."""
    return _Loader(path, os.environ if environ is None else environ).load()


class _Loader:
    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path, self._environ = path, environ
        self._lines: dict[Path_, int] = {}
        self._mistakes: list[tuple[int, str, str]] = []
        self._unfilled: set[Path_] = set()

    def load(self) -> HubConfig:
        raw = self._read()
        for name in raw:
            if name not in _TOP:
                self._wrong((name,), f"unknown section{_did_you_mean(name, _TOP)}")
        data = raw.get("data")
        if not isinstance(data, str) or not data:
            self._wrong(("data",), "say in which folder the hub keeps its data, for instance `data: var/live`")
            data = "var"
        sections = {name: self._section(name, model, raw.get(name)) for name, model in SECTIONS.items()}
        connections = self._connections(raw.get("connections"))
        self._check_together(connections, sections)
        if self._mistakes:
            told = [f"{self._path}:{line}: {place}: {why}" for line, place, why in sorted(set(self._mistakes))]
            raise ConfigError("\n".join(told))
        folder = self._path.parent / data
        return HubConfig(path=self._path, data=folder, connections=connections, **sections)

    def _read(self) -> dict[str, Any]:
        try:
            node = yaml.compose(self._path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except FileNotFoundError:
            raise ConfigError(f"{self._path}: there is no such file; name yours with --config FILE") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self._path}:1: not UTF-8 text ({error.reason} at byte {error.start})") from None
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be read: {error.strerror}") from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigError(f"{self._path}:{line}: not YAML: {error.problem}") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"{self._path}:1: not YAML: {error}") from None
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{self._path}:1: expected sections such as `data:` and `connections:`")
        value = self._value(node, ())
        assert isinstance(value, dict)
        return value

    def _value(self, node: yaml.Node, path: Path_) -> Any:
        self._lines[path] = node.start_mark.line + 1
        match node:
            case yaml.MappingNode():
                found: dict[str, Any] = {}
                for key_node, value_node in node.value:
                    key = (
                        str(yaml.SafeLoader("").construct_object(key_node))
                        if key_node.tag.endswith(":str")
                        else (str(key_node.value))
                    )
                    here = (*path, key)
                    if key in found:
                        first = self._lines[here]
                        self._lines[here] = key_node.start_mark.line + 1
                        self._wrong(here, f"this name stands in line {first} already; names must differ")
                        continue
                    found[key] = self._value(value_node, here)
                    self._lines[here] = key_node.start_mark.line + 1
                return found
            case yaml.SequenceNode():
                return [self._value(each, (*path, index)) for index, each in enumerate(node.value)]
            case yaml.ScalarNode():
                value = yaml.SafeLoader("").construct_object(node)
                return self._filled(value, path) if isinstance(value, str) else value
        return None

    def _filled(self, text: str, path: Path_) -> str:
        def fill(found: re.Match[str]) -> str:
            kind, name = found.groups()
            if kind == "file":
                try:
                    return (self._path.parent / name).read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError) as error:
                    why = getattr(error, "strerror", None) or "not UTF-8 text"
                    self._unfilled.add(path)
                    self._wrong(path, f"the file {name} cannot be read ({why})")
                    return ""
            if name in self._environ:
                return self._environ[name]
            self._unfilled.add(path)
            self._wrong(path, f"the environment variable {name} is not set")
            return ""

        return _FILL.sub(fill, text)

    def _section(self, name: str, model: type[BaseModel], raw: Any) -> Any:
        try:
            return model.model_validate({} if raw is None else raw)
        except ValidationError as error:
            self._invalid((name,), model, error)
            return model.model_construct()

    def _connections(self, raw: Any) -> dict[str, Connection]:
        if not isinstance(raw, dict) or not raw:
            self._wrong(("connections",), "name at least one connection with its `type:`")
            return {}
        made = {name: self._connection(name, entry) for name, entry in raw.items()}
        return {name: each for name, each in made.items() if each}

    def _connection(self, name: str, raw: Any) -> Connection | None:
        here = ("connections", name)
        if not _NAME.fullmatch(name):
            self._wrong(here, "a connection's name is lower-case letters, digits, - and _, 40 at most")
            return None
        if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
            self._wrong(here, f"say which connector it is: `type:` one of {', '.join(registry.names())}")
            return None
        try:
            connector = registry.load(raw["type"])
        except ConfigError as error:
            self._wrong((*here, "type"), str(error))
            return None
        demo = registry.mock(connector.name).DEMO if raw.get("mock") is True else {}
        known = connector.config.model_fields
        filled = {**{key: value for key, value in demo.items() if key in known}, **raw}
        try:
            return Connection(name, connector, connector.config.model_validate(filled))
        except ValidationError as error:
            self._invalid(here, connector.config, error)
            return None

    def _check_together(self, connections: Mapping[str, Connection], sections: Mapping[str, Any]) -> None:
        mocks = {name: each.settings.mock for name, each in connections.items()}
        if any(mocks.values()) and not all(mocks.values()):
            real = next(name for name, mock in mocks.items() if not mock)
            self._wrong(
                ("connections", real),
                "this connection is real and others are `mock: true`; invented and real people never share a store: "
                "remove `mock: true` everywhere and name a new `data:` folder",
            )
        if sections["bus"].type == "kafka" and not sections["bus"].servers:
            self._wrong(("bus", "servers"), "name Kafka's bootstrap servers, for instance `servers: kafka:9092`")
        if sections["store"].type == "postgres" and not sections["store"].url.get_secret_value():
            self._wrong(("store", "url"), "name the database, for instance `url: ${HUB_DATABASE}`")
        for name in ("api", "webhooks"):
            address = getattr(sections["server"], name, "")
            if not re.fullmatch(r"\S+:\d{1,5}", address) or int(address.rpartition(":")[2]) > 65535:
                self._wrong(("server", name), f"{address!r} is not HOST:PORT")

    def _invalid(self, here: Path_, model: type[BaseModel], error: ValidationError) -> None:
        for detail in error.errors(include_url=False, include_context=True):
            self._wrong((*here, *detail["loc"]), _explained(detail, model, _secret(model, detail["loc"])))

    def _wrong(self, path: Path_, why: str) -> None:
        if path in self._unfilled and "is not set" not in why and "cannot be read" not in why:
            return  # an empty value follows from the mistake that was named already
        line = next((self._lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self._lines), 1)
        self._mistakes.append((line, ".".join(map(str, path)), why))


def _explained(detail: ErrorDetails, model: type[BaseModel], secret: bool) -> str:
    given = detail.get("input")
    field = str(detail["loc"][-1]) if detail["loc"] else ""
    shown = "" if secret else f", got {given!r}"
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown setting{_did_you_mean(field, list(model.model_fields))}"
        case "missing":
            described = model.model_fields[field].description if field in model.model_fields else None
            return f"is missing{': ' + described if described else ''}"
        case "string_type" if isinstance(given, bool):
            return f"YAML reads this as {str(given).lower()}; put it in quotes"
        case "literal_error":
            expected = (detail.get("ctx") or {}).get("expected", "")
            return f"must be {expected}{shown}"
        case "value_error":
            return f"{detail['msg'].removeprefix('Value error, ')}{shown}"
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}{shown}"


def _secret(model: type[BaseModel], loc: Sequence[str | int]) -> bool:
    if not loc:
        return True  # what the whole entry holds is the input here
    field = model.model_fields.get(str(loc[0]))
    return field is not None and "SecretStr" in str(field.annotation or SecretStr)


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; there are: {', '.join(sorted(known))}"
