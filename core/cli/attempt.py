"""`hub try`: a payload in, events out. Needs no hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from core.cli.options import CONFIG, JSON, YAML

_SAMPLE = {"kind", "data", "account", "pushed", "received", "at", "headers"}


def attempt(
    connector: Annotated[
        str,
        typer.Argument(help="The connector, for instance aircall; a connection that is declared in YAML; or its file."),
    ],
    file: Annotated[Path, typer.Argument(help="A webhook's body, or a sample {kind, data, …}; - reads stdin.")],
    config: CONFIG = YAML,
    account: Annotated[str, typer.Option(help="The source's account, part of every key.")] = "example",
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting of the connection: SETTING=VALUE.")] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the events of X.payload.json beside it, in X.events.json.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Again whenever the payload or the connector changes.")
    ] = False,
    json: JSON = False,
) -> None:
    """Show the events that a payload gives, its identifiers with their class, and what is ignored.

    Ends with 1 where the payload is not what the connector knows; the message names the place in it.
    """
    from core.cli.terminal import emit

    if watch:
        from core.cli.watch import again

        again(_watched(connector, file, config))
    made, settings = _resolved(connector, config, account, _settings(set_ or []))
    answer = _tried(made, settings, _read(file))
    if json:
        emit(answer)
    else:
        _show(answer)
    if record:
        _recorded(made, file, said=not json)


def _read(file: Path) -> Any:
    import sys

    import orjson

    from core.errors import ConfigError, PermanentError

    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise PermanentError(f"{file}:{error.lineno}: not JSON: {error.msg}") from None


def _settings(given: Sequence[str]) -> dict[str, str]:
    from core.errors import ConfigError

    found = dict(each.split("=", 1) for each in given if "=" in each)
    if len(found) != len(given):
        raise ConfigError("--set: write SETTING=VALUE")
    return found


def _recorded(connector: Any, file: Path, *, said: bool) -> None:
    from core.cli.terminal import say, short
    from core.conformance.samples import record
    from core.errors import ConfigError

    if not file.name.endswith(".payload.json"):
        raise ConfigError(f"--record: {file.name} is not named X.payload.json, as samples are")
    path = record(connector, file)
    if said:
        say(f"recorded in {short(path)}")


def _resolved(name: str, config: Path, account: str, given: dict[str, str]) -> tuple[Any, Any]:
    """The connector with settings with which it can be tried: those of its mock, or what its declaration says."""
    from pydantic import ValidationError

    from core import registry
    from core.config import declared, declared_in, look_in_folders_of
    from core.errors import ConfigError

    is_file = name.endswith((".yaml", ".yml"))
    if connection := declared(Path(name), given) if is_file else declared_in(config, name):
        return connection.connector, connection.settings
    look_in_folders_of(config)
    connector = registry.load(name)
    demo = dict(registry.mock(name).DEMO) if connector.mock else {}
    try:
        return connector, connector.config.model_validate({"type": name, "account": account, **demo, **given})
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        raise ConfigError(f"settings of {name}: {wrong}; give them with --set SETTING=VALUE") from None


def _watched(name: str, file: Path, config: Path) -> list[Path]:
    """What the answer depends on."""
    from core import registry
    from core.config import look_in_folders_of

    if name.endswith((".yaml", ".yml")):
        return [file, Path(name)]
    look_in_folders_of(config)
    own = registry.folder(name).glob("*.py") if name in registry.names() else ()
    return [file, config, *own]


def _tried(connector: Any, settings: Any, body: Any) -> dict[str, Any]:
    payloads, hints, ignored = _payloads(connector, settings, body, settings.account or "example")
    return {
        "connector": connector.name,
        "events": [event for payload in payloads for event in _events(connector, payload)],
        "fetched_later": [{"kind": hint.kind, "id": hint.id, "action": hint.action} for hint in hints],
        "ignored": list(ignored),
    }


def _payloads(connector: Any, settings: Any, body: Any, account: str) -> tuple[Sequence[Any], Sequence[Any], Any]:
    """A sample as it is, anything else as a webhook's body."""
    import time

    from core.cli.trace import place_of
    from core.errors import NormalizeError, PermanentError
    from core.sdk import Delivery, Payload

    if isinstance(body, dict) and {"kind", "data"} <= body.keys() <= _SAMPLE:
        defaults = {"account": account, "pushed": False, "received": int(time.time() * 1000)}
        return [Payload(**{**defaults, **body})], (), ()
    if connector.webhook is None:
        raise PermanentError(f"{connector.title} has no webhooks: give a sample with `kind` and `data`")
    delivery, now = Delivery("POST", "", {}, b""), int(time.time() * 1000)

    def taken(given: Any) -> Any:
        split = connector.webhook.split(connector.webhook.cut(given), delivery, settings, account, now)
        if split.odd:
            raise NormalizeError("; ".join(split.odd))
        return split

    try:
        split = taken(body)
    except Exception as error:
        why = _why(error, place_of(body, taken))
        raise PermanentError(f"not a webhook of {connector.title}: {why}") from error
    return split.payloads, split.hints, split.ignored


def _events(connector: Any, payload: Any) -> list[dict[str, Any]]:
    from dataclasses import replace

    from core.cli.trace import place_of
    from core.errors import PermanentError
    from core.sdk import classify

    try:
        events = [classify(event, connector.evidence) for event in connector.normalize(payload)]
        return [event.model_dump(mode="json", exclude_defaults=True) for event in events]
    except Exception as error:
        place = place_of(payload.data, lambda data: list(connector.normalize(replace(payload, data=data))))
        raise PermanentError(f"{payload.kind}: {_why(error, place)}") from error


def _why(error: Exception, place: str | None) -> str:
    """The payload is the caller's own file: unlike in dead letters, what stands in it may be quoted."""
    from pydantic import ValidationError

    from core.errors import HubError

    said = str(error) if isinstance(error, HubError) else f"{type(error).__name__}: {error}"
    if isinstance(error, ValidationError):
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
    return f"at {place}: {said}" if place else said


def _show(answer: dict[str, Any]) -> None:
    from core.cli.terminal import say

    for event in answer["events"]:
        order = event["order"]
        say(f"{event['type']}  {event['subject']}", "bold")
        say(f"  {event.get('mode', 'full')}, clock {order[0]}, {'read' if order[1] else 'pushed'}, id {event['id']}")
        for held in event.get("data", {}).get("identifiers") or ():
            say(f"  {held['kind']}:{held['value']} is {held.get('class_') or 'claimed'}")
        for field, value in event.get("data", {}).items():
            if field != "identifiers":
                say(f"  {field}: {_text(value)}")
        say()
    for hint in answer["fetched_later"]:
        say(f"fetched later: {hint['kind']} {hint['id']} ({hint['action']})")
    for kind in answer["ignored"]:
        say(f"ignored: {kind}")
    if not (answer["events"] or answer["fetched_later"] or answer["ignored"]):
        say("no events: the payload says nothing that the hub keeps")


def _text(value: Any) -> str:
    import orjson

    return value if isinstance(value, str) else orjson.dumps(value).decode()
