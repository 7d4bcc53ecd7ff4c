"""Does a connector keep the contract? Every check is a promise with a name; a connector's author writes nothing for it.

    report = await conformance.run(connector, folder=folder, mock=mock)
    test_freshdesk = supporthub.keeps_every_check("freshdesk", folders=["mine"])     # in a repository of one's own

The connector's real mock stands behind real HTTP on loopback, the hub's own client, intake and polls before it; time is
simulated, so that an hour's pause costs nothing. Nothing is read from or sent to the network.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from core import config, registry
from core.conformance.checks import CHECKS
from core.conformance.report import Check, Report, Result
from core.conformance.simulated import simulated
from core.conformance.subject import BrokenError, ExemptError, MockModule, NotRunError, Subject
from core.errors import ConfigError, HubError
from core.sdk import Connector, Payload

__all__ = ["CHECKS", "Check", "Report", "Result", "examine", "run"]


async def examine(name: str, folders: Sequence[Path] = (), **options: Any) -> Report:
    """`run` for a connector that the registry finds, also in `folders` that hold further ones, or for one that a YAML
    file declares. Raises ConfigError where there is none of that name."""
    if name.endswith((".yaml", ".yml")):
        return await _declared(Path(name), **options)
    connector = registry.load(name, folders)
    if connector.of is not None:
        raise ConfigError(f"{name} is only a way to make connectors: name the YAML file that declares one")
    mock: Any = registry.mock(name, folders) if connector.mock else None
    return await run(connector, folder=registry.folder(name, folders), mock=mock, **options)


async def _declared(path: Path, **options: Any) -> Report:
    """With mock and samples of the coded connector of the same source, where there is one; samples else stand in a
    folder beside the file, `desk/samples` beside `desk.yaml`."""
    connection = config.declared(path)
    connector, settings = connection.connector, connection.settings
    known = connector.name in registry.names()
    mock: Any = registry.mock(connector.name) if known and connector.mock else None
    beside = path.with_suffix("")
    folder = registry.folder(connector.name) if known else beside if beside.is_dir() else None
    said = {name: getattr(settings, name) for name in settings.model_fields_set - {"mock", "base_url"}}
    return await run(connector, folder=folder, mock=mock, settings=said, comes=_comes(settings), **options)


def _comes(settings: Any) -> Callable[[Payload], bool]:
    """A declaration may leave out what the coded connector has: samples count whose payloads can come."""
    read = {stream.kind for stream in settings.streams}
    for kind, fetch in settings.hydrate.items():
        read |= {kind, fetch.missing or f"{kind}.missing", *fetch.kinds.values()}
    heard = {kind.partition(".")[0] for kind in settings.mapping}
    return lambda payload: payload.kind.partition(".")[0] in heard if payload.pushed else payload.kind in read


async def run(
    connector: Connector[Any],
    *,
    folder: Path | None = None,
    mock: MockModule | None = None,
    settings: Mapping[str, Any] | None = None,
    comes: Callable[[Payload], bool] = lambda payload: True,
    checks: Collection[str] = (),
    until_failure: bool = False,
) -> Report:
    """Examine a connector. `folder` holds its samples and README; `mock` is its mock module (anything with `simulator`
    and `DEMO`); `settings` come on top of the DEMO's; `comes` says which samples count. Without one of the first two
    what needs it is `not run`.

    `checks` names the ones to run (none: all); `until_failure` stops after the first that fails. Raises ConfigError for
    a name that is not a check.
    """
    if unknown := sorted(set(checks) - CHECKS.keys()):
        raise ConfigError(f"no check {unknown[0]!r}; there are: {', '.join(CHECKS)}")
    subject = Subject(connector, folder, mock, settings or {}, comes)
    wanted = [check for name, check in CHECKS.items() if not checks or name in checks]
    results = await asyncio.to_thread(lambda: list(_results(subject, wanted, until_failure)))
    return Report(connector.name, tuple(results), partial=bool(checks))


def _results(subject: Subject, wanted: list[Check], until_failure: bool) -> Iterator[Result]:
    for check in wanted:
        result = simulated(lambda check=check: _result(subject, check))  # type: ignore[misc]
        yield result
        if until_failure and result.outcome == "failed":
            return


async def _result(subject: Subject, check: Check) -> Result:
    try:
        with capture_logs():
            await check.examine(subject)
    except ExemptError as error:
        return Result(check.name, check.sentence, "exempt", str(error))
    except NotRunError as error:
        return Result(check.name, check.sentence, "not run", str(error))
    except (BrokenError, HubError) as error:
        return Result(check.name, check.sentence, "failed", str(error))
    except Exception as error:
        return Result(check.name, check.sentence, "failed", f"{type(error).__name__}: {error}")
    return Result(check.name, check.sentence, "passed")
