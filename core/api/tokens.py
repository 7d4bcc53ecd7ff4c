"""Access tokens, login links and sessions. Only the SHA-256 of a secret is stored; who loses one makes another.

A token's scopes: `read` (look-ups), `feed`, `admin` (everything). A session of the page has read and feed.
"""

import hashlib
import secrets
from collections.abc import Collection

from core.errors import ConfigError
from core.store import Store, TokenRow

SCOPES = ("read", "feed", "admin")
LINK_MS = 10 * 60_000
SESSION_MS = 12 * 3_600_000  # one shift


def hashed(secret: str) -> bytes:
    """How the store knows a secret. Not salted and not slow: it has 256 bits of chance, there is nothing to guess."""
    return hashlib.sha256(secret.encode()).digest()


async def new_token(store: Store, name: str, scopes: Collection[str], now: int, *, expires: int = 0) -> str:
    """Make a token and return its secret, which nobody can read again. Times are epoch ms; `expires` 0: never.

    Raises ConfigError for an unknown or missing scope and for a name that is taken.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise ConfigError(f"unknown scope {', '.join(unknown) or '(none)'}; there are: {', '.join(SCOPES)}")
    if any(row.name == name for row in await store.tokens("token")):
        raise ConfigError(f"there is a token {name!r} already; revoke it first, or choose another name")
    secret = f"hub_{secrets.token_urlsafe(32)}"
    granted = " ".join(scope for scope in SCOPES if scope in scopes)
    await store.put_token(TokenRow(hashed(secret), "token", name, granted, now, expires))
    return secret


async def revoke(store: Store, name: str) -> int:
    """Drop a token by name; open feeds of it end within a heartbeat. How many there were: 0 means no such token."""
    return await store.drop_token(name)


async def new_login(store: Store, now: int) -> tuple[str, int]:
    """(the once of a `/login/<once>` link, when it expires)."""
    once = secrets.token_urlsafe(24)
    await store.put_token(TokenRow(hashed(once), "login", "page", "read feed", now, now + LINK_MS))
    return once, now + LINK_MS


async def open_session(store: Store, once: str, now: int) -> str | None:
    """Trade a link's once for a session's secret; None where the link was used, is too old or never was."""
    row = await store.take_token(hashed(once))
    if row is None:
        return None
    if row.kind != "login":  # somebody pasted an access token: it stays valid, and opens no session
        await store.put_token(row)
        return None
    if row.expires <= now:
        return None
    secret = secrets.token_urlsafe(32)
    await store.put_token(TokenRow(hashed(secret), "session", "page", row.scopes, now, now + SESSION_MS))
    return secret


async def scopes_of(store: Store, secret: str, kind: str, now: int) -> frozenset[str] | None:
    """What this secret may do; None where it is unknown, of another kind or expired."""
    row = await store.token(hashed(secret))
    if row is None or row.kind != kind or 0 < row.expires <= now:
        return None
    granted = frozenset(row.scopes.split())
    return frozenset(SCOPES) if "admin" in granted else granted
