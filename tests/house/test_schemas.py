"""The published JSON Schemas: up to date, valid, and true of what the hub says."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from core.cli.schema import files
from schemas.export import MODELS, document

ROOT = Path(__file__).parents[2]
EVENTS = sorted(ROOT.glob("connectors/*/samples/*.events.json"))


@pytest.mark.parametrize(("path", "text"), files().items(), ids=lambda it: it.name if isinstance(it, Path) else "")
def test_the_committed_schema_is_what_the_models_say(path: Path, text: str) -> None:
    # A change here is a change of a contract: look at the difference, then run `hub schema --write`.
    assert path.read_text() == text


def test_no_schema_of_old_is_left_behind() -> None:
    committed = {
        *ROOT.glob("schemas/v0/*.json"),
        ROOT / "schemas/hub.schema.json",
        ROOT / "schemas/declaration.schema.json",
    }
    assert committed == set(files())


@pytest.mark.parametrize("name", MODELS)
def test_it_is_a_json_schema_in_which_every_field_has_its_class_of_personal_data(name: str) -> None:
    schema = document(name)
    Draft202012Validator.check_schema(schema)
    shapes = [schema, *schema.get("$defs", {}).values()]
    fields = [(s["title"], field, given) for s in shapes for field, given in s.get("properties", {}).items()]
    assert [(title, field) for title, field, given in fields if "x-personal" not in given] == []


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_the_samples_events_are_valid_and_their_data_is_their_entitys(path: Path) -> None:
    for event in json.loads(path.read_text()):
        Draft202012Validator(document("event")).validate(event)
        if event["type"].endswith(".upserted"):
            Draft202012Validator(document(event["type"].partition(".")[0])).validate(event["data"])


@pytest.fixture(scope="module")
def editor() -> Draft7Validator:
    schema = json.loads((ROOT / "schemas/hub.schema.json").read_text())
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def demo() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "hub.yaml").read_text()))


def test_editors_find_the_schema_from_hub_yaml_and_the_file_is_valid(editor: Draft7Validator) -> None:
    first = (ROOT / "hub.yaml").read_text().splitlines()[0]
    assert (ROOT / first.partition("$schema=")[2].strip()).samefile(ROOT / "schemas/hub.schema.json")
    editor.validate(demo())


@pytest.mark.parametrize(
    "change",
    [
        {"conections": {}},
        {"data": 5},
        {"connections": {}},
        {"connections": {"a": {"type": "zendask", "mock": True}}},
        {"connections": {"a": {"mock": True}}},
        {"connections": {"a": {"type": "hubspot"}}},
        {"connections": {"a": {"type": "hubspot", "token": "t", "tokn": "t"}}},
        {"connections": {"a": {"type": "hubspot", "token": "t", "since": "a month"}}},
        {"connections": {"A!": {"type": "hubspot", "token": "t"}}},
        {"connections": {"a": {"type": "hubspot", "token": "t", "drop": ["message.bodyy"]}}},
        {"connections": {"a": {"type": "hubspot", "token": "t", "drop": ["person.identifiers.kind"]}}},
        {"identity": {"join": ["email", "name"]}},
        {"identity": {"region": False}},
        {"identity": {"region": "UK"}},
        {"identity": {"join": ["email", "email"]}},
        {"identity": {"proved": {"hubspot": ["emial"]}}},
        {"server": {"public_url": "hooks.example.com"}},
        {"bus": {"disk_cap": -5}},
        {"connections": {"a": {"type": "hubspot", "token": "t", "poll_every": "0s"}}},
        {"connections": {"a": {"type": "hubspot", "token": "t", "max_body": 0}}},
        {"bus": {"type": "kafak"}},
        {"server": {"port": 80}},
    ],
)
def test_editors_underline_what_the_hub_would_refuse(editor: Draft7Validator, change: dict[str, Any]) -> None:
    assert list(editor.iter_errors({**demo(), **change}))


def test_editors_accept_what_the_hub_accepts(editor: Draft7Validator) -> None:
    real = {"type": "hubspot", "token": "${TOKEN}", "since": "30d", "poll_every": "90s", "max_body": "${MOST}"}
    sections = {"identity": None, "bus": {"type": "kafka", "servers": "kafka:9092"}, "store": {"url": "${DATABASE}"}}
    filled = {"identity": {"region": "${REGION}"}, "server": {"public_url": "${URL}"}}
    editor.validate({**demo(), **filled})
    editor.validate({**demo(), **sections, "connections": {"crm": real}})
    paths = {"drop": ["message", "call.parties.name", "person.attributes.salary"]}
    editor.validate({**demo(), "connections": {"crm": {**real, **paths}}})


@pytest.mark.parametrize("path", sorted(ROOT.glob("deploy/examples/*.yaml")), ids=lambda path: path.stem)
def test_editors_accept_the_declared_sources_and_underline_a_typo_in_their_depth(path: Path) -> None:
    schema = json.loads((ROOT / "schemas/declaration.schema.json").read_text())
    Draft7Validator.check_schema(schema)
    editor, declared = Draft7Validator(schema), yaml.safe_load(path.read_text())
    named = path.read_text().splitlines()[0].partition("$schema=")[2].strip()
    assert (path.parent / named).samefile(ROOT / "schemas/declaration.schema.json")
    assert list(editor.iter_errors(declared)) == []
    declared["streams"][0]["rowz"] = "rows"
    assert [error.json_path for error in editor.iter_errors(declared)] == ["$.streams[0]"]
    del declared["streams"][0]["rowz"], declared["api"]
    assert [error.json_path for error in editor.iter_errors(declared)] == ["$"]


def test_editors_know_a_source_that_is_declared_in_hub_yaml_or_beside_it(editor: Draft7Validator) -> None:
    beside = {"type": "http", "file": "deploy/examples/guru.yaml", "account": "example"}
    editor.validate({**demo(), "connectors": ["./mine"], "connections": {"guru": beside}})
    inside = yaml.safe_load((ROOT / "deploy/examples/guru.yaml").read_text())
    editor.validate({**demo(), "connections": {"guru": {"type": "http", "account": "example", **inside}}})
    assert list(editor.iter_errors({**demo(), "connections": {"guru": {"type": "http", "account": "example"}}}))
