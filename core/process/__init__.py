"""Process: events in, records out. Everything between is one transaction per batch, with one writer at a time."""

from core.process.rebuild import rebuild, refold
from core.process.run import BATCH, GROUP, PAST_GROUP, behind, calm_collector, lag, run
from core.process.step import Settings, apply, decoded, prepare

__all__ = [
    "BATCH", "GROUP", "PAST_GROUP", "Settings", "apply", "behind", "calm_collector", "decoded", "lag", "prepare",
    "rebuild", "refold", "run",
]  # fmt: skip
