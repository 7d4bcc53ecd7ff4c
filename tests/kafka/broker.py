"""Start, stop, kill and restart one real Apache Kafka node on loopback.

`python -m tests.kafka.broker FOLDER` prints the bootstrap address and runs until it is killed. Needs a JDK 17 or newer
and Maven, which fetches the jars (45 MB) once into ~/.cache/supporthub.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from tests.ports import free_ports

HERE = Path(__file__).parent
VERSION = re.search(r"<kafka.version>(.+?)<", (HERE / "pom.xml").read_text())[1]  # type: ignore[index]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "supporthub" / f"kafka-{VERSION}"
COMPLETE = "supporthub-complete"  # written last: a folder without it was never finished
MISSING = "no JDK 17 with Maven: apt-get install openjdk-17-jdk-headless maven, or set HUB_TEST_KAFKA=host:port"
START_WITHIN = 90.0  # seconds; a cold start on a busy machine takes 20


def available() -> bool:
    return bool(shutil.which("java") and (shutil.which("mvn") or (CACHE / COMPLETE).exists()))


def jars() -> Path:
    """The folder of the jars, filled by Maven where it is not complete yet."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with CACHE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (CACHE / COMPLETE).exists():
            command = ["mvn", "-B", "-q", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
            subprocess.run(
                [*command, "-DincludeScope=runtime", f"-DoutputDirectory={CACHE}"], check=True, stdout=sys.stderr
            )
            unfinished = CACHE / f"{COMPLETE}.{os.getpid()}"
            unfinished.touch()
            unfinished.rename(CACHE / COMPLETE)
    return CACHE


class Broker:
    """One node with its data in `folder`. The address stays the same over restarts. `more` is added to its settings,
    where ${port}, ${controller} and ${secure} are free ports; `secure` is the address of the last one."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self._folder = folder.resolve()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / "server.properties"
        if not settings.exists():
            port, controller, secure = free_ports(3)
            template = string.Template((HERE / "server.properties").read_text() + more)
            filled = template.substitute(data=self._folder / "data", port=port, controller=controller, secure=secure)
            settings.write_text(filled)
        found = re.findall(r"^advertised.listeners=(.+)$", settings.read_text(), re.MULTILINE)[-1].split(",")
        self.address, self.secure = (str(found[at]).partition("://")[2] for at in (0, -1))

    @property
    def pid(self) -> int:
        assert self._process, "not started"
        return self._process.pid

    def start(self) -> str:
        """The bootstrap address, once the broker answers."""
        settings = str(self._folder / "server.properties")
        if not (self._folder / "data" / "meta.properties").exists():
            with self._log() as log:
                arguments = ["format", "--config", settings, "--cluster-id", "c3VwcG9ydGh1Yi10ZXN0cw"]
                done = subprocess.run([*_java("kafka.tools.StorageTool"), *arguments], stdout=log, stderr=log)
            if done.returncode:
                raise self._failed()
        with self._log() as log:
            self._process = subprocess.Popen(
                [*_java("kafka.Kafka"), settings],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline and self._process.poll() is None:
            if _answers(self.address) and _answers(self.secure):
                return self.address
            time.sleep(0.1)
        self.kill()
        raise self._failed()

    def _failed(self) -> RuntimeError:
        return RuntimeError("the broker did not start:\n" + (self._folder / "log").read_text()[-2000:])

    def stop(self) -> None:
        """In order, or after a while not."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """As a crash does it: SIGKILL."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _log(self) -> BinaryIO:
        return (self._folder / "log").open("ab")


def _java(main: str) -> list[str]:
    options = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return ["java", *options, f"-Dlog4j2.configurationFile={HERE / 'log4j2.yaml'}", "-cp", f"{jars()}/*", main]


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m tests.kafka.broker FOLDER")
    if not available():
        raise SystemExit(MISSING)
    broker = Broker(Path(sys.argv[1]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        print(broker.start(), flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        broker.stop()


if __name__ == "__main__":
    main()
