"""Do two names speak against one person? Pure.

A name is a bag of Unicode words: case-folded, marks removed, in any order. Two words agree when one begins the other
(`D` and `Dana`, `Dan` and `Daniel`); two names agree when every word of the shorter one agrees with a word of its own
in the longer one, else they clash. Only words of one script are compared: names in different scripts neither clash nor
match. A name made of placeholders (`Unknown caller`, `admin`) or holding no letters is empty, and an empty name says
nothing. Equal *full* names have the same words, at least two of which are more than an initial.
"""

import unicodedata
from functools import lru_cache
from typing import NamedTuple

_PLACEHOLDERS = """
admin administrator agent anonymous available blocked caller client contact customer default deleted demo first given
guest hidden inbound incoming last lead member missing my name na new nil no nobody none not null number outbound
owner person phone placeholder private provided restricted sample staff store support surname system tba tbd temp test
tester unavailable undefined unidentified unknown unnamed user visitor web website wireless withheld xx xxx yyy zzz
"""
_HONORIFICS = "mr mrs ms miss mx dr prof sir dame herr frau hr fr mme mlle sr sra senor senora"
PLACEHOLDER_WORDS = frozenset(_PLACEHOLDERS.split())
TITLES = frozenset(_HONORIFICS.split())
_APOSTROPHES = dict.fromkeys(map(ord, "'’‘ʼ`´"))
# Letters that no decomposition spells; and the digraphs that many write for umlauts.
_SPELLINGS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "a", "œ": "o", "ı": "i"})
_DIGRAPHS = (("ae", "a"), ("oe", "o"), ("ue", "u"))
# One sign is a word of a name there, not an initial.
_SYLLABIC = frozenset({"CJK", "HANGUL", "HIRAGANA", "KATAKANA"})
_MOST_WORDS = 12


class Word(NamedTuple):
    """A folded word and the script of its first letter (`LATIN`, `CJK`)."""

    text: str
    script: str


def clash(a: str, b: str) -> bool:
    """Whether both names cannot belong to one person. Symmetric; empty names clash with nobody."""
    return _clash(a, b) if a <= b else _clash(b, a)


@lru_cache(maxsize=65_536)
def full(name: str) -> str | None:
    """The words of a full name in alphabetical order; None where it is not a full one."""
    found = words(name)
    if sum(len(word.text) > 1 or word.script in _SYLLABIC for word in found) < 2:
        return None
    return " ".join(sorted(word.text for word in found))


@lru_cache(maxsize=65_536)
def words(name: str) -> tuple[Word, ...]:
    """What is compared of a name; nothing where it is a placeholder, an address or a number."""
    if "@" in name:
        return ()
    folded = unicodedata.normalize("NFKD", name.translate(_APOSTROPHES).casefold()).casefold().translate(_SPELLINGS)
    letters = "".join(
        each if each.isalpha() else " " for each in folded if not unicodedata.category(each).startswith("M")
    )
    found = [word for word in letters.split() if word not in TITLES]
    if found == ["n", "a"] or all(word in PLACEHOLDER_WORDS for word in found):
        return ()
    return tuple(Word(_plain(word), _script(word)) for word in found[:_MOST_WORDS])


def _plain(word: str) -> str:
    """`mueller` and `müller`, `strasse` and `straße` come out alike. Hangul is put together again."""
    for digraph, vowel in _DIGRAPHS:
        word = word.replace(digraph, vowel)
    return unicodedata.normalize("NFC", word)


def _script(word: str) -> str:
    return unicodedata.name(word[0], "UNKNOWN").split(" ", 1)[0]


@lru_cache(maxsize=262_144)
def _clash(a: str, b: str) -> bool:
    left, right = words(a), words(b)
    common = {word.script for word in left} & {word.script for word in right}
    ours = [word.text for word in left if word.script in common]
    theirs = [word.text for word in right if word.script in common]
    return _agreeing(ours, theirs) < min(len(ours), len(theirs))


def _agreeing(ours: list[str], theirs: list[str]) -> int:
    """The most words that can be paired. The longest word goes first and takes the longest that begins it: whatever
    agrees with that one agrees with the shorter ones, too, so nothing better is lost."""
    waiting = sorted([(word, 0) for word in ours] + [(word, 1) for word in theirs], key=lambda each: -len(each[0]))
    pairs = 0
    while waiting:
        word, side = waiting.pop(0)
        partner = next((other for other in waiting if other[1] != side and word.startswith(other[0])), None)
        if partner:
            waiting.remove(partner)
            pairs += 1
    return pairs
