"""Connectors of one's own, in a project that has a `core`, `schemas` and `connectors` of its own on Python's path."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest

from supporthub import COMMAND
from tests.core.commands import ROOT, Said

pytestmark = pytest.mark.slow

THEIRS = 'raise RuntimeError("the project\'s own package was imported")\n'
PYTEST = """
import pytest, supporthub
import core

def test_this_is_the_projects_core():
    assert core.OURS

test_desk = supporthub.keeps_every_check("desk", folders=["../mine"])
test_none = pytest.mark.xfail(raises=AssertionError, strict=True)(supporthub.keeps_every_check("nobodys"))
"""
HUB_YAML = "data: var\nconnectors: [./mine]\nconnections:\n  desk: {type: desk, mock: true}\n"


class Project:
    """Somebody's repository. `hub` is called as pip's console script calls it, with the project first on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("core", "schemas", "connectors"):
            self.write(f"{name}/__init__.py", THEIRS)
        self.write("hub.yaml", HUB_YAML)
        script = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["hub"]
        module, _, function = script.partition(":")
        self.script = self.write("bin/hub", f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def hub(self, *arguments: str) -> Said:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT)])}
        ended = subprocess.run([sys.executable, str(self.script), *arguments], cwd=self.folder, env=environ,
                               capture_output=True, timeout=120)  # fmt: skip
        return Said(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """With a new connector `desk` in ./mine."""
    made = Project(tmp_path_factory.mktemp("project"))
    began = made.hub("new", "desk")
    assert began.code == 0, began.err
    assert re.match(r"mine/desk: 8 files, 7 samples, passes (\d+) of \1 checks \(beta\)\n", began.out), began.out
    return made


def test_a_new_connector_is_checked_tried_listed_and_documented(project: Project) -> None:
    assert "desk: desk, a mock" in project.hub("check").out
    tried = project.hub("try", "desk", "mine/desk/samples/person.read.payload.json")
    assert "email:zoe@example.com is recorded" in tried.out
    assert [row["name"] for row in json.loads(project.hub("connectors", "--json").out)].count("desk") == 1
    assert project.hub("docs", "--check").code == 0
    assert project.hub("test-connector", "desk", "--check", "samples").code == 0


def test_a_file_that_is_no_sample_is_named_by_check(project: Project) -> None:
    raw = project.write("mine/desk/samples/raw.payload.json", '{"id": 7}')
    try:
        said = project.hub("check")
    finally:
        raw.unlink()
    assert said.code == 1
    assert f"  ! {raw} is no sample, which has a kind and its data: write it as" in said.out


def test_an_account_that_cannot_be_asked_for_is_told_as_a_mistake_in_the_code(project: Project) -> None:
    text = project.folder.joinpath("hub.yaml").read_text()
    config = project.folder / "mine/desk/config.py"
    good = config.read_text()
    asks = "async def account("
    assert good.count(asks) == 1
    config.write_text(good.replace(asks, "async def account(*_: object) -> str:\n    raise KeyError('id')\n\n\n"
                                         "async def asked("))  # fmt: skip
    project.write("real.yaml", text.replace("mock: true", "token: demo, base_url: 'http://127.0.0.1:9'"))
    try:
        said = project.hub("check", "--live", "-c", "real.yaml")
    finally:
        config.write_text(good)
    assert (said.code, said.err) == (1, "")
    assert "a mistake in the code of the connector desk" in said.out and "KeyError" in said.out


def test_a_manual_that_is_out_of_date_is_written_again(project: Project) -> None:
    readme = project.folder / "mine/desk/README.md"
    good = readme.read_text()
    readme.write_text(good.replace("| `token` | required |", "| `token` | optional |"))
    assert project.hub("docs", "--check").err == "mine/desk/README.md is not up to date: hub docs --write\n"
    assert project.hub("docs", "--write").code == 0
    assert readme.read_text() == good


def test_its_mock_is_started_from_wherever_the_hub_runs(project: Project) -> None:
    """As `hub run` does it: a process of its own, told which file names the folder."""
    told = project.folder / "told.json"
    arguments = ["mock", "desk", "--config", str(project.folder / "hub.yaml"), "--told", str(told), "--pace", "0"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(project.folder), str(ROOT)])}
    with subprocess.Popen([*COMMAND, *arguments], cwd=project.folder, env=environ, stderr=subprocess.PIPE) as mock:
        try:
            while not told.exists():
                assert mock.poll() is None, mock.stderr and mock.stderr.read()
                time.sleep(0.05)
            url = json.loads(told.read_text())["url"]
            with urllib.request.urlopen(f"{url}/_mock/state?truth=0") as answer:
                assert json.load(answer)["counts"]["tickets"] == 31
        finally:
            mock.terminate()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("import core.billing\n", "No module named 'core.billing'; `core` is the hub's own package here: give yours "),
        ("import not_there\n", "No module named 'not_there'"),
        ("x = = 1\n", "SyntaxError: invalid syntax"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
    ],
)
def test_what_keeps_a_connector_from_being_imported_is_told_with_its_line(
    project: Project, line: str, told: str
) -> None:
    init = project.write("mine/broken/__init__.py", "\n" + line)
    project.write("broken.yaml", HUB_YAML.replace("type: desk", "type: broken"))
    said = project.hub("check", "-c", "broken.yaml")
    assert said.code == 2
    head, _, why = said.err.partition(f", {init}:2: ")
    assert head == "broken.yaml:4: connections.desk.type: connector 'broken' cannot be imported"
    assert why.startswith(told)
    (project.folder / "mine/broken/__init__.py").unlink()


