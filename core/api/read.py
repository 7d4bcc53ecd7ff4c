"""What is joined to a record when it is read: signals, freshness, knowledge, labels. Never stored, each with its as_of.

PRIVACY: nothing here is logged; a record leaves only as an answer.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from core.api.items import open_items
from core.api.room import Room
from core.api.sources import connection_states
from core.projection import Registers
from core.sdk import from_ms, to_ms
from core.store import CustomerRow, ObjectRow
from schemas.answers import Counts, Progress, SourceState
from schemas.customer import ArticleCard

_ARTICLES = 3
_WORDS = 30
_EXCERPT = 280
_WEEK_MS = 7 * 86_400_000
_ARTICLE_FIELDS = frozenset(ArticleCard.model_fields)
_WORD = re.compile(r"\w{3,}")
# Words that stand in every second subject and say nothing about it.
_EMPTY_WORDS = (
    "about again also and any are back because been but call can cannot could customer did does for from fwd get "
    "had has have hello help her him his how its just make more need new not now off one only our out please "
    "question regarding still than thank thanks that the their them then there they this too very want was were "
    "what when where which who why will with would you your"
)
_EMPTY = frozenset(_EMPTY_WORDS.split())


async def joined(room: Room, row: CustomerRow, generation: int) -> dict[str, Any]:
    """The record of a live customer as `schemas.customer.Customer`, JSON-ready."""
    record: dict[str, Any] = orjson.loads(row.record)
    record["version"] = f"{generation}-{row.seq}"
    record["knowledge"] = await _knowledge(room, record)
    await _name_candidates(room, record)
    await label(room, record)
    now = room.now()
    record["signals"] = signals(record, now)
    record["freshness"] = await _freshness(room, record, now)
    return record


def signals(record: Mapping[str, Any], now: int) -> dict[str, Any]:
    """Out of the record alone, as of `now` (epoch ms)."""
    as_of, since = from_ms(now), record.get("waiting_since")
    waited = max(0, now - to_ms(since)) // 1000 if since else None
    recent = sum(1 for at in record.get("contacts") or () if now - _WEEK_MS <= to_ms(at) <= now)
    return {
        "waiting_since": {"value": since, "since_seconds": waited, "as_of": as_of},
        "contacts_7d": {"value": recent, "as_of": as_of},
    }


async def label(room: Room, shown: Any) -> None:
    """Give every reference in `shown` that has a key and no name the name of what it points to, in place."""
    nameless = [reference for reference in _references(shown) if not reference.get("name")]
    if not nameless:
        return
    rows = await room.store.objects_by_key(sorted({reference["key"] for reference in nameless}))
    names = {row.key: name for row in rows if (name := _name(row))}
    for reference in nameless:
        if reference["key"] in names:
            reference["name"] = names[reference["key"]]


def _references(shown: Any) -> Iterator[dict[str, Any]]:
    match shown:
        case dict() if "key" in shown and shown.keys() <= {"key", "name", "role", "primary"}:
            yield shown
        case dict():
            for name, value in shown.items():
                if name != "attributes":
                    yield from _references(value)
        case list():
            for value in shown:
                yield from _references(value)


def _name(row: ObjectRow) -> str | None:
    card = orjson.loads(row.card) if row.card else {}
    return card.get("name") or card.get("display_name") or card.get("title")


async def _name_candidates(room: Room, record: dict[str, Any]) -> None:
    keys = sorted({key for candidate in record.get("candidates") or () for key in candidate["persons"]})
    if not keys:
        return
    customer_of = {person.key: person.customer for person in await room.store.persons_by_key(keys)}
    rows = await room.store.customers_by_id(sorted(set(customer_of.values())))
    matches = {row.id: match(row) for row in rows if row.status == "live" and row.id != record["id"]}
    await label(room, list(matches.values()))
    for candidate in record["candidates"]:
        ids = dict.fromkeys(customer_of[key] for key in candidate["persons"] if key in customer_of)
        candidate["customers"] = [flat(matches[id]) for id in ids if id in matches]


def match(row: CustomerRow) -> dict[str, Any]:
    """A customer in short; `organization` is still a reference, so that `label` can name it; then `flat`."""
    profile = orjson.loads(row.record).get("profile") or {}
    organization = dict(value(profile, "organization") or {})
    return {"id": row.id, "name": value(profile, "name"), "organization": organization or None}


def flat(matched: Mapping[str, Any]) -> dict[str, Any]:
    return {**matched, "organization": (matched["organization"] or {}).get("name")}


def value(profile: Mapping[str, Any], fact: str) -> Any:
    """A fact's shown value; None where nobody said it."""
    return (profile.get(fact) or {}).get("value")


