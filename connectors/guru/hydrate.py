"""Reads the cards that webhooks named, in batches; what is not among them is asked for alone."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from connectors.guru.config import Config
from core.sdk import Hint, Http, Payload, PermanentError, Response, TransientError

BULK = "/api/v1/cards/bulk"


async def hydrate(http: Http, config: Config, account: str, hints: Sequence[Hint]) -> AsyncIterator[Payload]:
    """One payload per card. A card that is not in the batch is archived, hidden from the token, or gone (404)."""
    latest: dict[str, Hint] = {}
    for hint in hints:
        latest[hint.id] = max(latest.get(hint.id, hint), hint, key=lambda each: each.at)
    response = await http.request("POST", BULK, json={"ids": list(latest)})
    found = _by_id(response.data)
    for id, hint in latest.items():
        if card := found.get(id):
            yield _payload(card, account, hint, response)
        else:
            yield await _alone(http, account, hint)


async def _alone(http: Http, account: str, hint: Hint) -> Payload:
    # Not `/extended`, which answers 404 for archived cards.
    started = int(http.now().timestamp() * 1000)
    try:
        response = await http.get(f"/api/v1/cards/{quote(hint.id, safe='')}")
    except PermanentError as error:
        if error.status not in (403, 404, 410):  # 403: of this card alone, for the batch was allowed
            raise
        return Payload("card.missing", {"id": hint.id}, account, False, started, hint.at)
    if not isinstance(response.data, dict) or not response.data.get("id"):
        raise TransientError(f"Guru answered {response.status} for a card without the card")
    return _payload(response.data, account, hint, response)


def _payload(card: Any, account: str, hint: Hint, response: Response) -> Payload:
    return Payload("card", card, account, False, response.started, hint.at)


def _by_id(data: Any) -> Mapping[str, Any]:
    """Cards by id. Each stands under its id together with a `status`; only whole ones count."""
    rows = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return {row["id"]: row for row in rows if isinstance(row, dict) and row.get("id") and "preferredPhrase" in row}
