"""The composition root: the only place that names implementations. One set of rooms, in one process or in many."""

from core.hub.compose import open_bus, open_store, settings_of
from core.hub.run import ROLES, Running, run

__all__ = ["ROLES", "Running", "open_bus", "open_store", "run", "settings_of"]
