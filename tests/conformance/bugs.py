"""Seeded bugs: small changes of the good connector, each of which breaks one rule. Here: what is declared and pure."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import random
from typing import Any

from pydantic import Field

from core.sdk import (
    Connector,
    Listing,
    NormalizeError,
    Payload,
)
from schemas.entities import Person
from schemas.event import Event
from tests.conformance import desk
from tests.conformance.desk import CONNECTOR, WEBHOOK, Config

Bug = Callable[[], Connector[Any]]
BUGS: dict[str, tuple[str, Bug]] = {}


def bug(check: str) -> Callable[[Bug], Bug]:
    """A connector that breaks just this rule."""

    def note(made: Bug) -> Bug:
        BUGS[made.__name__] = check, made
        return made

    return note


class Memory:
    """What a connector keeps to itself of each connection, as in a file of its own: it outlives a crash."""

    def __init__(self) -> None:
        self._kept: list[tuple[Config, dict[str, Any]]] = []

    def of(self, config: Config) -> dict[str, Any]:
        for known, kept in self._kept:
            if known is config:
                return kept
        self._kept.append((config, {}))
        return self._kept[-1][1]


# -- what is declared


@bug("contract")
def listings_without_a_way_to_ask() -> Connector[Any]:
    return replace(CONNECTOR, hydrate=None, listings=(Listing("ticket", lambda *_: desk.people(*_)),))  # type: ignore[arg-type,return-value]


@bug("contract")
def a_webhook_that_nobody_can_set_up() -> Connector[Any]:
    return replace(CONNECTOR, webhook=replace(WEBHOOK, instructions=""))


@bug("settings")
def an_undescribed_setting() -> Connector[Any]:
    class Silent(Config):
        region: str = "us"

    return replace(CONNECTOR, config=Silent)


@bug("secrets")
def a_secret_that_stands_in_logs() -> Connector[Any]:
    class Open(Config):
        api_key: str = Field("", description="The key.")

    return replace(CONNECTOR, config=Open)


@bug("readme")
def a_setting_that_the_readme_does_not_know() -> Connector[Any]:
    class More(Config):
        region: str = Field("us", description="Where.")

    return replace(CONNECTOR, config=More)


# -- what is pure


def changed(change: Callable[[Payload, Event], Event]) -> Connector[Any]:
    def normalize(payload: Payload) -> Iterable[Event]:
        return [change(payload, event) for event in desk.normalize(payload)]

    return replace(CONNECTOR, normalize=normalize)


def noted(event: Event, value: Any) -> Event:
    return event.model_copy(update={"data": {**event.data, "attributes": {"note": value}}})


@bug("samples")
def names_in_capitals() -> Connector[Any]:
    def capitals(payload: Payload, event: Event) -> Event:
        return event.model_copy(update={"data": {**event.data, "subject": "X"}}) if payload.kind == "ticket" else event

    return changed(capitals)


def beyond(payload: Payload) -> bool:
    """Not one of the samples."""
    return payload.received > 3_000


@bug("deterministic")
def a_random_number_in_the_event() -> Connector[Any]:
    return changed(lambda payload, event: noted(event, random()) if beyond(payload) else event)


@bug("pure")
def the_clock_in_the_event() -> Connector[Any]:
    return changed(lambda payload, event: noted(event, datetime.now(UTC).year) if beyond(payload) else event)


@bug("pure")
def a_file_is_read_for_each_event() -> Connector[Any]:
    return changed(lambda payload, event: noted(event, Path(__file__).read_text()[:3]) if beyond(payload) else event)


@bug("pure")
def the_first_value_is_remembered() -> Connector[Any]:
    known: dict[str, str] = {}

    def remembered(event: Event) -> Event:
        if known.get("now") != event.subject:
            known["before"], known["now"] = known.get("now", ""), event.subject
        return noted(event, known["before"])

    return changed(lambda payload, event: remembered(event) if beyond(payload) else event)


@bug("pure")
def the_payload_is_emptied() -> Connector[Any]:
    def normalize(payload: Payload) -> Iterable[Event]:
        events = list(desk.normalize(payload))
        if beyond(payload) and payload.kind == "person":
            payload.data["seen"] = payload.data.get("seen", 0) + 1
        return events

    return replace(CONNECTOR, normalize=normalize)


@bug("ids")
def an_id_that_tells_when_it_was_received() -> Connector[Any]:
    return changed(
        lambda payload, event: (
            event.model_copy(update={"id": f"{event.subject}@{payload.received}"}) if beyond(payload) else event
        )
    )


@bug("ids")
def one_id_for_all_states_of_an_object() -> Connector[Any]:
    return changed(lambda payload, event: event.model_copy(update={"id": event.subject}) if beyond(payload) else event)


@bug("ids")
def an_erasure_that_passes_for_the_deletion_before_it() -> Connector[Any]:
    def normalize(payload: Payload) -> Iterable[Event]:
        events = list(desk.normalize(payload))
        if payload.kind != "person" or not payload.pushed:
            return events
        gone = desk.MAKE.deleted(payload, "person", payload.data["id"], Person, clock=payload.data["updated"])
        return [*events, gone, gone.model_copy(update={"final": True, "erased": True})]

    return replace(CONNECTOR, normalize=normalize)


def guarded(check: Callable[[Payload], None]) -> Connector[Any]:
    def normalize(payload: Payload) -> Iterable[Event]:
        if isinstance(payload.data, dict):
            check(payload)
        return desk.normalize(payload)

    return replace(CONNECTOR, normalize=normalize)


@bug("unknown-field")
def an_unknown_field_is_a_mistake() -> Connector[Any]:
    known = {"id", "name", "email", "phone", "updated", "subject", "status"}

    def strict(payload: Payload) -> None:
        if payload.data.keys() - known:
            raise NormalizeError("unknown field")

    return guarded(strict)


@bug("unknown-kind")
def an_unknown_kind_is_taken_for_a_ticket() -> Connector[Any]:
    def normalize(payload: Payload) -> Iterable[Event]:
        kind = payload.kind if payload.kind in ("person", "ticket") else "ticket"
        return desk.normalize(replace(payload, kind=kind))

    return replace(CONNECTOR, normalize=normalize)


@bug("unknown-value")
def an_unknown_status_is_a_mistake() -> Connector[Any]:
    def strict(payload: Payload) -> None:
        if payload.kind == "ticket" and payload.data.get("status") not in (*desk.STATUS, None):
            raise NormalizeError("unknown status")

    return guarded(strict)


@bug("missing-field")
def a_missing_name_is_a_key_error() -> Connector[Any]:
    def careless(payload: Payload) -> None:
        if payload.kind == "person":
            payload.data["name"]

    return guarded(careless)


@bug("malformed")
def every_payload_is_thought_an_object() -> Connector[Any]:
    def normalize(payload: Payload) -> Iterable[Event]:
        if payload.kind in ("person", "ticket"):
            payload.data.get("id")
        return desk.normalize(payload)

    return replace(CONNECTOR, normalize=normalize)
