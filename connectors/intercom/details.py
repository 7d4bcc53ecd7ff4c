"""What a contact's own answer only names: at most ten of anything, tags and subscriptions by id, notes without text.

A filled contact has the same shape with whole objects in its lists; webhooks bring contacts that nobody filled.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from connectors.intercom.asking import get, rows
from connectors.intercom.paging import following
from connectors.intercom.shapes import CHOICES, Item, listed, part, present
from core.sdk import Http, PermanentError


class Details:
    """Fills contacts. The workspace's own lists are asked for once, and only if somebody needs them."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._all: dict[str, Mapping[str, Item]] = {}

    async def filled(self, contact: Item) -> Item:
        """Where a permission is missing, or the contact went meanwhile, what it names stays as it is."""
        found = dict(contact)
        for fill in (self._companies, self._tags, self._choices, self._notes):
            try:
                found |= await fill(contact)
            except PermanentError as error:
                if error.status not in (403, 404, 410):
                    raise
        return found

    async def _companies(self, contact: Item) -> Item:
        if not part(contact, "companies").get("has_more"):
            return {}
        return {"companies": _list(await self._own(contact, "companies"))}

    async def _tags(self, contact: Item) -> Item:
        tags = listed(contact, "tags", "data")
        known = await self._workspace("/tags") if tags else {}
        if part(contact, "tags").get("has_more") or any(str(tag.get("id")) not in known for tag in tags):
            return {"tags": _list(await self._own(contact, "tags"))}
        return {"tags": _list([known[str(tag["id"])] for tag in tags])} if tags else {}

    async def _choices(self, contact: Item) -> Item:
        """Subscriptions that the contact chose or refused. Beyond ten the contact's own list has all: in it stand the
        opt-out ones that were refused and the opt-in ones that were chosen."""
        if any(part(contact, name).get("has_more") for name in CHOICES):
            chosen = await self._own(contact, "subscriptions")
            return {
                name: _list([row for row in chosen if row.get("consent_type") == way]) for name, way in CHOICES.items()
            }
        named = {name: found for name in CHOICES if (found := listed(contact, name, "data"))}
        types = await self._workspace("/subscription_types") if named else {}
        return {name: _list([types.get(str(row.get("id")), row) for row in found]) for name, found in named.items()}

    async def _notes(self, contact: Item) -> Item:
        if not (listed(contact, "notes", "data") or part(contact, "notes").get("total_count")):
            return {}
        return {"notes": _list(await self._own(contact, "notes"))}

    async def _own(self, contact: Item, name: str) -> list[Item]:
        return await self._rows(f"/contacts/{quote(present(contact.get('id')) or '', safe='')}/{name}")

    async def _workspace(self, path: str) -> Mapping[str, Item]:
        if path not in self._all:
            self._all[path] = {str(row["id"]): row for row in await self._rows(path) if row.get("id") is not None}
        return self._all[path]

    async def _rows(self, path: str) -> list[Item]:
        found: list[Item] = []
        after: dict[str, Any] = {}
        while True:
            response = await get(self._http, path, **after)
            found += rows(response, "data")
            before, after = after, following(response.data)
            if not after or after == before:
                return found


def _list(found: list[Item]) -> Item:
    return {"type": "list", "data": found, "total_count": len(found), "has_more": False}
