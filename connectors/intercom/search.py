"""The mock's search: Intercom's query grammar over objects as REST shows them, and its cursor paging. Pure.

Dates of contacts match by calendar day in the workspace's time zone, those of conversations and tickets by second.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

ZONE = timezone(timedelta(hours=-5))  # of the workspace, and not ours: days begin at other times than in UTC
ZONE_NAME = "America/Bogota"
DAY = 86_400
DATES = frozenset({"created_at", "updated_at", "signed_up_at", "last_replied_at"})
_ORDERS = ("ascending", "descending")
Object = Mapping[str, Any]


class RefusedQuery(Exception):
    """The query breaks a rule; `code` is the source's word for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def found(objects: Sequence[Object], query: Any, *, by_day: bool) -> list[Object]:
    """The objects that match a filter or a group of them: at most 2 levels deep, 15 filters to a group."""
    matches = _compiled(query, by_day, 1)
    return [item for item in objects if matches(item)]


def _compiled(query: Any, by_day: bool, level: int) -> Callable[[Object], bool]:
    if not isinstance(query, dict) or "operator" not in query or "value" not in query:
        raise RefusedQuery("parameter_invalid", "a query has an operator and a value")
    if "field" in query:
        return _filter(str(query["field"]), str(query["operator"]), query["value"], by_day)
    if query["operator"] not in ("AND", "OR") or not isinstance(query["value"], list):
        raise RefusedQuery("invalid_operator", f"{query['operator']!r} joins no filters")
    if level > 2 or len(query["value"]) > 15:
        raise RefusedQuery("parameter_invalid", "at most 2 levels and 15 filters to a group")
    parts = [_compiled(part, by_day, level + 1) for part in query["value"]]
    join = all if query["operator"] == "AND" else any
    return lambda item: join(part(item) for part in parts)


def _filter(field: str, operator: str, value: Any, by_day: bool) -> Callable[[Object], bool]:
    if by_day and field in DATES:
        return _on_days(field, operator, int(value))
    match operator:
        case "=":
            return lambda item: item.get(field) is not None and str(item[field]) == str(value)
        case "!=":
            return lambda item: str(item.get(field)) != str(value)
        case ">":
            return lambda item: item.get(field) is not None and int(item[field]) > int(value)
        case "<":
            return lambda item: item.get(field) is not None and int(item[field]) < int(value)
        case "IN" if isinstance(value, list):
            return lambda item: str(item.get(field)) in map(str, value)
        case _:
            raise RefusedQuery("invalid_operator", f"{operator!r} is not supported for {field}")


def _on_days(field: str, operator: str, value: int) -> Callable[[Object], bool]:
    midnight = int(datetime.fromtimestamp(value, ZONE).replace(hour=0, minute=0, second=0).timestamp())
    match operator:
        case ">":
            return lambda item: item.get(field) is not None and item[field] >= midnight + DAY
        case "<":
            return lambda item: item.get(field) is not None and item[field] < midnight
        case "=":
            return lambda item: item.get(field) is not None and midnight <= item[field] < midnight + DAY
        case _:
            raise RefusedQuery("invalid_operator", f"{operator!r} is not supported for dates")


def page(objects: Sequence[Object], sort: Any, per_page: int, after: str | None) -> tuple[list[Object], dict[str, Any]]:
    """One page by `sort: {field, order}` (without it by `updated_at`, the newest first), and its `pages`; the last one
    has no `next`. The token names a place in the order, so that rows which come and go elsewhere move nothing."""
    sort = sort if isinstance(sort, dict) else {}
    field, order = str(sort.get("field", "updated_at")), sort.get("order", "descending")
    if order not in _ORDERS:
        raise RefusedQuery("invalid_sort_order", f"Invalid sort order {order!r}. Must be one of: {', '.join(_ORDERS)}")
    down = order == "descending"

    def place(item: Object) -> list[Any]:
        return [item.get(field) or 0, item["id"]]

    behind, number = place_of(after) if after else (None, 1)
    rest = [
        item
        for item in sorted(objects, key=place, reverse=down)
        if behind is None or (place(item) < behind if down else place(item) > behind)
    ]
    pages = {"type": "pages", "page": number, "per_page": per_page, "total_pages": -(-len(objects) // per_page)}
    rows = rest[:per_page]
    if len(rest) > per_page:
        token = base64.urlsafe_b64encode(json.dumps([place(rows[-1]), number + 1]).encode()).decode()
        pages["next"] = {"per_page": per_page, "starting_after": token}
    return rows, pages


def place_of(token: str) -> tuple[list[Any], int]:
    """What stands in `starting_after`: the last row's place in the order, and the number of the page after it."""
    try:
        place, number = json.loads(base64.urlsafe_b64decode(token))
        return list(place), int(number)
    except (ValueError, TypeError):
        raise RefusedQuery("parameter_invalid", "starting_after is invalid") from None
