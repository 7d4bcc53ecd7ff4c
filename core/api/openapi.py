"""OpenAPI 3.1 out of the route table and the models. Pure."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from core.api.route import Route
from schemas.answers import Problem

_REF = "#/components/schemas/{model}"


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The whole document, JSON-ready."""
    routes = list(routes)
    models: set[type[BaseModel]] = {Problem, *(route.body for route in routes if route.body)}
    models |= {route.answer for route in routes if isinstance(route.answer, type)}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, definitions = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "supporthub",
            "version": version,
            "summary": "One live customer record out of the support tools that a team already has.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "`hub token add NAME --scope read`"}
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _name(route),
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route),
        "security": [{"token": [route.scope]}] if route.scope else [],
    }
    if route.body:
        operation["requestBody"] = {"content": {"application/json": {"schema": _ref(route.body)}}}
    return operation


def _name(route: Route) -> str:
    words = re.findall(r"[a-z]+", route.path.replace("/v1", "").replace("{id}", "one"))
    return "_".join([route.method.lower(), *words])


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    schema = route.query.model_json_schema()
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": parameter.pop("description", name),
            "schema": parameter,
        }
        for name, parameter in schema.get("properties", {}).items()
    ]


def _responses(route: Route) -> dict[str, Any]:
    kind, schema = ("application/json", _ref(route.answer)) if isinstance(route.answer, type) else (route.answer, {})
    problem = {"application/problem+json": {"schema": _ref(Problem)}}
    failing = {*route.problems, *((401, 403) if route.scope else ()), 421, 500, 503}
    responses: dict[int, dict[str, Any]] = {
        status: {"description": HTTPStatus(status).phrase, "content": problem} for status in failing
    }
    responses |= {status: {"description": text} for status, text in route.also.items()}
    responses[200] = {"description": "OK", "content": {kind: {"schema": schema}}}
    return {str(status): responses[status] for status in sorted(responses)}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}
