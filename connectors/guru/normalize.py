"""From Guru's cards to articles. Pure: no I/O, no clock.

Cards are only ever read, so of two states with one clock the later look wins: neither the expiry of a verification nor
restoring a card need move its clock.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from core.sdk import Maker, NormalizeError, Payload, from_iso, plain, to_ms, unmarked
from schemas.entities import Article, Reference
from schemas.event import Event

_MAKER = Maker("guru", mapper=2)
_APP = "https://app.getguru.com/card/"
_SHOWN = {
    "TEAM": ("internal", "internal"),
    "PRIVATE": ("internal", "private"),
    "PUBLIC": ("public", "public"),
}  # shareStatus -> (audience, visibility)
Item = Mapping[str, Any]


def normalize(payload: Payload) -> Iterator[Event]:
    """Kinds: `card` and `card.missing`; others give no event."""
    item = payload.data
    if payload.kind not in ("card", "card.missing"):
        return
    if not isinstance(item, dict):
        raise NormalizeError(f"{payload.kind}: not an object but {type(item).__name__}")
    id = item.get("id") or ""
    if payload.kind == "card.missing":
        yield _MAKER.deleted(payload, "card", id, Article, clock=None)
    elif item.get("archived") is True:  # how Guru deletes; restored, the card is read with this clock again, but later
        yield _MAKER.deleted(payload, "card", id, Article, clock=_clock(item))
    else:
        yield _MAKER.upserted(payload, "card", id, _article(payload, item), clock=_clock(item))


def _article(payload: Payload, item: Item) -> Article:
    state = item.get("verificationState")
    audience, visibility = _SHOWN.get(item.get("shareStatus") or "", (None, None))
    slug = item.get("slug")
    # Folders are called boards in cards and events, as in the days when they were.
    folders = [board["title"] for board in item.get("boards") or () if isinstance(board, dict) and board.get("title")]
    return Article(
        title=item.get("preferredPhrase") or None,
        body=_text(item.get("content")),
        audience=audience,
        visibility=visibility,
        collection=_collection(payload, item),
        tags=[tag["value"] for tag in item.get("tags") or () if isinstance(tag, dict) and tag.get("value")],
        verified=None if state is None else state == "TRUSTED",
        verified_at=from_iso(item.get("lastVerified")),
        verified_until=from_iso(item.get("nextVerificationDate")),
        source_state=state,
        owner=_owner(payload, item),
        attributes={"folders": folders} if folders else None,
        url=_APP + slug if slug else None,
        created_at=from_iso(item.get("dateCreated")),
        updated_at=from_iso(item.get("lastModified")),
    )


def _clock(item: Item) -> int | None:
    """Verifying a card need not count as modifying it."""
    times = [from_iso(item.get(name)) for name in ("lastModified", "lastVerified")]
    return max((to_ms(time) for time in times if time), default=None)


def _text(content: Any) -> str | None:
    """Cards hold HTML; those written through the API may hold Markdown."""
    if not isinstance(content, str):
        return None
    if content.lstrip().startswith("<"):
        return plain(content)
    return unmarked(content)


def _collection(payload: Payload, item: Item) -> Reference | None:
    found = item.get("collection")
    if not isinstance(found, dict) or not found.get("id"):
        return None
    return Reference(key=_MAKER.key(payload, "collection", found["id"]), name=found.get("name") or None)


def _owner(payload: Payload, item: Item) -> Reference | None:
    # PRIVACY: a user's id in Guru is their e-mail address, and keys are shown and logged, so the key has its digest.
    found = item.get("owner")
    if not isinstance(found, dict) or not (id := found.get("id") or found.get("email")):
        return None
    name = " ".join(part for part in (found.get("firstName"), found.get("lastName")) if part)
    digest = hashlib.sha256(str(id).lower().encode()).hexdigest()[:16]
    return Reference(key=_MAKER.key(payload, "user", digest), name=name or None)
