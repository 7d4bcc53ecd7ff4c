"""hub.yaml with a source that is declared in it: what is right, and each mistake with its line."""

from pathlib import Path

import pytest

from core.config import load
from core.errors import ConfigError
from tests.core.test_config import wrong

HOOK = "token: {place: path, secret: word}, kind: event, payload: {}"
DECLARED = """\
data: var/live
connections:
  desk:
    type: http
    vendor: desk
    title: Desk
    category: helpdesk
    account: example
    api: https://api.example.com
    auth: {bearer: "${TOKEN}"}
    proof: {get: /me}
    streams:
      - name: people
        kind: person
        get: /people
        rows: people[?active]
        params: {after: "{cursor}"}
        pages: {by: cursor, next: next}
    mapping:
      person:
        - entity: person
          fields: {display_name: name}
"""


HOOKED = """proof: {get: /me}
    webhook: {kind: event, payload: {data: person},
      hmac: {secret: "${TOKEN}", header: X-Sig, """


def test_a_declared_connection_is_a_connector_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text(DECLARED)
    connection = load(file, {"TOKEN": "t"}).connections["desk"]
    assert (connection.connector.name, connection.connector.title) == ("desk", "Desk")
    assert connection.connector.auth(connection.settings) == {"Authorization": "Bearer t"}
    assert [stream.name for stream in connection.connector.streams] == ["people"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("people[?active]", "people[?active", "16: S.rows: JMESPath ends too early, at character 15"),
        ("people[?active]", "people..active", "16: S.rows: JMESPath does not expect '.' at character 8"),
        ("people[?active]", "a ~ b", "16: S.rows: JMESPath cannot read character 3, '~': a ~ b"),
        ("people[?active]", "plane(people)", "16: S.rows: no function plane(); did you mean plain()?"),
        ("people[?active]", "plain(a, b)", "16: S.rows: plain() takes 1 arguments, not 2"),
        ("people[?active]", "key('a', b)", "16: S.rows: key() works only under `mapping:`"),
        ("{cursor}", "{curser}", "17: S.params.after: no placeholder {curser}; did you mean {cursor}?"),
        ("{cursor}", "x", "18: S.pages: by: cursor, but the request does not use {cursor}"),
        ("{cursor}", "{cursor}{since.iso}", "13: S.since: is missing: the request uses {since}"),
        ("next: next", "rel: x", "18: S.pages: by: cursor needs `next:`"),
        ("get: /people", "gett: /people", "15: S.gett: unknown setting; did you mean `get`?"),
        ("kind: person", "kind: persons", "14: S.kind: `mapping:` says nothing of 'persons'; did you mean 'person'?"),
        (": name}", ": \"lookup('x', y)\"}", "22: M.fields.display_name: no table 'x' for lookup(); there are: none"),
        ("display_name", "nickname", "22: M.fields.nickname: person has no such field"),
        ("entity: person", "entity: persona", "21: M.entity: no entity 'persona'; did you mean 'person'?"),
        ("account: example", "max_body: 5", "3: C.account: is missing"),
        ("{bearer:", "{bearrer:", "10: C.auth.bearrer: unknown setting; did you mean `bearer`?"),
        ("proof: {get: /me}", "proof: {}", "11: C.proof: name one path, under `get:` or under `post:`"),
        ("rows: people", "listing: 1d\n        rows: people", "16: S.listing: `hydrate:` says nothing of 'person'"),
        ("rows: people", "listing: daily\n        rows: people", "16: S.listing: "),
        ("next: next}", "next: next, params: {at: '{pge}'}}", "18: S.pages.params.at: no placeholder {pge}; did you"),
        ("next: next}", "next: next, params: {at: '{id}'}}", "13: connections.desk.streams[0]: {id} has no value"),
        ("{by: cursor, next: next}", "{<<: cursor}", "18: S.pages: `<<:` takes settings, as in `<<: *name`"),
        ("{display_name: name}", "{display_name: \"let('who')\"}", "22: M.fields.display_name: `let:` has no 'who'"),
        ("fields: {display_name: name}", "same: [full_name]", "22: M.same[0]: person has no 'full_name'; did you mean"),
        (
            "name: name}",
            "name: name}\n          only: [name]",
            "23: M.only[0]: `fields:` has no 'name'; there are: display",
        ),
        (
            "mapping:",
            f"webhook: {{{HOOK.replace('{}', '{data: values(@)}')}, events: [x]}}\n    mapping:",
            "19: C.webhook.payload.data: `events:` and `keep:` cut what stands here",
        ),
        ("mapping:", "let: {a: \"let('c')\", b: c}\n    mapping:", "19: C.let.a: `let:` has no 'c'"),
        (
            "mapping:",
            "let: {a: \"let('b')\", b: \"let('a')\"}\n    mapping:",
            "19: C.let.a: goes in circles: it needs let('a')",
        ),
        (
            "mapping:",
            f"webhook: {{{HOOK}, due: {{merged: persons}}}}\n    mapping:",
            "19: C.webhook.due.merged: no stream or listing 'persons'; ",
        ),
        (
            "mapping:",
            f"webhook: {{{HOOK}, hint: {{id: id}}}}\n    mapping:",
            "19: C.webhook: `payload:` and `hint:` both",
        ),
        (
            "mapping:",
            f"webhook: {{{HOOK}, hint: {{of: [x.y], id: id}}}}\n    mapping:",
            "19: C.webhook.hint.of: `hydrate:` says nothing of 'x'",
        ),
        (
            "mapping:",
            f"webhook: {{{HOOK}, decode: true, keep: {{x: [id]}}}}\n    mapping:",
            "19: C.webhook: `keep:` needs",
        ),
        (
            "mapping:",
            f"webhook: {{{HOOK}, decode: true}}\n    cut: [link]\n    mapping:",
            "19: C.webhook.decode: `cut:` does not look into texts",
        ),
        (
            "mapping:",
            f"webhook: {{{HOOK}, decode: true, events: [x]}}\n    mapping:",
            "19: C.webhook: `events:` keeps nothing of other events' `payload:`, and cannot where `decode:`",
        ),
        (
            "proof: {get: /me}",
            HOOKED + "signed: '{url}{body}', timestamp: X-Time}}",
            "13: C.webhook.hmac.signed: does not hold {timestamp}, so that anybody can renew the time of a delivery",
        ),
        (
            "proof: {get: /me}",
            HOOKED + "timestamp: X-Time}}",
            "13: C.webhook.hmac.signed: does not hold {timestamp}, so that anybody can renew",
        ),
        (
            "proof: {get: /me}",
            HOOKED + "signed: '{timestamp}.{body}'}}",
            "13: C.webhook.hmac.timestamp: is missing: `signed:` uses {timestamp}",
        ),
    ],
)
def test_each_mistake_of_a_declaration_has_its_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in DECLARED
    first, *_ = wrong(tmp_path, DECLARED.replace(old, new), TOKEN="very-secret")
    for short, place in (("S.", "streams[0]."), ("M.", "mapping.person[0]."), ("C.", "")):
        told = told.replace(f": {short}", f": connections.desk.{place}", 1)
    assert first.startswith(told)
    assert "very-secret" not in first


