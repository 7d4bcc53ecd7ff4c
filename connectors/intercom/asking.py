"""Asks Intercom. An answer without what was asked for, or with an error inside although its status says 200, passes:
it is asked for again, and never taken for an empty list."""

from collections.abc import Mapping
from typing import Any

from connectors.intercom.shapes import Item, listed
from core.sdk import Http, Response, TransientError


async def get(http: Http, path: str, **params: str | int) -> Response:
    return _sound("GET", path, await http.get(path, **params))


async def post(http: Http, path: str, body: Any, params: Mapping[str, str | int] | None = None) -> Response:
    return _sound("POST", path, await http.request("POST", path, params=params, json=body))


def rows(response: Response, name: str) -> list[Item]:
    """The list of that name in an answer."""
    if not isinstance(response.data.get(name), list):
        raise TransientError(f"Intercom's answer has no list `{name}`")
    return listed(response.data, name)


def every_row(response: Response, name: str) -> list[Item]:
    """The same with what is no object, as `{"row": it}`: the normalizer refuses it, so that it is not lost."""
    rows(response, name)
    return [row if isinstance(row, dict) else {"row": row} for row in response.data[name]]


def _sound(method: str, path: str, response: Response) -> Response:
    data = response.data
    if not isinstance(data, dict):
        raise TransientError(f"{method} {path}: Intercom answered {response.status} without an object")
    if data.get("type") == "error.list" or isinstance(data.get("errors"), list):
        codes = [str(error.get("code")) for error in listed(data, "errors")]
        raise TransientError(
            f"{method} {path}: Intercom answered {response.status} with {', '.join(codes) or 'errors'}"
        )
    return response
