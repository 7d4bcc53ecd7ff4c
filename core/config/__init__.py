"""`hub.yaml`, read and validated: every mistake at once, each with its line and a remedy."""

from core.config.load import declared, declared_in, folders_of, load, look_in_folders_of
from core.config.model import BusConfig, Connection, HubConfig, Identity, Server, Show, StoreConfig

__all__ = [
    "BusConfig",
    "Connection",
    "HubConfig",
    "Identity",
    "Server",
    "Show",
    "StoreConfig",
    "declared",
    "declared_in",
    "folders_of",
    "load",
    "look_in_folders_of",
]
