"""Articles of help centers, and internal ones. Pure."""

from collections.abc import Iterator
from typing import Any

from connectors.intercom.shapes import MAKER, Item, clock, listed, present, reference, stamp, text, whole
from core.sdk import Payload
from schemas.entities import Article
from schemas.event import Event


def article(payload: Payload) -> Iterator[Event]:
    """A push names its collections by number alone: then it is a patch that leaves the collection as it was."""
    item: Item = payload.data
    told: dict[str, Any] = {}
    if item.get("collections") is not None:
        first = next(iter(listed(item, "collections")), {})
        told["collection"] = reference(payload, "collection", first.get("id"), first.get("name"))
    if (tags := whole(item, "tags", "name")) is not None:
        told["tags"] = [str(tag["name"]) for tag in tags]
    shape = Article(
        title=item.get("title") or None,
        body=text(item.get("body")),
        locale=item.get("default_locale") or None,
        audience="public" if item.get("state") == "published" else "internal",
        source_state=item.get("state") or None,
        owner=reference(payload, "admin", item.get("author_id")),
        url=item.get("url") or None,
        created_at=stamp(item.get("created_at")),
        updated_at=stamp(item.get("updated_at")),
        **told,
    )
    yield MAKER.upserted(
        payload, "article", present(item.get("id")) or "", shape, clock=clock(payload, item),
        mode="full" if "collection" in told else "patch",
    )  # fmt: skip


def internal(payload: Payload) -> Iterator[Event]:
    """For staff's eyes and for Fin only."""
    item: Item = payload.data
    shape = Article(
        title=item.get("title") or None,
        body=text(item.get("body")),
        locale=item.get("locale") or None,
        audience="internal",
        owner=reference(payload, "admin", item.get("owner_id") or item.get("author_id")),
        created_at=stamp(item.get("created_at")),
        updated_at=stamp(item.get("updated_at")),
    )
    id = present(item.get("id")) or ""
    yield MAKER.upserted(payload, "internal_article", id, shape, clock=clock(payload, item))
