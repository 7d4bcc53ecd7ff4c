"""JSON Schema of `hub.yaml`, for editors: every section, and every connector's settings by `type`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, TypeAdapter

from core import registry
from core.config import drops
from core.config.load import SECTIONS
from core.sdk import Connector, ConnectorConfig

_DIALECT = "http://json-schema.org/draft-07/schema#"  # what editors' YAML modes understand best
_FILLED = r"\$\{[^}]+\}"
_SPAN = TypeAdapter(timedelta)  # reads the default of a span as pydantic writes it, PT5M
_DURATION = r"^\d+\s*[smhdw]$"
_PAUSE = r"^0*[1-9]\d*\s*[smhdw]$"


def document() -> dict[str, Any]:
    """The schema, JSON-ready."""
    connectors = [registry.load(name) for name in registry.names()]
    return {
        "$schema": _DIALECT,
        "$id": "supporthub/hub.schema.json",
        "title": "hub.yaml",
        "type": "object",
        "additionalProperties": False,
        "required": ["data", "connections"],
        "properties": {
            "data": {"type": "string", "description": "The folder in which the hub keeps its data."},
            "connectors": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Folders with connectors of your own, one subfolder each.",
            },
            "connections": {
                "type": "object",
                "description": "One entry per source; its name stands in webhook URLs and in every fact.",
                "minProperties": 1,
                "propertyNames": {"pattern": r"^[a-z][a-z0-9_-]{0,39}$"},
                "additionalProperties": _connection(connectors),
            },
            **{name: {"anyOf": [_object(model), {"type": "null"}]} for name, model in SECTIONS.items()},
        },
        "definitions": _definitions(),
    }


def declaration() -> dict[str, Any]:
    """The schema of a file that declares a source, as `file:` of a connection names it: the same settings, one level
    up, and `type: http` goes without saying."""
    settings = _object(registry.load("http").config)
    needed = [name for name in settings["required"] if name != "type"]
    title = {"$schema": _DIALECT, "$id": "supporthub/declaration.schema.json", "title": "A source without code"}
    properties = {name: its for name, its in settings["properties"].items() if name not in ("file", "mock")}
    return {**title, **settings, "properties": properties, "required": needed, "definitions": _definitions()}


def duration_text(duration: timedelta) -> str:
    """As one writes it in hub.yaml: `30d`, `5m`."""
    seconds = int(duration.total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _connection(connectors: list[Connector[Any]]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": [each.name for each in connectors], "description": "The connector's name."}},
        "allOf": [
            {"if": {"properties": {"type": {"const": each.name}}, "required": ["type"]}, "then": _settings(each)}
            for each in connectors
        ],
    }


def _settings(connector: Connector[Any]) -> dict[str, Any]:
    """What a connector requires is filled in where `mock: true` stands; it may stand in another file, under `file:`."""
    schema = _object(connector.config)
    required = [name for name in schema.pop("required", ()) if name != "type"]
    either = {"anyOf": schema.pop("anyOf")} if "anyOf" in schema else {}
    filled = registry.mock(connector.name).DEMO if connector.mock else {}
    needed: dict[str, Any] = {"required": required, **either}
    if "file" in connector.config.model_fields:
        needed = {"anyOf": [{"required": ["file"]}, needed]}
    return {
        **schema,
        "title": connector.title,
        "if": {"properties": {"mock": {"const": True}}, "required": ["mock"]},
        "then": {"required": [name for name in required if name not in filled]} if filled else needed,
        "else": needed,
    }


def _definitions() -> dict[str, Any]:
    """Written once, because every connector has it: editors complete the paths that `drop:` may name."""
    free = "|".join(path.replace(".", r"\.") for path in drops.free())
    return {"path": {"type": "string", "anyOf": [{"enum": list(drops.paths())}, {"pattern": rf"^({free})(\.[^.]+)+$"}]}}


def _object(model: type[BaseModel]) -> dict[str, Any]:
    made = model.model_json_schema(mode="validation")
    definitions = made.pop("$defs", {})
    section = _section(made, definitions)
    if issubclass(model, ConnectorConfig):
        section["properties"]["drop"]["items"] = {"$ref": "#/definitions/path"}
    return section


def _section(made: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    properties = {name: _property(each, definitions) for name, each in made["properties"].items()}
    required = {"required": made["required"]} if made.get("required") else {}
    described = {"description": made["description"]} if made.get("description") else {}
    either = {"anyOf": made["anyOf"]} if "anyOf" in made else {}  # groups of settings, one of which must be there
    return {
        "type": "object",
        **described,
        "properties": properties,
        **required,
        **either,
        "additionalProperties": False,
    }


def _property(made: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """As a person writes it in YAML: durations with a unit, `${…}` in the place of anything that is not a list."""
    kept = {name: made[name] for name in ("description", "default") if name in made}
    if made.get("format") == "duration" and "default" in kept:
        kept["default"] = duration_text(_SPAN.validate_python(kept["default"]))
    shape = _written({name: value for name, value in made.items() if name not in kept}, definitions)
    shape = {name: value for name, value in shape.items() if name not in kept}
    if shape.get("type") in ("integer", "number", "boolean") or "enum" in shape:
        shape = {"anyOf": [shape, {"type": "string", "pattern": _FILLED}]}
    return {**kept, **shape}


def _written(shape: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """One shape, with those that it names written out: editors show descriptions better in place."""
    if "$ref" in shape:
        return _written(definitions[shape["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in shape:
        return {"anyOf": [_written(each, definitions) for each in shape["anyOf"]]}
    if "properties" in shape:
        return _section(shape, definitions)
    if shape.get("format") == "duration":
        return {"type": "string", "pattern": _PAUSE if "exclusiveMinimum" in shape else _DURATION}
    kept = {name: value for name, value in shape.items() if name not in ("format", "writeOnly", "title")}
    for name in ("items", "additionalProperties"):
        if isinstance(kept.get(name), Mapping):
            kept[name] = _written(kept[name], definitions)
    return kept
