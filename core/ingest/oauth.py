"""Access tokens of sources that let them expire (RFC 6749): one refresh for all who wait, in all processes.

The newest tokens stand in a file in the data folder that only its owner reads, and not in the store: ingest works while
the store is down, and a refresh token that the source has replaced must be written before anybody goes on. Processes
on several machines that share such a source need a data folder that they share.
"""

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from yarl import URL

from core.config.model import Connection
from core.errors import RateLimitedError, TransientError, UnauthorizedError
from core.ingest.status import Clock
from core.sdk import OAuth

_EARLY = 60.0  # seconds before its end that a token is replaced, or a tenth of its life where that is less
_FOLDER = "oauth"  # within the data folder
_APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND
_TIMEOUT = aiohttp.ClientTimeout(total=30.0)
_LOOK = 0.05  # seconds between two looks at a lock that another process holds


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a source gave last. `renew_at`: epoch seconds; None: it holds until it is refused."""

    access: str
    renew_at: float | None
    refresh: str


class Token:
    """The access token of one set of credentials. `at` is where it is refreshed; `file` None keeps it in memory. `of`:
    connections that have these credentials; a note beside the file says so of each, for `forget_tokens`."""

    def __init__(self, oauth: OAuth, at: URL, session: aiohttp.ClientSession, clock: Clock, file: Path | None) -> None:
        self._oauth, self._at, self._session, self._clock, self._file = oauth, at, session, clock, file
        self._kept: _Kept | None = None
        self.of: set[str] = set()
        self._refused = ""  # the last access token that the source did not take
        self._refreshing: asyncio.Task[None] | None = None

    async def get(self) -> str:
        """One that should be taken. Raises UnauthorizedError where the source gives none, TransientError where it
        cannot be asked."""
        if self._kept is None or not self._good(self._kept):
            if self._refreshing is None:
                self._refreshing = asyncio.create_task(self._refresh(), name="refresh a token")
                self._refreshing.add_done_callback(self._refreshed)
            await asyncio.shield(self._refreshing)
        assert self._kept is not None
        return self._kept.access

    def refused(self, access: str) -> None:
        """The source did not take this one, whatever was said of its end."""
        self._refused = access

    def _good(self, kept: _Kept) -> bool:
        ended = kept.renew_at is not None and self._clock().timestamp() >= kept.renew_at
        return not ended and kept.access != self._refused

    def _refreshed(self, task: "asyncio.Task[None]") -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # whoever waits is told; nobody may wait any more

    async def _refresh(self) -> None:
        async with self._locked():
            self._say_whose()
            kept = self._read() or self._kept
            if kept is None or not self._good(kept):
                kept = await self._asked(kept.refresh if kept else self._oauth.form.get("refresh_token", ""))
                self._write(kept)
            self._kept = kept

    async def _asked(self, refresh: str) -> _Kept:
        form = {**self._oauth.form, **({"refresh_token": refresh} if refresh else {})}
        shown = f"POST {self._at.host}{self._at.path}"
        try:
            async with self._session.post(
                self._at, data=form, headers={"Accept": "application/json"}, allow_redirects=False, timeout=_TIMEOUT
            ) as answer:
                status, body = answer.status, await answer.content.read(1_000_000)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientError(f"{shown}: {type(error).__name__}") from None  # its text may quote what we sent
        if status == 429:
            raise RateLimitedError(f"{shown}: too many requests (429)")
        if status >= 500:
            raise TransientError(f"{shown}: answered {status}")
        given = _object(body)
        if status != 200 or not isinstance(given.get("access_token"), str):
            raise UnauthorizedError(
                f"{shown}: no access token for this refresh token ({status}): authorize the app again"
            )
        lives, rotated = given.get("expires_in"), given.get("refresh_token")
        renew = self._clock().timestamp() + lives - min(_EARLY, lives / 10) if isinstance(lives, int | float) else None
        return _Kept(given["access_token"], renew, rotated if isinstance(rotated, str) else refresh)

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """Alone of all processes that share the folder."""
        if self._file is None:
            yield
            return
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not _taken(lock):  # noqa: ASYNC110  (another process holds it)
                await asyncio.sleep(_LOOK)
            yield
        finally:
            os.close(lock)  # and so lets go of it

    def _read(self) -> _Kept | None:
        """What this or another process has kept; None where that is nothing, or cannot be read."""
        try:
            return _Kept(**orjson.loads(self._file.read_bytes())) if self._file else None
        except (OSError, ValueError, TypeError):
            return None

    def _say_whose(self) -> None:
        if self._file is None:
            return
        for connection in self.of:
            with os.fdopen(os.open(_note(self._file.parent, connection), _APPEND, 0o600), "a+") as note:
                note.seek(0)
                if self._file.stem not in note.read().split():
                    note.write(f"{self._file.stem}\n")

    def _write(self, kept: _Kept) -> None:
        if self._file is None:
            return
        new = self._file.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(orjson.dumps(asdict(kept)))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)
        # The name, too, and that of a new folder: the old token must not come back with the power.
        for folder in (self._file.parent, self._file.parent.parent):
            _sync(folder)


class Keyring:
    """The tokens of all connections; those of the same credentials share one. `folder`: where they are kept."""

    def __init__(self, session: aiohttp.ClientSession, clock: Clock, folder: Path | None) -> None:
        self._session, self._clock, self._folder = session, clock, folder
        self._tokens: dict[str, Token] = {}

    def token(self, connection: Connection) -> Token | None:
        """None where the connection's credentials do not expire."""
        connector, settings = connection.connector, connection.settings
        oauth = connector.oauth(settings)
        if oauth is None:
            return None
        base = URL(connector.base_url(settings))
        at = URL(oauth.url) if "://" in oauth.url else URL(str(base).rstrip("/") + "/" + oauth.url.lstrip("/"))
        # Another refresh token in hub.yaml is another file: what was kept for the old one counts no more.
        name = hashlib.sha256(orjson.dumps([str(at), sorted(oauth.form.items())])).hexdigest()[:24]
        if name not in self._tokens:
            file = self._folder / _FOLDER / f"{name}.json" if self._folder else None
            self._tokens[name] = Token(oauth, at, self._session, self._clock, file)
        self._tokens[name].of.add(connection.name)
        return self._tokens[name]


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def forget_tokens(folder: Path, connection: str) -> None:
    """Delete what this data folder keeps of a connection that is gone: refresh tokens open the source to whoever reads
    them. Those that another connection has, too, stay."""
    own = _note(folder / _FOLDER, connection)
    if not own.exists():
        return
    others = {name for note in own.parent.glob("*.of") if note != own for name in note.read_text().split()}
    for name in set(own.read_text().split()) - others:
        for suffix in (".json", ".new", ".lock"):
            (own.parent / (name + suffix)).unlink(missing_ok=True)
    own.unlink()


def _note(folder: Path, connection: str) -> Path:
    return folder / f"{connection}.of"


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
