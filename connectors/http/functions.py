"""What expressions may call besides JMESPath's own functions. Pure.

A null (and, of texts, an empty one) that is given gives null back, so that what a source leaves out stays left out.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from jmespath import functions

from core.sdk import NormalizeError, Payload, dialable, from_iso, from_seconds, plain, to_ms, unmarked
from schemas.key import key

_ANY: dict[str, Any] = {"types": []}
_TEXT: dict[str, Any] = {"types": ["string", "null"]}
_LIST: dict[str, Any] = {"types": ["array", "null"]}
_OBJECT: dict[str, Any] = {"types": ["object", "null"]}
_NUMBER: dict[str, Any] = {"types": ["number", "null"]}
_LATEST_SECONDS = 1e11  # a greater number counts milliseconds: as seconds it would be the year 5138
_LONGEST = 500  # characters that matches() looks at
_REPEATS = re.compile(r"[*+]|\{\d*,\d*\}")
_PIECES = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()|]|[*+]|\{\d*,\d*\}|.", re.S)
_SEPARATORS = re.compile(r"[\s().\-]")
_signed: Callable[..., Callable[[Callable[..., Any]], Callable[..., Any]]] = functions.signature


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression sees besides its own data: the payload around it, and the declaration's tables and values."""

    vendor: str = ""
    payload: Payload | None = None
    tables: Mapping[str, Any] = field(default_factory=dict)
    value: Callable[[str], Any] = lambda name: None  # of `let:`


