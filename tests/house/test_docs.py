"""The documentation: what is generated is up to date, what is linked is there, what is named exists."""

import re
from pathlib import Path

import pytest

from core import registry
from core.cli.docs import generated
from core.conformance.manual import filled
from tests.core.commands import hub

ROOT = Path(__file__).parents[2]
NAMES = registry.names()
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("connectors/*/README.md")})


def told(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(("path", "text"), generated().items(), ids=lambda it: told(it) if isinstance(it, Path) else "")
def test_generated_parts_are_up_to_date(path: Path, text: str) -> None:
    assert path.read_text() == text, "run `hub docs --write`"


def test_docs_check_agrees() -> None:
    assert hub("docs", "--check").code == 0
    assert hub("docs").code == 2


@pytest.mark.parametrize("name", NAMES)
def test_every_connector_has_its_manual_with_generated_tables(name: str) -> None:
    connector = registry.load(name)
    text = (registry.folder(name) / "README.md").read_text()
    parts = {"settings": True, "streams": connector.streams, "scopes": connector.scopes}
    for part in (name for name, told in parts.items() if told):
        assert re.search(rf"<!-- {part} -->\n.+\n<!-- /{part} -->", text, re.S), part


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_described(name: str) -> None:
    connector = registry.load(name)
    assert [field for field, its in connector.config.model_fields.items() if not its.description] == []


def test_a_table_that_somebody_changed_is_written_again() -> None:
    connector = registry.load("guru")
    stale = "before\n<!-- settings -->\n| old |\n<!-- /settings -->\nafter\n"
    fresh = filled(stale, connector)
    assert "| old |" not in fresh
    assert fresh.startswith("before\n<!-- settings -->\n| setting |")
    assert fresh.endswith("<!-- /settings -->\nafter\n")
    assert filled(fresh, connector) == fresh
    assert "`webhook_secret`" in fresh


@pytest.mark.parametrize("path", PAGES, ids=told)
def test_links_inside_of_the_repository_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=told)
def test_commands_that_are_named_exist(path: Path) -> None:
    from tests.core.test_cli import commands

    known = {each[0] for each in commands()}
    named = re.findall(r"(?:`|\$ |^)(?:\.venv/bin/)?hub ([a-z][a-z-]*)", path.read_text(), re.M)
    assert sorted({name for name in named if name not in known}) == []
