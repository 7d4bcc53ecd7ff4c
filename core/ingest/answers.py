"""What a source's answer says. Pure: no I/O, no clock."""

import re
from collections.abc import Iterator
from typing import Any

from core.errors import RateLimitedError, TransientError, UnauthorizedError
from core.sdk import loads

# An answer that holds nothing else is an error, whatever its status says.
_ERROR_FIELDS = frozenset({
    "category", "code", "context", "correlationId", "detail", "details", "error", "error_code", "error_description",
    "errorCode", "errorType", "errors", "links", "message", "ok", "policyName", "reason", "request_id", "requestId",
    "status", "status_code", "statusCode", "subCategory", "success", "title", "troubleshoot", "type",
})  # fmt: skip
_CODES = ("code", "category", "error_code", "errorCode", "errorType", "policyName", "error", "type", "reason")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,60}")
_LIMITED = re.compile(r"(?i)rate.?limit|throttl|too.?many|limit.?exceeded")
_REFUSED = re.compile(r"(?i)unauthori|unauthenticat|invalid.?(token|session|auth)|token.?(expired|revoked)|forbidden")


def parsed(shown: str, method: str, status: int, body: bytes) -> Any:
    """The JSON of an answer; None where it may be empty (204, or after a change).

    Raises TransientError for what passes: a proxy's page, a cut or empty answer. An error told with status 200 is
    raised as what it says: RateLimitedError, UnauthorizedError, else TransientError; of its words only its code is
    repeated, because a sentence may quote somebody.
    """
    if not body.strip():
        if status == 200 and method in ("GET", "POST"):
            raise TransientError(f"{shown}: the answer is empty")
        return None
    try:
        data = loads(body)
    except ValueError as error:
        raise TransientError(f"{shown}: the answer is not JSON") from error
    if not _is_error(data):
        return data
    codes = [code for code in _codes(data) if _CODE.fullmatch(code)]
    said = f"{shown}: answered {status} with an error inside{f' ({codes[0]})' if codes else ''}"
    if any(_LIMITED.search(code) for code in codes):
        raise RateLimitedError(said)
    if any(_REFUSED.search(code) for code in codes):
        raise UnauthorizedError(said)
    raise TransientError(said)


def codes(body: bytes) -> frozenset[str]:
    """What the body of a refusal says by code; nothing where it is none of JSON."""
    try:
        return frozenset(code for code in _codes(loads(body)) if _CODE.fullmatch(code))
    except ValueError:
        return frozenset()


def _is_error(data: Any) -> bool:
    """Whether it tells an error and nothing else."""
    if not isinstance(data, dict) or not data or not data.keys() <= _ERROR_FIELDS:
        return False
    told = data.get("error") or data.get("errors") or data.get("errorCode") or data.get("errorType")
    return bool(told) or data.get("status") == "error" or data.get("ok") is False or data.get("success") is False


def _codes(data: Any) -> Iterator[str]:
    match data:
        case dict():
            for name in _CODES:
                if isinstance(data.get(name), str) and data[name] not in ("error", "error.list"):
                    yield data[name]
            for name in ("errors", "error"):
                yield from _codes(data.get(name))
            if isinstance(data.get("extensions"), dict):  # GraphQL
                yield from _codes(data["extensions"])
        case list():
            for each in data[:5]:
                yield from _codes(each)
