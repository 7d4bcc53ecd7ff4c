"""hub.yaml: every mistake at once, each with its line and a remedy."""

from pathlib import Path

import pytest

from core import registry
from core.config import load
from core.errors import ConfigError

GOOD = """\
data: var/demo
connections:
  calls:
    type: aircall
    mock: true
    account: example
"""


def wrong(tmp_path: Path, text: str, **environ: str) -> list[str]:
    file = tmp_path / "hub.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(file, environ)
    return [line.removeprefix(f"{file}:") for line in str(error.value).splitlines()]


def test_the_committed_file_is_valid() -> None:
    config = load(Path(__file__).parents[2] / "hub.yaml", {})
    assert sorted(config.connections) == ["aircall", "guru", "hubspot", "intercom"]
    assert config.demo


def test_all_mistakes_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    guru = GOOD.replace("aircall", "guru").replace("account: example", "acount: example")
    text = guru + "  desk:\n    type: zendask\nshows: {}\n"
    assert wrong(tmp_path, text) == [
        "3: connections.calls.account: is missing: A word for the Guru team, which Guru does not name in its answers; "
        "part of every key, so never change it.",
        "6: connections.calls.acount: unknown setting; did you mean `account`?",
        f"8: connections.desk.type: no connector 'zendask'; there are: {', '.join(registry.names())}",
        "9: shows: unknown section; did you mean `show`?",
    ]


def test_a_missing_environment_variable_is_told_once_and_not_as_a_wrong_value(tmp_path: Path) -> None:
    text = GOOD.replace("mock: true", "api_id: ${AIRCALL_ID}\n    api_token: x")
    assert wrong(tmp_path, text) == [
        "5: connections.calls.api_id: the environment variable AIRCALL_ID is not set",
    ]
    crm = "data: var\nconnections:\n  crm:\n    type: hubspot\n    token: ${TOKEN}\n"
    assert wrong(tmp_path, crm) == ["5: connections.crm.token: the environment variable TOKEN is not set"]


