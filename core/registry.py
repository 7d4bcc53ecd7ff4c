"""Finds connectors by name: in the package `connectors`, among entry points, in extra folders.

Nothing is imported before it is asked for, and loading one connector does not import another. Where two places offer
the same name, the package wins over extra folders, and both win over entry points.
"""

import importlib
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import connectors
from core.errors import ConfigError
from core.sdk import Connector

GROUP = "supporthub.connectors"  # name = "package" or "package:CONNECTOR"


def names(folders: Sequence[Path] = ()) -> tuple[str, ...]:
    """All connectors that can be loaded, sorted. `folders` hold further connectors, one subfolder each."""
    return tuple(sorted({*_folders(folders), *_entries()}))


def load(name: str, folders: Sequence[Path] = ()) -> Connector[Any]:
    """The connector's value. ConfigError where there is none of that name, or what is there is not a connector."""
    module = _module(name, folders)
    found = getattr(module, "CONNECTOR", None)
    if not isinstance(found, Connector):
        raise ConfigError(f"connector {name!r}: {module.__name__} has no CONNECTOR made by core.sdk.Connector(...)")
    if found.name != name:
        raise ConfigError(f"connector {name!r}: its CONNECTOR calls itself {found.name!r}; rename one of the two")
    return found


def folder(name: str, folders: Sequence[Path] = ()) -> Path:
    """Where the connector's files lie, its samples among them. ConfigError where there is none of that name."""
    if found := _folders(folders).get(name):
        return found
    spec = find_spec(_entry(name, folders).module)
    if spec is None or spec.origin is None:
        raise ConfigError(f"connector {name!r}: its entry point names a module that is not there")
    return Path(spec.origin).parent


def mock(name: str, folders: Sequence[Path] = ()) -> ModuleType:
    """The module of the connector's contract mock. ConfigError where the connector brings none."""
    connector = load(name, folders)
    if not connector.mock:
        raise ConfigError(f"connector {name!r} has no mock; remove `mock: true` and give it real credentials")
    return _import(name, connector.mock)


def _module(name: str, folders: Sequence[Path]) -> ModuleType:
    if name in _folders(folders):
        return _import(name, f"{connectors.__name__}.{name}")
    return _import(name, _entry(name, folders).module)


def _import(name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"connector {name!r} cannot be imported: {error}") from error


def _folders(extra: Sequence[Path]) -> dict[str, Path]:
    # Extra folders become part of the package's path, so that `connectors.<name>` means the same from everywhere.
    for path in map(str, extra):
        if path not in connectors.__path__:
            connectors.__path__.append(path)
    places = reversed([Path(path) for path in connectors.__path__])
    return {init.parent.name: init.parent for place in places for init in place.glob("*/__init__.py")}


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _entry(name: str, folders: Sequence[Path]) -> EntryPoint:
    if found := _entries().get(name):
        return found
    known = names(folders)
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
    raise ConfigError(f"no connector {name!r}; {hint}")
