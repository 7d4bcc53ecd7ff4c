"""JSON as sources send it: whatever stands in it, what is made of it can be stored."""

import json
import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sdk import loads
from core.sdk.bodies import clean

PIECES = ("a", "é", "u0000", "0", r"\\", r"\n", r"\"", r"\u0041", r"\u0000", r"\ud800", r"\uDC00", r"\ud83d\ude00")
BROKEN = (r"\u", r"\u00", r"\ud8", "\\")


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_nul_and_lone_surrogates_go_and_nothing_else(text: str) -> None:
    body = f'{{"{text}": ["{text}"]}}'
    assert loads(body.encode()) == clean(json.loads(body))


@given(st.lists(st.sampled_from(PIECES + BROKEN), max_size=8).map("".join))
def test_what_is_no_json_never_becomes_one_that_cannot_be_stored(text: str) -> None:
    try:
        found = loads(f'"{text}"'.encode())
    except ValueError:
        return
    assert not re.search("[\0\ud800-\udfff]", found)


@pytest.mark.parametrize(
    "body", [b"", b"NaN", b'{"a": Infinity}', b"1e999", b"[" * 100_000, b"[" * 500 + b"]" * 500, b"\xef\xbb\xbf" * 9]
)
def test_what_cannot_be_kept_is_no_json(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(body)


def test_numbers_that_cannot_be_written_become_text() -> None:
    assert orjson.loads(orjson.dumps(clean({"at": 2**70, "low": -(2**63) - 1, "most": 2**64 - 1}))) == {
        "at": str(2**70), "low": str(-(2**63) - 1), "most": 2**64 - 1,
    }  # fmt: skip
