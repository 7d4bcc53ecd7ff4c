"""`hub check`: whether hub.yaml, bus and store are as they should be; with --live also the credentials."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from core.cli.options import CONFIG, JSON, YAML

Answer = dict[str, Any]
_PUBLIC = "set `server.public_url` to where the source reaches it"


def check(
    config: CONFIG = YAML,
    live: Annotated[bool, typer.Option("--live", help="Prove every connection's credentials at its source.")] = False,
    json: JSON = False,
) -> None:
    """Check hub.yaml, bus and store, and print the webhook URLs to paste; --live asks the sources, too.

    Each source is asked one or two questions then. A hub that runs is not told of them: they come out of the `reserve`
    that it leaves to the company's other tools.

    Ends with 2 where hub.yaml is wrong, every mistake named by its line; with 1 where something else is.
    """
    from core.cli.terminal import emit, finish
    from core.config import load

    answer = finish(_checked(load(config), live))
    if json:
        emit(answer)
    else:
        _show(answer)
    if not answer["ok"]:
        raise typer.Exit(1)


async def _checked(config: Any, live: bool) -> Answer:
    from core.cli.client import is_running

    running = await is_running(config)
    bus, store = await _bus(config, running), await _store(config)
    connections = {name: _told(each, config) for name, each in config.connections.items()}
    if live:
        await _prove(config, connections)
    wrong = [*bus["problems"], *store["problems"], *(p for each in connections.values() for p in each["problems"])]
    mocked = sum(each.settings.mock for each in config.connections.values())
    return {
        "ok": not wrong,
        "file": str(config.path),
        "kind": "demo" if config.demo else "real",
        "mocked": mocked,
        "running": running,
        "bus": bus,
        "store": store,
        "connections": connections,
    }


async def _bus(config: Any, running: bool) -> Answer:
    from core import hub
    from core.errors import HubError

    kind = config.bus.type
    answer: Answer = {"type": kind, "at": config.bus.servers or str(config.data / "bus.db"), "problems": []}
    if kind == "embedded" and (running or not (config.data / "bus.db").exists()):
        there = (config.data / "bus.db").exists()
        return {**answer, "note": "in use by the hub that runs" if there else "not there yet: `hub run` makes it"}
    try:
        async with hub.open_bus(config, read_only=True) as bus:
            answer |= {"kind": await hub.kind_of(bus), "problems": list(await bus.check())}
    except HubError as error:
        answer["problems"] = [str(error)]
    return answer


async def _store(config: Any) -> Answer:
    from core import hub, process
    from core.errors import HubError, NoStoreError

    kind = config.store.type
    answer: Answer = {"type": kind, "problems": []}
    none: Answer = {**answer, "note": "not there yet: `hub run` makes it"}
    if kind == "sqlite" and not (config.data / "hub.db").exists():
        return none  # not even its folder is made
    try:
        async with hub.open_store(config, read_only=True) as store:
            row = await store.hub()
            if why := process.due(row, hub.settings_of(config)):
                answer["problems"] = [f"{why}: {process.REMEDY}"]
            return {**answer, "kind": row.kind, "generation": row.generation, "revision": row.fold_revision}
    except NoStoreError:
        return none
    except HubError as error:
        return {**answer, "problems": [str(error)]}


def _told(connection: Any, config: Any) -> Answer:
    """What can be said of a connection without asking its source. What drift passes over for ever is a problem now."""
    from core import hub
    from core.ingest.samples import samples_of

    settings, connector, server = connection.settings, connection.connector, config.server
    webhook = connector.webhook
    taken = webhook is not None and webhook.enabled(settings)
    # Who sends from inside needs no public address.
    private = webhook is not None and not webhook.tells and not settings.mock and not server.public_url
    return {
        "connector": connector.name,
        "mock": settings.mock,
        "webhook": hub.hook_url(connection, server.public_url or f"http://{server.webhooks}") if webhook else None,
        "webhook_needs": webhook.needs if webhook and not taken else None,
        "webhook_private": private,
        "instructions": webhook.instructions if webhook else "",
        "scopes": list(connector.scopes),
        "streams": [stream.name for stream in connector.streams],
        # To poll only is no mistake: then the address is private, and nobody minds.
        "problems": [
            *samples_of(connector).unreadable,
            *([f"the webhook's address is a private one: {_PUBLIC}"] if private and taken else []),
        ],
    }


async def _prove(config: Any, connections: dict[str, Answer]) -> None:
    import asyncio
    from datetime import UTC, datetime

    from core.cli.terminal import progress
    from core.ingest import Client, Keyring, Patience, sessions

    def now() -> datetime:
        return datetime.now(UTC)

    real = [each for each in config.connections.values() if not each.settings.mock or each.settings.base_url]
    async with sessions() as session:
        keyring = Keyring(session, now, config.data)
        with progress("asking the sources", len(real)) as done:

            async def ask(connection: Any) -> None:
                # Who waits is a person, and what is asked again is paid by the other tools.
                patience = Patience(tries=2, longest=5.0, timeout=15.0)
                http = Client(connection, session, now, patience=patience, keyring=keyring)
                answer, said = connections[connection.name], await _asked(connection, http)
                answer |= {**said, "problems": [*said.get("problems", ()), *answer["problems"]]}
                asked.append(connection.name)
                done(len(asked))

            asked: list[str] = []
            await asyncio.gather(*(ask(connection) for connection in real))


async def _asked(connection: Any, http: Any) -> Answer:
    from core.deadletter import reason_of
    from core.errors import HubError, PermanentError, RateLimitedError, UnauthorizedError

    place = f"connections.{connection.name}"
    try:
        account = await connection.connector.account(http, connection.settings)
        return {"account": account, "proved": True, "problems": []}
    except UnauthorizedError as error:
        why = f"{error}: correct the credentials of {place}"
    except PermanentError as error:
        scopes = f"; it needs: {', '.join(connection.connector.scopes)}" if connection.connector.scopes else ""
        why = f"{error}: compare {place} with its connector's README{scopes}"
    except RateLimitedError as error:
        why = f"{error}: its limit is used up just now; try again in a minute"
    except HubError as error:
        why = f"{error}: the source does not answer; try again later"
    except Exception as error:
        why = f"{reason_of(error)}: a mistake in the code of the connector {connection.connector.name}"
    return {"proved": False, "problems": [why]}


def _show(answer: Answer) -> None:
    from core.cli.terminal import number, say

    mocked = " (mock)" if answer["mocked"] else ""
    say(f"{answer['file']} ok · {number(len(answer['connections']), 'connection')}{mocked}")
    bus, store = answer["bus"], answer["store"]
    marked = f"{bus['kind']}, " if bus.get("kind") else ""
    say(f"bus    {bus['type']}: {bus.get('note') or marked + ('see below' if bus['problems'] else 'ok')}")
    if "generation" in store:
        say(f"store  {store['type']}: {store['kind']}, generation {store['generation']}, revision {store['revision']}")
    else:
        say(f"store  {store['type']}: {store.get('note') or 'see below'}")
    for problem in [*bus["problems"], *store["problems"]]:
        say(f"  ! {problem}")
    for name, each in answer["connections"].items():
        for line in _connection(name, each):
            say(line)


def _connection(name: str, answer: Mapping[str, Any]) -> list[str]:
    problems = [f"  ! {problem}" for problem in answer["problems"]]
    if answer["mock"] and "proved" not in answer:
        return [f"{name}: {answer['connector']}, a mock; `hub run` starts it", *problems]
    state = {None: "not asked; --live does", True: f"ok, account {answer.get('account')}", False: "refused"}
    lines = [f"{name}: {answer['connector']}, {state[answer.get('proved')]}", *problems]
    if answer["scopes"]:
        lines.append(f"  scopes   {', '.join(answer['scopes'])}")
    lines.append(f"  polls    {', '.join(answer['streams']) or 'nothing'}")
    if answer["webhook"] is None:
        return [*lines, "  webhook  none: poll only"]
    lines.append(f"  webhook  {answer['webhook']}")
    if setting := answer["webhook_needs"]:
        lines.append(f"           not taken yet: set `{setting}`; until then poll only")
        if answer["webhook_private"]:
            lines.append(f"           a private address: {_PUBLIC}")
    return [*lines, *(f"           {line}" for line in answer["instructions"].strip().splitlines())]
