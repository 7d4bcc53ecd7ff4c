"""Reads one call, contact, user or team by its id, and what Aircall's AI wrote about a call."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from connectors.aircall.config import Config
from connectors.aircall.poll import WHOLE
from connectors.aircall.webhook import without_links
from core.sdk import Hint, Http, Payload, PermanentError, TransientError

PATHS = {"call": "/v1/calls", "contact": "/v1/contacts", "user": "/v2/users", "team": "/v1/teams"}
_NONE = (403, 404)  # no insight: the plan has none, or the call


async def hydrate(http: Http, config: Config, account: str, hints: Sequence[Hint]) -> AsyncIterator[Payload]:
    """One request per object, however often it was named: Aircall has no batch read. What is not there any more is
    `<kind>.missing`."""
    latest: dict[tuple[str, str, str], Hint] = {}
    for hint in hints:
        key = (hint.kind, hint.id, hint.action if hint.action in config.insights else "")
        latest[key] = max(latest.get(key, hint), hint, key=lambda each: each.at)
    for (_, _, insight), hint in latest.items():
        found = _insight(http, hint) if insight else _object(http, hint)
        async for kind, data, started in found:
            yield Payload(kind, data, account, False, started, hint.at)


async def _object(http: Http, hint: Hint) -> AsyncIterator[tuple[str, Any, int]]:
    started = int(http.now().timestamp() * 1000)
    params = WHOLE if hint.kind == "call" else {}
    try:
        response = await http.get(f"{PATHS[hint.kind]}/{_number(hint.id)}", **params)
    except PermanentError as error:
        if error.status != 404:
            raise
        yield f"{hint.kind}.missing", {"id": hint.id}, started
        return
    found = response.data.get(hint.kind) if isinstance(response.data, dict) else None
    if not isinstance(found, dict):
        raise TransientError(f"the answer for {hint.kind} {hint.id} has no {hint.kind}")
    yield hint.kind, without_links(found), response.started


async def _insight(http: Http, hint: Hint) -> AsyncIterator[tuple[str, Any, int]]:
    """UNVERIFIED: that a transcript answers under `transcription`, as a summary does under `summary`."""
    try:
        response = await http.get(f"/v1/calls/{_number(hint.id)}/{hint.action}")
    except PermanentError as error:
        if error.status not in _NONE:
            raise
        return
    found = response.data.get(hint.action) if isinstance(response.data, dict) else None
    if isinstance(found, dict):
        yield hint.action, {"call_id": hint.id, **found}, response.started


def _number(id: str) -> int:
    """Ids are numbers, so that none of them is a path."""
    if not id.isdecimal():
        raise PermanentError(f"not an id of Aircall: {id!r}")
    return int(id)
