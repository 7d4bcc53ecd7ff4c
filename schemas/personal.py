"""Every field's class of personal data. Logs, masking, export and erasure read it from the models."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic_core import CoreSchema

Level = Literal["none", "identifying", "content", "sensitive"]


@dataclass(frozen=True, slots=True)
class Personal:
    """Marks a model's field: `Annotated[str, IDENTIFYING]`. Stands in the JSON Schema as `x-personal`."""

    level: Level

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        schema["x-personal"] = self.level
        return schema


NONE = Personal("none")
IDENTIFYING = Personal("identifying")  # says who somebody is: names, addresses, numbers
CONTENT = Personal("content")  # what somebody said or wrote
SENSITIVE = Personal("sensitive")  # recordings, transcripts, what may fall under GDPR art. 9


def level(model: type[BaseModel], field: str) -> Level:
    """The class of one field. Raises KeyError where the model's author named none."""
    for mark in model.model_fields[field].metadata:
        if isinstance(mark, Personal):
            return mark.level
    raise KeyError(f"{model.__name__}.{field} has no class of personal data")
