"""What becomes of a cell on its way into a field: small recipes that a mapping file can name. Pure."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from phonenumbers import SUPPORTED_REGIONS

from core.errors import NormalizeError
from core.identity import Rules, canonical
from core.sdk import from_iso, from_ms, from_seconds

RECIPE = (
    "column", "constant", "split", "take", "values", "date", "zone", "decimal", "currency", "phone", "prefix",
)  # fmt: skip
ORDERS = "_orders"  # set where a date tells old states from new ones
ELSE = "*"
_SIGNS = {"€": "EUR", "£": "GBP", "$": "USD", "¥": "JPY"}
_CODE = re.compile(r"(?<![A-Z])[A-Z]{3}(?![A-Z])")
_PLAIN = str.maketrans("\xa0\u202f\u2009’−", "   '-")  # how blanks and apostrophes that group digits are written
_WORDS = {
    "column": "the column's name", "split": "the mark between the parts", "prefix": "what stands before it",
    "currency": "the currency where the cell names none", "date": "the date's form",
}  # fmt: skip
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_EPOCHS = {"epoch": from_seconds, "epoch_ms": from_ms}


def wrong_recipe(recipe: Mapping[str, Any]) -> tuple[str, str] | None:
    """(word, why) where a recipe cannot work."""
    for name, given in recipe.items():
        if name in _WORDS and not (isinstance(given, str) and given):
            return name, f"write {_WORDS[name]}, in quotes"
    if not isinstance(recipe.get("values", {}), dict):
        return "values", "write what each word of the column becomes: {S: shipped}"
    take = recipe.get("take", 1)
    if not isinstance(take, int) or take < 1 or ("take" in recipe and "split" not in recipe):
        return "take", "which part after `split`, from 1 on"
    if recipe.get("decimal", ".") not in (".", ","):
        return "decimal", "say which mark stands before the cents: '.' or ','"
    if recipe.get("phone", True) is not True and recipe["phone"] not in SUPPORTED_REGIONS:
        return "phone", 'write the country as two capitals, in quotes: "NO"'
    if not _is_form(recipe.get("date", "iso")):
        return "date", 'write iso, epoch, epoch_ms, or a form such as "%d.%m.%Y"'
    try:
        _zone(recipe)
    except (ValueError, OSError, LookupError):
        return "zone", "no time zone of that name; write Europe/Berlin, for instance"
    return None


def _is_form(form: str) -> bool:
    if form == "iso" or form in _EPOCHS:
        return True
    try:
        return "%" in form and bool(datetime.strptime(_NOON.strftime(form), form))  # noqa: DTZ007
    except ValueError:
        return False


def cook(value: Any, recipe: Mapping[str, Any], region: str) -> Any:
    """What a recipe makes of a cell, its parts in this order: split, take, values, date, decimal or
    currency, phone, prefix; of a list, what it makes of each. None where nothing is left. Raises NormalizeError."""
    if recipe.keys() <= {"column"} and isinstance(value, bool | list | Mapping):
        return value
    if isinstance(value, list):
        return _each(value, recipe, region)
    value = _text(value)
    if "split" in recipe:
        parts = [part.strip() for part in value.split(recipe["split"])]
        if "take" not in recipe:
            return _each([part for part in parts if part], recipe, region)
        value = parts[recipe["take"] - 1] if recipe["take"] <= len(parts) else ""
    if value and "values" in recipe:
        value = _looked_up(value, {str(name): it for name, it in recipe["values"].items()})
    for name, step in _STEPS.items():
        if value in (None, ""):
            return None
        if name in recipe:
            value = step(_text(value), recipe, region)
    return value


def _each(values: Sequence[Any], recipe: Mapping[str, Any], region: str) -> list[Any]:
    rest = {name: it for name, it in recipe.items() if name not in ("split", "take")}
    return [made for each in values if each is not None and (made := cook(each, rest, region)) is not None]


def _text(value: Any) -> str:
    """What recipes work on: numbers and truth values as they are written."""
    if isinstance(value, list | Mapping):
        raise NormalizeError("a list or an object where the recipe takes text: name a part of it, such as customer.id")
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _looked_up(value: str, known: Mapping[str, Any]) -> Any:
    if value not in known and ELSE not in known:
        raise NormalizeError(f"`values` does not name it; it names {', '.join(known)} (and may name {ELSE!r} for all)")
    return known.get(value, known.get(ELSE))


def _zone(recipe: Mapping[str, Any]) -> tzinfo:
    return ZoneInfo(str(recipe["zone"])) if recipe.get("zone") else UTC


def _date(value: str, form: str, zone: tzinfo, orders: bool) -> str | None:
    if form in ("epoch", "epoch_ms"):
        return _EPOCHS[form](value)
    try:
        moment = datetime.fromisoformat(value) if form == "iso" else datetime.strptime(value, form)  # noqa: DTZ007
    except ValueError:
        raise NormalizeError(f"no date of the form {form}") from None
    if moment.tzinfo:
        return from_iso(moment.isoformat())
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    # At midnight it is mostly a day without a time.
    if orders and first.utcoffset() != second.utcoffset() and moment.time() != time.min:
        raise NormalizeError(
            f"the clocks of {zone} show it twice or never, so that it does not tell old states from new ones: "
            "write it with its offset (%z in `date`)"
        )
    return from_iso(first.isoformat())


def _decimal(value: str, mark: str) -> str:
    """One decimal mark; the other one, blanks and apostrophes may group thousands. A currency's sign or code is left
    out; a minus may stand behind, as accounting writes it."""
    kept = _CODE.sub("", value.translate(_PLAIN))
    kept = "".join(each for each in kept if unicodedata.category(each) != "Sc").strip()
    point, group = re.escape(mark), "," if mark == "." else "."
    digits = rf"\d+|\d{{1,3}}(?:[{group} ']\d{{3}})+|(?={point})"
    form = rf"([-+]?)\s*({digits})(?:{point}(\d+))?\s*(-?)"
    found = re.fullmatch(form, kept, re.ASCII)
    if found is None or (found[1] and found[4]):
        raise NormalizeError(f"no decimal with the mark {mark!r}")
    before, whole, cents, behind = found.groups()
    sign = "-" if "-" in (before, behind) else ""
    return sign + (re.sub(r"\D", "", whole) or "0") + (f".{cents}" if cents else "")


def _currency(value: str, otherwise: str) -> str:
    """The code or sign in a cell such as `12,50 EUR`."""
    if code := _CODE.search(value):
        return code[0]
    return next((code for sign, code in _SIGNS.items() if sign in value), otherwise)


def _phone(value: str, region: str) -> str:
    found = canonical("phone", value, Rules(region=region))
    if found is None:
        raise NormalizeError(f"no phone number of {region}")
    return found.partition(":")[2]


_STEPS: Mapping[str, Callable[[str, Mapping[str, Any], str], str | None]] = {
    "date": lambda value, recipe, region: _date(value, recipe["date"], _zone(recipe), ORDERS in recipe),
    "decimal": lambda value, recipe, region: _decimal(value, recipe["decimal"]),
    "currency": lambda value, recipe, region: _currency(value, recipe["currency"]),
    "phone": lambda value, recipe, region: _phone(value, recipe["phone"] if recipe["phone"] is not True else region),
    "prefix": lambda value, recipe, region: f"{recipe['prefix']}{value}",
}
