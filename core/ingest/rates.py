"""What a source's headers say of its limits. Pure: no I/O, no clock."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from core.sdk import RateHeaders

LONGEST_RESET = 3600.0  # seconds; a reset further away is rather a clock that is wrong


@dataclass(frozen=True, slots=True)
class Told:
    """One answer's count. `until`: epoch seconds; `per`: seconds."""

    remaining: int
    limit: int | None
    until: float | None
    per: float | None


def told(names: RateHeaders, headers: Mapping[str, str], now: datetime) -> Told | None:
    """None where the answer does not count down."""
    remaining = _number(headers, names.remaining)
    if remaining is None:
        return None
    wait, interval = reset(names, headers, now), _number(headers, names.interval)
    until = None if wait is None else (now + wait).timestamp()
    return Told(remaining, _number(headers, names.limit), until, interval / 1000 if interval else None)


def asked(names: RateHeaders, headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long a source that refuses wants to be left alone: Retry-After (RFC 9110: seconds or a date), else its own
    reset header."""
    wait = later(headers.get("retry-after", ""), now)
    return reset(names, headers, now) if wait is None else wait


def reset(names: RateHeaders, headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """From now until the window of the limit begins anew."""
    unit = 0.001 if names.reset.endswith("milliseconds") else 1.0
    wait = later(headers.get(names.reset, ""), now, unit)
    return None if wait is None else min(wait, timedelta(seconds=LONGEST_RESET))


def later(text: str, now: datetime, unit: float = 1.0) -> timedelta | None:
    """From now until a header's time: seconds (or milliseconds) from now, an epoch in s or ms, or an HTTP date."""
    try:
        number = float(text)
    except ValueError:
        try:
            return max(timedelta(0), parsedate_to_datetime(text) - now)
        except (ValueError, TypeError):
            return None
    if not math.isfinite(number):
        return None
    if number > 1e11:
        number, unit = number - now.timestamp() * 1000, 0.001
    elif number > 1e9:
        number, unit = number - now.timestamp(), 1.0
    return timedelta(seconds=max(0.0, number * unit)) if number < 1e9 else None


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "").strip()
    return int(text) if text.isdecimal() and len(text) < 16 else None
