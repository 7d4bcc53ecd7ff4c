"""The contracts as JSON Schema (2020-12), generated from the models. Pure."""

from typing import Any

from pydantic import BaseModel

from schemas import push
from schemas.customer import Change, Customer
from schemas.entities import ENTITIES
from schemas.event import SCHEMA_VERSION, Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELS: dict[str, type[BaseModel]] = {
    "event": Event,
    **ENTITIES,
    "customer": Customer,
    "change": Change,
    "push": push.Batch,
}


def document(name: str) -> dict[str, Any]:
    """One contract by name: event, an entity, customer (as the API answers), change (as feed and topic bring it) or
    push (a batch of an in-house system). KeyError where there is none."""
    model = MODELS[name]
    schema = push.document() if model is push.Batch else model.model_json_schema()
    return {"$schema": DIALECT, "$id": f"supporthub/{SCHEMA_VERSION}/{name}.json", **schema}


def documents() -> dict[str, dict[str, Any]]:
    """All contracts by name."""
    return {name: document(name) for name in MODELS}
