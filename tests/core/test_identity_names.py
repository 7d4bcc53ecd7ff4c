"""Names: which speak against one person, which are the same, which say nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.identity.clusters import Cluster
from core.identity.names import PLACEHOLDER_WORDS, clash, full, words

NAMES = st.one_of(
    st.sampled_from(["Dana Reyes", "D. Reyes", "Reyes, Dana", "Daniel Reyes", "Д. Рейес", "Unknown", "", "陈 伟"]),
    st.lists(st.sampled_from(["D", "Da", "Dan", "Dana", "E", "Ed", "Eda", "Reyes", "R"]), max_size=4).map(" ".join),
    st.text(max_size=20),
)


def equal_full(a: str, b: str) -> bool:
    return full(a) is not None and full(a) == full(b)


def all_clash(a: list[str], b: list[str]) -> bool:
    one, other = (Cluster([], frozenset(name for name in names if words(name)), {}) for names in (a, b))
    return one.clashes(other)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Dana Reyes", "Dana Reyes"),
        ("Dana Reyes", "D. Reyes"),
        ("Dana Reyes", "REYES, Dana"),
        ("Dan Reyes", "Daniel Reyes"),
        ("Dana", "Dana Reyes"),
        ("Dana M. Reyes", "Dana Reyes"),
        ("D. R.", "Dana Reyes"),
        ("Inés Núñez", "Ines Nunez"),
        ("Jürgen Groß", "Juergen Gross"),
        ("Łukasz Wójcik", "Lukasz Wojcik"),
        ("Grace O’Neill", "grace o'neill"),
        ("Mary-Ann Lee", "Mary Ann Lee"),
        ("Dr. Dana Reyes", "Mrs Dana Reyes"),
        ("山田太郎", "山田 太郎"),
        ("אבי לוי", "לוי אבי"),
    ],
)
def test_names_that_one_person_may_bear_do_not_clash(a: str, b: str) -> None:
    assert not clash(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Ben Ode", "Bea Ode"),
        ("Dana Reyes", "Dana Smith"),
        ("D. Reyes", "Ed Reyes"),
        ("Dana", "Reyes"),
        ("D. D. Reyes", "Dana Reyes Smith"),
        ("Ann Lee Jr", "Ann Lee Sr Smith"),
        ("Олексій Бондар", "Олена Бондар"),
        ("陈 伟", "陈 静"),
    ],
)
def test_names_of_two_people_clash(a: str, b: str) -> None:
    assert clash(a, b)
    assert not equal_full(a, b)


@pytest.mark.parametrize(("a", "b"), [("伟 陈", "Wei Chen"), ("Олексій Бондар", "Tom Miller"), ("يوسف", "Yusuf")])
def test_names_in_different_scripts_neither_clash_nor_match(a: str, b: str) -> None:
    assert not clash(a, b)
    assert not equal_full(a, b)


@pytest.mark.parametrize(
    "name",
    ["", " ", "Unknown", "unknown caller", "Admin", "Guest 123", "N/A", "no name", "Test User", "...",
     "+1 202 555 0143", "dana@example.com", "First Name Last Name", "Mr"],
)  # fmt: skip
def test_a_name_that_says_nothing_is_empty(name: str) -> None:
    assert words(name) == ()
    assert not clash(name, "Dana Reyes")
    assert not equal_full(name, name)


@pytest.mark.parametrize("name", ["Nicole Guest", "Frau Müller", "Guest Lee", "伟"])
def test_a_name_with_a_word_of_its_own_is_a_name(name: str) -> None:
    assert words(name)


def test_equal_full_names_have_two_words_that_are_more_than_initials() -> None:
    assert equal_full("Dana Reyes", "reyes, DANA")
    assert equal_full("陈 伟", "伟 陈")
    assert not equal_full("Dana", "Dana")
    assert not equal_full("D. Reyes", "D. Reyes")
    assert not equal_full("Dana Reyes", "Dana M Reyes")


def test_people_of_several_names_clash_only_where_all_do() -> None:
    assert all_clash(["Ben Ode"], ["Bea Ode", "Bea Smith"])
    assert not all_clash(["Ben Ode", "B. Ode"], ["Bea Ode"])
    assert not all_clash([], ["Bea Ode"])
    assert not all_clash(["Unknown"], ["Bea Ode"])
    assert all_clash(["Unknown", "Ben Ode"], ["Bea Ode", ""])


@given(NAMES, NAMES)
def test_clash_is_symmetric_and_nobody_clashes_with_themselves(a: str, b: str) -> None:
    assert clash(a, b) == clash(b, a)
    assert equal_full(a, b) == equal_full(b, a)
    assert not clash(a, a)
    assert not (clash(a, b) and equal_full(a, b))


@given(NAMES, NAMES, st.randoms(use_true_random=False))
def test_the_order_of_words_says_nothing(a: str, b: str, random: object) -> None:
    mixed = a.split()
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert clash(" ".join(mixed), b) == clash(" ".join(a.split()), b)


@given(st.lists(st.sampled_from(sorted(PLACEHOLDER_WORDS)), min_size=1, max_size=4))
def test_placeholders_in_any_order_are_no_name(found: list[str]) -> None:
    assert words(" ".join(found).title()) == ()
