"""Process: events in, records out. Everything between is one transaction per batch, with one writer at a time."""

from core.process.rebuild import rebuild, refold
from core.process.revision import REMEDY, digest, due
from core.process.run import BATCH, GROUP, PAST_GROUP, calm_collector, run
from core.process.settings import Settings
from core.process.step import apply, decoded, prepare
from core.process.waiting import behind, lag, waiting

__all__ = [
    "BATCH", "GROUP", "PAST_GROUP", "REMEDY", "Settings", "apply", "behind", "calm_collector", "decoded", "digest",
    "due", "lag", "prepare", "rebuild",
    "refold", "run", "waiting",
]  # fmt: skip
