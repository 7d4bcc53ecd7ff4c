"""A demo hub as a person starts it: `hub run` as a process, what it prints, and the mock tools that it starts."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.core.commands import COMMAND, Said, demo_file, spawned

PATIENCE = 120.0  # seconds; generous, because the machine is shared


def until(said: Callable[[], Any], what: str, every: float = 0.2) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (value := said()):
        assert time.monotonic() < deadline, f"it never came true: {what}"
        time.sleep(every)
    return value


@dataclass
class Demo:
    """A hub that runs on `folder`/hub.yaml as a process of its own, its story in `out`."""

    folder: Path
    api: str
    webhooks: str
    process: "subprocess.Popen[bytes]"

    @property
    def out(self) -> str:
        return (self.folder / "out.txt").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err.txt").read_text()

    def line(self, word: str) -> str:
        """What stands behind a word of the first minute, such as `Ask`."""
        return next(line.split(maxsplit=1)[1] for line in self.out.splitlines() if line.startswith(f"{word} "))

    def hub(self, *arguments: str) -> Said:
        return spawned(*arguments, folder=self.folder)

    def json(self, *arguments: str) -> Any:
        said = self.hub(*arguments, "--json")
        assert said.code == 0, said.err
        return said.json

    def shell(self, line: str) -> str:
        ended = subprocess.run(["bash", "-c", line], cwd=self.folder, capture_output=True, timeout=60)
        return ended.stdout.decode()

    def mocks(self) -> list[int]:
        files = (self.folder / "var" / "demo" / "mocks").glob("*.run")
        return [orjson.loads(path.read_bytes())["pid"] for path in files]

    def told(self) -> bool:
        assert self.process.poll() is None, self.err
        return "\nBreak " in self.out

    def interrupt(self) -> int:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


@contextmanager
def begun(folder: Path, api: int, webhooks: int) -> Iterator[Demo]:
    """The hub from its first moment on."""
    demo_file(folder, api, webhooks)
    with (folder / "out.txt").open("wb") as out, (folder / "err.txt").open("wb") as err:
        process = subprocess.Popen([*COMMAND, "run"], cwd=folder, stdout=out, stderr=err)
    hub = Demo(folder, f"http://127.0.0.1:{api}", f"http://127.0.0.1:{webhooks}", process)
    try:
        yield hub
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def started(folder: Path, api: int, webhooks: int) -> Iterator[Demo]:
    """The hub once its first minute is told."""
    with begun(folder, api, webhooks) as hub:
        until(hub.told, "the first minute is told")
        yield hub


def mocks_of(folder: Path) -> list[int]:
    """The mock tools that a hub in this folder has started, told of or not."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"\0mock\0" in (each / "cmdline").read_bytes() and (each / "cwd").resolve() == folder.resolve():
                found.append(int(each.name))
    return found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
