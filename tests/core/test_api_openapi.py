"""The description is true: what is served is what OpenAPI says, for every path."""

from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from core.api.app import routes
from core.store import DeadRow
from tests.fixtures_api import DANA, DAY, HOUR, OFFICE, Desk, ref

# The parts of https://spec.openapis.org/oas/3.1/schema/2022-10-07 that this document uses.
OPENAPI: dict[str, Any] = {
    "type": "object",
    "required": ["openapi", "info", "paths", "components"],
    "properties": {
        "openapi": {"pattern": r"^3\.1\.\d+$"},
        "info": {"type": "object", "required": ["title", "version"]},
        "paths": {
            "type": "object",
            "patternProperties": {"^/": {"$ref": "#/$defs/path"}},
            "additionalProperties": False,
        },
        "components": {
            "type": "object",
            "properties": {"schemas": {"type": "object", "propertyNames": {"pattern": r"^[a-zA-Z0-9._-]+$"}}},
        },
    },
    "$defs": {
        "path": {
            "type": "object",
            "propertyNames": {"enum": ["get", "post", "put", "delete", "patch", "head", "options"]},
            "additionalProperties": {"$ref": "#/$defs/operation"},
        },
        "operation": {
            "type": "object",
            "required": ["operationId", "summary", "responses"],
            "properties": {
                "parameters": {"type": "array", "items": {"$ref": "#/$defs/parameter"}},
                "responses": {
                    "type": "object",
                    "minProperties": 1,
                    "propertyNames": {"pattern": "^[1-5]\\d\\d$"},
                    "additionalProperties": {"type": "object", "required": ["description"]},
                },
                "requestBody": {"type": "object", "required": ["content"]},
                "security": {"type": "array", "items": {"type": "object"}},
            },
        },
        "parameter": {
            "type": "object",
            "required": ["name", "in", "schema"],
            "properties": {"in": {"enum": ["query", "path", "header", "cookie"]}, "required": {"type": "boolean"}},
            "if": {"properties": {"in": {"const": "path"}}},
            "then": {"properties": {"required": {"const": True}}, "required": ["required"]},
        },
    },
}


async def test_the_document_is_openapi_and_every_schema_in_it_is_a_schema(desk: Desk) -> None:
    document = await desk.get("/v1/openapi.json")
    Draft202012Validator(OPENAPI).validate(document)
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for operation in _operations(document).values():
        for parameter in operation["parameters"]:
            Draft202012Validator.check_schema(parameter["schema"])
            assert parameter["in"] == "path" or parameter["description"] != parameter["name"]
    identifiers = [operation["operationId"] for operation in _operations(document).values()]
    assert len(identifiers) == len(set(identifiers))
    assert not _dangling(document)


async def test_every_route_is_described_with_its_scope(desk: Desk) -> None:
    described = _operations(await desk.get("/v1/openapi.json"))
    assert set(described) == {(route.method.lower(), route.path) for route in routes()}
    for route in routes():
        wanted = [{"token": [route.scope]}] if route.scope else []
        assert described[route.method.lower(), route.path]["security"] == wanted


@pytest.mark.parametrize(
    ("method", "path", "given"),
    [
        ("GET", "/v1/lookup", f"?phone=%2B{DANA[1:]}"),
        ("GET", "/v1/lookup", f"?phone=%2B{OFFICE[1:]}"),
        ("GET", "/v1/lookup", "?phone=anonymous"),
        ("GET", "/v1/lookup", "?fone=1"),
        ("GET", "/v1/customers", ""),
        ("GET", "/v1/customers/{id}", ""),
        ("GET", "/v1/customers/{id}/timeline", "?limit=2"),
        ("GET", "/v1/sources", ""),
        ("GET", "/v1/sources/{connection}/ledger", ""),
        ("GET", "/v1/dead", ""),
        ("POST", "/v1/dead/{id}/discard", ""),
        ("POST", "/v1/login-links", ""),
        ("POST", "/v1/ring", ""),
        ("GET", "/healthz", ""),
        ("GET", "/readyz", ""),
    ],
)
async def test_answers_fit_their_description(desk: Desk, method: str, path: str, given: str) -> None:
    id = await _story(desk)
    document = await desk.get("/v1/openapi.json")
    url = desk.url + path.replace("{id}", id if "customers" in path else "d1").replace("{connection}", "crm") + given
    headers = {"Authorization": f"Bearer {desk.token}"}
    async with desk.session.request(method, url, headers=headers) as answer:
        body, status, kind = orjson.loads(await answer.read()), str(answer.status), answer.content_type
    described = document["paths"][path][method.lower()]["responses"][status]["content"][kind]["schema"]
    Draft202012Validator({**described, "components": document["components"]}).validate(body)


async def _story(desk: Desk) -> str:
    """A customer with something of everything; answers with the id."""
    maya = ref("intercom/admin/3", "Maya")
    fields = {"language": "en", "tags": ["loyal"], "customer_since": desk.ago(900 * DAY)}
    await desk.tell(
        desk.person("hubspot/contact/1", "Dana Reyes", DANA, "dana@example.com", organization="Bakery", **fields),
        desk.person("intercom/contact/a", "Dana Maria Reyes", "dana@example.com"),
        desk.ticket(
            "intercom/conversation/7", "intercom/contact/a", "Bag lost", waiting_since=desk.ago(DAY), assignee=maya
        ),
        desk.call("aircall/call/1", DANA),
        desk.task("hubspot/task/1", "hubspot/contact/1", "Call back", due_at=desk.ago(HOUR)),
        desk.article("guru/card/1", "Bag lost", "What to do.", verified=True, verified_at=desk.ago(DAY)),
        desk.person("hubspot/contact/5", "Max Weber", OFFICE),
        desk.person("hubspot/contact/6", "Noor Haddad", OFFICE),
    )
    await desk.store.put_state("crm", "a", orjson.dumps({"connector": "hubspot", "account": "acme"}), desk.clock)
    async with desk.store.writing() as writing:
        await writing.put_dead([DeadRow("d1", "crm", "normalize", "no id", b"{}", desk.clock, "open", 1)])
    return await desk.id_of(phone=DANA)


def _operations(document: Any) -> dict[tuple[str, str], Any]:
    return {(method, path): made for path, item in document["paths"].items() for method, made in item.items()}


def _dangling(document: Any) -> set[str]:
    """References that lead nowhere."""
    wanted: set[str] = set()
    waiting = [document]
    while waiting:
        match waiting.pop():
            case dict() as mapping:
                wanted |= {mapping["$ref"]} if isinstance(mapping.get("$ref"), str) else set()
                waiting += mapping.values()
            case list() as items:
                waiting += items
    return wanted - {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