def test_secrets_from_the_environment_and_from_files_cannot_change_the_structure(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a: [b, {c\n")
    file = tmp_path / "hub.yaml"
    file.write_text(GOOD.replace("mock: true", "api_id: ${ID}\n    api_token: ${file:secret}"))
    settings = load(file, {"ID": "x: y\n#"}).connections["calls"].settings
    assert settings.api_token.get_secret_value() == "a: [b, {c"  # type: ignore[attr-defined]
    shown = repr(settings)
    assert "a: [b" not in shown


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    told = wrong(tmp_path, GOOD.replace("example", "${file:nowhere}"))
    assert told == ["6: connections.calls.account: the file nowhere cannot be read (No such file or directory)"]


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    told = wrong(tmp_path, GOOD + "  calls:\n    type: aircall\n")
    assert told == ["7: connections.calls: this name stands in line 3 already; names must differ"]


def test_the_country_norway_must_be_quoted(tmp_path: Path) -> None:
    told = wrong(tmp_path, GOOD + "identity:\n  region: NO\n")
    assert told == ["8: identity.region: YAML reads this as false; put it in quotes"]


def test_invented_and_real_sources_do_not_mix(tmp_path: Path) -> None:
    more = "  other:\n    type: aircall\n    account: b\n    api_id: x\n    api_token: y\n"
    (told,) = wrong(tmp_path, GOOD + more)
    assert told.startswith("7: connections.other: this connection is real and others are `mock: true`")


PUSH = "    type: push\n    account: main\n    token: a-long-word-of-the-erp\n"
SHOP = """\
    type: http
    vendor: shop
    title: Shop
    category: own
    account: main
    api: https://a.example.com
    proof: {get: /me}
    mapping: {thing: [{entity: custom, kind: thing, clock: updated, constants: {kind: thing}}]}
"""


def test_two_senders_never_share_their_keys(tmp_path: Path) -> None:
    head = "data: var\nconnections:\n  erp:\n"
    (told,) = wrong(tmp_path, head + PUSH + "  shop:\n" + PUSH)
    assert told == (
        "9: connections.shop.account: connections.erp is push/main, too, and not the same source: each would overwrite "
        "the other's objects; give this one a word of its own, or let one connection do"
    )
    file = tmp_path / "hub.yaml"
    file.write_text(head + PUSH + "  shop:\n" + PUSH.replace("main", "shop"))
    assert load(file, {}).connections.keys() == {"erp", "shop"}


def test_two_declared_connections_share_their_keys_only_where_they_ask_the_same_source(tmp_path: Path) -> None:
    head, file = "data: var\nconnections:\n  one:\n", tmp_path / "hub.yaml"
    (told,) = wrong(tmp_path, head + SHOP + "  two:\n" + SHOP.replace("//a.", "//b."))
    assert told.startswith("17: connections.two.account: connections.one is shop/main, too, and not the same source")
    for change in (("https://a.example.com", "https://a.example.com/"), ("main", "two"), ("vendor: shop", "vendor: b")):
        file.write_text(head + SHOP + "  two:\n" + SHOP.replace(*change))
        assert load(file, {}).connections.keys() == {"one", "two"}, change


def test_two_keys_to_one_account_may_each_have_a_connection(tmp_path: Path) -> None:
    (tmp_path / "hub.yaml").write_text(GOOD + GOOD.partition("connections:\n")[2].replace("calls", "more"))
    assert load(tmp_path / "hub.yaml", {}).connections.keys() == {"calls", "more"}


PAIRS = ("ab", "bc", "cd", "de", "ef", "fg", "gh")  # each nine times the one before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n", "1: expected sections such as `data:` and `connections:`"),
        ("data: [\n", "2: not YAML: "),
        ("", "1: expected sections such as `data:` and `connections:`"),
        ("data: x\n", "1: connections: name at least one connection with its `type:`"),
        (GOOD + "bus: {type: kafka}\n", "7: bus.servers: name Kafka's bootstrap servers"),
        (GOOD + "store: {type: postgres}\n", "7: store.url: name the database"),
        (GOOD + "server: {api: '8080'}\n", "7: server.api: '8080' is not HOST:PORT"),
        (GOOD + "    since: 30\n", "7: connections.calls.since: write a number and a unit: 30s, 5m, 12h, 30d or 2w"),
        (GOOD + "identity: {join: [telepathy]}\n", "7: identity.join[0]: must be 'external_id', "),
        (
            GOOD + "server: {public_url: 2026-13-45}\n",
            "7: server.public_url: YAML reads a timestamp here, and it is none",
        ),
        (
            GOOD + "identity: {region: XX}\n",
            "7: identity.region: not a country's two letters in ISO 3166; such as US, GB",
        ),
        (
            GOOD + "identity: {region: UK}\n",
            "7: identity.region: not a country's two letters in ISO 3166; did you mean `GB`?",
        ),
        (
            GOOD + "identity: {region: us}\n",
            "7: identity.region: not a country's two letters in ISO 3166; did you mean `US`?",
        ),
        (
            GOOD + "identity: {own: [not a number]}\n",
            "7: identity.own: 'not a number' is no e-mail address and no phone",
        ),
        (GOOD + "identity: {join: [phone, phone]}\n", "7: identity.join: phone stands there twice"),
        (
            GOOD + "identity: {proved: {hubspott: [email]}}\n",
            "7: identity.proved.hubspott: no source 'hubspott'; did you me",
        ),
        (GOOD + "identity: {proved: {hubspot: [emial]}}\n", "7: identity.proved.hubspot[0]: must be 'email', "),
        (GOOD + "show: {default: newst}\n", "7: show.default: no source 'newst'; did you mean `newest`?"),
        (GOOD + "show: {name: [hubspott]}\n", "7: show.name[0]: no source 'hubspott'; did you mean `hubspot`?"),
        (
            GOOD + "    poll_every: 0s\n",
            "7: connections.calls.poll_every: must be more than nothing: write 30s, 5m or 12h",
        ),
        (GOOD + "    max_body: -1\n", "7: connections.calls.max_body: input should be greater than 0, got -1"),
        (GOOD + "bus: {disk_cap: -5}\n", "7: bus.disk_cap: input should be greater than 0, got -5"),
        (
            GOOD + "server: {api: '127.0.0.1:80', webhooks: '127.0.0.1:80'}\n",
            "7: server.webhooks: 127.0.0.1:80 is `api`'s address already: give one of them another port",
        ),
        (
            GOOD + "server: {public_url: hooks.example.com/}\n",
            "7: server.public_url: write the whole address, such as https://hooks.example.com, got ",
        ),
        (GOOD + "server: {public_url: 'https://'}\n", "7: server.public_url: write the whole address"),
        (
            GOOD + "    webhook_token: 12345678\n",
            "7: connections.calls.webhook_token: YAML reads a number here; put it in q",
        ),
        (GOOD + "server: {public_url: 2026-01-02}\n", "7: server.public_url: YAML reads a date here; put it in quotes"),
        (GOOD + "bus: &a {options: *a}\n", "7: too many values, or nested too deep"),
        (GOOD + "bus: &a {<<: *a}\n", "7: too many values, or nested too deep"),
        (
            GOOD + "a0: &a0 {x: 1}\n" + "".join(f"a{n + 1}: &a{n + 1} {{<<: *a{n}, <<: *a{n}}}\n" for n in range(20)),
            "7: too many values, or nested too deep",
        ),
        ("data: x\nconnections: " + "[" * 9_000, "1: nested too deep"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in PAIRS),
            "1: too many values, or nested too deep",
        ),
    ],
)
def test_each_mistake_has_its_place_and_remedy(tmp_path: Path, text: str, told: str) -> None:
    first, *more = wrong(tmp_path, text)
    assert first.startswith(told)
    assert not more


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("mesage.body", "there is no entity 'mesage'; did you mean `message`?"),
        ("nonsense", "there is no entity 'nonsense'; there are: article, billing_subscription, call, "),
        ("message.bodyy", "message has no field 'bodyy'; did you mean `body`?"),
        ("call.voicemail.nam", "call.voicemail has no field 'nam'; did you mean `name`?"),
        ("message.body.text", "nothing stands below message.body: write `message.body`"),
        ("person.attributes.", "a name is missing in 'person.attributes.'"),
        ("person.role", "staff and bots would become customers without it; take this path out"),
        ("person.identifiers.kind", "nothing of person.identifiers can be read without its kind: write `person.ident"),
    ],
)
def test_a_path_to_drop_that_names_nothing_is_refused_because_it_would_drop_nothing(
    tmp_path: Path, path: str, told: str
) -> None:
    (line,) = wrong(tmp_path, GOOD + f"    drop:\n      - message.body\n      - {path}\n")
    assert line.startswith(f"9: connections.calls.drop[1]: {told}")


