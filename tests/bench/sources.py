"""What each connector costs: processor time to normalize, requests to fetch a past; the time to examine all of them.

The past is what the connector's mock has after some hours of its story, fetched through the hub's own ingest and client
over real HTTP; time is simulated, so that a source's rate limit does not make anybody wait. They are examined as by
`hub test-connector` without a name, as many at a time as there are processors.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import orjson
from structlog.testing import capture_logs

from core import config, registry
from core.bus.codec import encode
from core.bus.topics import RAW
from core.conformance.bench import Bench, bench
from core.conformance.many import examining
from core.conformance.simulated import simulated
from core.conformance.subject import Subject
from core.sdk import Connector, Payload, classify
from core.sdk.story import STRIDE
from tests.bench.rows import CONNECTOR, Report, out

NAMES = ("intercom", "aircall", "hubspot", "guru")
EXAMPLES = Path("deploy/examples")
DECLARED = ("aircall", "guru")
_CYCLES = 500  # of the story, which every other mock makes thousands of records of
_SINCE = timedelta(days=3650)
_SECONDS = 2.0  # of normalizing, at least


async def measure(report: Report) -> None:
    for name in NAMES:
        connector = registry.load(name)
        await _measure(report, name, Subject(connector, registry.folder(name), registry.mock(name), {"since": _SINCE}))
    for name in DECLARED:
        made = config.declared(EXAMPLES / f"{name}.yaml")
        said = {key: getattr(made.settings, key) for key in made.settings.model_fields_set - {"mock", "base_url"}}
        subject = Subject(made.connector, registry.folder(name), registry.mock(name), {**said, "since": _SINCE})
        await _measure(report, f"{name}, declared in YAML", subject)
    await _examine(report)


async def _examine(report: Report) -> None:
    """All that the hub brings, and a dozen: there are not so many yet, so that those in YAML count several times."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        coded = examined()
        for where, names in ((f"all {len(coded)} together", coded), ("a dozen together", dozen(Path(folder)))):
            begin = time.perf_counter()
            if broken := await asyncio.to_thread(_failing, names):
                out.print(f"  {where}: no figure, because checks fail: {', '.join(broken)}", markup=False)
            else:
                report.add(f"{CONNECTOR}every check", where, time.perf_counter() - begin, "s")


def examined() -> list[str]:
    """What `hub test-connector` without a name examines."""
    return [name for name in (*registry.names(), *registry.templates()) if not registry.is_family(name)]


def dozen(folder: Path) -> list[str]:
    """The same and copies in `folder` of those declared in YAML, twelve in all."""
    names = examined()
    for number in range(12 - len(names)):
        name = DECLARED[number % len(DECLARED)]
        names.append(str(shutil.copy(EXAMPLES / f"{name}.yaml", folder / f"{name}{number}.yaml")))
    return names


def _failing(names: Sequence[str]) -> list[str]:
    with examining(names) as reports:
        return [name for name in names if reports[name].result().failures]


async def _measure(report: Report, where: str, subject: Subject) -> None:
    payloads, requests = await asyncio.to_thread(simulated, lambda: _fetched(subject))
    events, seconds = _normalized(subject.connector, payloads)
    report.add(f"{CONNECTOR}first fetch", where, len(payloads), "records")
    report.add(f"{CONNECTOR}normalize", where, events / seconds, "events/s")
    report.add(f"{CONNECTOR}API calls", where, 1000 * requests / len(payloads), "per 1,000 records")


async def _fetched(subject: Subject) -> tuple[list[Payload], int]:
    """All that a first fetch brings, and how many requests that took."""
    with capture_logs():
        async with bench(subject, rows=0) as made:
            made.mock.player.step(STRIDE * _CYCLES)
            made.later(timedelta(days=1))
            begin = made.mock.requests
            async with made.ingesting():
                await _complete(made)
            records = [orjson.loads(record.value or b"{}") for record in made.bus.records(RAW)]
            return [Payload(**record) for record in records], made.mock.requests - begin


async def _complete(made: Bench) -> None:
    """Until every stream was read to its end."""
    wanted = {stream.name for stream in made.connection.connector.streams}
    while True:
        streams = made.document.get("streams", {})
        if all(streams.get(name, {}).get("complete_up_to") for name in wanted):
            return
        await asyncio.sleep(1)


def _normalized(connector: Connector[object], payloads: Sequence[Payload]) -> tuple[int, float]:
    """How many events they became, again and again, until so many seconds of the processor were spent."""
    events, begin = 0, time.process_time()
    while (spent := time.process_time() - begin) < _SECONDS:
        for payload in payloads:
            for event in connector.normalize(payload):
                encode(classify(event, connector.evidence))
                events += 1
    return events, spent
