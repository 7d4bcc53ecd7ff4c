"""Reads what a webhook only named, a search shows in part or a listing lacks, and whom a merged contact absorbed."""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

from connectors.intercom.asking import get, post, rows
from connectors.intercom.config import Config, context
from connectors.intercom.details import Details
from connectors.intercom.shapes import Item, moment, present
from core.sdk import Hint, Http, Payload, PermanentError, Response

_CANONICAL = re.compile(r'<\s*/?contacts/([^>\s/]+)\s*>\s*;\s*rel="?canonical"?')
_GONE = (404, 410)
_PARAMS: dict[str, dict[str, str]] = {"conversation": {"display_as": "plaintext"}}
_PATHS = {"company": "companies"}
_SEARCHABLE = 3_600_000  # ms after which a contact surely stands in the search
_Found = tuple[str, Any, int]  # kind, data, when it was asked


async def read(http: Http, kind: str, id: str) -> Response:
    """One object, conversations and tickets with their parts. PermanentError with `status` 404 or 410 if it is gone."""
    path = f"/{_PATHS.get(kind, kind + 's')}/{quote(id, safe='')}"
    return await get(http, path, **_PARAMS.get(kind, {}))


async def each(http: Http, config: Config, account: str, kind: str, found: Sequence[Item]) -> AsyncIterator[Payload]:
    """The rows of a search, each read whole; one without id as it came, for the normalizer to refuse."""
    for row in found:
        if (id := present(row.get("id"))) is None:
            started = int(http.now().timestamp() * 1000)
            yield Payload(kind, row, account, False, started, headers=context(config))
            continue
        try:
            response = await read(http, kind, id)
        except PermanentError as error:
            if error.status != 404:
                raise
            continue  # deleted since the search; the list of deletions or that of all ids tells
        yield payload(kind, response.data, config, account, response)


def payload(kind: str, data: Any, config: Config, account: str, response: Response) -> Payload:
    return Payload(kind, data, account, False, response.started, headers=context(config))


async def hydrate(http: Http, config: Config, account: str, hints: Sequence[Hint]) -> AsyncIterator[Payload]:
    """One request per object, however often it was named: Intercom has no batch read."""
    latest: dict[tuple[str, str, str], Hint] = {}
    for hint in hints:
        key = (hint.kind, hint.id, hint.action)
        latest[key] = max(latest.get(key, hint), hint, key=lambda each: each.at)
    details = Details(http)
    for hint in latest.values():
        found = _merges(http, details, hint) if hint.action == "merged" else _object(http, details, hint)
        async for kind, data, started in found:
            yield Payload(kind, data, account, False, started, hint.at, context(config))


async def _object(http: Http, details: Details, hint: Hint) -> AsyncIterator[_Found]:
    started = int(http.now().timestamp() * 1000)
    try:
        response = await read(http, hint.kind, hint.id)
    except PermanentError as error:
        if error.status not in _GONE:
            raise
        canonical = _CANONICAL.search(error.headers.get("link", ""))
        if error.status == 410 and canonical:
            yield "contact.merged", {"id": hint.id, "into": canonical[1]}, started
        else:
            yield f"{hint.kind}.missing", {"id": hint.id}, started
        return
    if hint.kind != "contact":
        yield hint.kind, response.data, response.started
        return
    yield "contact", await details.filled(response.data), response.started
    if hint.action == "missing" and await _archived(http, response):
        yield "contact.archived", {"id": hint.id, "archived": True}, response.started


async def _archived(http: Http, response: Response) -> bool:
    """An archived contact may still be readable (UNVERIFIED), but no search finds it. Nor a very new one."""
    changed = max(moment(response.data.get(name)) or 0 for name in ("created_at", "updated_at"))
    if changed > response.started - _SEARCHABLE:
        return False
    query = {"query": {"field": "id", "operator": "=", "value": response.data.get("id")}}
    return not rows(await post(http, "/contacts/search", query), "data")


async def _merges(http: Http, details: Details, hint: Hint) -> AsyncIterator[_Found]:
    """The survivor's history, all pages. There is none (404) for leads, and once the survivor itself was merged or
    deleted: then that is what the contact itself tells."""
    cursor: dict[str, str | int] = {}
    while True:
        try:
            response = await get(http, f"/contacts/{quote(hint.id, safe='')}/merge_history", per_page=150, **cursor)
        except PermanentError as error:
            if error.status not in _GONE:
                raise
            async for found in _object(http, details, hint):
                yield found
            return
        for row in rows(response, "data"):
            merge = {"id": row.get("source_contact_id"), "into": hint.id, "merged_at": row.get("merged_at")}
            yield "contact.merged", merge, response.started
        token = present(response.data.get("next_cursor"))
        if not response.data.get("has_more") or token is None or cursor.get("cursor") == token:
            return
        cursor = {"cursor": token}
