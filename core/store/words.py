"""The words of a text, folded in one way for both databases, so that a search finds the same on each. Pure.

Neither database's own word rules are used: they differ, and change with a server's locale. Both get words that stand
between blanks and consist of letters, digits and marks only, which is also why no query can smuggle in an operator.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

_LONGEST = 60  # characters of a word; PostgreSQL takes 2 kB, UTF-8 up to four bytes a character
_MOST_WORDS = 2_000  # per text
_MOST_POSITIONS = 200  # per word; PostgreSQL takes 256, and none above 16383
_ASCII = re.compile(r"[a-z0-9]+")
_SPACED_NUMBER = re.compile(r"\+\d[\d ().\-/]*\d")


def words(text: str) -> list[str]:
    """In order of the text, case and accents folded; `+1 (202) 555-0143` is one word, `a@example.com` three."""
    if "+" in text:
        text = _SPACED_NUMBER.sub(lambda number: re.sub(r"\D", "", number[0]), text)
    if text.isascii():
        found = _ASCII.findall(text.lower())
    else:
        folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        found = "".join(map(_letter, folded)).split()
    return [word[:_LONGEST] for word in found[:_MOST_WORDS]]


def _letter(character: str) -> str:
    """Itself, nothing (an accent), or a blank. Vowel signs of Indic scripts are marks and part of the word."""
    if character.isalnum():
        return character
    if unicodedata.combining(character):
        return ""
    return character if unicodedata.category(character)[0] == "M" else " "


def distinct(texts: Iterable[str]) -> list[str]:
    """The words of all texts, each once, in order."""
    return list(dict.fromkeys(word for text in texts for word in words(text)))


def plain(text: str) -> str:
    """For SQLite's index: the words between blanks."""
    return " ".join(words(text))


def vector(text: str) -> str:
    """For PostgreSQL: a tsvector's text form with positions, which passes by the server's own parser."""
    positions: dict[str, list[int]] = {}
    for position, word in enumerate(words(text), 1):
        positions.setdefault(word, []).append(position)
    return " ".join(f"'{word}':{','.join(map(str, where[:_MOST_POSITIONS]))}" for word, where in positions.items())


def match_query(found: Sequence[str]) -> str:
    """FTS5: every word begins a word."""
    return " ".join(f'"{word}"*' for word in found)


def ts_query(found: Sequence[str]) -> str:
    """PostgreSQL: every word begins a word."""
    return " & ".join(f"'{word}':*" for word in found)
