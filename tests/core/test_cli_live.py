"""`hub check --live` against the sources' contract mocks, each a process as real as the source itself."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import orjson
import pytest

from tests.core.commands import COMMAND, Said, hub
from tests.hubs import free_ports

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
server:
  api: 127.0.0.1:{port}
  public_url: {public}
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("sources")
    names = ("aircall", "guru")
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
    token: str = "demo-aircall-token",
    public: str = "https://h.example.com",
) -> Said:
    path = folder / "hub.yaml"
    path.write_text(FILE.format(**sources, token=token, public=public, port=free_ports(1)[0]))
    return hub("check", "--live", "-c", str(path), *more)


def test_good_credentials_are_proved_and_the_urls_are_there_to_paste(sources: dict[str, str], tmp_path: Path) -> None:
    said = check(tmp_path, sources)
    assert said.code == 0, said.out + said.err
    assert "aircall: aircall, ok, account acme" in said.out
    assert "  webhook  https://h.example.com/hooks/aircall\n" in said.out
    assert "/v1/webhooks" in said.out.partition("hooks/aircall\n")[2].partition("guru:")[0]
    assert "  webhook  https://h.example.com/hooks/guru/a-long-word-of-our-own\n" in said.out
    assert not (tmp_path / "var" / "live" / "hub.db").exists()


def test_a_connection_without_webhook_secret_is_called_poll_only(sources: dict[str, str], tmp_path: Path) -> None:
    said = check(tmp_path, sources)
    assert "none: poll only" in said.out.partition("cards: guru, ok")[2]


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
    assert proved == {"aircall": False, "guru": True, "cards": True}


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
        limit(sources["aircall"], 1)
        limit(sources["guru"], 2)
        assert check(tmp_path, sources).code == 0
        said = check(tmp_path, sources)
        assert said.code == 1 and said.out.count("its limit is used up just now; try again in a minute") == 3
    finally:
        limit(sources["aircall"], 1_000)
        limit(sources["guru"], 1_000)


def test_webhooks_need_an_address_that_the_source_can_reach(sources: dict[str, str], tmp_path: Path) -> None:
    said = check(tmp_path, sources, public="''")
    assert said.code == 1
    assert said.out.count("set `server.public_url`") == 2  # not of the one that only polls
