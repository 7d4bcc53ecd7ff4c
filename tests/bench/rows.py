"""What one run of the bench finds: rows for the table and for JSON, and how they are printed."""

import json
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

BUILD = Path("build")
FIGURES, OF_BACKFILL = BUILD / "bench.json", BUILD / "backfill.json"  # the latter: of a whole one
out = Console(highlight=False)
CONNECTOR = "connector: "  # begins the names of figures that are of one connector


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `ratio` compares it to `baseline` within the same run."""

    what: str
    where: str
    value: float
    unit: str
    baseline: str = ""
    ratio: float | None = None


@dataclass(slots=True)
class Report:
    """All figures of a run, in the order in which they were measured; `path` has them from the first one on, so that
    a run that is cut short leaves what it found."""

    path: Path
    rows: list[Row] = field(default_factory=list)

    def add(self, what: str, where: str, value: float, unit: str, *, against: "Row | None" = None) -> Row:
        ratio = value / against.value if against and against.value else None
        row = Row(what, where, value, unit, f"{against.what}, {against.where}" if against else "", ratio)
        self.rows.append(row)
        self._write()
        shown = f"   {ratio:.2f} of {row.baseline}" if ratio is not None else ""
        out.print(f"  {what:38} {where:34} {_number(value):>9} {unit}{shown}", markup=False)
        return row

    def show(self) -> None:
        table = Table(title=f"supporthub on {machine()}", box=None, pad_edge=False)
        for name in ("what", "where", "value", "unit", "ratio", "of"):
            table.add_column(name, justify="right" if name in ("value", "ratio") else "left")
        for row in self.rows:
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            table.add_row(row.what, row.where, _number(row.value), row.unit, ratio, row.baseline)
        out.print(table)

    def find(self, what: str, where: str) -> Row | None:
        return next((row for row in self.rows if (row.what, row.where) == (what, where)), None)

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {"machine": machine(), "rows": [asdict(row) for row in self.rows]}
        self.path.write_text(json.dumps(content, indent=1) + "\n")


@cache
def machine() -> str:
    """Processor, cores and Python: figures mean little without them."""
    cores = subprocess.run(["nproc"], capture_output=True, text=True, check=False).stdout.strip() or "?"
    return f"{platform.machine()}, {cores} cores, Python {sys.version.split()[0]}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile; `share` between 0 and 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
