"""What in-house systems send to a connection `type: push`: items, one state of one object each. The form for people.

A body is a JSON array of items, or JSON Lines. Times are RFC 3339 in any precision and zone. Where an item names
another object (a party's `person`, a reference's `key`, a message's `conversation`, …) it writes `entity/id` for one of
the same system, `person/C-17` for instance, or the whole key of another source's object.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, GetJsonSchemaHandler, RootModel, StrictInt
from pydantic_core import CoreSchema

from schemas.entities import ENTITIES, Shape, Timestamp
from schemas.event import Action
from schemas.personal import NONE, SENSITIVE

TIME = get_args(Timestamp)[1].pattern
Id = str | StrictInt


class Item(Shape):
    """One state of one object of the sending system. It needs `updated_at` or `version`: by them the hub tells old from
    new, whatever the order of arrival. The same item twice changes nothing."""

    entity: Annotated[str, NONE] = Field(json_schema_extra={"enum": list(ENTITIES)}, description="What it is.")
    kind: Annotated[str | None, NONE] = Field(
        None, description="Of `custom`, required: what the system calls it, for instance contract. Part of its key."
    )
    id: Annotated[str | StrictInt, NONE] = Field(
        description="The system's own id, never used for another object again."
    )
    updated_at: Annotated[str | None, NONE] = Field(
        None,
        description="When this state began, RFC 3339; at most a day ahead.",
        json_schema_extra={"format": "date-time"},
    )
    version: Annotated[int | None, NONE] = Field(
        None,
        ge=0,
        le=2**63 - 1,
        description="The system's own number, rising per object; alone it is older than any `updated_at`.",
    )
    action: Annotated[Action, NONE] = Field("upserted", description="merged: it is now another one, see `into`.")
    mode: Annotated[Literal["full", "patch"], NONE] = Field(
        "full", description="full: fields that are not here are gone. patch: they stay as they were."
    )
    into: Annotated[Id | None, NONE] = Field(None, description="Of merged: the id of the one that remains.")
    final: Annotated[bool, NONE] = Field(False, description="Of deleted: it never comes back.")
    erased: Annotated[bool, NONE] = Field(False, description="Of deleted: it is to be forgotten for good.")
    data: Annotated[dict[str, Any], SENSITIVE] = Field(
        default_factory=dict, description="The fields of its entity; null says that there is nothing."
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """With `data` by `entity`, so that editors and other validators check it, too."""
        made = handler(core)
        shape = handler.resolve_ref_schema(made)
        shape["allOf"] = [_then(name, handler(model.__pydantic_core_schema__)) for name, model in ENTITIES.items()]
        return made


class Batch(RootModel[list[Item]]):
    """The body of a POST to /hooks/<connection>."""


def document() -> dict[str, Any]:
    """JSON Schema of a batch; times in the form that senders may write."""
    schema: dict[str, Any] = _eased(Batch.model_json_schema())
    return schema


def _then(entity: str, data: Any) -> dict[str, Any]:
    return {"if": {"properties": {"entity": {"const": entity}}}, "then": {"properties": {"data": data}}}


def _eased(schema: Any) -> Any:
    match schema:
        case {"pattern": pattern, **rest} if pattern == TIME:
            return {**rest, "format": "date-time"}
        case dict():
            return {name: _eased(value) for name, value in schema.items()}
        case list():
            return [_eased(value) for value in schema]
        case _:
            return schema
