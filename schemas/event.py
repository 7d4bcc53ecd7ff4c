"""An event: one state of one source object, with all that is needed to order it against any other.

A CloudEvents 1.0 event (https://github.com/cloudevents/spec); on Kafka in the binding's binary mode.
"""

import hashlib
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from schemas.entities import Shape
from schemas.personal import NONE, SENSITIVE

SCHEMA_VERSION = "v0"
Action = Literal["upserted", "deleted", "merged"]


class Order(NamedTuple):
    """Decides which of two writes to a register wins: the greater tuple, at last the greater event id.

    clock     the source's clock, epoch ms, floored to the coarsest resolution among its surfaces; 0 where it has none
    read      0 for pushed, 1 for read: of equal clocks a read is the later look; -1 for a read so soon after that clock
              that a push of the same moment may be later
    sequence  the source's own sequence, or when the read's request started (epoch ms)
    mapper    revision of the connector's normalizer
    """

    clock: int
    read: int
    sequence: int
    mapper: int


class Event(Shape):
    """`type` is `<entity>.<action>`; `subject` the object's key; `data` the fields that it brings, JSON-ready."""

    id: Annotated[str, NONE]
    type: Annotated[str, NONE]
    source: Annotated[str, NONE]  # vendor/account
    subject: Annotated[str, NONE]
    order: Annotated[Order, NONE]
    received: Annotated[int, NONE] = Field(description="epoch ms: a push's arrival, or the start of the read")
    connection: Annotated[str, NONE] = ""
    mode: Annotated[Literal["full", "patch"], NONE] = "full"
    data: Annotated[dict[str, Any], SENSITIVE] = Field(default_factory=dict)
    into: Annotated[str | None, NONE] = None  # of `merged`: the surviving object's key
    final: Annotated[bool, NONE] = False  # of `deleted`: never comes back; `erased` also empties its registers
    erased: Annotated[bool, NONE] = False
    schema_version: Annotated[str, NONE] = SCHEMA_VERSION
    key_id: Annotated[str, NONE] = ""  # which key encrypts the payload; empty: none

    @property
    def entity(self) -> str:
        return self.type.partition(".")[0]

    @property
    def action(self) -> str:
        return self.type.partition(".")[2]


def event_id(subject: str, version: str, content: bytes) -> str:
    """The same state of the same object gets the same id, whoever reports it and however often."""
    return hashlib.sha256(b"\x1f".join((subject.encode(), version.encode(), content))).hexdigest()[:32]
