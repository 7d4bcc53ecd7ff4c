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
from traceback import extract_tb
from types import ModuleType
from typing import Any

import connectors
from core.errors import ConfigError
from core.sdk import Connector

_OURS = ("core", "schemas", "connectors")
GROUP = "supporthub.connectors"  # name = "package" or "package:CONNECTOR"


def names(folders: Sequence[Path] = ()) -> tuple[str, ...]:
    """All connectors that can be loaded, sorted. `folders` hold further connectors, one subfolder each; from then on
    they are known. A name that begins with _, a template's, is loaded only by whoever knows it."""
    return tuple(sorted(name for name in {*_folders(folders), *_entries()} if not name.startswith("_")))


def templates() -> tuple[str, ...]:
    """Connectors that are there to be copied, sorted."""
    return tuple(sorted(name for name in _folders(()) if name.startswith("_") and name.isidentifier()))


def places(folders: Sequence[Path] = ()) -> list[Path]:
    """Every folder in which connectors are looked for, these among them: for a process that is to know the same."""
    _folders(folders)
    return [Path(path) for path in connectors.__path__]


def is_family(name: str) -> bool:
    """Whether it is one connector for many sources, each declared by the settings of its connection."""
    return load(name).of is not None


def is_ours(name: str) -> bool:
    """Whether the hub itself brings a connector of that name."""
    return (Path(connectors.__path__[0]) / name / "__init__.py").exists()


def load(name: str, folders: Sequence[Path] = ()) -> Connector[Any]:
    """The connector's value. ConfigError where there is none of that name, or what is there is not a connector."""
    module = _module(name, folders)
    found = getattr(module, "CONNECTOR", None)
    if not isinstance(found, Connector):
        raise ConfigError(f"connector {name!r}: {module.__name__} has no CONNECTOR made by core.sdk.Connector(...)")
    if found.name != name.removeprefix("_"):
        raise ConfigError(f"connector {name!r}: its CONNECTOR calls itself {found.name!r}; rename one of the two")
    return found


def folder(name: str, folders: Sequence[Path] = ()) -> Path:
    """Where the connector's files lie, its samples among them. ConfigError where there is none of that name."""
    if found := _folders(folders).get(name):
        return found
    module = _entry(name, folders).module
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise ConfigError(f"connector {name!r}: its entry point names {module}, which is not there")
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
    except Exception as error:
        # Whatever a private connector's first line does, the command tells where and goes on with the other mistakes.
        raise ConfigError(f"connector {name!r} cannot be imported{_where(error)}: {_why(error)}") from error


def _where(error: BaseException) -> str:
    """The deepest line outside of Python's own import."""
    if isinstance(error, SyntaxError) and error.filename:
        return f", {error.filename}:{error.lineno}"
    frames = [frame for frame in extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    return f", {frames[-1].filename}:{frames[-1].lineno}" if frames and frames[-1].filename != __file__ else ""


def _why(error: Exception) -> str:
    """With the remedy for a name that is ours."""
    missing = (error.name or "") if isinstance(error, ModuleNotFoundError) else ""
    top = missing.partition(".")[0]
    said = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
    if top in _OURS:
        return (
            f"{said}; `{top}` is the hub's own package here: give yours another name, or import `.{missing}` relatively"
        )
    return said


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
