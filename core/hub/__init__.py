"""The composition root: the only place that names implementations. One set of rooms, in one process or in many."""

from core.bus.kind import kind_of
from core.hub.compose import open_bus, open_store, settings_of
from core.hub.mocks import hook_url
from core.hub.naming import ROLES
from core.hub.offline import due, lag, offline
from core.hub.pushing import pushing
from core.hub.run import Running, opened, run

__all__ = [
    "ROLES", "Running", "due", "hook_url", "kind_of", "lag", "offline", "open_bus", "open_store", "opened", "pushing",
    "run", "settings_of",
]  # fmt: skip
