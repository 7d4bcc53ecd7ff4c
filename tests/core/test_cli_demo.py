"""The first minute, as a person has it: `hub run` on four mock tools, and every line that it prints, tried."""

import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from schemas.export import document
from tests.core.commands import COMMAND, demo_file, spawned
from tests.core.demos import PATIENCE, Demo, alive, begun, mocks_of, started, until
from tests.ports import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TOKEN = "demo-aircall-webhook-token"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with started(tmp_path_factory.mktemp("demo"), *free_ports(2)) as hub:
        yield hub


def test_the_first_minute_says_what_is_connected(demo: Demo) -> None:
    assert demo.out.startswith("environment ready · hub.yaml ok · 4 connections (mock)\n")
    assert re.search(r"^supporthub \d+\.\d+ · DEMO · SQLite · var/demo$", demo.out, re.M)
    connected = {
        "intercom": "people +[0-9]+ conversations",
        "aircall": "people +[0-9]+ calls",
        "hubspot": "people +[0-9]+ deals",
        "guru": "cards, [0-9]+ verified",
    }
    for name, what in connected.items():
        assert re.search(rf"^  {name} +ok +[0-9]+ {what}$", demo.out, re.M), demo.out
    people, tools, customers = map(int, re.findall(r"(\d+) people in (\d) tools are (\d+) customers", demo.out)[0])
    assert tools == 3
    assert people > customers > 10


def test_logs_go_to_stderr_as_json_and_the_story_to_stdout(demo: Demo) -> None:
    assert "{" not in demo.out
    for line in demo.err.splitlines():
        assert {"event", "level", "timestamp"} <= orjson.loads(line).keys()


def test_the_file_with_the_token_is_its_owners_alone(demo: Demo) -> None:
    assert stat.S_IMODE((demo.folder / "var" / "demo" / "auth").stat().st_mode) == 0o600


def test_the_login_link_works_once_and_sets_a_guarded_cookie(demo: Demo) -> None:
    link = demo.line("Look").split()[0]
    head = demo.shell(f"curl -si {link}")
    assert re.match(r"HTTP/1\.1 30[23]", head)
    cookie = re.search(r"^Set-Cookie: (.*)$", head, re.M | re.I)
    assert cookie
    assert "HttpOnly" in cookie[1]
    assert "SameSite=Strict" in cookie[1]
    session = cookie[1].partition(";")[0]
    assert orjson.loads(demo.shell(f"curl -s -H 'Cookie: {session}' {demo.api}/v1/sources"))["kind"] == "demo"
    assert not re.match(r"HTTP/1\.1 [23]", demo.shell(f"curl -si {link}"))


def test_open_makes_a_new_link(demo: Demo) -> None:
    said = demo.hub("open")
    assert re.match(r"HTTP/1\.1 30[23]", demo.shell(f"curl -si {said.out.strip()}"))
    assert demo.json("open")["url"].startswith(f"{demo.api}/login/")


def test_the_curl_lines_work_as_printed(demo: Demo) -> None:
    looked = orjson.loads(demo.shell(demo.line("Ask").replace("curl ", "curl -s ")))
    assert looked["customer"]["profile"]["name"]["value"] == "Dana Reyes"
    found = orjson.loads(demo.shell(demo.line("Search").replace("curl ", "curl -s ")))
    assert "Dana Reyes" in [each["name"] for each in found["customers"]]
    fed = demo.shell("timeout 5 " + demo.line("Feed").replace("curl ", "curl -s "))
    assert "event: customer\ndata: {" in fed
    assert "event: snapshot-end" in fed


def test_ring_lets_somebody_call_and_tail_shows_who_it_is(demo: Demo) -> None:
    dana = demo.json("find", "+12025550143")["customer"]["id"]
    with (demo.folder / "tail.txt").open("wb") as out:
        tail = subprocess.Popen([*COMMAND, "tail", "--customer", dana], cwd=demo.folder, stdout=out)

    def rung() -> bool:
        assert demo.hub("ring", "+12025550143").code == 0
        told = (demo.folder / "tail.txt").read_text()
        return bool(re.search(r"^\d\d:\d\d:\d\d ring   \+12025550143 is Dana Reyes", told, re.M))

    try:
        until(rung, "tail shows the ring", 2.0)
    finally:
        tail.kill()
        tail.wait()


