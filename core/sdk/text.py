"""Untrusted HTML to plain text. Pure."""

import html
import re

import nh3

_BREAK = re.compile(r"(?i)<\s*(br|/p|/div|/li|/h[1-6]|/tr)[^>]*>")
_SPACE = re.compile(r"[ \t\r\f\v\xa0]+")


def plain(value: str | None) -> str | None:
    """The text that a reader would see: no tags, scripts or styles, blocks as lines. None stays None."""
    if value is None:
        return None
    text = (
        html.unescape(nh3.clean(_BREAK.sub(r"\g<0>\n", value), tags=set())) if "<" in value or "&" in value else value
    )
    lines = (_SPACE.sub(" ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
