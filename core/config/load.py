"""Reads `hub.yaml`: first the document, then the models; all mistakes at once."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from core import registry
from core.config.document import Document, Place
from core.config.drops import wrong_path
from core.config.explain import did_you_mean, explained
from core.config.model import BusConfig, Connection, HubConfig, Identity, Server, Show, StoreConfig
from core.errors import ConfigError, SettingsError
from core.sdk import Connector

SECTIONS: dict[str, type[BaseModel]] = {
    "identity": Identity,
    "show": Show,
    "server": Server,
    "bus": BusConfig,
    "store": StoreConfig,
}
_TOP = ("data", "connectors", "connections", *SECTIONS)
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


def load(path: Path, environ: Mapping[str, str] | None = None, *, bare: bool = False) -> HubConfig:
    """The valid file. Raises ConfigError: a line per mistake, `file:line: field: what is wrong and what to do`.

    `bare`: it may name no connection any more.
    """
    return _Loader(path, os.environ if environ is None else environ, bare=bare).load()


def look_in_folders_of(path: Path) -> None:
    """Make the connectors known that a hub.yaml's `connectors:` names, for commands that need nothing else of the file,
    or where there is none. Raises ConfigError where what it names is no folder of connectors."""
    if path.exists():
        _Loader(path, {}, guess=True).folders()


def folders_of(path: Path) -> list[Path]:
    """The folders themselves, which need not be there yet."""
    raw = Document(path, {}, guess=True).read().get("connectors") if path.exists() else None
    return [path.parent / each for each in raw if isinstance(each, str)] if isinstance(raw, list) else []


def declared(path: Path, given: Mapping[str, str] | None = None) -> Connection:
    """The connection that a file of its own declares, as `file:` in hub.yaml names it, to try it: secrets are those of
    its `demo:`, else anything. `given` are further settings. Raises ConfigError as `load` does."""
    return _Loader(path, {}, guess=True).alone(given or {})


def declared_in(path: Path, name: str) -> Connection | None:
    """The connection of that name in a hub.yaml, to try it as with `declared`; None where there is none whose connector
    is made of its settings. Mistakes elsewhere in the file do not count."""
    return _Loader(path, {}, guess=True).one(name) if path.exists() else None


class _Loader:
    def __init__(self, path: Path, environ: Mapping[str, str], *, guess: bool = False, bare: bool = False) -> None:
        self._environ, self._guess, self._bare = environ, guess, bare
        self._document = Document(path, environ, guess=guess)
        self._documents: list[Document] = []

    def load(self) -> HubConfig:
        self._documents.append(self._document)
        raw = self._document.read()
        for name in raw:
            if name not in _TOP:
                self._wrong((name,), f"unknown section{did_you_mean(name, _TOP)}")
        data = raw.get("data")
        if not isinstance(data, str) or not data:
            self._wrong(("data",), "say in which folder the hub keeps its data, for instance `data: var/live`")
            data = "var"
        self._look_in(raw.get("connectors"))
        sections = {name: self._section(name, model, raw.get(name)) for name, model in SECTIONS.items()}
        connections = self._connections(raw.get("connections"))
        self._check_together(connections, sections)
        self._check_sources(connections, raw)
        self._end()
        path = self._document.path
        return HubConfig(path=path, data=path.parent / data, connections=connections, **sections)

    def folders(self) -> None:
        self._documents.append(self._document)
        self._look_in(self._document.read().get("connectors"))
        self._end()

    def _look_in(self, raw: Any) -> None:
        """Folders that hold private connectors; from then on the registry knows them."""
        if raw is None:
            return
        if not isinstance(raw, list) or not all(isinstance(each, str) for each in raw):
            self._wrong(("connectors",), "write a list of folders, for instance `connectors: [./my-connectors]`")
            return
        for index, each in enumerate(raw):
            folder = (self._document.path.parent / each).resolve()
            if not folder.is_dir():
                self._wrong(("connectors", index), f"there is no folder {each}")
                continue
            names = sorted(path.parent.name for path in folder.glob("*/__init__.py"))
            if not names:
                self._wrong(("connectors", index), f"{each} holds no connector: each is a folder with an __init__.py")
            for name in filter(registry.is_ours, names):
                self._wrong(("connectors", index), f"the hub has a connector {name!r} already: rename {each}/{name}")
            registry.names([folder])

    def one(self, name: str) -> Connection | None:
        raw = self._document.read()
        self._look_in(raw.get("connectors"))
        connections = raw.get("connections")
        entry = connections.get(name) if isinstance(connections, dict) else None
        if not isinstance(entry, dict) or entry.get("type") not in registry.names():
            return None
        if registry.load(entry["type"]).of is None:
            return None
        self._documents.append(self._document)
        connection = self._connection(name, {"account": "example", **entry})
        self._end()
        return connection

    def alone(self, given: Mapping[str, str]) -> Connection:
        document, settings = self._read_file(self._document.path, demo=True)
        name = str(settings.get("vendor") or document.path.stem)
        settings = {"type": "http", "account": "example", **settings, **given}
        connection = self._made(name, registry.load("http"), settings, [((), set(), document)])
        self._end()
        assert connection is not None
        return connection

    def _end(self) -> None:
        if told := [line for document in self._documents for line in document.mistakes]:
            raise ConfigError("\n".join(told))

    def _section(self, name: str, model: type[BaseModel], raw: Any) -> Any:
        try:
            return model.model_validate({} if raw is None else raw)
        except ValidationError as error:
            self._invalid((name,), model, error)
            return model.model_construct()

    def _connections(self, raw: Any) -> dict[str, Connection]:
        if not raw and self._bare:
            return {}
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
        sources: list[_Source] = [(here, set(raw), self._document)]
        if "file" in connector.config.model_fields and isinstance(raw.get("file"), str):
            path = self._document.path.parent / raw["file"]
            try:
                document, declared = self._read_file(path, demo=raw.get("mock") is True)
            except ConfigError as error:
                self._wrong((*here, "file"), str(error))
                return None
            sources.append(((), set(declared), document))
            raw = {**declared, **raw}
        return self._made(name, connector, raw, sources)

    def _made(self, name: str, connector: Connector[Any], raw: Any, sources: "Sequence[_Source]") -> Connection | None:
        mocked = raw.get("mock") is True
        demo = registry.mock(connector.name).DEMO if mocked and connector.of is None else {}
        known = connector.config.model_fields
        filled = {**{key: value for key, value in demo.items() if key in known}, **raw}
        for index, path in enumerate(raw["drop"] if isinstance(raw.get("drop"), list) else ()):
            if isinstance(path, str) and (why := wrong_path(path)):
                _blame(sources, ("drop", index), why)
        try:
            settings = connector.config.model_validate(filled)
            built = connector.of(settings) if connector.of else connector
            if mocked:
                registry.mock(built.name)
        except ValidationError as error:
            lacking = any(document.lacks(here) for here, _, document in sources)
            for detail in error.errors(include_url=False, include_context=True):
                if lacking and not detail["loc"]:
                    continue  # together they are wrong because one of them is not there, which was said
                _blame(sources, detail["loc"], explained(detail, connector.config))
        except SettingsError as error:
            for place, why in error.mistakes:
                _blame(sources, place, why)
        except ConfigError as error:
            _blame(sources, ("mock",), str(error))
        else:
            return Connection(name, built, settings)
        return None

    def _read_file(self, path: Path, *, demo: bool) -> tuple[Document, dict[str, Any]]:
        """A declaration; `demo`: what it says under `demo:` stands where the environment says nothing."""
        environ = {**_demo(path), **self._environ} if demo else self._environ
        document = Document(path, environ, guess=self._guess)
        self._documents.append(document)
        return document, document.read()

    def _check_together(self, connections: Mapping[str, Connection], sections: Mapping[str, Any]) -> None:
        mocks = {name: each.settings.mock for name, each in connections.items()}
        if any(mocks.values()) and not all(mocks.values()):
            real = next(name for name, mock in mocks.items() if not mock)
            self._wrong(
                ("connections", real),
                "this connection is real and others are `mock: true`; invented and real people never share a store: "
                "remove `mock: true` everywhere and name a new `data:` folder",
            )
        self._check_keys(connections)
        if sections["bus"].type == "kafka" and not sections["bus"].servers:
            self._wrong(("bus", "servers"), "name Kafka's bootstrap servers, for instance `servers: kafka:9092`")
        if sections["store"].type == "postgres" and not sections["store"].url.get_secret_value():
            self._wrong(("store", "url"), "name the database, for instance `url: ${HUB_DATABASE}`")
        for name in ("api", "webhooks"):
            address = getattr(sections["server"], name, "")
            if not re.fullmatch(r"\S+:\d{1,5}", address) or int(address.rpartition(":")[2]) > 65535:
                self._wrong(("server", name), f"{address!r} is not HOST:PORT")

    def _check_keys(self, connections: Mapping[str, Connection]) -> None:
        """Several connections to one source may be meant: then they ask at the same address. A sender that only pushes
        has none."""
        first: dict[tuple[str, str], Connection] = {}
        for each in connections.values():
            if not (account := each.settings.account):
                continue  # the source tells its own
            other = first.setdefault((each.connector.name, account), each)
            if other is not each and not ((at := _address(each)) and at == _address(other)):
                self._wrong(
                    ("connections", each.name, "account"),
                    f"connections.{other.name} is {each.connector.name}/{account}, too, and not the same source: each "
                    "would overwrite the other's objects; give this one a word of its own, or let one connection do",
                )

    def _check_sources(self, connections: Mapping[str, Connection], raw: Mapping[str, Any]) -> None:
        """What `show:` and `proved:` name: sources, by the first part of their keys. One that is not connected is none
        the less known; one that is declared has a name of its own, which is not known while its connection is wrong."""
        given, show, identity = raw.get("connections"), raw.get("show"), raw.get("identity")
        wrong = [each for name, each in given.items() if name not in connections] if isinstance(given, dict) else []
        types = [each.get("type") if isinstance(each, dict) else None for each in wrong]
        if not all(map(_is_coded, types)):
            return
        known = {*registry.names(), *(each.connector.name for each in connections.values())}
        for fact, rules in show.items() if isinstance(show, dict) else ():
            for index, rule in enumerate(rules if isinstance(rules, list) else [rules]):
                if isinstance(rule, str) and rule not in (words := {*known, "newest", "proved"}):
                    place = ("show", fact, index) if isinstance(rules, list) else ("show", fact)
                    self._wrong(place, f"no source {rule!r}{did_you_mean(rule, sorted(words))}")
        proved = identity.get("proved") if isinstance(identity, dict) else None
        for name in proved if isinstance(proved, dict) else ():
            if name not in known:
                self._wrong(("identity", "proved", name), f"no source {name!r}{did_you_mean(name, sorted(known))}")

    def _invalid(self, here: Place, model: type[BaseModel], error: ValidationError) -> None:
        for detail in error.errors(include_url=False, include_context=True):
            self._wrong((*here, *detail["loc"]), explained(detail, model))

    def _wrong(self, place: Place, why: str) -> None:
        self._document.wrong(place, why)


def _is_coded(type: Any) -> bool:
    try:
        return type in registry.names() and registry.load(type).of is None
    except ConfigError:  # what keeps it from being imported was told
        return True


_Source = tuple[Place, set[str], Document]  # where a connection's settings stand, which ones, in which file


def _address(connection: Connection) -> str:
    return connection.connector.base_url(connection.settings).rstrip("/")


def _blame(sources: "Sequence[_Source]", place: Place, why: str) -> None:
    """The mistake goes to the file that says it; to the last, the declaration, where none does."""
    here, _, document = next((each for each in sources if place and place[0] in each[1]), sources[-1])
    document.wrong((*here, *place), why)


def _demo(path: Path) -> dict[str, str]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}  # reading it in earnest will say why
    demo = found.get("demo") if isinstance(found, dict) else None
    return {str(name): str(value) for name, value in demo.items()} if isinstance(demo, dict) else {}
