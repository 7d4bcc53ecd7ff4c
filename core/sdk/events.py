"""Makes events from what a connector read out of a payload. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from core.errors import NormalizeError
from core.sdk.connector import Payload
from schemas.entities import NAMES, Entity, EvidenceClass
from schemas.event import Event, Order, event_id
from schemas.key import key


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes one source's events. `resolution` is the coarsest step of its clocks in ms; `mapper` the normalizer's
    revision, raised whenever the same payload gives other events."""

    vendor: str
    resolution: int = 1
    mapper: int = 1

    def key(self, payload: Payload, kind: str, id: str | int) -> str:
        return key(self.vendor, payload.account, kind, id)

    def upserted(
        self,
        payload: Payload,
        kind: str,
        id: str | int,
        entity: Entity,
        *,
        clock: int | None,
        sequence: int | None = None,
        mode: str = "full",
    ) -> Event:
        """The object's state. `clock` is the source's own (epoch ms), None where it has none; only set fields count.

        In `full` mode fields that are unset here and older are gone; in `patch` mode they stay.
        """
        data = entity.model_dump(mode="json", exclude_unset=True)
        return self._event(payload, kind, id, NAMES[type(entity)] + ".upserted", data, clock, sequence, mode=mode)

    def deleted(
        self,
        payload: Payload,
        kind: str,
        id: str | int,
        entity: type[Entity],
        *,
        clock: int | None,
        sequence: int | None = None,
        final: bool = False,
        erased: bool = False,
    ) -> Event:
        """The object is gone. `final`: for good, whatever comes later; `erased`: its registers are emptied for good.

        Of a read, `clock` None says that it was looked for and not found, as where a right was lost: any read that
        begins later and finds it brings it back, however old its clock.
        """
        type, final = NAMES[entity] + ".deleted", final or erased
        return self._event(payload, kind, id, type, {}, clock, sequence, final=final, erased=erased)

    def merged(
        self,
        payload: Payload,
        kind: str,
        id: str | int,
        entity: type[Entity],
        *,
        into: str | int,
        clock: int | None,
        sequence: int | None = None,
    ) -> Event:
        """The source itself merged object `id` into object `into` of the same kind: its key is an alias now.

        Raises NormalizeError where the two are the same object, which would be nobody from then on.
        """
        target = self.key(payload, kind, into)
        if str(id) == str(into):
            raise NormalizeError(f"{kind} {id}: is merged into itself: name the object that remains, or no merge")
        return self._event(payload, kind, id, NAMES[entity] + ".merged", {}, clock, sequence, into=target)

    def _event(
        self,
        payload: Payload,
        kind: str,
        id: str | int,
        type: str,
        data: dict[str, Any],
        clock: int | None,
        sequence: int | None,
        **rest: Any,
    ) -> Event:
        if id is None or id == "":
            raise NormalizeError(f"{kind}: the payload has no id")
        subject = self.key(payload, kind, id)
        floored = 0 if clock is None else clock - clock % self.resolution
        order = Order(
            clock=floored,
            read=0 if payload.pushed else 1,
            sequence=sequence if sequence is not None else (0 if payload.pushed else payload.received),
            mapper=self.mapper,
        )
        if clock is not None:
            version = clock
        elif payload.pushed and sequence is not None:
            version = sequence
        else:  # the time of observation, so that A, B, A are three events
            version = payload.at or payload.received
        content = [type, data, rest.get("mode"), rest.get("into")]
        if rest.get("final"):  # says more than a deletion at the same moment, so it is another event
            content.append("erased" if rest.get("erased") else "final")
        return Event(
            id=event_id(subject, str(version), orjson.dumps(content, option=orjson.OPT_SORT_KEYS)),
            type=type,
            source=f"{self.vendor}/{payload.account}",
            subject=subject,
            order=order,
            received=payload.received,
            data=data,
            **rest,
        )


def classify(event: Event, evidence: Mapping[tuple[str, str], EvidenceClass]) -> Event:
    """The same event with each identifier's class from the connector's table; what the table omits has the class that
    the connector gave it, else it is `claimed`."""
    identifiers = event.data.get("identifiers")
    if event.entity != "person" or not identifiers:
        return event
    role = event.data.get("role") or "customer"
    classed = [
        {**item, "class_": evidence.get((role, item["kind"])) or item.get("class_") or "claimed"}
        for item in identifiers
    ]
    return event.model_copy(update={"data": {**event.data, "identifiers": classed}})
