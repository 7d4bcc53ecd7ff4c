"""The kit is proven: a connector that keeps every rule passes; each seeded bug is caught by the check that names it.

A bug is a small change of the good connector. `until_failure` stops at the first check that fails, so that it is the
named one: all before it passed.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from core import conformance
from core.conformance import CHECKS
from core.conformance.manual import filled
from core.ingest.cursors import Saved
from core.ingest.stream import StreamPoll
from core.sdk import Payload
from tests.conformance import bugs_deliveries, bugs_faults, bugs_reading, desk
from tests.conformance.bugs import BUGS
from tests.conformance.desk import CONNECTOR

pytestmark = pytest.mark.slow

README = "# Desk\n" + "".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in ("settings", "streams", "listings"))
assert bugs_deliveries and bugs_faults and bugs_reading  # importing them names their bugs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Samples and README of the good connector."""
    (tmp_path / "README.md").write_text(filled(README, CONNECTOR))
    (tmp_path / "samples").mkdir()
    for kind, data in (("person", {"id": "p1", "name": "Dana Reyes", "email": "dana@example.com", "updated": 1_000}),
                       ("ticket", {"id": "t1", "subject": "A bag", "status": "closed", "updated": 2_000})):  # fmt: skip
        payload = Payload(kind, data, "acme", False, 3_000)
        events = [event.model_dump_json() for event in CONNECTOR.normalize(payload)]
        stored = {"kind": kind, "data": data, "account": "acme", "pushed": False, "received": 3_000}
        (tmp_path / "samples" / f"{kind}.payload.json").write_bytes(desk.orjson.dumps(stored))
        (tmp_path / "samples" / f"{kind}.events.json").write_text(f"[{','.join(events)}]")
    return tmp_path


async def test_the_good_connector_passes_all(folder: Path) -> None:
    report = await conformance.run(CONNECTOR, folder=folder, mock=desk)
    assert [(each.check, each.outcome, each.reason) for each in report.results if each.outcome != "passed"] == []
    assert report.stability == "beta"
    assert [each.check for each in report.results] == list(CHECKS)


@pytest.mark.parametrize("name", BUGS)
async def test_a_bug_is_caught_by_the_check_that_names_it(name: str, folder: Path) -> None:
    check, made = BUGS[name]
    if check in ("backfill", "error-in-200", "resume"):  # their lists, which are others, are no mistake of the README
        (folder / "README.md").write_text(filled(README, made()))
    report = await conformance.run(made(), folder=folder, mock=desk, until_failure=True)
    assert [each.check for each in report.failures] == [check], report.failures


async def test_a_hub_that_saves_the_cursor_before_its_page_is_caught_by_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    publish, save, pages = StreamPoll._publish, StreamPoll._save, dict[StreamPoll, list[Payload]]()

    async def held(poll: StreamPoll, payloads: Sequence[Payload], *, past: bool) -> None:
        pages[poll] = [*payloads]

    async def first(poll: StreamPoll, saved: Saved, *, past: bool = False) -> Saved:
        saved = await save(poll, saved, past=past)
        await publish(poll, pages.pop(poll, []), past=past)
        return saved

    monkeypatch.setattr(StreamPoll, "_publish", held)
    monkeypatch.setattr(StreamPoll, "_save", first)
    report = await conformance.run(CONNECTOR, mock=desk, checks=["crash"])
    assert [each.check for each in report.failures] == ["crash"]


def test_there_is_a_bug_for_every_check() -> None:
    assert {check for check, _ in BUGS.values()} == CHECKS.keys()
