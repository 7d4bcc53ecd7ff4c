"""Connectors are found by name, one at a time."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

import connectors
from core import registry
from core.errors import ConfigError
from core.sdk import Connector

SOURCE = dedent(
    """
    from core.sdk import Connector, ConnectorConfig

    async def account(http, config):
        return "1"

    CONNECTOR = Connector(
        name="{name}", title="T", category="crm", config=ConnectorConfig, normalize=lambda payload: [], evidence={{}},
        base_url=lambda config: "", auth=lambda config: {{}}, account=account, mock="{mock}",
    )
    """
)


@pytest.fixture
def extra(tmp_path: Path) -> Iterator[Path]:
    """A folder with two connectors; `chatty` has a mock, `broken` is not what it says."""
    before = list(connectors.__path__)
    write(tmp_path, "chatty", SOURCE.format(name="chatty", mock="connectors.chatty.mock"))
    (tmp_path / "chatty" / "mock.py").write_text("PORT = 1\n")
    write(tmp_path, "broken", SOURCE.format(name="other", mock=""))
    write(tmp_path, "empty", "")
    yield tmp_path
    connectors.__path__[:] = before
    for name in [name for name in sys.modules if name.startswith("connectors.") and name.split(".")[1] in NAMES]:
        del sys.modules[name]


NAMES = ("chatty", "broken", "empty")


def write(root: Path, name: str, source: str) -> None:
    (root / name).mkdir()
    (root / name / "__init__.py").write_text(source)


def test_our_own_connectors_are_found_by_their_folders() -> None:
    assert "hubspot" in registry.names()
    assert registry.folder("hubspot") == Path(connectors.__path__[0]) / "hubspot"
    assert isinstance(registry.load("hubspot"), Connector)


def test_loading_one_connector_imports_no_other() -> None:
    code = (
        "import sys; from core import registry; registry.load('hubspot'); "
        "print(sorted({n.split('.')[1] for n in sys.modules if n.startswith('connectors.')}))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['hubspot']"


def test_an_extra_folder_adds_connectors_with_their_mocks(extra: Path) -> None:
    assert set(NAMES) <= set(registry.names([extra]))
    assert registry.load("chatty", [extra]).name == "chatty"
    assert registry.folder("chatty", [extra]) == extra / "chatty"
    assert registry.mock("chatty", [extra]).PORT == 1


def test_our_own_connector_wins_over_one_of_the_same_name(extra: Path) -> None:
    write(extra, "hubspot", "")
    assert registry.folder("hubspot", [extra]) == Path(connectors.__path__[0]) / "hubspot"


def test_an_installed_package_adds_a_connector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "hub_desk", SOURCE.format(name="desk", mock=""))
    info = tmp_path / "hub_desk-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hub-desk\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[supporthub.connectors]\ndesk = hub_desk\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "desk" in registry.names()
    assert registry.load("desk").name == "desk"
    assert registry.folder("desk") == tmp_path / "hub_desk"
    with pytest.raises(ConfigError, match="'desk' has no mock"):
        registry.mock("desk")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no connector 'hubspott'; did you mean 'hubspot'"):
        registry.load("hubspott")
    with pytest.raises(ConfigError, match=r"no connector 'zzz'; there are: .*hubspot"):
        registry.folder("zzz")


def test_what_is_no_connector_is_refused_with_the_reason(extra: Path) -> None:
    with pytest.raises(ConfigError, match="calls itself 'other'"):
        registry.load("broken", [extra])
    with pytest.raises(ConfigError, match=r"connectors\.empty has no CONNECTOR"):
        registry.load("empty", [extra])
    (extra / "empty" / "__init__.py").write_text("import not_there\n")
    del sys.modules["connectors.empty"]
    with pytest.raises(ConfigError, match=r"cannot be imported, .*empty.__init__.py:1: No module named 'not_there'"):
        registry.load("empty", [extra])
