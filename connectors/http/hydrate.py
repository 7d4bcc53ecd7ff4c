"""Reads what webhooks only named: in batches where the source has them, else one by one."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from connectors.http.config import Config
from connectors.http.cuts import cut
from connectors.http.poll import send
from connectors.http.sections import Fetch
from core.sdk import Hint, Http, Payload, PermanentError, Response

# A listing's word for what it lacks, then those of sources for what they deleted.
_GONE = frozenset({"missing", "deleted", "destroyed", "removed"})

Hydrate = Callable[[Http, Config, str, Sequence[Hint]], AsyncIterator[Payload]]


def hydrator(config: Config) -> Hydrate | None:
    return _hydrate if config.hydrate else None


async def _hydrate(http: Http, config: Config, account: str, hints: Sequence[Hint]) -> AsyncIterator[Payload]:
    """One payload per object and what its events call it (`kinds:`), however often it was named."""
    for kind in dict.fromkeys(hint.kind for hint in hints):
        fetch = config.hydrate[kind]
        latest: dict[tuple[str, str], Hint] = {}
        for hint in hints:
            if hint.kind == kind:
                place = hint.id, fetch.kinds.get(hint.action, kind)
                latest[place] = max(latest.get(place, hint), hint, key=lambda each: each.at)
        gone = {hint.id for hint in hints if hint.kind == kind and _says_gone(hint)}
        found, response = await _together(http, config, fetch, account, list(dict.fromkeys(id for id, _ in latest)))
        for (id, _), hint in latest.items():
            if response is not None and (row := found.get(id)) is not None:
                yield _payload(config, fetch, row, account, hint, response.started)
            else:
                yield await _alone(http, config, fetch, account, hint, gone=id in gone)


async def _together(
    http: Http, config: Config, fetch: Fetch, account: str, ids: list[str]
) -> tuple[Mapping[str, Any], Response | None]:
    batch = fetch.batch
    if batch is None:
        return {}, None
    response = await send(http, config, batch, {"ids": ids, "account": account})
    rows = batch.rows(response.data)
    whole = [row for row in rows or () if isinstance(row, dict) and (batch.when is None or batch.when(row))]
    return {str(batch.id(row)): row for row in whole}, response


async def _alone(http: Http, config: Config, fetch: Fetch, account: str, hint: Hint, *, gone: bool) -> Payload:
    """`gone`: an event said so, and maybe others something else."""
    started = int(http.now().timestamp() * 1000)
    try:
        response = await send(http, config, fetch, {"id": quote(hint.id, safe=""), "account": account})
    except PermanentError as error:
        kind = fetch.missing or f"{hint.kind}.missing"
        # A source that reads from a copy does not find for a moment what it has just told of: that deletes nothing.
        if error.status not in fetch.gone or not (fetch.missing or kind in config.mapping or gone):
            raise
        return Payload(kind, {"id": hint.id}, account, False, started, hint.at)
    return _payload(config, fetch, fetch.row(response.data), account, hint, response.started)


def _says_gone(hint: Hint) -> bool:
    """`person.deleted` says it of a person; `comment.deleted` says nothing of the ticket that it names."""
    return hint.action.lower().removeprefix(hint.kind.lower()).lstrip(".:/_- ") in _GONE


def _payload(config: Config, fetch: Fetch, row: Any, account: str, hint: Hint, started: int) -> Payload:
    kind = fetch.kinds.get(hint.action, hint.kind)
    return Payload(kind, cut(row, config.cut), account, False, started, hint.at)
