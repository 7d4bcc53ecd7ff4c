"""What is written to the terminal. Machines get JSON on stdout, people get text; errors are one line on stderr."""

import asyncio
import sys
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

T = TypeVar("T")
_WIDE = 240  # columns where nobody's window is measured: into a pipe nothing is cut or wrapped
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))

# SECURITY: names and subjects are a stranger's text. Control characters would drive the terminal, and marks of
# direction would turn a line round; tabs and line ends inside of a line become blanks.
_UNSAFE = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ") | dict.fromkeys(
    [*range(0x200E, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0x061C], None
)


def safe(text: Any) -> str:
    """One line without anything that a terminal obeys."""
    return str(text).translate(_UNSAFE)


def out() -> Console:
    """Stdout as it is now."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE)


def say(line: str = "", style: str | None = None) -> None:
    """One line on stdout."""
    out().print(Text(safe(line), style=style or ""))


def warn(line: str) -> None:
    """One line on stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(safe(line)))


def emit(value: Any) -> None:
    """JSON on stdout, indented."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Columns under their names, or the sentence `empty`. A last column that is long is wrapped, never cut."""
    shown = [[cell if isinstance(cell, Table) else _cell(cell) for cell in row] for row in rows]
    if not shown:
        say(empty)
        return
    drawn = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in head[:-1]:
        drawn.add_column(name, no_wrap=True)
    drawn.add_column(head[-1], overflow="fold")
    for row in shown:
        drawn.add_row(*row)
    Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE).print(drawn)


def _cell(value: Any) -> Text:
    return Text(safe("–" if value in (None, "") else value))


def bar(share: float | None, words: str) -> Any:
    """A cell of a table: how much is done (0 to 1; None: nobody knows) in words, behind a bar where one watches."""
    if share is None or not sys.stdout.isatty():
        return words if share is None else f"{min(share, 1.0):.0%} {words}"
    drawn = Table.grid(padding=(0, 1))
    drawn.add_row(ProgressBar(total=1.0, completed=min(share, 1.0), width=16), _cell(words))
    return drawn


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Any]:
    """A bar on stderr, where somebody watches; yields a function that takes how many are done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its end. Ctrl-C cancels it; the command then ends quietly with 130."""
    return asyncio.run(work)


def span(seconds: float) -> str:
    """`2 d`, `5 h`, `12 min`, `8 s`; negative ones are 0."""
    whole = max(0, int(seconds))
    for size, unit in _UNITS:
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def ago(moment: str | None) -> str:
    """How long ago an RFC 3339 time was, or nothing."""
    return f"{span(age(moment))} ago" if moment else ""


def age(moment: str) -> float:
    """Seconds since an RFC 3339 time."""
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def local(moment: str) -> str:
    """An RFC 3339 time as the reader's own clock shows it, to the minute."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}"


def clock() -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}"


def short(path: Path) -> str:
    """Relative to where the command was given, where it lies below."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def command() -> str:
    """How this command was called, so that a printed line works where it is pasted."""
    return short(Path(sys.argv[0])) if Path(sys.argv[0]).name == "hub" else "hub"


def number(count: int, word: str) -> str:
    """`1 connection`, `4 connections`"""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def counted(counts: Mapping[str, int]) -> str:
    """`wrong token: 2, stale: 1`"""
    return ", ".join(f"{reason}: {count}" for reason, count in sorted(counts.items()))
