"""`hub test-connector` and `hub connectors`: does a connector keep the contract, and what follows from it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.options import CONFIG, JSON, YAML

if TYPE_CHECKING:
    from core.conformance import Report

FOLDER = Annotated[
    list[Path] | None, typer.Option("--folder", help="A folder with further connectors, one subfolder each.")
]
_STYLE = {"failed": "bold red", "not run": "yellow", "exempt": "dim", "passed": "green"}


def test_connector(
    name: Annotated[
        str | None, typer.Argument(help="The connector, or the YAML file that declares it; none: all.")
    ] = None,
    check: Annotated[list[str] | None, typer.Option("--check", help="Only this check; may be given again.")] = None,
    folder: FOLDER = None,
    write: Annotated[
        bool, typer.Option("--write", help="Keep the outcome of all connectors: `hub connectors` and README show it.")
    ] = False,
    config: CONFIG = YAML,
    json: JSON = False,
) -> None:
    """Examine a connector with its contract mock: what is pure, what deliveries prove, what faults do to records.

    Needs no hub and no network; time is simulated. Ends with 1 where a check fails.
    """
    from core import registry
    from core.cli.terminal import emit, finish, say, short
    from core.config import look_in_folders_of
    from core.conformance import kept
    from core.errors import ConfigError

    if write and (name or check or folder):
        raise ConfigError("--write keeps the outcome of all connectors: give no name, no --check and no --folder")
    look_in_folders_of(config)
    every = (*registry.names(folder or ()), *registry.templates())
    names = [name] if name else [each for each in every if not registry.is_family(each)]
    reports = finish(_examined(names, folder or [], check or [], shown=not json))
    if json:
        emit([report.document() for report in reports] if name is None else reports[0].document())
    if write:
        kept.PATH.write_text(kept.text(reports))
        say(short(kept.PATH))
    elif any(report.failures for report in reports):
        raise typer.Exit(1)


async def _examined(names: Sequence[str], folders: list[Path], checks: list[str], *, shown: bool) -> list["Report"]:
    from core import conformance

    found = []
    for name in names:
        report = await conformance.examine(name, folders, checks=checks)
        found.append(report)
        if shown:
            _show(report, whole=bool(checks) or len(names) == 1)
    return found


def _show(report: "Report", *, whole: bool) -> None:
    from core.cli.terminal import number, say

    for each in report.results:
        if whole or each.outcome in ("failed", "not run"):
            say(f"{each.outcome:8} {each.check:15} {each.sentence}", _STYLE[each.outcome])
            if each.reason:
                say(f"{'':24} {each.reason}")
    passed = sum(each.outcome == "passed" for each in report.results)
    exempt = sum(each.outcome == "exempt" for each in report.results)
    told = f"{report.connector}: passes {passed} of {number(len(report.results), 'check')}"
    say(told + (f", {exempt} do not apply" if exempt else "") + f" ({report.stability})", "bold")


def connectors(folder: FOLDER = None, config: CONFIG = YAML, json: JSON = False) -> None:
    """All connectors with their stability, and what stands against a higher one."""
    from core.cli.terminal import emit, table
    from core.config import look_in_folders_of

    look_in_folders_of(config)

    rows = listed(folder or ())
    if json:
        emit(rows)
        return
    head = ("NAME", "TITLE", "CATEGORY", "STABILITY", "STREAMS", "WEBHOOKS", "WHY NOT HIGHER")
    table(head, ([*list(row.values())[:4], len(row["streams"]), "yes" if row["webhooks"] else "no",
                  "; ".join(row["why"])] for row in rows), empty="there are no connectors")  # fmt: skip


def listed(folders: Sequence[Path] = ()) -> list[dict[str, Any]]:
    """Every connector as `hub connectors --json` tells it."""
    from core import registry
    from core.conformance import kept

    known = kept.load()
    found = []
    for name in registry.names(folders):
        connector, its = registry.load(name, folders), known.get(name)
        if connector.of is not None:
            its = kept.Kept("alpha", ("each declaration is examined alone: hub test-connector FILE",))
        found.append({
            "name": name, "title": connector.title, "category": connector.category,
            "stability": its.stability if its else "alpha",
            "streams": [stream.name for stream in connector.streams], "webhooks": connector.webhook is not None,
            "why": list(its.why) if its else [f"not examined yet: hub test-connector {name}"],
        })  # fmt: skip
    return found
