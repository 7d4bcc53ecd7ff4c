"""Process: events in, records out. Everything between is one transaction per batch, with one writer at a time."""

from core.process.rebuild import rebuild
from core.process.run import GROUP, lag, run
from core.process.step import Settings, apply, decoded

__all__ = ["GROUP", "Settings", "apply", "decoded", "lag", "rebuild", "run"]