def test_a_path_to_drop_is_an_entity_a_field_or_anything_below_custom_fields(tmp_path: Path) -> None:
    file = tmp_path / "hub.yaml"
    paths = ["message", "person.identifiers", "call.parties.name", "person.attributes.salary", "deal.attributes.a.b"]
    file.write_text(GOOD + f"    drop: {paths}\n")
    assert load(file, {}).connections["calls"].settings.drop == paths


def test_what_is_right_though_it_looks_odd_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "hub.yaml"
    identity = """
identity:
  region: GB
  own: ["020 7946 0999", "0012025550199", "tel:+12025550198", "*@example.com", support@example.com]
  proved: {guru: [email]}
show: {default: proved, name: [calls, aircall, intercom, newest]}
server: {api: "127.0.0.1:0", webhooks: "127.0.0.1:0", public_url: "http://h.example.com:81/below/"}
"""
    file.write_text(GOOD + identity.replace("calls, ", ""))
    assert load(file, {}).identity.region == "GB"
    (told,) = wrong(tmp_path, GOOD + identity)  # a source is called as its keys begin, not as its connection
    assert told == "12: show.name[0]: no source 'calls'; did you mean `aircall`?"


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    file = tmp_path / "hub.yaml"
    file.write_bytes(b"data: \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(file)


def test_a_file_that_is_not_there_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        load(tmp_path / "hub.yaml")


def test_an_aircall_company_has_a_key_or_an_oauth_apps_token_and_a_mistake_there_tells_no_secret(
    tmp_path: Path,
) -> None:
    head = "data: var\nconnections:\n  calls:\n    type: aircall\n    account: example\n"
    key, app = "    api_id: a\n    api_token: canary-1\n", "    access_token: canary-2\n"
    why = "set either `api_id` and `api_token`, or `access_token` of an OAuth app"
    for neither_or_both in ("", key + app, "    api_id: a\n", "    api_token: canary-1\n", app + "    api_id: a\n"):
        assert wrong(tmp_path, head + neither_or_both) == [f"3: connections.calls: {why}"]
    file = tmp_path / "hub.yaml"
    for one in (key, app):
        file.write_text(head + one)
        assert "canary" not in repr(load(file, {}).connections["calls"].settings)


def test_a_hubspot_account_has_a_token_or_an_oauth_app_and_a_mistake_there_tells_no_secret(tmp_path: Path) -> None:
    head = "data: var\nconnections:\n  crm:\n    type: hubspot\n"
    app = "    client_id: app\n    client_secret: canary-1\n    refresh_token: canary-2\n"
    why = "set either `token`, or `client_id`, `client_secret` and `refresh_token` of an OAuth app"
    assert wrong(tmp_path, head) == [f"3: connections.crm: {why}"]
    assert wrong(tmp_path, head + app + "    token: canary-3\n") == [f"3: connections.crm: {why}"]
    file = tmp_path / "hub.yaml"
    file.write_text(head + app)
    assert load(file, {}).connections["crm"].settings.oauth().form["refresh_token"] == "canary-2"  # type: ignore[attr-defined]


# Sources that are declared instead of coded
