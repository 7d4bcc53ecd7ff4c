"""The outcome of the last examination of every connector of this package, committed, so that it is known at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from core.conformance.report import Report, Stability

PATH = Path(__file__).parent / "kept.json"
STABLE = "stable asks for a dated run against the real service, which no connector has had"


@dataclass(frozen=True, slots=True)
class Kept:
    """`why`: what stands against a higher stability: checks, or a sentence."""

    stability: Stability
    why: tuple[str, ...]


def load() -> Mapping[str, Kept]:
    raw = orjson.loads(PATH.read_bytes()) if PATH.exists() else {}
    return {name: Kept(its["stability"], tuple(its["why"])) for name, its in raw.items()}


def told(report: Report) -> Kept:
    against = [
        each.check + (" (not run)" if each.outcome == "not run" else "")
        for each in report.results
        if each.outcome in ("failed", "not run")
    ]
    return Kept(report.stability or "alpha", tuple(against) or (STABLE,))


def text(reports: Iterable[Report]) -> str:
    """The file's content."""
    found: dict[str, Any] = {
        report.connector: {"stability": (kept := told(report)).stability, "why": kept.why} for report in reports
    }
    return orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"
