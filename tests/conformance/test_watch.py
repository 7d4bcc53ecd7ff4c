"""Purity is told by what a function does itself, and by nothing that happens meanwhile."""

import gc
import time
from collections.abc import Iterator

import pytest

from core.conformance.watch import watched


@pytest.fixture
def collector_that_looks_at_the_clock() -> Iterator[None]:
    """As property-based testing has one, to leave its pauses out of account."""

    def look(phase: str, info: dict[str, int]) -> None:
        time.perf_counter()

    gc.callbacks.append(look)
    yield
    gc.callbacks.remove(look)


def test_what_others_do_while_garbage_is_collected_does_not_count(collector_that_looks_at_the_clock: None) -> None:
    made, said = watched(lambda: [[index] for index in range(50_000)])
    assert (len(made), said) == (50_000, [])
    assert gc.isenabled()


def test_a_look_at_the_clock_is_seen() -> None:
    assert watched(lambda: time.time())[1] == ["it asks the clock (time.time) in <lambda>"]
