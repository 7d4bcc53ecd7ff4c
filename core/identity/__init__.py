"""Who is who. Pure: evidence, rules and verdicts in, a partition out; no I/O, no clock, no order of arrival."""

from core.identity.identifiers import canonical, is_blocked
from core.identity.model import (
    Alias,
    Candidate,
    Component,
    Evidence,
    Implied,
    Partition,
    Refusal,
    Rules,
    SourcePerson,
    Verdict,
)
from core.identity.partition import partition

__all__ = [
    "Alias", "Candidate", "Component", "Evidence", "Implied", "Partition", "Refusal", "Rules", "SourcePerson",
    "Verdict", "canonical", "is_blocked", "partition",
]  # fmt: skip
