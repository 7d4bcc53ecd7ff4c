"""The customer's record out of persons and cards. Pure: the same parts in any order give the same bytes.

Its shape is schemas.customer.Customer, without version and without what is joined at read.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from core.projection.cards import title
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
REQUESTS = frozenset({"requester", "caller", "callee", "author"})
_MOST_CARDS = 10
_MOST_TIMELINE = 20
_MOST_PEOPLE = 50
_MOST_OTHERS = 10
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


class Piece(NamedTuple):
    """An activity of one of the members."""

    object: str
    role: str
    entity: str
    at: str
    open: bool
    card: bytes


class Shown(NamedTuple):
    """`search` is what look-up by words finds; `ringing` whether a call rings now."""

    record: bytes
    hash: bytes
    search: str
    name: str
    ringing: bool


def merged_record(id: str, into: str) -> tuple[bytes, bytes]:
    """(record, hash) of a customer that became part of another one."""
    record = orjson.dumps({"id": id, "status": "merged", "merged_into": into})
    return record, hashlib.blake2b(record, digest_size=16).digest()


def fold(
    id: str, members: Sequence[Member], pieces: Iterable[Piece], identity: Mapping[str, Any], show: Choice
) -> Shown:
    """One customer's record. `identity` is what the partition said: joined_by {person: by}, contested
    [[identifier, people]], candidates [[persons, reason]]."""
    ordered = sorted(members, key=lambda member: member.key)[:_MOST_PEOPLE]
    states = {m.key: PersonState.load(m.state) for m in ordered if m.state}
    speakers = [(m.key, states[m.key]) for m in ordered if m.key in states and not m.departed and not m.alias_of]
    profile = _profile(speakers, show)
    cards = _distinct(pieces)
    loaded: dict[str, dict[str, Any]] = {piece.object: orjson.loads(piece.card) for piece in cards}
    lists = _lists(cards)
    _name_by_number(profile, ordered, cards, loaded)
    waiting = [
        loaded[piece.object]["waiting_since"]
        for piece in cards
        if piece.entity == "conversation" and piece.open and piece.role in REQUESTS
        if loaded[piece.object].get("waiting_since")
    ]
    record = {
        "id": id,
        "status": "live",
        "profile": profile,
        "people": _people(ordered, states, identity.get("joined_by") or {}),
        "contested": [{"identifier": each, "people": people} for each, people in identity.get("contested") or ()],
        "candidates": [{"persons": persons, "reason": why} for persons, why in identity.get("candidates") or ()],
        "ringing": [
            orjson.Fragment(p.card) for p in cards if p.entity == "call" and loaded[p.object].get("status") == "ringing"
        ],
        **{name: [orjson.Fragment(piece.card) for piece in found] for name, found in lists.items()},
        "timeline": [_line(piece, loaded[piece.object]) for piece in cards[:_MOST_TIMELINE]],
        "contact_policy": _policy(speakers),
        "waiting_since": min(waiting) if waiting else None,
        "contacts": [p.at for p in cards if p.entity in ("conversation", "call") and p.role in REQUESTS][:20],
        "sources": sorted({_source(member.key) for member in ordered} | {_source(piece.object) for piece in cards}),
    }
    dumped = orjson.dumps(record)
    name = profile["name"]["value"] if "name" in profile else ""
    digest = hashlib.blake2b(dumped, digest_size=16).digest()
    return Shown(dumped, digest, _search(speakers, ordered), name, bool(record["ringing"]))


def _name_by_number(
    profile: dict[str, Any], members: Sequence[Member], cards: Sequence[Piece], loaded: Mapping[str, dict[str, Any]]
) -> None:
    """Of somebody without a contact at least the number or address is known, by their newest activity."""
    for member in members:
        kind, _, value = (member.implied or "").partition(":")
        if value and kind not in profile and cards:
            said = {name: loaded[cards[0].object][name] for name in ("event", "observed")}
            profile[kind] = {"value": value, "source": _source(member.key), "person": member.key, **said, "others": []}


def _distinct(pieces: Iterable[Piece]) -> list[Piece]:
    """Each object once, by its weightiest role, newest first."""
    best: dict[str, Piece] = {}
    for piece in pieces:
        held = best.get(piece.object)
        if held is None or (piece.role in REQUESTS, piece.role) > (held.role in REQUESTS, held.role):
            best[piece.object] = piece
    return sorted(sorted(best.values(), key=lambda p: p.object), key=lambda p: p.at, reverse=True)


def _lists(cards: Sequence[Piece]) -> dict[str, list[Piece]]:
    """Open ones first, the longest open before others; then the newest."""
    lists: dict[str, list[Piece]] = {name: [] for name in LISTS.values()}
    for piece in cards:
        if piece.entity in LISTS:
            lists[LISTS[piece.entity]].append(piece)
    return {name: sorted(found, key=lambda piece: not piece.open)[:_MOST_CARDS] for name, found in lists.items()}


def _line(piece: Piece, card: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": piece.at,
        "entity": piece.entity,
        "key": piece.object,
        "title": title(card),
        "role": piece.role,
        "open": piece.open,
        "status": card.get("status") or card.get("state"),
    }


def _profile(speakers: Sequence[tuple[str, PersonState]], show: Choice) -> dict[str, Any]:
    profile: dict[str, Any] = {}
    for fact in _FACTS:
        said = [(key, *entry) for key, state in speakers for entry in state.facts.get(fact, ())]
        if not said:
            continue
        rules = [*show.facts.get(fact, ()), *show.default]
        said.sort(key=lambda entry: _weight(entry, rules))
        shown, *others = [
            {"value": value, "source": _source(key), "person": key, "event": event, "observed": observed}
            for key, value, event, observed, *_ in said
        ]
        profile[fact] = {**shown, "others": others[:_MOST_OTHERS]}
    return profile


def _weight(entry: tuple[Any, ...], rules: Sequence[str]) -> tuple[Any, ...]:
    """Sorts what is shown first: rule by rule, then the newest, the primary one, and the least key."""
    key, value, event, observed, class_, primary = entry
    vendor = key.partition("/")[0]
    ranks: list[Any] = []
    for rule in rules:
        match rule:
            case "newest":
                ranks.append(_descending(observed))
            case "proved":
                ranks.append(("proved", "recorded", "claimed").index(class_) if class_ else 9)
            case _:
                ranks.append(0 if vendor == rule else 1)
    return (*ranks, _descending(observed), not primary, key, str(value), event)


def _descending(text: str) -> tuple[int, ...]:
    return tuple(-byte for byte in text.encode())


def _people(members: Sequence[Member], states: Mapping[str, PersonState], joined: Mapping[str, str]) -> list[Any]:
    aliases: dict[str, list[str]] = {}
    for member in members:
        if member.alias_of:
            aliases.setdefault(member.alias_of, []).append(member.key)
    people = []
    for member in members:
        if member.departed or (member.alias_of and member.alias_of in {m.key for m in members}):
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
                "joined_by": joined.get(member.key),
                "aliases": aliases.get(member.key, []),
            }
        )
    return people


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
    vendor, account, *_ = key.split("/")
    return f"{vendor}/{account}"
