"""`hub check --live` against the sources' contract mocks, each a process as real as the source itself."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import orjson
import pytest

from tests.core.commands import COMMAND, Said, hub
from tests.ports import free_ports

FILE = """\
data: var/live
connections:
  aircall:
    type: aircall
    base_url: {aircall}
    account: acme
    api_id: demo-aircall-id
    api_token: {token}
    webhook_token: a-token
  phones:
    type: aircall
    base_url: {aircall}
    account: acme
    api_id: demo-aircall-id
    api_token: demo-aircall-token
  guru:
    type: guru
    base_url: {guru}
    account: acme
    user: reader@example.com
    token: demo-token-of-guru
    webhook_secret: a-long-word-of-our-own
  cards:
    type: guru
    base_url: {guru}
    account: acme
    user: reader@example.com
    token: demo-token-of-guru
  intercom:
    type: intercom
    base_url: {intercom}
    token: demo-token-of-intercom
  hubspot:
    type: hubspot
    base_url: {hubspot}
    token: pat-demo-hubspot
server:
  api: 127.0.0.1:{port}
  public_url: {public}
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("sources")
    names = ("aircall", "guru", "hubspot", "intercom")
    command = [*COMMAND, "mock", "--pace", "0", "--told"]
    mocks = [
        subprocess.Popen([*command, str(folder / name), name], stdout=subprocess.DEVNULL, cwd=folder) for name in names
    ]
    try:
        deadline = time.monotonic() + 60
        while not all((folder / name).exists() for name in names):
            assert time.monotonic() < deadline, "a mock does not start"
            time.sleep(0.1)
        yield {name: orjson.loads((folder / name).read_bytes())["url"] for name in names}
    finally:
        for mock in mocks:
            mock.terminate()
            mock.wait(60)


def check(
    folder: Path,
    sources: dict[str, str],
    *more: str,
    live: bool = True,
    token: str = "demo-aircall-token",
    public: str = "https://h.example.com",
) -> Said:
    path = folder / "hub.yaml"
    path.write_text(FILE.format(**sources, token=token, public=public, port=free_ports(1)[0]))
    return hub("check", *(["--live"] if live else []), "-c", str(path), *more)


def of(said: Said, name: str) -> str:
    """What was said of one connection."""
    _, named, rest = f"\n{said.out}".partition(f"\n{name}: ")
    return named + re.split(r"\n(?! )", rest)[0]


def test_good_credentials_are_proved_and_the_urls_are_there_to_paste(sources: dict[str, str], tmp_path: Path) -> None:
    said = check(tmp_path, sources)
    assert said.code == 0, said.out + said.err
    assert "aircall: aircall, ok, account acme" in said.out
    assert "intercom: intercom, ok, account " in said.out and "hubspot: hubspot, ok, account " in said.out
    assert "  webhook  https://h.example.com/hooks/aircall\n" in said.out
    assert "/v1/webhooks" in of(said, "aircall") and "not taken yet" not in of(said, "aircall")
    assert "  webhook  https://h.example.com/hooks/guru/a-long-word-of-our-own\n" in said.out
    assert not (tmp_path / "var" / "live" / "hub.db").exists()


# How to make the webhook, and the setting for the secret that the source tells then.
UNTAKEN = {
    "phones": ("phones", "webhook_token", "curl -u API_ID:API_TOKEN"),
    "cards": ("cards/<webhook_secret>", "webhook_secret", "as targetUrl"),
    "intercom": ("intercom", "webhook_secret", "Developer Hub"),
    "hubspot": ("hubspot", "client_secret", "Webhooks > Target URL"),
}


@pytest.mark.parametrize("live", [True, False])
def test_a_webhooks_address_is_there_before_its_secret_because_some_sources_tell_the_secret_only_then(
    sources: dict[str, str], tmp_path: Path, live: bool
) -> None:
    said = check(tmp_path, sources, live=live)
    assert said.code == 0, said.out + said.err
    asked = check(tmp_path, sources, "--json", live=live).json["connections"]
    for name, (address, setting, step) in UNTAKEN.items():
        lines = of(said, name)
        assert f"  webhook  https://h.example.com/hooks/{address}\n" in lines
        assert f"not taken yet: set `{setting}`; until then poll only" in lines and step in lines
        assert asked[name]["webhook"] == f"https://h.example.com/hooks/{address}"
        assert asked[name]["webhook_needs"] == setting and step in asked[name]["instructions"]
    assert asked["aircall"]["webhook_needs"] is None


def test_refused_credentials_are_told_with_the_remedy_and_the_others_go_on(
    sources: dict[str, str], tmp_path: Path
) -> None:
    said = check(tmp_path, sources, token="a-wrong-token")
    assert said.code == 1
    assert "the credentials are refused (401): correct the credentials of connections.aircall" in said.out
    assert "guru: guru, ok, account acme" in said.out
    assert "a-wrong-token" not in said.out + said.err


def test_machines_read_the_same(sources: dict[str, str], tmp_path: Path) -> None:
    answer = check(tmp_path, sources, "--json", token="a-wrong-token").json
    assert not answer["ok"]
    proved = {name: each["proved"] for name, each in answer["connections"].items()}
    assert proved == dict.fromkeys(proved, True) | {"aircall": False}


def test_a_source_that_does_not_answer_is_told(sources: dict[str, str], tmp_path: Path) -> None:
    said = check(tmp_path, {**sources, "aircall": f"http://127.0.0.1:{free_ports(1)[0]}"})
    assert said.code == 1
    assert "the source does not answer" in said.out


def limit(url: str, requests: int) -> None:
    body = orjson.dumps({"requests": requests})
    with urlopen(Request(f"{url}/_mock/limit", body, {"Content-Type": "application/json"})):
        pass


def test_one_question_for_each_connection_is_enough(sources: dict[str, str], tmp_path: Path) -> None:
    try:
        limit(sources["aircall"], 2)
        limit(sources["guru"], 2)
        assert check(tmp_path, sources).code == 0
        said = check(tmp_path, sources)
        assert said.code == 1 and said.out.count("its limit is used up just now; try again in a minute") == 4
    finally:
        limit(sources["aircall"], 1_000)
        limit(sources["guru"], 1_000)


def test_webhooks_need_an_address_that_the_source_can_reach(sources: dict[str, str], tmp_path: Path) -> None:
    for live in (True, False):
        said = check(tmp_path, sources, public="''", live=live)
        assert said.code == 1
        for name in ("aircall", "guru"):
            assert "! the webhook's address is a private one: set `server.public_url`" in of(said, name)
        for name in UNTAKEN:  # to poll only is no mistake
            assert "!" not in of(said, name) and "a private address: set `server.public_url`" in of(said, name)
