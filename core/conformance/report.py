"""What an examination says: one result per check, and the stability that follows from all of them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.conformance.subject import Subject

Outcome = Literal["passed", "failed", "exempt", "not run"]
Stability = Literal["alpha", "beta", "stable"]


@dataclass(frozen=True, slots=True)
class Check:
    """One rule. `sentence` says what is promised; `examine` raises Broken, Exempt or NotRun, each with its reason."""

    name: str
    sentence: str
    examine: Callable[[Subject], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Result:
    """`exempt`: the source's own scheme cannot show it, and its mock says so. `not run`: something is missing for it,
    such as a mock."""

    check: str
    sentence: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one connector, in the order of the checks."""

    connector: str
    results: Sequence[Result]
    partial: bool = False

    @property
    def failures(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.outcome == "failed")

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def stability(self) -> Stability | None:
        """None where only some checks were asked for. `beta` where every check passed or is exempt. `stable` asks for a
        dated run against the real service, too, which no examination without the service can give."""
        if self.partial:
            return None
        kept = all(result.outcome in ("passed", "exempt") for result in self.results)
        return "beta" if kept and self.results else "alpha"

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "connector": self.connector,
            "stability": self.stability,
            "checks": [
                {"check": each.check, "sentence": each.sentence, "outcome": each.outcome, "reason": each.reason}
                for each in self.results
            ],
        }
