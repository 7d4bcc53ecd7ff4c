"""`python -m tests.bench.quote`: the last runs' figures (in build/) as the README's tables."""

import json
from pathlib import Path
from typing import Any

from tests.bench.rows import CONNECTOR, FIGURES, OF_BACKFILL

_README = Path("README.md")
_TOLD = (
    "## How fast\n\n`make bench` repeats it; in brackets the share of the raw aiokafka hop in the same run, and of "
    "latencies\nduring a backfill how many times the same without one. One worker, one machine for broker, database, "
    "hub and load;\na delivery is three events. The hub is one process; *ingest apart*: two, one of them "
    "`hub run --role ingest`.\nPostgreSQL has the settings named above, and rests after the customers were loaded."
)
_TOLD_OF_SOURCES = (
    "A first fetch from each connector's mock (`make bench ARGS=sources`): what it takes to make events of what comes, "
    "in one\nprocess, and how often the source is asked. Below, how long `hub test-connector` takes for all connectors "
    "together, and\nfor a dozen (those in YAML are counted several times)."
)
_TOLD_OF_BACKFILL = (
    'A first fetch of a million objects (`make bench ARGS="backfill embedded"`, an hour). Deliveries come for five '
    "minutes at\nits beginning and after 20, 40, 60, 80 and 95 % of it; in turns with that, the same deliveries while "
    "its source\nsays nothing."
)
Rows = list[dict[str, Any]]


def table(rows: Rows, first: str) -> str:
    """Markdown: a line per figure, a column per place where it was measured; ratios in brackets."""
    places, figures = _words(rows, "where"), _words(rows, "what")
    lines = [f"| {first} | {' | '.join(places)} |", f"| --- |{' ---: |' * len(places)}"]
    for what in figures:
        cells = [_cell(rows, what, place) for place in places]
        lines.append(f"| {what}, {_unit(rows, what)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def connectors(rows: Rows) -> str:
    """A line per connector, a column per figure."""
    figures = _words(rows, "what")
    heads = [f"{what.removeprefix(CONNECTOR)}, {_unit(rows, what)}" for what in figures]
    lines = [f"| connector | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(figures)}"]
    lines += [
        f"| {place} | {' | '.join(_cell(rows, what, place) for what in figures)} |" for place in _words(rows, "where")
    ]
    return "\n".join(lines)


def _words(rows: Rows, name: str) -> list[str]:
    return list(dict.fromkeys(str(row[name]) for row in rows))


def _unit(rows: Rows, what: str) -> str:
    return next(str(row["unit"]) for row in rows if row["what"] == what)


def _cell(rows: Rows, what: str, place: str) -> str:
    row = next((row for row in rows if (row["what"], row["where"]) == (what, place)), None)
    if row is None:
        return ""
    value = float(row["value"])
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return f"{shown} ({float(row['ratio']):.2f})" if row.get("ratio") is not None else shown


def section(content: dict[str, Any]) -> str:
    """What stands in the README."""
    of_sources = [row for row in content["rows"] if str(row["what"]).startswith(CONNECTOR)]
    others = [row for row in content["rows"] if row not in of_sources]
    parts = [_TOLD, table(others, content["machine"])] if others else []
    if of_sources:
        parts += [_TOLD_OF_SOURCES, connectors(of_sources)]
    return "\n\n".join(parts)


def of_backfill(content: dict[str, Any]) -> str:
    """The same of one whole first fetch."""
    return f"{_TOLD_OF_BACKFILL}\n\n{table(content['rows'], content['machine'])}"


def main() -> None:
    for file, name, shown in ((FIGURES, "bench", section), (OF_BACKFILL, "backfill", of_backfill)):
        if not file.exists():
            continue  # what the README says of it stays
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, rest = _README.read_text().partition(begin)
        _README.write_text(f"{before}{begin}{shown(json.loads(file.read_text()))}\n{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
    main()
