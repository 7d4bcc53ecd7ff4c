"""`matches()`: whatever an expression and a payload say, the search comes to its end."""

import pytest

from connectors.http.expressions import Expression
from core.sdk import NormalizeError


@pytest.mark.parametrize(
    "pattern", [r"(a+)+", r"(a|aa)*b", r"((a)+b?)+", r"(?:x[)+]*y)*", r"(\(+){2,}", r"(a{1,9}){1,9}", "("]
)
def test_a_search_that_could_take_for_ever_is_no_expression(pattern: str) -> None:
    with pytest.raises(ValueError, match="matches\\(\\): "):
        Expression(f"matches(name, '{pattern}')")


@pytest.mark.parametrize(
    ("pattern", "text"), [(r"\+?\d+", "+12025550143"), (r"(ab)+", "abab"), (r"(a+)?b", "aab"), (r"[()*+|]+", "(+)")]
)
def test_other_searches_work(pattern: str, text: str) -> None:
    found = Expression(f"matches(name, '{pattern}')")
    assert found({"name": text}) is True and found({"name": "?"}) is False and found({"name": None}) is False


def test_a_text_that_is_too_long_or_a_pattern_of_the_payload_is_told() -> None:
    with pytest.raises(NormalizeError, match="500 characters"):
        Expression("matches(name, 'a*')")({"name": "a" * 501})
    with pytest.raises(NormalizeError):
        Expression("matches(name, pattern)")({"name": "a" * 40, "pattern": "(a+)+b"})
