"""`python -m tests.bench.quote`: the last run's figures (build/bench.json) as the README's table."""

import json
from pathlib import Path

_README = Path("README.md")
_BEGIN, _END = "<!-- bench -->\n", "<!-- /bench -->"


def table(content: dict[str, object]) -> str:
    """Markdown: a line per figure, a column per backend and number of customers; ratios in brackets."""
    rows: list[dict[str, str | float]] = content["rows"]  # type: ignore[assignment]
    places = list(dict.fromkeys(str(row["where"]) for row in rows))
    lines = [f"| {content['machine']} | {' | '.join(places)} |", f"| --- |{' ---: |' * len(places)}"]
    for what in dict.fromkeys(str(row["what"]) for row in rows):
        cells = []
        for place in places:
            found = next((row for row in rows if (row["what"], row["where"]) == (what, place)), None)
            cells.append("" if found is None else _cell(found))
        unit = next(str(row["unit"]) for row in rows if row["what"] == what)
        lines.append(f"| {what}, {unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: dict[str, str | float]) -> str:
    value = float(row["value"])
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return f"{shown} ({float(row['ratio']):.2f})" if row.get("ratio") is not None else shown


def main() -> None:
    content = json.loads(Path("build/bench.json").read_text())
    told = (
        "## How fast\n\n`make bench` repeats it; in brackets the share of the raw aiokafka hop "
        "in the same run.\nOne worker, one machine for broker, database, hub and load; a delivery is three events.\n\n"
    )
    text = _README.read_text()
    before, _, rest = text.partition(_BEGIN)
    _README.write_text(f"{before}{_BEGIN}{told}{table(content)}\n{_END}{rest.partition(_END)[2]}")


if __name__ == "__main__":
    main()
