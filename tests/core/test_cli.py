"""The command line where no hub runs: what it says, how it ends, and what it does with the store itself."""

import json
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from core.cli import app as application
from tests.core.commands import ROOT, demo_file, hub, spawned
from tests.ports import free_ports

SAMPLES = ROOT / "connectors" / "aircall" / "samples"


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A hub.yaml of mocks, on ports where nobody listens."""
    return demo_file(tmp_path, *free_ports(2))


@pytest.fixture
def born(demo: Path) -> Path:
    """The same with a store."""
    assert hub("token", "add", "first", "--scope", "read", "-c", str(demo)).code == 0
    return demo


def commands() -> list[list[str]]:
    found = [[info.name or info.callback.__name__] for info in application.app.registered_commands]  # type: ignore[union-attr]
    for group in application.app.registered_groups:
        inner = group.typer_instance.registered_commands  # type: ignore[union-attr]
        found += [[str(group.name), info.name or info.callback.__name__] for info in inner]  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_explains_itself(command: list[str]) -> None:
    said = hub(*command, "--help")
    assert said.code == 0
    assert f"hub {' '.join(command)}" in said.out


@pytest.mark.parametrize("command", [each for each in commands() if len(each) == 1], ids=" ".join)
def test_every_command_gives_an_example(command: list[str]) -> None:
    assert re.search(rf"^ *hub {command[0]}\b", hub(*command, "--help").out.partition("For example:")[2], re.M)


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"supporthub \d+\.\d+\.\d+\n", hub("--version").out)


def test_help_needs_nothing_of_the_engine(tmp_path: Path) -> None:
    listed = spawned("--help", folder=tmp_path, environ={"PYTHONPROFILEIMPORTTIME": "1"}).err
    loaded = set(re.findall(r"\| +(\S+)$", listed, re.M))
    assert "core.cli.status" in loaded
    assert not {"core.hub", "core.config", "sqlalchemy", "aiohttp", "pydantic"} & loaded


def test_a_data_folder_that_cannot_be_used_is_told_in_one_line(demo: Path) -> None:
    (demo.parent / "var").write_text("a file")
    for command in (["run"], ["status"], ["find", "dana"], ["token", "list"]):
        said = hub(*command, "-c", str(demo))
        assert said.code == 1
        assert "must be able to read and write there" in said.err and "Traceback" not in said.err
        assert said.err.count("\n") == 1


def test_a_command_that_is_none_is_wrong_use() -> None:
    said = hub("stauts")
    assert said.code == 2
    assert "status" in said.err


def test_every_mistake_of_the_file_is_named_by_its_line_and_nothing_starts(tmp_path: Path) -> None:
    path = tmp_path / "hub.yaml"
    path.write_text("data: d\nconnections:\n  a:\n    type: aircal\n  b:\n    type: guru\n    tokn: x\nservr: {}\n")
    for command in ("run", "check", "status"):
        said = hub(command, "-c", str(path))
        assert said.code == 2
        assert [line.removeprefix(f"{path}:").partition(":")[0] for line in said.err.splitlines()] == sorted(
            line.removeprefix(f"{path}:").partition(":")[0] for line in said.err.splitlines()
        )
        assert "did you mean 'aircall'?" in said.err
        assert "unknown section; did you mean `server`?" in said.err
        assert "Traceback" not in said.err
    assert not (tmp_path / "d").exists()


def test_a_file_that_is_not_there_is_told_with_the_remedy(tmp_path: Path) -> None:
    said = hub("check", "-c", str(tmp_path / "no.yaml"))
    assert said.code == 2
    assert "there is no such file; name yours with --config FILE" in said.err


def test_a_database_that_is_down_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "hub.yaml"
    (api, webhooks, nobody) = free_ports(3)
    path.write_text(
        "data: var/live\nconnections:\n  guru: {type: guru, account: a, user: u, token: t}\n"
        f"server: {{api: '127.0.0.1:{api}', webhooks: '127.0.0.1:{webhooks}'}}\n"
        f"store: {{type: postgres, url: 'postgresql://hub:a-secret@127.0.0.1:{nobody}/hub'}}\n"
    )
    said = hub("find", "dana", "-c", str(path))
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "start the database, or correct `store:` in hub.yaml" in said.err
    checked = hub("check", "-c", str(path))
    assert checked.code == 1
    assert f"port {nobody} failed" in checked.out
    assert "a-secret" not in said.err + checked.out


@pytest.mark.slow
def test_an_address_that_is_taken_is_told_and_no_mock_is_left(demo: Path) -> None:
    port = int(re.findall(r"api: 127\.0\.0\.1:(\d+)", demo.read_text())[0])
    with socket.create_server(("127.0.0.1", port)):
        said = spawned("run", folder=demo.parent)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "is a hub running already? Otherwise change `server:` in hub.yaml" in said.err
    for told in (demo.parent / "var/demo/mocks").glob("*.run"):
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", int(orjson.loads(told.read_bytes())["url"].rpartition(":")[2])))


def test_an_unknown_role_is_told(demo: Path) -> None:
    said = hub("run", "-c", str(demo), "--role", "ingst")
    assert said.code == 2
    assert "unknown role ingst; there are: ingest, process, publish, api" in said.err


def test_one_role_on_the_embedded_bus_is_told_what_it_needs(demo: Path) -> None:
    said = hub("run", "-c", str(demo), "--role", "api")
    assert said.code == 2
    assert "set `bus: {type: kafka, servers: …}`" in said.err
    assert not (demo.parent / "var").exists()


def test_what_is_read_before_the_first_run_says_so(demo: Path) -> None:
    for command in (["status"], ["find", "dana"], ["show", "x"], ["dead", "list"], ["token", "list"]):
        said = hub(*command, "-c", str(demo))
        assert said.code == 2
        assert "start `hub run` first" in said.err
    assert not (demo.parent / "var" / "demo" / "hub.db").exists()


def test_what_needs_a_running_hub_says_how_to_start_one(born: Path) -> None:
    for command in (["ring"], ["open"], ["tail"]):
        said = hub(*command, "-c", str(born))
        assert said.code == 1
        assert "start it with `hub run`" in said.err


def test_a_token_lives_from_add_to_revoke(born: Path) -> None:
    made = hub("token", "add", "dialer", "--scope", "read", "--scope", "feed", "-c", str(born), "--json").json
    assert made["token"].startswith("hub_")
    listed = {each["name"]: each for each in hub("token", "list", "-c", str(born), "--json").json["tokens"]}
    assert listed["dialer"]["scopes"] == ["read", "feed"]
    assert made["token"] not in hub("token", "list", "-c", str(born)).out
    again = hub("token", "add", "dialer", "--scope", "read", "-c", str(born))
    assert (again.code, "revoke it first" in again.err) == (2, True)
    assert hub("token", "revoke", "dialer", "-c", str(born)).code == 0
    gone = hub("token", "revoke", "dialer", "-c", str(born))
    assert (gone.code, "`hub token list` names them" in gone.err) == (1, True)


def test_a_token_with_a_blank_and_a_slash_in_its_name_can_be_revoked(born: Path) -> None:
    hub("token", "add", "desk / left", "--scope", "read", "-c", str(born))
    assert hub("token", "revoke", "desk / left", "-c", str(born)).code == 0


def test_an_unknown_scope_is_wrong_use(born: Path) -> None:
    said = hub("token", "add", "x", "--scope", "write", "-c", str(born))
    assert said.code == 2
    assert "there are: read, feed, admin" in said.err


def test_the_command_lines_own_token_is_readable_for_its_owner_alone(born: Path) -> None:
    path = born.parent / "var" / "demo" / "auth"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert re.fullmatch(r"Authorization: Bearer hub_\S+\n", path.read_text())


def test_the_store_is_read_where_no_hub_runs(born: Path) -> None:
    status = hub("status", "-c", str(born), "--json").json
    assert (status["running"], status["kind"], status["customers"], status["lag"]) == (False, "demo", 0, 0)
    assert "no hub answers at http://127.0.0.1:" in hub("status", "-c", str(born)).out
    nobody = hub("find", "dana", "-c", str(born))
    assert (nobody.code, nobody.out) == (1, "Nobody is found by these words.\n")
    assert hub("find", "dana", "-c", str(born), "--json").json == {"customers": [], "next": None}
    absent = hub("show", "d4a911db95acaf761c61", "-c", str(born))
    assert (absent.code, "`hub find WORDS` names them" in absent.err) == (1, True)
    assert hub("dead", "list", "-c", str(born)).out == "No open dead letters.\n"


def test_reading_leaves_the_data_as_it_was(born: Path) -> None:
    folder = born.parent / "var" / "demo"
    before = (folder / "hub.db").read_bytes()
    hub("token", "list", "-c", str(born))
    assert (folder / "hub.db").read_bytes() == before
    assert not (folder / "bus.db").exists()


def test_a_demo_folder_refuses_real_tools_with_the_remedy(born: Path) -> None:
    real = born.with_name("real.yaml")
    entry = "connections:\n  guru:\n    type: guru\n    account: a\n    user: u\n    token: t\n"
    api, webhooks = free_ports(2)
    listeners = f"server:\n  api: 127.0.0.1:{api}\n  webhooks: 127.0.0.1:{webhooks}\n"
    real.write_text(f"data: var/demo\n{entry}{listeners}")
    for command in (["run"], ["status"], ["token", "list"]):
        said = hub(*command, "-c", str(real))
        assert said.code == 2
        assert "names a demo store, but the connections are real" in said.err
        assert "`data: var/live`" in said.err


def test_a_rebuild_says_what_it_did(born: Path) -> None:
    first = hub("rebuild", "-c", str(born), "--json").json
    assert (first["objects"], first["customers"], first["generation"]) == (0, 0, 2)
    assert "generation 3" in hub("rebuild", "-c", str(born)).out


def test_letters_must_be_named_or_all_of_them_meant(born: Path) -> None:
    for verb in ("replay", "discard"):
        assert hub("dead", verb, "-c", str(born)).code == 2
        assert hub("dead", verb, "x", "--all", "-c", str(born)).code == 2
        unknown = hub("dead", verb, "nope", "-c", str(born))
        assert (unknown.code, "`hub dead list` names them" in unknown.err) == (1, True)
        assert hub("dead", verb, "--all", "-c", str(born), "--json").json == {"done": [], "failed": {}}


def test_check_names_what_is_not_there_yet(demo: Path) -> None:
    said = hub("check", "-c", str(demo))
    assert said.code == 0
    assert f"{demo} ok · 4 connections (mock)" in said.out
    assert said.out.count("not there yet: `hub run` makes it") == 2


def test_check_tells_machines_the_same(born: Path) -> None:
    answer = hub("check", "-c", str(born), "--json").json
    assert (answer["ok"], answer["store"]["kind"], sorted(answer["connections"])) == (
        True, "demo", ["aircall", "guru", "hubspot", "intercom"],
    )  # fmt: skip


def test_try_shows_the_events_of_a_sample() -> None:
    name = "contact.updated"
    said = hub("try", "aircall", str(SAMPLES / f"{name}.payload.json"), "--json")
    wanted = orjson.loads((SAMPLES / f"{name}.events.json").read_bytes())
    assert [event["id"] for event in said.json["events"]] == [event["id"] for event in wanted]


def test_try_tells_how_far_each_identifier_is_believed() -> None:
    said = hub("try", "aircall", str(SAMPLES / "contact.updated.payload.json"))
    assert re.search(r"^person\.upserted  aircall/example/contact/\d+$", said.out, re.M)
    assert re.search(r"^  phone:\+\d+ is recorded$", said.out, re.M)


def test_try_takes_a_webhooks_body_too(tmp_path: Path) -> None:
    sample = orjson.loads((SAMPLES / "call.ringing.payload.json").read_bytes())
    body = {"resource": "call", "event": "call.created", "timestamp": 1768200001, "token": "t", "data": sample["data"]}
    said = spawned("try", "aircall", "-", folder=tmp_path, stdin=orjson.dumps(body))
    assert said.code == 0
    assert "call.upserted  aircall/example/call/6190000001" in said.out


def test_try_names_what_is_fetched_later_and_what_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "delivery.json"
    event = {"portalId": 7, "objectId": 5, "subscriptionType": "contact.creation", "occurredAt": 1, "eventId": 1}
    path.write_bytes(orjson.dumps([event, {**event, "subscriptionType": "moon.creation"}]))
    said = hub("try", "hubspot", str(path), "--account", "7")
    assert said.code == 0, said.err
    assert "fetched later: contact 5" in said.out
    assert "ignored: moon.creation" in said.out


def test_try_names_the_place_in_the_payload(tmp_path: Path) -> None:
    sample = orjson.loads((SAMPLES / "call.ringing.payload.json").read_bytes())
    path = tmp_path / "sample.json"
    path.write_bytes(orjson.dumps({**sample, "data": {**sample["data"], "started_at": "yesterday"}}))
    said = hub("try", "aircall", str(path))
    assert said.code == 1
    assert "at started_at: not a time" in said.err
    assert "Traceback" not in said.err


def test_try_says_where_a_file_is_not_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{\n"a": 1,\n}')
    said = hub("try", "aircall", str(path))
    assert said.code == 1
    assert f"{path}:2: not JSON" in said.err
    absent = hub("try", "aircall", str(tmp_path / "none.json"))
    assert (absent.code, "cannot be read" in absent.err) == (2, True)


def test_try_knows_near_names_of_connectors(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    said = hub("try", "hubspt", str(path))
    assert (said.code, said.err) == (2, "no connector 'hubspt'; did you mean 'hubspot'?\n")


def test_schemas_are_printed_by_name() -> None:
    assert "conversation" in hub("schema").out.split()
    assert hub("schema", "change").json["$id"] == "supporthub/v0/change.json"
    assert hub("schema", "hub").json["title"] == "hub.yaml"
    unknown = hub("schema", "chang")
    assert (unknown.code, "there is no schema 'chang'" in unknown.err) == (2, True)


def test_a_name_cannot_drive_the_terminal() -> None:
    from core.cli.terminal import safe

    assert safe("Eve\x1b[2J\r\nBob\u202e\x9b") == "Eve [2J  Bob "


def test_a_mocks_setting_is_written_with_an_equals_sign() -> None:
    said = hub("mock", "aircall", "--set", "token")
    assert (said.code, said.err) == (2, "--set token: write SETTING=VALUE\n")


def test_a_declaration_shows_what_becomes_of_an_object_that_a_listing_lacks() -> None:
    missing = ROOT / "connectors/aircall/samples/user.missing.payload.json"
    said = hub("try", str(ROOT / "deploy/examples/aircall.yaml"), str(missing))
    assert (said.code, said.out.split()[:2]) == (0, ["staff.deleted", "aircall/example/user/6190000001"])


@pytest.mark.slow
def test_a_declaration_is_tried_and_tried_again_whenever_it_changes(tmp_path: Path) -> None:
    declaration = ROOT / "deploy" / "examples" / "guru.yaml"
    file = tmp_path / "guru.yaml"
    file.write_text(declaration.read_text())
    payload = tmp_path / "delivery.json"
    payload.write_text(json.dumps({"eventType": "card-updated", "properties": {"cardId": "c1"}}))
    command = [sys.executable, "-m", "core.cli", "try", str(file), str(payload), "--watch"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as watching:
        assert watching.stdout is not None
        try:
            assert watching.stdout.readline() == "fetched later: card c1 (card-updated)\n"
            assert watching.stdout.readline().startswith("-- ok; waiting for a change")
            file.write_text(declaration.read_text().replace("kind: eventType", "kind: eventType["))
            told = [watching.stdout.readline() for _ in range(3)][1]
            assert f"{file}:" in told
            assert "webhook.kind: JMESPath ends too early" in told
        finally:
            watching.send_signal(signal.SIGINT)