def test_ring_without_a_number_says_who_calls(demo: Demo) -> None:
    assert re.fullmatch(r"\+\d+ is calling \(aircall\)\n", demo.hub("ring").out)
    assert demo.json("ring").keys() == {"phone", "connection"}


def test_nobody_rings_from_what_is_no_number(demo: Demo) -> None:
    said = demo.hub("ring", "nonsense")
    assert said.code == 2 and "phone: write it as in +12025550143" in said.err
    assert demo.hub("ring", "+1 (202) 555-0143").out == "+12025550143 is calling (aircall)\n"


def test_tail_gives_machines_the_changes_and_ends_when_told(demo: Demo) -> None:
    said = demo.hub("tail", "--all", "--json", "-n", "5")
    changes = [orjson.loads(line) for line in said.out.splitlines()]
    assert len(changes) == 5
    for change in changes:
        Draft202012Validator(document("change")).validate(change)
    behind = demo.hub("tail", "--since", changes[2]["version"], "--json", "-n", "1")
    first = orjson.loads(behind.out)
    assert position(first["version"]) > position(changes[2]["version"])
    wrong = demo.hub("tail", "--since", "yesterday")
    assert (wrong.code, "position" in wrong.err) == (2, True)


def test_tail_into_head_ends_quietly(demo: Demo) -> None:
    command = " ".join(COMMAND)
    assert len(demo.shell(f"{command} tail --all 2>&1 | head -2").splitlines()) == 2


def test_find_looks_up_numbers_and_addresses_and_searches_for_words(demo: Demo) -> None:
    for typed in ("dana reyes", "+1 202 555 0143", "dana.reyes@example.com"):
        assert "Dana Reyes" in demo.hub("find", *typed.split()).out, typed
    assert demo.json("find", "+12025550143")["result"] == "one"
    assert "Dana Reyes" in [each["name"] for each in demo.json("find", "dana")["customers"]]


def test_find_never_guesses_who_calls_from_an_office(demo: Demo) -> None:
    said = demo.hub("find", "+12025550100")
    assert said.code == 0
    assert "ask for the name" in said.out
    assert said.out.count("Example Bakery") >= 2


def test_find_ends_with_1_where_there_is_nobody(demo: Demo) -> None:
    assert demo.hub("find", "nobody", "at", "all").code == 1
    assert demo.hub("find", "+442079460999").code == 1


def test_show_tells_the_whole_record(demo: Demo) -> None:
    id = demo.json("find", "+12025550143")["customer"]["id"]
    said = demo.hub("show", id)
    assert said.out.startswith("Dana Reyes")
    for section in ("Facts", "Timeline", "Known from", "Heard"):
        assert f"\n{section}\n  " in said.out
    assert "dana.reyes@example.com (recorded)" in said.out
    record = demo.json("show", id)
    assert record["id"] == id
    Draft202012Validator(document("customer")).validate(record)
    unknown = demo.hub("show", "nobody")
    assert (unknown.code, "`hub find WORDS` names them" in unknown.err) == (1, True)


def test_status_tells_of_the_refusal_in_the_story(demo: Demo) -> None:
    until(lambda: "refuse aircall: wrong token (401); see `hub status`" in demo.out, "a delivery is refused")
    seen = until(lambda: [s for s in demo.json("status")["sources"] if s["refused"]], "status knows", 1.0)
    assert seen[0]["refused"].keys() == {"wrong token"}
    said = demo.hub("status")
    assert said.code == 0
    assert f"DEMO · running at {demo.api}" in said.out
    assert all(type(demo.json("status")[name]) is int for name in ("lag", "lag_past")), "what both groups have to read"
    assert re.search(r"^aircall +ok .*wrong token: \d", said.out, re.M)
    assert "aircall: deliveries were refused, the last one for: wrong token" in said.out
    assert re.search(r"^hubspot +contacts +\d+ \w+ ago", said.out, re.M)