class Functions(functions.Functions):
    """`FUNCTION_TABLE` lists every function, JMESPath's own included."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @_signed()
    def _func_payload(self) -> Any:
        """The whole payload around the item: {kind, data, account, pushed, received, at}; times in epoch ms."""
        given = self._scope.payload
        if given is None:
            return None
        names = ("kind", "data", "account", "pushed", "received", "at")
        return {name: getattr(given, name) for name in names}

    @_signed(_TEXT, _ANY)
    def _func_key(self, kind: str | None, id: Any) -> str | None:
        """The key of another object of this source: key('contact', contact.id)."""
        payload = self._scope.payload
        return key(self._scope.vendor, payload.account, kind, id) if payload and kind and id else None

    @_signed(_TEXT, _ANY)
    def _func_ref(self, kind: str | None, thing: Any) -> dict[str, Any] | None:
        """A reference to an object that is shown with its id and name: ref('team', teams[0])."""
        if not isinstance(thing, Mapping) or not (found := self._func_key(kind, thing.get("id"))):
            return None
        return {"key": found, "name": thing.get("name")}

    @_signed(_TEXT)
    def _func_let(self, name: str | None) -> Any:
        """A value of `let:`, of the rule's or the file's."""
        return self._scope.value(name or "")

    @_signed(_ANY)
    def _func_to_iso(self, value: Any) -> str | None:
        """A time as the hub writes it, from ISO 8601, or epoch seconds or milliseconds as number or text."""
        return iso(value)

    @_signed(_ANY)
    def _func_to_ms(self, value: Any) -> int | None:
        """A time as epoch milliseconds, from the same forms."""
        return moment(value)

    @_signed(_ANY, _ANY)
    def _func_seconds(self, begin: Any, end: Any) -> int | None:
        """Whole seconds from one time to another, never below 0."""
        one, other = moment(begin), moment(end)
        return max((other - one) // 1000, 0) if one is not None and other is not None else None

    @_signed(_LIST)
    def _func_latest(self, values: list[Any] | None) -> Any:
        """The greatest of a list, nulls left out."""
        return max((value for value in values or () if value is not None), default=None)

    @_signed(_ANY)
    def _func_phone(self, value: Any) -> str | None:
        """A phone number without separators; null for what cannot be dialed, such as `anonymous` or a SIP address."""
        return _compact(value) if isinstance(value, str) and dialable(value) else None

    @_signed(_ANY)
    def _func_compact(self, value: Any) -> str | None:
        """A text without blanks, dots, dashes and brackets."""
        return _compact(value) if isinstance(value, str) else None

    @_signed(_ANY)
    def _func_plain(self, value: Any) -> str | None:
        """The text that a reader of this HTML would see."""
        return plain(value) if isinstance(value, str) else None

    @_signed(_ANY)
    def _func_unmarked(self, value: Any) -> str | None:
        """The text that a reader of this Markdown would see."""
        return unmarked(value) if isinstance(value, str) else None

    @_signed({"types": ["array", "string", "null"]})
    def _func_words(self, parts: list[Any] | str | None) -> str | None:
        """Texts with a blank between them, empty ones left out: words([first_name, last_name]). Of one text its words
        with single blanks."""
        parts = parts.split() if isinstance(parts, str) else parts
        return " ".join(str(part) for part in parts or () if part not in (None, "")) or None

    @_signed(_LIST)
    def _func_lines(self, parts: list[Any] | None) -> str | None:
        """Texts, a line each, empty ones left out."""
        return "\n".join(str(part) for part in parts or () if part not in (None, "")) or None

    @_signed(_TEXT, {"types": [], "variadic": True})
    def _func_text(self, template: str | None, *values: Any) -> str | None:
        """A text with a value in the place of each {}: text('{}:{}', line, number). Null where one of them is null or
        empty."""
        pieces = (template or "").split("{}")
        if len(pieces) != len(values) + 1:
            raise NormalizeError(f"text() has {len(pieces) - 1} places for {len(values)} values")
        if any(value in (None, "") for value in values):
            return None
        return pieces[0] + "".join(f"{value}{piece}" for value, piece in zip(values, pieces[1:], strict=True))

    @_signed(_TEXT, _NUMBER)
    def _func_start(self, value: str | None, length: float | None) -> str | None:
        """The first characters of a text: start(body, `200`)."""
        return value[: int(length or 0)] or None if value is not None else None

    @_signed(_ANY)
    def _func_numbered(self, items: Any) -> list[Any] | None:
        """The objects of a list with their place among them as `index`, from 0."""
        if not isinstance(items, list):
            return None
        return [{**item, "index": index} for index, item in enumerate(item for item in items if isinstance(item, dict))]

    @_signed(_OBJECT)
    def _func_given(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        """An object without what is null or empty in it; null where nothing is left."""
        return {name: inner for name, inner in (value or {}).items() if inner not in (None, "", [], {})} or None

    @_signed(_TEXT, _ANY, _ANY, _ANY)
    def _func_party(self, role: str | None, person: Any, name: Any, number: Any) -> dict[str, Any] | None:
        """Somebody in an activity, known by key, by phone number or by both; null where by neither."""
        phone = self._func_phone(number)
        identifier = {"kind": "phone", "value": phone} if phone else None
        known = {"person": person or None, "identifier": identifier}
        return self._func_given({"role": role, **known, "name": name or None}) if person or phone else None

    @_signed(_LIST)
    def _func_parties(self, found: list[Any] | None) -> list[Any] | None:
        """Parties in one list, each person and each number once; null where nobody is left."""
        flat = [each for one in found or () for each in (one if isinstance(one, list) else [one])]
        kept, known = [], set[str]()
        for party in flat:
            who = {party.get("person"), (party.get("identifier") or {}).get("value")} - {None} if party else set()
            if who - known:
                kept.append(party)
                known |= who
        return kept or None

    @_signed(_TEXT, _ANY)
    def _func_lookup(self, table: str | None, value: Any) -> Any:
        """What a table of `tables:` says of a value; null where it says nothing."""
        found = self._table(table)
        return found.get(value) if isinstance(found, Mapping) and isinstance(value, str) else None

    @_signed(_TEXT, _ANY)
    def _func_place(self, table: str | None, value: Any) -> int | None:
        """Where a value stands in a list of `tables:`, from 0; behind its end where it is not in it."""
        found = self._table(table)
        return found.index(value) if value in found else len(found)

    @_signed(_TEXT, _ANY)
    def _func_listed(self, table: str | None, value: Any) -> bool:
        """Whether a list (or the names) of `tables:` holds a value."""
        return value in self._table(table)

    @_signed(_ANY, _ANY, _ANY)
    def _func_if(self, condition: Any, then: Any, otherwise: Any) -> Any:
        return then if condition else otherwise

    @_signed(_TEXT, _TEXT)
    def _func_split(self, value: str | None, separator: str | None) -> list[str] | None:
        return value.split(separator) if value is not None and separator else None

    @_signed(_TEXT)
    def _func_lower(self, value: str | None) -> str | None:
        return value.lower() if value is not None else None

    @_signed(_TEXT, _TEXT)
    def _func_matches(self, value: str | None, pattern: str | None) -> bool:
        """Whether a text as a whole matches a regular expression."""
        if value is not None and len(value) > _LONGEST:
            raise NormalizeError(f"matches() takes texts of {_LONGEST} characters at most")
        return value is not None and regex(pattern or "").fullmatch(value) is not None

    @_signed(_NUMBER, _NUMBER)
    def _func_minus(self, one: float | None, other: float | None) -> float | None:
        return one - other if one is not None and other is not None else None

    @_signed(_ANY)
    def _func_digest(self, value: Any) -> str | None:
        """16 characters that stand for a value that must not be seen, such as an address that is an id."""
        return hashlib.sha256(str(value).lower().encode()).hexdigest()[:16] if value not in (None, "") else None

    def _table(self, name: str | None) -> Any:
        return self._scope.tables.get(name or "", ())


def described() -> Sequence[tuple[str, str]]:
    """Our own functions, (name, what it does), sorted: for the manual."""
    own = {name: method for name, method in vars(Functions).items() if name.startswith("_func_")}
    return sorted((name.removeprefix("_func_"), (method.__doc__ or "").strip()) for name, method in own.items())


def moment(value: Any) -> int | None:
    """Epoch ms of a time in any form: ISO 8601, or epoch seconds or milliseconds as number or text. Raises
    NormalizeError for what is no time."""
    text = iso(value)
    return to_ms(text) if text else None


def iso(value: Any) -> str | None:
    """The same time as the hub writes it. Raises NormalizeError for what is no time."""
    match value:
        case None:
            return None
        case str() if not re.fullmatch(r"\d+(\.\d+)?", value.strip()):
            return from_iso(value)
        case bool() | dict() | list():
            raise NormalizeError(f"not a time: {type(value).__name__}")
    number = float(value)
    return from_seconds(number / 1000 if number > _LATEST_SECONDS else number)


def _compact(value: str) -> str:
    return _SEPARATORS.sub("", value)


@lru_cache(256)
def regex(pattern: str) -> re.Pattern[str]:
    """Raises ValueError for what is none, and for a repeated group that itself repeats or chooses: on some texts such
    a search never ends, and one payload would hold up the hub."""
    try:
        made = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    open_: list[bool] = [False]  # of each group around this place: whether it repeats or chooses
    closed = False  # the same of the group that ended just before
    for piece in _PIECES.findall(pattern):
        if _REPEATS.fullmatch(piece) and closed:
            raise ValueError("a group that repeats must not itself repeat or choose: it could take for ever")
        closed = False
        match piece:
            case "(":
                open_.append(False)
            case ")":
                closed = open_.pop()
                open_[-1] |= closed
            case "|":
                open_[-1] = True
            case _ if _REPEATS.fullmatch(piece):
                open_[-1] = True
    return made
