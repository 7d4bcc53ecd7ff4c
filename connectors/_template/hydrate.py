"""Fetches what a webhook only named, or a listing no longer shows: several at once, in one request."""

from collections.abc import AsyncIterator, Sequence

from connectors._template.config import Config
from connectors._template.poll import listed
from core.sdk import Hint, Http, Payload

_PATHS = {"person": "/v1/people/batch", "ticket": "/v1/tickets/batch"}


async def hydrate(http: Http, config: Config, account: str, hints: Sequence[Hint]) -> AsyncIterator[Payload]:
    """One payload per object, however often it was named; what is not in the answer is gone."""
    for kind, path in _PATHS.items():
        wanted = {hint.id: hint for hint in hints if hint.kind == kind}
        if not wanted:
            continue
        answer = await http.request("POST", path, json={"ids": list(wanted)})
        found = {str(row["id"]): row for row in listed(answer, "rows") if isinstance(row, dict) and row.get("id")}
        for id, hint in wanted.items():
            if id in found:
                yield Payload(kind, found[id], account, False, answer.started, hint.at)
            else:
                yield Payload(f"{kind}.gone", {"id": id}, account, False, answer.started, answer.started)
