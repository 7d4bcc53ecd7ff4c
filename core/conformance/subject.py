"""The connector under examination, with what belongs to it: samples, mock, settings of a demo."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from core.ingest.cuts import secrets_of
from core.sdk import Connector, ConnectorConfig, Payload
from core.sdk.simulator import Simulator

SEED = 7


class BrokenError(Exception):
    """The connector does not keep the rule; the message says where."""


class ExemptError(Exception):
    """The source's scheme cannot show it, and its mock declares so."""


class NotRunError(Exception):
    """Something is missing without which the rule cannot be examined."""


class MockModule(Protocol):
    """A connector's `mock.py`."""

    DEMO: Mapping[str, str]

    def simulator(self, seed: int, secrets: Mapping[str, str]) -> Simulator: ...


@dataclass
class Sample:
    """A payload with the events (JSON) that it must give."""

    name: str
    payload: Payload
    events: list[dict[str, Any]]


@dataclass
class Subject:
    """`folder` holds samples and README, where there are any; `given` are settings beyond those of the mock's DEMO.
    `seen` keeps what earlier checks learnt, so that it is learnt once."""

    connector: Connector[Any]
    folder: Path | None
    mock: MockModule | None
    given: Mapping[str, Any]
    comes: Callable[[Payload], bool] = lambda payload: True  # which of the samples count
    seen: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def demo(self) -> dict[str, Any]:
        """Settings with which the mock is content; those that the connector does not know are left out."""
        known = self.connector.config.model_fields
        demo = self.mock.DEMO if self.mock else {}
        filled = {"account": "example"} if known["account"].is_required() else {}
        filled |= {name: value for name, value in demo.items() if name in known}
        return {"type": self.connector.name, "mock": True, **filled, **self.given}

    def settings(self, base_url: str = "") -> ConnectorConfig:
        try:
            found: ConnectorConfig = self.connector.config.model_validate({**self.demo, "base_url": base_url})
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
            raise BrokenError(f"the mock's DEMO does not fill the settings: {wrong}") from None
        return found

    def maps(self, kind: str) -> bool:
        """Whether it makes objects of this kind at all: a declaration may leave out what its source has."""
        return self.comes(Payload(kind, None, "", pushed=True, received=0))

    @property
    def secrets(self) -> frozenset[str]:
        """Every SecretStr of the demo, in the forms in which a body or an address may carry it."""
        return frozenset(form.decode() for form in secrets_of(self.settings()))

    def simulator(self) -> Simulator:
        if self.mock is None:
            raise NotRunError("the connector brings no mock")
        return self.mock.simulator(
            SEED, {**self.mock.DEMO, **{name: it for name, it in self.given.items() if isinstance(it, str)}}
        )

    @cached_property
    def samples(self) -> Sequence[Sample]:
        """Pairs `<name>.payload.json` and `<name>.events.json`."""
        paths = sorted((self.folder / "samples").glob("*.payload.json")) if self.folder else []
        found = []
        for path in paths:
            events = path.with_name(path.name.replace(".payload.json", ".events.json"))
            if not events.exists():
                raise BrokenError(f"{path.name} has no {events.name} beside it")
            payload = Payload(**json.loads(path.read_text()))
            if not self.comes(payload):
                continue
            found.append(Sample(path.name.removesuffix(".payload.json"), payload, json.loads(events.read_text())))
        return found


def unless_told(subject: Subject) -> None:
    """Of a source that is to ignore what it does not know: raises ExemptError where the sender hears of it instead."""
    webhook = subject.connector.webhook
    if webhook is not None and webhook.tells:
        raise ExemptError("what is not understood is refused, and its sender, who has it, is told")
