"""Payloads to events by the declared mapping. Pure: no I/O, no clock."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from connectors.http.config import Config
from connectors.http.expressions import Expression
from connectors.http.functions import Scope, iso, moment
from connectors.http.sections import Rule
from core.sdk import Maker, NormalizeError, Payload
from schemas.entities import ENTITIES, Entity, Timestamp
from schemas.event import Event


def _fields(fits: Callable[[Any], bool]) -> Mapping[str, frozenset[str]]:
    """By entity, the fields of whose types one fits."""
    return {
        entity: frozenset(
            name for name, its in model.model_fields.items() if any(fits(each) for each in get_args(its.annotation))
        )
        for entity, model in ENTITIES.items()
    }


_TIMES, _LISTS = _fields(lambda type: type == Timestamp), _fields(lambda type: get_origin(type) is list)
_TRUTHS, _WORDS = _fields(lambda type: type is bool), _fields(lambda type: type is str or get_origin(type) is Literal)
_GONE = {"deleted": True}  # without a clock: any later read that finds it brings it back


def normalizer(config: Config) -> Callable[[Payload], Iterator[Event]]:
    """The declaration's `normalize`. Kinds that nothing maps give no event."""
    maker = Maker(config.vendor, resolution=1000 if config.resolution == "s" else 1, mapper=config.revision)
    missing = {f"{kind}.missing": _gone(kind, config.mapping.get(kind, ())) for kind in config.hydrate}
    mapping = {**missing, **config.mapping}

    def normalize(payload: Payload) -> Iterator[Event]:
        kind, rules = _rules(mapping, payload.kind)
        if rules and not isinstance(payload.data, dict):
            raise NormalizeError(f"{payload.kind}: not an object but {type(payload.data).__name__}")
        scope = Scope(config.vendor, payload, config.tables)
        for index, rule in enumerate(rules):
            place = f"mapping.{kind}[{index}]"
            yield from _Mapped(rule, place, maker, scope, config.let).events(payload)

    return normalize


def _listed(value: Any) -> bool:
    return value is None or isinstance(value, list)


def _gone(kind: str, rules: Sequence[Rule]) -> Sequence[Rule]:
    """What deletes an object that could not be found, where its key is that of its kind."""
    own = next((rule for rule in rules if rule.each is None and rule.kind in ("", kind)), None)
    return [Rule.model_validate({"entity": own.entity, **_GONE})] if own else ()


def _rules(mapping: Mapping[str, Sequence[Rule]], kind: str) -> tuple[str, Sequence[Rule]]:
    """Those of the kind itself, or of its beginning: `call.ended`, then `call`."""
    while kind not in mapping and "." in kind:
        kind = kind.rpartition(".")[0]
    return kind, mapping.get(kind, ())


class _Mapped:
    """One rule for one payload."""

    def __init__(self, rule: Rule, place: str, maker: Maker, scope: Scope, shared: Mapping[str, Expression]) -> None:
        self._rule, self._place, self._maker = rule, place, maker
        self._let = {**shared, **rule.let}
        self._values: dict[str, Any] = {}
        self._scope = replace(scope, value=self._value)

    def _value(self, name: str) -> Any:
        """Found when it is first asked for: what other kinds of payload need may not fit this one."""
        if name not in self._values and (expression := self._let.get(name)) and self._scope.payload is not None:
            self._values[name] = expression(self._scope.payload.data, self._scope)
        return self._values.get(name)

    def events(self, payload: Payload) -> Iterator[Event]:
        rule = self._rule
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
        rule, times, lists = self._rule, _TIMES[self._rule.entity], _LISTS[self._rule.entity]
        truths, words = _TRUTHS[self._rule.entity], _WORDS[self._rule.entity]
        wanted = {name: field for name, field in rule.fields.items() if not rule.only or name in rule.only}
        found = {name: item.get(name) if isinstance(item, dict) else None for name in rule.same}
        found |= {name: self._find(f"fields.{name}", field, item) for name, field in wanted.items()}
        # `voicemail && {…}` leaves an empty text, or false, where there is none.
        found |= {name: None for name, value in found.items() if value == "" and name not in words}
        found |= {name: None for name, value in found.items() if value is False and name not in truths}
        found |= {name: self._iso(name, value) for name, value in found.items() if name in times}
        found |= {name: [value] for name, value in found.items() if name in lists and not _listed(value)}
        known = {name: value for name, value in found.items() if value is not None or rule.mode == "full"}
        try:
            return ENTITIES[rule.entity].model_validate({**rule.constants, **known})
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise NormalizeError(f"{self._place}.fields.{where}: {first['msg']}") from None

    def _iso(self, field: str, value: Any) -> str | None:
        try:
            return iso(value)
        except NormalizeError as error:
            raise NormalizeError(f"{self._place}.fields.{field}: {error}") from error

    def _time(self, name: str, expression: Expression | None, item: Any) -> int | None:
        return moment(self._find(name, expression, item)) if expression is not None else None

    def _find(self, name: str, expression: Expression, item: Any) -> Any:
        try:
            return expression(item, self._scope)
        except NormalizeError as error:
            raise NormalizeError(f"{self._place}.{name}: {error}") from error
