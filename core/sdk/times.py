"""Every time format of the sources, to one: RFC 3339, UTC, milliseconds, `Z`. Pure."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from core.errors import NormalizeError


def from_ms(value: float | str | None) -> str | None:
    """Epoch milliseconds (a number or its text). None and empty stay None; NormalizeError for anything else."""
    if value is None or value == "":
        return None
    try:
        second, rest = divmod(int(value), 1000)
        return f"{_second(second)}.{rest:03d}Z"
    except (ValueError, OverflowError, OSError, TypeError):
        raise NormalizeError(f"not a time in epoch milliseconds: {value!r}") from None


@lru_cache(4096)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, tz=UTC).replace(tzinfo=None).isoformat()


def from_seconds(value: float | str | None) -> str | None:
    """Epoch seconds (a number or its text). None, empty and 0 (how sources write "never") give None."""
    if value is None or value == "":
        return None
    try:
        second = float(value)
        return from_ms(round(second * 1000)) if second else None
    except (ValueError, TypeError, OverflowError):
        raise NormalizeError(f"not a time in epoch seconds: {value!r}") from None


def from_iso(value: str | None) -> str | None:
    """ISO 8601 in any of its forms (offset with or without colon, ns cut to ms), the same with " UTC" behind it, or RFC
    2822 ("Wed, 07 Jan 2026 09:15:00 +0000"); without offset it is UTC."""
    if value is None or value == "":
        return None
    try:
        moment = _moment(value.strip())
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, AttributeError, TypeError, OverflowError):
        raise NormalizeError(f"not an ISO 8601 time: {value!r}") from None
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _moment(text: str) -> datetime:
    if text[:3].isalpha():
        return parsedate_to_datetime(text)
    return datetime.fromisoformat(text.removesuffix(" UTC"))


def to_ms(value: str) -> int:
    """Epoch milliseconds of a time in our own format."""
    return int(datetime.fromisoformat(value).timestamp() * 1000 + 0.5)


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    found = re.fullmatch(r"(\d+)\s*([smhdw])", str(value).strip())
    if not found:
        raise ValueError("write a number and a unit: 30s, 5m, 12h, 30d or 2w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


Duration = Annotated[timedelta, BeforeValidator(_duration)]
"""A pause or a span as people write it in hub.yaml: 30s, 5m, 12h, 30d, 2w."""


def _some(pause: timedelta) -> timedelta:
    if not pause:
        raise ValueError("must be more than nothing: write 30s, 5m or 12h")
    return pause


Pause = Annotated[Duration, AfterValidator(_some), Field(json_schema_extra={"exclusiveMinimum": 0})]
"""A Duration that is not zero, for what is done again and again."""
