"""Hints that wait: collapsed, none committed too early, and what was fetched too soon fetched once more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ingest.lane import MISSING, Lane, Wanted
from core.sdk import Hint

SETTLE = 2_000


def wanted(id: str, offset: int, taken: int = 0, at: int = 0, action: str = "changed") -> Wanted:
    return Wanted((Hint("person", id, at, action),), offset, taken)


def test_doubles_are_fetched_once_and_the_newest_hint_counts() -> None:
    lane = Lane()
    lane.add(wanted("1", 5, at=30))
    lane.add(wanted("1", 6, at=10))
    [one] = lane.take(0, 10)
    assert [hint.at for hint in one.hints] == [30] and one.offset == 5
    assert lane.take(0, 10) == []


@pytest.mark.parametrize("times", [(10, 30), (30, 10), (10, 10)])
def test_what_was_told_otherwise_of_the_same_object_is_asked_too(times: tuple[int, int]) -> None:
    lane = Lane()
    lane.add(wanted("1", 5, at=times[0], action="merged"))
    lane.add(wanted("1", 6, at=times[1]))
    [one] = lane.take(0, 10)
    assert {hint.action for hint in one.hints} == {"merged", "changed"}
    assert one.hints[-1].at == max(times) and one.offset == 5
    lane.add(wanted("1", 7, at=40, action="summary"))
    lane.back([one])
    [again] = lane.take(0, 10)
    assert {hint.action for hint in again.hints} == {"merged", "changed", "summary"} and again.offset == 5


def test_what_a_listing_lacks_is_asked_only_where_nothing_else_was_told() -> None:
    lane = Lane()
    lane.add(wanted("1", 5, at=30, action=MISSING))
    lane.add(wanted("1", 6, at=10))
    lane.add(wanted("2", 7, at=20, action=MISSING))
    assert [[hint.action for hint in one.hints] for one in (*lane.take(0, 10), *lane.take(0, 10))] == [
        ["changed"],
        [MISSING],
    ]


def test_what_webhooks_named_goes_before_what_listings_did() -> None:
    lane = Lane()
    lane.add(wanted("1", 5, action=MISSING))
    lane.add(wanted("2", 6))
    assert [one.name[1] for one in lane.take(0, 1)] == ["2"]
    assert [one.name[1] for one in lane.take(0, 1)] == ["1"]


def test_a_sender_that_invents_actions_fills_no_memory() -> None:
    lane = Lane()
    for number in range(1000):
        lane.add(wanted("1", number, at=number, action=f"a{number}"))
    [one] = lane.take(0, 10)
    assert len(one.hints) < 100 and one.hints[-1].at == 999


def test_a_fetch_within_the_settling_time_is_repeated_once() -> None:
    lane = Lane()
    lane.add(wanted("1", 5, taken=10_000))
    lane.done(lane.take(10_050, 10), 10_050, SETTLE)
    assert lane.take(11_999, 10) == [] and lane.next_due() == 12_000
    assert lane.undone() == 5
    lane.done(lane.take(12_000, 10), 12_000, SETTLE)
    assert lane.undone() is None and lane.next_due() is None


def test_a_clock_that_runs_ahead_does_not_repeat_for_ever() -> None:
    lane = Lane()
    lane.add(wanted("1", 5, taken=999_999_999))
    lane.done(lane.take(10_000, 10), 10_000, SETTLE)
    lane.done(lane.take(12_000, 10), 12_000, SETTLE)
    assert lane.undone() is None


def test_a_late_hint_is_fetched_once() -> None:
    lane = Lane()
    lane.add(wanted("1", 5, taken=10_000))
    lane.done(lane.take(20_000, 10), 20_000, SETTLE)
    assert lane.undone() is None


def test_a_hint_during_its_fetch_is_fetched_again_afterwards() -> None:
    lane = Lane()
    lane.add(wanted("1", 5))
    first = lane.take(9_000, 10)
    lane.add(wanted("1", 8))
    assert lane.take(9_000, 10) == [], "one object is not fetched twice at once"
    lane.done(first, 9_000, SETTLE)
    assert lane.undone() == 8
    assert [one.offset for one in lane.take(9_000, 10)] == [8]


def test_what_could_not_be_fetched_waits_behind_the_others() -> None:
    lane = Lane()
    for number in range(3):
        lane.add(wanted(str(number), number))
    lane.back(lane.take(0, 1), tries=1)
    assert [one.name[1] for one in lane.take(0, 10)] == ["1", "2", "0"]
    assert lane.undone() == 0


@given(st.lists(st.tuples(st.sampled_from(["add", "take", "done", "back", "drop"]), st.integers(0, 4)), max_size=60))
def test_nothing_is_committed_before_it_is_done(steps: list[tuple[str, int]]) -> None:
    """Whatever happens, every message whose object was not read since is at or behind `undone`."""
    lane, flying, unread, offset = Lane(), [], {}, 0
    for step, number in steps:
        match step:
            case "add":
                lane.add(wanted(str(number), offset))
                unread.setdefault(str(number), []).append(offset)
                offset += 1
            case "take":
                flying.append(([*lane.take(0, number + 1)], offset))
            case "done" | "back" | "drop" if flying:
                taken, before = flying.pop(0)
                if step == "back":
                    lane.back(taken)
                    continue
                for one in taken:
                    unread[one.name[1]] = [at for at in unread[one.name[1]] if at >= before]
                    if step == "drop":
                        lane.drop(one)
                if step == "done":
                    lane.done(taken, 10**9, SETTLE)
    left = min((at for offsets in unread.values() for at in offsets), default=None)
    undone = lane.undone()
    assert (left is None) == (undone is None) and (left is None or undone is None or undone <= left)