def test_settings_that_stand_under_a_name_are_shared_and_a_mistake_in_them_is_told_where_they_stand(
    tmp_path: Path,
) -> None:
    text = DECLARED.replace("{by: cursor", "&pages {by: cursor").replace(
        "    mapping:",
        "      - name: more\n        kind: person\n        get: /more/{cursor}\n"
        "        pages: {<<: *pages, next: more}\n    mapping:",
    )
    (tmp_path / "hub.yaml").write_text(text)
    first, second = load(tmp_path / "hub.yaml", {"TOKEN": "t"}).connections["desk"].settings.streams
    assert (second.pages.by, second.pages.next.text, first.pages.next.text) == ("cursor", "more", "next")
    assert wrong(tmp_path, text.replace("by: cursor", "by: curser"), TOKEN="t")[1].startswith(
        "18: connections.desk.streams[1].pages.by: "
    )


def test_a_signature_over_its_own_time_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text(DECLARED.replace("proof: {get: /me}", HOOKED + "signed: '{timestamp}.{body}', timestamp: X-Time}}"))
    assert load(file, {"TOKEN": "t"}).connections["desk"].connector.webhook is not None


def test_mistakes_of_a_file_that_is_referred_to_are_told_with_its_own_lines(tmp_path: Path) -> None:
    lines = DECLARED.splitlines()
    (tmp_path / "desk.yaml").write_text(
        "\n".join(line.removeprefix("    ") for line in lines[4:]).replace("?active]", "?")
    )
    hub = "data: var/live\nconnections:\n  desk:\n    type: http\n    file: desk.yaml\n    sinse: 3d\n"
    (tmp_path / "hub.yaml").write_text(hub)
    with pytest.raises(ConfigError) as error:
        load(tmp_path / "hub.yaml", {})
    assert [line.removeprefix(f"{tmp_path}/").partition(" got ")[0][:74] for line in str(error.value).splitlines()] == [
        "hub.yaml:6: connections.desk.sinse: unknown setting; did you mean `since`?",
        "desk.yaml:6: auth.bearer: the environment variable TOKEN is not set",
        "desk.yaml:12: streams[0].rows: JMESPath ends too early, at character 9: pe",
    ]
