"""Every connector of the registry is examined, without a line from its author."""

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import pytest

from core import conformance, registry
from core.conformance import Report, kept
from core.conformance.many import examining

pytestmark = pytest.mark.slow
NAMES = [name for name in (*registry.names(), *registry.templates()) if not registry.is_family(name)]


@pytest.fixture(scope="module")
def reports(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[Report]]]:
    """Those that are asked for, examined side by side; none where pytest itself uses the other processors."""
    alone = not hasattr(request.config, "workerinput")
    asked = [item.callspec.params["name"] for item in request.session.items if item.path == request.path]  # type: ignore[attr-defined]
    with examining(asked if alone else ()) as found:
        yield found


@pytest.mark.parametrize("name", NAMES)
def test_a_connector_keeps_what_is_committed(name: str, reports: Mapping[str, Future[Report]]) -> None:
    report = reports[name].result() if name in reports else asyncio.run(conformance.examine(name))
    now, before = kept.told(report), kept.load().get(report.connector)
    lines = "\n".join(f"{each.check}: {each.reason}" for each in report.failures)
    assert now == before, f"not what `hub connectors` says, run `hub test-connector --write`\n{lines}"