def test_the_story_has_a_ring_a_merge_a_split_and_a_shared_number(demo: Demo) -> None:
    for line in (
        "ring   [^ ]+ is .+",
        "merge  Dana Reyes: aircall joins hubspot, intercom, same phone",
        "split  .+ and .+: two external ids",
        r"shared \+12025550100: 3 people, Example Bakery; nobody merged",
    ):
        until(lambda line=line: re.search(rf"^\d\d:\d\d:\d\d {line}", demo.out, re.M), line)


def test_check_knows_that_the_hub_runs(demo: Demo) -> None:
    answer = demo.json("check")
    assert (answer["ok"], answer["running"], answer["store"]["kind"]) == (True, True, "demo")
    assert "in use by the hub that runs" in demo.hub("check").out


def test_a_token_opens_the_api_until_it_is_revoked(demo: Demo) -> None:
    secret = demo.hub("token", "add", "desk", "--scope", "read").out.strip()
    ask = f"curl -s -o /dev/null -w '%{{http_code}}' -H 'Authorization: Bearer {secret}' {demo.api}/v1/customers"
    assert demo.shell(ask) == "200"
    assert "desk" in demo.hub("token", "list").out
    assert demo.hub("token", "revoke", "desk").out == "desk is revoked\n"
    assert demo.shell(ask) == "401"


def test_a_dead_letter_is_listed_shown_tried_again_and_given_up(demo: Demo) -> None:
    letters = bury(demo)
    id = letters[0]["id"]
    assert (letters[0]["connection"], letters[0]["stage"], len(letters)) == ("aircall", "normalize", 1)
    assert id in demo.hub("dead", "list", "--connection", "aircall").out
    assert demo.json("dead", "list", "--connection", "guru") == {"letters": []}
    shown = demo.hub("dead", "show", id)
    assert '"form": "payload"' in shown.out
    assert "\x1b" not in shown.out
    assert TOKEN not in shown.out + demo.hub("dead", "show", id, "--json").out
    again = demo.hub("dead", "replay", id)
    assert (again.code, "it failed again" in again.err) == (1, True)
    assert [each["id"] for each in demo.json("dead", "list")["letters"]] == [id]
    assert "1 dead letter; hub dead list --connection aircall" in demo.hub("status").out
    assert demo.json("dead", "discard", "--all") == {"done": [id], "failed": {}}
    assert demo.json("dead", "list", "--state", "discarded")["letters"][0]["id"] == id


def test_a_rebuild_asks_to_stop_the_hub_first(demo: Demo) -> None:
    said = demo.hub("rebuild")
    assert (said.code, "stop it first (Ctrl-C)" in said.err) == (2, True)


def test_a_second_hub_on_the_same_data_is_told_whose_it_is(demo: Demo) -> None:
    said = demo.hub("run")
    assert said.code == 2
    assert f"is in use by process {demo.process.pid}: stop it first" in said.err
    assert "Traceback" not in said.err
    assert [pid for pid in demo.mocks() if not alive(pid)] == []


def test_another_hubs_port_is_not_taken_for_ours(demo: Demo, tmp_path: Path) -> None:
    api, hooks = (int(address.rpartition(":")[2]) for address in (demo.api, demo.webhooks))
    demo_file(tmp_path, api, hooks)
    said = spawned("status", folder=tmp_path)
    assert said.code == 2
    assert "is not the one of hub.yaml" in said.err


