"""A source object's key, `vendor/account/kind/id`, each part percent-encoded (RFC 3986). Pure."""

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

_quoted = lru_cache(65_536)(quote)


class Key(NamedTuple):
    """The four parts of a key, decoded."""

    vendor: str
    account: str
    kind: str
    id: str

    def __str__(self) -> str:
        return "/".join(_quoted(part, "+@:~") for part in self)


def key(vendor: str, account: str, kind: str, id: str | int) -> str:
    """The key as text, for instance `hubspot/12345/contact/901`. Raises ValueError where a part is empty."""
    made = Key(vendor, str(account), kind, str(id))
    if not all(made):
        raise ValueError(f"a key needs four parts that are not empty, got {tuple(made)}")
    return str(made)


def parse(text: str) -> Key:
    """The parts of a key's text. Raises ValueError where there are not four."""
    parts = text.split("/")
    if len(parts) != 4 or not all(parts):
        raise ValueError(f"{text!r} is not vendor/account/kind/id")
    return Key(*map(unquote, parts))
