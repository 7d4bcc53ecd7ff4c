"""The admin token of this machine's own command line: a header line for curl, in a file for its owner alone."""

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from core.config import HubConfig
from core.errors import ConfigError

if TYPE_CHECKING:
    from core.store import Store

AUTH = "auth"  # in the data folder


def kept(config: HubConfig) -> str | None:
    """The secret in the file; None where there is none. Raises ConfigError where it belongs to somebody else."""
    try:
        return (config.data / AUTH).read_text().strip().rpartition(" ")[2] or None
    except FileNotFoundError:
        return None
    except PermissionError:
        remedy = "run this as the user who runs the hub"
        raise ConfigError(f"{config.data / AUTH} cannot be read: {remedy}") from None


async def valid(store: "Store", config: HubConfig) -> str | None:
    """The kept secret, where this store knows it."""
    from core.api import tokens

    secret = kept(config)
    return secret if secret and await store.token(tokens.hashed(secret)) else None


async def authorize(store: "Store", config: HubConfig) -> str:
    """The secret, made and written down where there is none that this store knows."""
    from core import api

    if secret := await valid(store, config):
        return secret
    # Several machines may share a store: each has a token of its own.
    name = f"command line on {socket.gethostname()}, {config.data.resolve()}"
    await api.revoke(store, name)
    secret = await api.new_token(store, name, api.SCOPES, int(time.time() * 1000))
    _write(config.data / AUTH, f"Authorization: Bearer {secret}\n")
    return secret


def _write(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    # SECURITY: the file is born readable for its owner alone, not changed to it afterwards.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(line)