def test_between_two_runs_letters_are_replayed_and_records_rebuilt(tmp_path: Path) -> None:
    ports = free_ports(2)
    with started(tmp_path, *ports) as first:
        known = first.json("find", "+12025550143")["customer"]["id"]
        letter = bury(first)[0]["id"]
        assert first.interrupt() == 0
        again = first.hub("dead", "replay", letter)
        assert (again.code, "it failed again" in again.err) == (1, True)
        assert first.json("find", "+12025550143")["customer"]["id"] == known
        rebuilt = first.json("rebuild")
        assert rebuilt["objects"] > rebuilt["customers"] > 10
        assert rebuilt["generation"] == 2
    with started(tmp_path, *ports) as second:
        found = second.json("find", "+12025550143")["customer"]
        assert found["id"] == known
        assert found["version"].startswith("2-")
        assert [each["id"] for each in second.json("dead", "list")["letters"]] == [letter]


@pytest.mark.parametrize("begun_already", [1, 4])
def test_ctrl_c_before_the_first_minute_is_told_leaves_no_mock_and_the_second_run_goes_on(
    tmp_path: Path, begun_already: int
) -> None:
    ports = free_ports(2)
    with begun(tmp_path, *ports) as first:
        until(lambda: len(mocks_of(tmp_path)) >= begun_already, "mocks are started", every=0.01)
        assert not first.told()
        assert first.interrupt() == 0
        assert "Traceback" not in first.err
        until(lambda: not mocks_of(tmp_path), "no mock is left")
    with started(tmp_path, *ports) as second:
        assert len(second.mocks()) == len(mocks_of(tmp_path)) == 4
        assert second.json("find", "+12025550143")["customer"]["id"]


def test_ctrl_c_stops_in_order_and_the_second_run_goes_on(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ports = free_ports(2)
    with started(tmp_path, *ports) as first:
        mocks = first.mocks()
        assert len(mocks) == 4
        known = first.json("find", "+12025550143")["customer"]["id"]
        before = first.json("status")
        with (tmp_path / "tail.txt").open("wb") as out:
            # What a shell starts in the background ignores Ctrl-C, and so would all that it starts.
            heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
            command = [*COMMAND, "tail", "--all", "--json"]
            tail = subprocess.Popen(command, cwd=tmp_path, stdout=out, preexec_fn=heed)
        request.addfinalizer(lambda: (tail.kill(), tail.wait()))
        until(lambda: versions(tmp_path / "tail.txt"), "tail follows")
        assert first.interrupt() == 0
        assert "Traceback" not in first.err
        until(lambda: not any(map(alive, mocks)), "no mock is left")
    with started(tmp_path, *ports) as second:
        after = second.json("status")
        assert position(after["version"]) >= position(before["version"])
        assert after["customers"] >= before["customers"]
        assert second.json("find", "+12025550143")["customer"]["id"] == known
        for word in ("ring", "merge", "split", "refuse"):
            until(lambda word=word: re.search(rf"^\d\d:\d\d:\d\d {word} ", second.out, re.M), word)
        goal = position(second.json("status")["version"])
        until(lambda: max(versions(tmp_path / "tail.txt")) >= goal, "tail goes on behind the restart")
        tail.send_signal(signal.SIGINT)
        assert tail.wait(PATIENCE) == 130
        seen = versions(tmp_path / "tail.txt")
        assert seen == sorted(set(seen))


def bury(demo: Demo) -> list[dict[str, Any]]:
    """Let a delivery become a dead letter; all letters."""
    call = {"id": 5, "started_at": "soon\x1b[2J"}
    body = {"resource": "call", "event": "call.created", "timestamp": 1768200001, "token": TOKEN, "data": call}
    (demo.folder / "body.json").write_bytes(orjson.dumps(body))
    post = "curl -s -o /dev/null -w '%{http_code}' -d @body.json -H 'Content-Type: application/json'"
    assert demo.shell(f"{post} {demo.webhooks}/hooks/aircall") == "202"
    letters: list[dict[str, Any]] = until(lambda: demo.json("dead", "list")["letters"], "the letter is listed", 0.5)
    return letters


def versions(path: Path) -> list[int]:
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [position(orjson.loads(line)["version"]) for line in whole.splitlines()]


def position(version: str) -> int:
    return int(version.partition("-")[2])
