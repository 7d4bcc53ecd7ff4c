"""The contracts as JSON Schema (2020-12), generated from the models. Pure."""

from typing import Any

from pydantic import BaseModel

from schemas.customer import Change, Customer
from schemas.entities import ENTITIES
from schemas.event import SCHEMA_VERSION, Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELS: dict[str, type[BaseModel]] = {"event": Event, **ENTITIES, "customer": Customer, "change": Change}


def document(name: str) -> dict[str, Any]:
    """One contract by name: event, an entity, customer (as the API answers) or change (as feed and topic bring it).
    KeyError where there is none."""
    model = MODELS[name]
    return {"$schema": DIALECT, "$id": f"supporthub/{SCHEMA_VERSION}/{name}.json", **model.model_json_schema()}


def documents() -> dict[str, dict[str, Any]]:
    """All contracts by name."""
    return {name: document(name) for name in MODELS}
