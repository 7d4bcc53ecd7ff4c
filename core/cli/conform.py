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
    from core.cli.terminal import emit, say, short
    from core.config import look_in_folders_of
    from core.conformance import kept
    from core.errors import ConfigError

    if write and (name or check or folder):
        raise ConfigError("--write keeps the outcome of all connectors: give no name, no --check and no --folder")
    look_in_folders_of(config)
    every = (*registry.names(folder or ()), *registry.templates())
    names = [name] if name else [each for each in every if not registry.is_family(each)]
    reports = _examined(names, folder or [], check or [], shown=not json)
    if json:
        emit([report.document() for report in reports] if name is None else reports[0].document())
    if write:
        kept.PATH.write_text(kept.text(reports))
        say(short(kept.PATH))
    elif any(report.failures for report in reports):
        raise typer.Exit(1)


def _examined(names: Sequence[str], folders: list[Path], checks: list[str], *, shown: bool) -> list["Report"]:
    from core import conformance
    from core.cli.terminal import finish
    from core.conformance.many import examining

    if len(names) == 1:
        found = [finish(conformance.examine(names[0], folders, checks=checks))]
        if shown:
            _show(found[0], whole=True)
        return found
    found = []
    with examining(names, folders, checks=checks) as reports:
        for name in names:
            found.append(reports[name].result())
            if shown:
                _show(found[-1], whole=bool(checks))
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
    told += f", {exempt} do not apply" if exempt else ""
    say(told + (f" ({report.stability})" if report.stability else ""), "bold")


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
    table(head, ([*cells(row), "; ".join(row["why"])] for row in rows), empty="there are no connectors")


def cells(row: dict[str, Any]) -> list[str]:
    """Name, title, category, stability, number of streams, webhooks, as people read them."""
    declared = "as declared"
    told = [row[name] or declared for name in ("name", "title", "category", "stability")]
    if row["stability"] is None:
        return [*told, declared, declared]
    return [*told, str(len(row["streams"])), "yes" if row["webhooks"] else "no"]


def listed(folders: Sequence[Path] = ()) -> list[dict[str, Any]]:
    """Every connector as `hub connectors --json` tells it; of one for many sources, each declared by its connection,
    category and stability are null."""
    from core import registry
    from core.conformance import kept

    known = kept.load()
    found: list[dict[str, Any]] = []
    for name in registry.names(folders):
        connector, its = registry.load(name, folders), known.get(name)
        declared = connector.of is not None
        not_yet = f"not examined yet: hub test-connector {name}"
        each = "each declaration is examined alone: hub test-connector FILE"
        found.append({
            "name": name, "title": connector.title, "category": None if declared else connector.category,
            "stability": None if declared else its.stability if its else "alpha",
            "streams": [stream.name for stream in connector.streams], "webhooks": connector.webhook is not None,
            "why": [each] if declared else list(its.why) if its else [not_yet],
        })  # fmt: skip
    return found