@pytest.mark.parametrize(
    ("connectors", "told"),
    [
        ("./nowhere", "2: connectors: write a list of folders, for instance `connectors: [./my-connectors]`"),
        ("[./nowhere]", "2: connectors[0]: there is no folder ./nowhere"),
        ("[./bin]", "2: connectors[0]: ./bin holds no connector: each is a folder with an __init__.py"),
        ("[./shadows]", "2: connectors[0]: the hub has a connector 'guru' already: rename ./shadows/guru"),
    ],
)
def test_each_mistake_about_the_folder_has_its_place_and_remedy(project: Project, connectors: str, told: str) -> None:
    project.write("shadows/guru/__init__.py", "")
    text = f"data: var\nconnectors: {connectors}\nconnections:\n  guru: {{type: guru, mock: true, account: x}}\n"
    project.write("wrong.yaml", text)
    said = project.hub("check", "-c", "wrong.yaml")
    assert (said.code, said.err) == (2, f"wrong.yaml:{told}\n")


def test_a_connector_of_an_installed_distribution_is_found_by_its_entry_point(project: Project) -> None:
    source = (project.folder / "mine/desk/__init__.py").read_text()
    for path in (project.folder / "mine/desk").glob("*.py"):
        text = path.read_text().replace("connectors.desk", "hub_crm").replace('"desk"', '"crm"')
        project.write(f"hub_crm/{path.name}", text)
    assert 'name="desk"' in source
    project.write("hub_crm-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: hub-crm\nVersion: 1\n")
    project.write("hub_crm-1.dist-info/entry_points.txt", "[supporthub.connectors]\ncrm = hub_crm\n")
    project.write("crm.yaml", HUB_YAML.replace("type: desk", "type: crm").replace("connectors: [./mine]\n", ""))
    said = project.hub("check", "-c", "crm.yaml")
    assert (said.code, said.err) == (0, "")
    assert "desk: crm, a mock" in said.out
    examined = project.hub("test-connector", "crm", "-c", "crm.yaml", "--json")
    outcomes = {each["check"]: each["outcome"] for each in examined.json["checks"]}
    assert {check for check, outcome in outcomes.items() if outcome == "failed"} == {"readme"}, examined.out
    assert [check for check, outcome in outcomes.items() if outcome == "not run"] == ["samples"]  # it brings neither


def test_the_line_for_pytest_examines_it_beside_a_core_of_the_project(project: Project) -> None:
    for name in ("core", "schemas", "connectors"):
        project.write(f"suite/{name}/__init__.py", "OURS = True\n")
    project.write("suite/tests/test_connectors.py", PYTEST)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "tests"]
    ended = subprocess.run(command, cwd=project.folder / "suite", env=environ, capture_output=True, text=True,
                           timeout=120)  # fmt: skip
    assert re.search(r"^2 passed, 1 xfailed in ", ended.stdout, re.M), ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Fresh-Desk", "'Fresh-Desk' cannot be a connector's name: lower-case letters, digits and _, a letter first"),
        ("class", "'class' cannot be a connector's name: lower-case letters, digits and _, a letter first"),
        ("guru", "there is a connector 'guru' already"),
        ("desk", "there is a connector 'desk' already"),
    ],
)
def test_a_name_that_cannot_be_is_refused(project: Project, name: str, why: str) -> None:
    said = project.hub("new", name)
    assert (said.code, said.err) == (2, why + "\n")
