"""The mock's lists, searches and errors as Intercom answers them."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from aiohttp import web

from connectors.intercom import search
from core.sdk.mock import answer, now, page_size

_CODES = {401: "unauthorized", 404: "not_found", 410: "contact_merged", 429: "rate_limit_exceeded", 500: "server_error"}


async def searched(
    request: web.Request,
    kind: str,
    name: str,
    rows: Sequence[search.Object],
    lag: Callable[[str], int],
    *,
    by_day: bool,
    usual: int,
) -> web.Response:
    """What matches the query in the body. A page has at most 150 rows, and `usual` where nothing is asked for. What
    changed less than `lag` ms ago is not found yet."""
    at = now(request)
    rows = [row for row in rows if row["updated_at"] * 1000 <= at - (wait := lag(row["id"])) or not wait]
    try:
        body = orjson.loads(await request.read())
        matching = search.found(rows, body.get("query"), by_day=by_day)
    except search.RefusedQuery as error:
        return answer(error_list(400, error.code, str(error)), 400)
    except ValueError as error:
        return answer(error_list(400, "parameter_invalid", str(error)), 400)
    paging = body.get("pagination") or {}
    per_page = page_size(request, min(int(paging.get("per_page", usual)), 150))
    return paged(kind, name, matching, body.get("sort"), per_page, paging.get("starting_after"))


def paged(
    kind: str, name: str, rows: Sequence[search.Object], sort: Any, per_page: int, after: str | None
) -> web.Response:
    try:
        shown, pages = search.page(rows, sort, per_page, after)
    except search.RefusedQuery as error:
        return answer(error_list(400, error.code, str(error)), 400)
    return answer({"type": kind, name: shown, "total_count": len(rows), "pages": pages})


def missing() -> web.Response:
    return answer(error_list(404), 404)


def error_list(status: int, code: str = "", message: str = "") -> dict[str, Any]:
    code = code or _CODES.get(status, "server_error")
    errors = [{"code": code, "message": message or f"{status} {code.replace('_', ' ')}"}]
    return {"type": "error.list", "request_id": None, "errors": errors}
