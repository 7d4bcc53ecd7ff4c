"""Every connector of the registry is examined, without a line from its author."""

import pytest

from core import conformance, registry
from core.conformance import kept

pytestmark = pytest.mark.slow
NAMES = [name for name in (*registry.names(), *registry.templates()) if not registry.is_family(name)]


@pytest.mark.parametrize("name", NAMES)
async def test_a_connector_keeps_what_is_committed(name: str) -> None:
    report = await conformance.examine(name)
    now, before = kept.told(report), kept.load().get(report.connector)
    lines = "\n".join(f"{each.check}: {each.reason}" for each in report.failures)
    assert now == before, f"not what `hub connectors` says, run `hub test-connector --write`\n{lines}"