async def _knowledge(room: Room, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a customer wrote about comes first; tasks, calls and deals fill up: their titles say what to do with it."""
    items = list(open_items(record))
    found: dict[str, ObjectRow] = {}
    for part in ([item for item in items if item.get("entity") == "conversation"], items):
        words = list(dict.fromkeys(_words(part)))[:_WORDS]
        if words and len(found) < _ARTICLES:
            found |= {row.key: row for row in await room.store.articles(words, _ARTICLES)}
    return [_article(row) for row in list(found.values())[:_ARTICLES] if row.card]


def _words(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for item in items:
        texts = [item.get("subject") or item.get("preview"), item.get("title"), *(item.get("tags") or ())]
        for word in _WORD.findall(" ".join(filter(None, texts)).casefold()):
            if word not in _EMPTY and not word.isdigit():
                yield from (word, word.removesuffix("s") if word.endswith("s") else f"{word}s")  # bag finds bags


def _article(row: ObjectRow) -> dict[str, Any]:
    card = {name: value for name, value in orjson.loads(row.card or b"{}").items() if name in _ARTICLE_FIELDS}
    body = card.get("body") or ""
    if len(body) > _EXCERPT:
        card["body"] = body[:_EXCERPT].rsplit(" ", 1)[0] + "…"
    event, observed = Registers.load(row.registers).newest() or ("", 0)
    vendor, account, *_ = row.key.split("/")
    return {**card, "source": f"{vendor}/{account}", "event": event, "observed": from_ms(observed)}


async def _freshness(room: Room, record: Mapping[str, Any], now: int) -> dict[str, Any]:
    states: dict[str, list[SourceState]] = {source: [] for source in record.get("sources") or ()}
    for state in await connection_states(room):
        if state.source in states:
            states[state.source].append(state)
    counts, as_of = await room.lately.counts(room.store, now), from_ms(now)
    return {source: {**_fresh(found), **_counted(found, counts), "as_of": as_of} for source, found in states.items()}


def _fresh(states: list[SourceState]) -> dict[str, Any]:
    """Of the connections to one source; listings find deletions only, and are not waited for."""
    heard = max((state.heard for state in states if state.heard), default=None)
    streams = [stream for state in states for stream in state.streams.values() if not stream.listing]
    ends = [stream.complete_up_to for stream in streams]
    complete = None if not ends or None in ends else min(filter(None, ends))
    fresh: dict[str, Any] = {"heard": heard, "complete_up_to": complete}
    running = [each for stream in streams if (each := stream.progress) and each.way == "backfill"]
    if running:
        totals = [each.total for each in running]
        total = None if None in totals else sum(filter(None, totals))
        fetched = sum(each.fetched for each in running)
        fresh["backfill"] = {"fetched": fetched, "total": total, "seconds_left": _left(running)}
    return fresh


def _counted(states: list[SourceState], counts: Mapping[str, Counts]) -> dict[str, int]:
    of = [its for state in states if (its := counts.get(state.connection))]
    return {name: sum(getattr(its, name) for its in of) for name in ("received", "missing", "repaired")}


def _left(running: list[Progress]) -> int | None:
    """Seconds until the slowest of them is done; None where one of them cannot tell."""
    left = [each.seconds_left for each in running]
    return None if None in left else max(filter(None, left), default=0)
