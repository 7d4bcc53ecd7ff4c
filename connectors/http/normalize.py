"""Payloads to events by the declared mapping. Pure: no I/O, no clock."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from connectors.http.config import Config
from connectors.http.expressions import Expression
from connectors.http.functions import Scope, moment
from connectors.http.sections import Rule
from core.sdk import Maker, NormalizeError, Payload
from schemas.entities import ENTITIES, Entity
from schemas.event import Event


def normalizer(config: Config) -> Callable[[Payload], Iterator[Event]]:
    """The declaration's `normalize`. Kinds that nothing maps give no event."""
    maker = Maker(config.vendor, resolution=1000 if config.resolution == "s" else 1, mapper=config.revision)

    def normalize(payload: Payload) -> Iterator[Event]:
        kind, rules = _rules(config, payload.kind)
        if rules and not isinstance(payload.data, dict):
            raise NormalizeError(f"{payload.kind}: not an object but {type(payload.data).__name__}")
        scope = Scope(config.vendor, payload, config.tables)
        for index, rule in enumerate(rules):
            yield from _Mapped(rule, f"mapping.{kind}[{index}]", maker, scope).events(payload)

    return normalize


def _rules(config: Config, kind: str) -> tuple[str, Sequence[Rule]]:
    """Those of the kind itself, or of its beginning: `call.ended`, then `call`."""
    while kind not in config.mapping and "." in kind:
        kind = kind.rpartition(".")[0]
    return kind, config.mapping.get(kind, ())


class _Mapped:
    """One rule for one payload."""

    def __init__(self, rule: Rule, place: str, maker: Maker, scope: Scope) -> None:
        self._rule, self._place, self._maker, self._scope = rule, place, maker, scope

    def events(self, payload: Payload) -> Iterator[Event]:
        rule, values = self._rule, dict[str, Any]()
        self._scope = replace(self._scope, values=values)
        for name, expression in rule.let.items():
            values[name] = self._find(f"let.{name}", expression, payload.data)
        items = [payload.data] if rule.each is None else self._find("each", rule.each, payload.data) or []
        for item in items:
            if (rule.when is None or self._find("when", rule.when, item)) and (event := self._event(payload, item)):
                yield event

    def _event(self, payload: Payload, item: Any) -> Event | None:
        rule, maker = self._rule, self._maker
        id, clock = self._find("id", rule.id, item), self._time("clock", rule.clock, item)
        kind = rule.kind or payload.kind.partition(".")[0]
        if rule.deleted:
            model = ENTITIES[rule.entity]
            return maker.deleted(payload, kind, id, model, clock=clock, final=rule.final, erased=rule.erased)
        if rule.merged_into is not None:
            into = self._find("merged_into", rule.merged_into, item)
            return maker.merged(payload, kind, id, ENTITIES[rule.entity], into=into, clock=clock) if into else None
        if rule.version is not None:
            payload = replace(payload, at=self._time("version", rule.version, item))
        sequence = self._find("sequence", rule.sequence, item) if rule.sequence is not None else None
        return maker.upserted(payload, kind, id, self._entity(item), clock=clock, sequence=sequence, mode=rule.mode)

    def _entity(self, item: Any) -> Entity:
        rule = self._rule
        found = {name: self._find(f"fields.{name}", field, item) for name, field in rule.fields.items()}
        known = {name: value for name, value in found.items() if value is not None or rule.mode == "full"}
        try:
            return ENTITIES[rule.entity].model_validate({**rule.constants, **known})
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise NormalizeError(f"{self._place}.fields.{where}: {first['msg']}") from None

    def _time(self, name: str, expression: Expression | None, item: Any) -> int | None:
        return moment(self._find(name, expression, item)) if expression is not None else None

    def _find(self, name: str, expression: Expression, item: Any) -> Any:
        try:
            return expression(item, self._scope)
        except NormalizeError as error:
            raise NormalizeError(f"{self._place}.{name}: {error}") from error
