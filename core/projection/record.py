"""The customer's record out of persons and cards. Pure: the same parts in any order give the same bytes.

Its shape is schemas.customer.Customer, without version and without what is joined at read.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

import orjson

from core.projection.cards import line_of, rings, waiting_since
from core.projection.persons import PLAIN, PersonState

LISTS = {
    "conversation": "conversations",
    "call": "calls",
    "task": "tasks",
    "deal": "deals",
    "order": "orders",
    "invoice": "invoices",
    "payment": "payments",
    "billing_subscription": "subscriptions",
    "rating": "ratings",
    "note": "notes",
    "custom": "custom",
}
_NO_LISTS: dict[str, Sequence[orjson.Fragment]] = dict.fromkeys(LISTS.values(), ())
_OBJECT, _AT = attrgetter("object"), attrgetter("at")
REQUESTS = frozenset({"requester", "caller", "callee", "author"})
_MOST_CARDS = 10
_MOST_TIMELINE = 20
_MOST_PEOPLE = 50
_MOST_OTHERS = 10
_CLASSES = ("proved", "recorded", "claimed")
_FACTS = ("name", "email", "phone", "organization", *PLAIN)


@dataclass(frozen=True, slots=True)
class Choice:
    """The `show:` section: per fact the vendors whose word is shown first, or `newest`, or `proved`."""

    default: Sequence[str] = ("newest",)
    facts: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Member:
    """A source person of the customer. `state` is PersonState's JSON (None: implied, or not yet heard of)."""

    key: str
    implied: str | None
    alias_of: str | None
    departed: bool
    state: bytes | None


