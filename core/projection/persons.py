"""What one source person contributes to a customer: facts with where they come from, and identifiers. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from core.projection.registers import Fact, Visible
from core.sdk import from_ms

PLAIN = ("language", "time_zone", "country", "tier", "owner", "customer_since", "tags")


class Carried(NamedTuple):
    """An identifier in canonical form (`phone:+12025550143`), with its class after the rules."""

    identifier: str
    class_: str
    former: bool
    primary: bool


class PersonState(NamedTuple):
    """`facts` maps a fact's name to [value, event, observed (RFC 3339), class or None] entries."""

    role: str | None
    name: str | None
    url: str | None
    facts: dict[str, list[list[Any]]]
    ids: list[list[Any]]  # [kind, value, class, former]
    consent: list[dict[str, Any]]

    def dump(self) -> bytes:
        return orjson.dumps(tuple(self))

    @classmethod
    def load(cls, data: bytes) -> "PersonState":
        return cls(*orjson.loads(data))


def names(visible: Visible) -> tuple[str, ...]:
    """The full names that a person goes by at this source."""
    whole = " ".join(part for part in (visible.get("given_name"), visible.get("family_name")) if part)
    found = dict.fromkeys(name.strip() for name in (visible.get("display_name"), whole) if name and name.strip())
    return tuple(name.replace("\n", " ") for name in found)


def person_state(visible: Visible, carried: Sequence[Carried]) -> PersonState:
    """`carried` are the person's identifiers as the rules see them. A person who is gone contributes no facts."""
    if visible.departed:
        return PersonState(visible.get("role"), None, None, {}, [_id(each) for each in carried], [])
    facts: dict[str, list[list[Any]]] = {}
    name = next(iter(names(visible)), None)
    named = visible.facts.get("display_name") or visible.facts.get("given_name") or visible.facts.get("family_name")
    if name and named:
        facts["name"] = [_said(named._replace(value=name))]
    for each in carried:
        kind, _, value = each.identifier.partition(":")
        if kind in ("email", "phone") and not each.former:
            told = visible.facts["identifiers"]._replace(value=value)
            facts.setdefault(kind, []).append([*_said(told)[:3], each.class_, each.primary])
    if organizations := visible.facts.get("organizations"):
        for membership in sorted(organizations.value, key=lambda m: not m.get("primary")):
            place = {"key": membership["key"], "name": membership.get("name")}
            facts.setdefault("organization", []).append(_said(organizations._replace(value=place)))
    for field in PLAIN:
        if fact := visible.facts.get(field):
            facts[field] = [_said(fact)]
    consent = visible.get("consent") or []
    return PersonState(visible.get("role"), name, visible.get("url"), facts, [_id(each) for each in carried], consent)


def _said(fact: Fact) -> list[Any]:
    return [fact.value, fact.event, from_ms(fact.observed), None, False]


def _id(each: Carried) -> list[Any]:
    kind, _, value = each.identifier.partition(":")
    return [kind, value, each.class_, each.former]
