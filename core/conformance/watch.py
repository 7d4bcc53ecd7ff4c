"""Sees what a function does that a pure one does not: I/O, the clock, the environment."""

import datetime
import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")
_CLOCK = frozenset({"now", "utcnow", "today"})
_TIME = frozenset(
    {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "localtime", "sleep"}
)
_HARMLESS = frozenset({"fspath"})


def watched(work: Callable[[], T]) -> tuple[T, list[str]]:
    """The result, and what was not pure, in words. Sees calls from Python code, not those inside of C libraries; a
    module that is imported meanwhile does not count, nor what others do while garbage is collected."""
    said: dict[str, None] = {}

    def look(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and not _importing(frame) and (word := _impure(called)):
            said[f"{word} in {frame.f_code.co_name}"] = None

    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(look)
    try:
        result = work()
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()
    return result, list(said)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _impure(called: Any) -> str:
    module, name, owner = getattr(called, "__module__", ""), called.__name__, getattr(called, "__self__", None)
    match module:
        case "time" if name in _TIME:
            return f"it asks the clock (time.{name})"
        case "posix" | "nt" if name not in _HARMLESS:
            return f"it asks the operating system ({name})"
        case "_io" | "io" if name == "open":
            return "it opens a file"
        case "_socket" | "_ssl" | "_sqlite3" | "_thread":
            return f"it does I/O ({module}.{name})"
    if isinstance(owner, type) and issubclass(owner, datetime.date) and name in _CLOCK:
        return f"it asks the clock ({owner.__name__}.{name})"
    if type(owner).__module__ in ("_socket", "_ssl", "_sqlite3", "_io") and not _in_memory(owner):
        return f"it does I/O ({type(owner).__name__}.{name})"
    return ""


def _in_memory(owner: Any) -> bool:
    return type(owner).__name__ in ("StringIO", "BytesIO")