class Piece(Protocol):
    """An activity of one of the members, as the store gives it."""

    @property
    def object(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def entity(self) -> str: ...
    @property
    def at(self) -> str: ...
    @property
    def open(self) -> bool: ...
    @property
    def card(self) -> bytes: ...


class Shown(NamedTuple):
    """`search` is what look-up by words finds; `ringing` whether a call rings now."""

    record: bytes
    hash: bytes
    search: str
    ringing: bool


def merged_record(id: str, into: str) -> tuple[bytes, bytes]:
    """(record, hash) of a customer that became part of another one."""
    record = orjson.dumps({"id": id, "status": "merged", "merged_into": into})
    return record, hashlib.blake2b(record, digest_size=16).digest()


class Base(NamedTuple):
    """What of a record depends on people alone, rendered once and kept until they change.

    `said` is what the partition said; `numbers` are (kind, value, person) of those who are known by nothing else, named
    in the profile with their newest activity. `present`: at least one of them is still there. `body` is JSON without
    its braces.
    """

    said: dict[str, Any]
    members: list[str]
    sources: list[str]
    numbers: list[tuple[str, str, str]]
    search: str
    present: bool
    body: bytes

    def dump(self) -> bytes:
        return orjson.dumps(self[:-1]) + b"\n" + self.body

    @classmethod
    def load(cls, data: bytes) -> "Base":
        head, _, body = data.partition(b"\n")
        return cls._make([*orjson.loads(head), body])


def base(members: Sequence[Member], said: Mapping[str, Any], show: Choice) -> Base:
    """The people's part of a record. `said`: joined_by {person: by}, contested [[identifier, people]], candidates
    [[persons, reason]]."""
    ordered = sorted(members, key=lambda member: member.key)[:_MOST_PEOPLE]
    states = {m.key: PersonState.load(m.state) for m in ordered if m.state}
    speakers = [(m.key, states[m.key]) for m in ordered if m.key in states and not m.departed and not m.alias_of]
    profile = _profile(speakers, show)
    named = [(*member.implied.partition(":")[::2], member.key) for member in ordered if member.implied]
    body = {
        "profile": profile,
        "people": _people(ordered, states, said.get("joined_by") or {}),
        "contested": [{"identifier": each, "people": people} for each, people in said.get("contested") or ()],
        "candidates": [{"persons": persons, "reason": why} for persons, why in said.get("candidates") or ()],
        "contact_policy": _policy(speakers),
    }
    return Base(
        dict(said),
        [member.key for member in ordered],
        sorted({_source(member.key) for member in _there(ordered) or ordered}),
        [each for each in named if each[0] not in profile],
        _search(speakers, ordered),
        bool(body["people"]),
        orjson.dumps(body)[1:-1],
    )


def fold(id: str, people: Base, pieces: Iterable[Piece]) -> Shown:
    """One customer's record out of the people's part and their activities."""
    cards = _distinct(pieces)
    told, ringing, waiting, contacts = [], [], [], []
    sources = set(people.sources)
    for piece in cards:
        entity, role, card = piece.entity, piece.role, piece.card
        sources.add(_source(piece.object))
        if entity != "message":  # their conversation stands for them
            told.append(piece)
        if entity == "call" and piece.open and rings(card):
            ringing.append(orjson.Fragment(card))
        if entity in ("conversation", "call") and role in REQUESTS:
            contacts.append(piece.at)
            if entity == "conversation" and piece.open and (since := waiting_since(card)):
                waiting.append(since)
    activities = {
        "ringing": ringing,
        **_lists(cards),
        "timeline": [orjson.Fragment(line_of(piece.card, piece.role)) for piece in told[:_MOST_TIMELINE]],
        "waiting_since": min(waiting) if waiting else None,
        "contacts": contacts[:_MOST_TIMELINE],
        "sources": sorted(sources),
    }
    body = _named_by_number(people, cards) if people.numbers and cards else people.body
    record = b'{"id":"%s","status":"live",%s,%s' % (id.encode(), body, orjson.dumps(activities)[1:])
    return Shown(record, hashlib.blake2b(record, digest_size=16).digest(), people.search, bool(ringing))


def _named_by_number(people: Base, cards: Sequence[Piece]) -> bytes:
    """Of somebody without a contact at least the number or address is known, by their newest activity."""
    body = orjson.loads(b"{%s}" % people.body)
    newest = orjson.loads(cards[0].card)
    for kind, value, key in people.numbers:
        said = {"source": _source(key), "person": key, "event": newest["event"], "observed": newest["observed"]}
        body["profile"].setdefault(kind, {"value": value, **said, "others": []})
    return orjson.dumps(body)[1:-1]


def _distinct(pieces: Iterable[Piece]) -> list[Piece]:
    """Each object once, by its weightiest role, newest first."""
    best: dict[str, Piece] = {}
    for piece in pieces:
        held = best.setdefault(piece.object, piece)
        if held is not piece and (piece.role in REQUESTS, piece.role) > (held.role in REQUESTS, held.role):
            best[piece.object] = piece
    return sorted(sorted(best.values(), key=_OBJECT), key=_AT, reverse=True)


def _lists(cards: Sequence[Piece]) -> dict[str, Sequence[orjson.Fragment]]:
    """Open ones first; of both the newest first."""
    found: dict[str, list[Piece]] = {}
    for piece in cards:
        if name := LISTS.get(piece.entity):
            found.setdefault(name, []).append(piece)
    return _NO_LISTS | {
        name: [orjson.Fragment(each.card) for each in sorted(those, key=_closed)[:_MOST_CARDS]]
        for name, those in found.items()
    }


def _closed(piece: Piece) -> bool:
    return not piece.open


def _profile(speakers: Sequence[tuple[str, PersonState]], show: Choice) -> dict[str, Any]:
    profile: dict[str, Any] = {}
    for fact in _FACTS:
        said = [(key, *entry) for key, state in speakers for entry in state.facts.get(fact, ())]
        if not said:
            continue
        if len(said) > 1:
            rules = [*show.facts.get(fact, ()), *show.default]
            # Sorts are stable: the weightiest comes last. Ties end with the least key.
            said.sort(key=lambda entry: (not entry[5], entry[0], str(entry[1]), entry[2]))
            said.sort(key=_observed, reverse=True)
            for rule in reversed(rules):
                _by_rule(said, rule)
        shown, *others = [
            {"value": value, "source": _source(key), "person": key, "event": event, "observed": observed}
            for key, value, event, observed, *_ in said
        ]
        profile[fact] = {**shown, "others": others[:_MOST_OTHERS]}
    return profile


def _by_rule(said: list[tuple[Any, ...]], rule: str) -> None:
    match rule:
        case "newest":
            said.sort(key=_observed, reverse=True)
        case "proved":
            said.sort(key=lambda entry: _CLASSES.index(entry[4]) if entry[4] else len(_CLASSES))
        case vendor:
            said.sort(key=lambda entry: entry[0].partition("/")[0] != vendor)


def _observed(entry: tuple[Any, ...]) -> str:
    return str(entry[3])


def _people(members: Sequence[Member], states: Mapping[str, PersonState], joined: Mapping[str, str]) -> list[Any]:
    aliases: dict[str, list[str]] = {}
    for member in members:
        if member.alias_of:
            aliases.setdefault(member.alias_of, []).append(member.key)
    here = {member.key for member in members}
    alone = len(_there(members)) == 1  # whom those who have left joined is joined with nobody now
    people = []
    for member in members:
        if member.departed or member.alias_of in here:
            continue
        state = states.get(member.key)
        ids = state.ids if state else []
        if member.implied:
            kind, _, value = member.implied.partition(":")
            ids = [[kind, value, "claimed", False]]
        people.append(
            {
                "key": member.key,
                "source": _source(member.key),
                "role": state.role if state else None,
                "name": state.name if state else None,
                "url": state.url if state else None,
                "identifiers": [{"kind": k, "value": v, "class": c, "former": f} for k, v, c, f in ids],
                "implied": member.implied is not None,
                "joined_by": None if alone else joined.get(member.key),
                "aliases": aliases.get(member.key, []),
            }
        )
    return people


def _there(members: Sequence[Member]) -> list[Member]:
    return [member for member in members if not member.departed]


def _policy(speakers: Sequence[tuple[str, PersonState]]) -> list[dict[str, Any]]:
    return [{**consent, "source": _source(key)} for key, state in speakers for consent in state.consent]


def _search(speakers: Sequence[tuple[str, PersonState]], members: Sequence[Member]) -> str:
    """Names, addresses, numbers and organizations, each once, in a stable order."""
    words: dict[str, None] = {}
    for _, state in speakers:
        for fact in ("name", "email", "phone"):
            words.update((str(entry[0]), None) for entry in state.facts.get(fact, ()))
        words.update((entry[0]["name"], None) for entry in state.facts.get("organization", ()) if entry[0].get("name"))
    words.update((member.implied.partition(":")[2], None) for member in members if member.implied)
    return "\n".join(words)


def _source(key: str) -> str:
    """Its vendor and account, which are never empty."""
    return key[: key.index("/", key.index("/") + 1)]
