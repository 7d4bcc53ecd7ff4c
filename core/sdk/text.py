"""Untrusted HTML and Markdown to plain text; what is a phone number. Pure."""

import html
import re

import nh3

_BREAK = re.compile(r"(?i)<\s*(br|/p|/div|/li|/h[1-6]|/tr)[^>]*>")
_CELL = re.compile(r"(?i)<\s*/t[dh]\b[^>]*>")
_SPACE = re.compile(r"[ \t\r\f\v\xa0]+")
_MARKDOWN = (
    (re.compile(r"!?\[([^\]]*)\]\([^)]*\)"), r"\1"),  # links and pictures: their text
    (re.compile(r"^\s{0,3}(#{1,6}|>|[-*+]|\d+\.)\s+", re.M), ""),
    (re.compile(r"^\s*(```\w*|---+|\*\*\*+)\s*$", re.M), ""),
    (re.compile(r"(\*\*|__|~~|`)(.+?)\1"), r"\2"),
)
_DIALABLE = re.compile(r"\+?[\d\s().\-]{3,}")


def plain(value: str | None) -> str | None:
    """The text that a reader would see: no tags, scripts or styles, blocks as lines, cells apart. None stays None."""
    if value is None:
        return None
    text = value
    if "<" in value or "&" in value:
        spaced = _CELL.sub(r"\g<0> ", _BREAK.sub(r"\g<0>\n", value))
        text = html.unescape(nh3.clean(spaced, tags=set()))
    lines = (_SPACE.sub(" ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def unmarked(value: str) -> str:
    """The text that a reader of this Markdown would see, without empty lines."""
    for pattern, kept in _MARKDOWN:
        value = pattern.sub(kept, value)
    return "\n".join(line.strip() for line in value.split("\n") if line.strip())


def dialable(value: str) -> bool:
    """Whether this is a number that one could call: not `anonymous`, not a SIP address."""
    return _DIALABLE.fullmatch(value.strip()) is not None
