"""Rows that could not be taken, in a file beside theirs: in its form and with line and reason, to be corrected."""

import codecs
import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from core.errors import ConfigError
from core.ingest.rows import Row, Source

_OWN = ("_line", "_reason")  # what it adds; not once more where it is imported itself


class Beside:
    """The file of one import. It is written as the import goes, so that nothing is lost where that is killed."""

    def __init__(self, source: Source, begin: int) -> None:
        """`begin` > 1 goes on with an import: what was rejected before that line stays, the rest will be looked at
        again. Otherwise the file begins anew. Raises ConfigError where it holds rows that cannot stay."""
        self.path = source.path.with_name(f"{source.path.stem}.rejected{source.path.suffix}")
        self._source = source
        self._written = 0
        # Whatever encoding a mapping names, the mark says what this is.
        self._mark = b"" if codecs.lookup(source.encoding).name == "utf-8" else codecs.BOM_UTF8
        stay = self._before(begin) if begin > 1 and self.path.exists() else []
        new = self.path.with_suffix(".new")
        new.unlink(missing_ok=True)
        if stay:
            self._write(new, stay)
            new.replace(self.path)
        else:
            self.path.unlink(missing_ok=True)

    def add(self, rejected: Sequence[tuple[Row, str]]) -> None:
        """`rejected`: all of this import until now. What is new of them is durable on return."""
        new = sorted(rejected[self._written :], key=lambda each: each[0].line)
        if new:
            self._write(self.path, [self._line(row, reason) for row, reason in new])
        self._written = len(rejected)

    def _line(self, row: Row, reason: str) -> bytes:
        columns = self._source.columns
        if columns is None:
            said = row.cells or {"text": row.said[0]}
            return orjson.dumps({**said, "_line": row.line, "_reason": reason}) + b"\n"
        cells = [cell for name, cell in zip(columns, row.said, strict=False) if name not in _OWN]
        return self._record([*cells, *row.said[len(columns) :], row.line, reason])

    def _record(self, cells: Iterable[Any]) -> bytes:
        out = io.StringIO()
        csv.writer(out, delimiter=self._source.delimiter).writerow(cells)
        return out.getvalue().encode()

    def _head(self) -> bytes:
        columns = self._source.columns
        names = [*(name for name in columns if name not in _OWN), *_OWN] if columns is not None else []
        return self._mark + (self._record(names) if names else b"")

    def _before(self, begin: int) -> list[bytes]:
        """What stands there of lines before `begin`."""
        had = self.path.read_bytes()
        if not had.startswith(self._head()):
            raise ConfigError(
                f"{self.path}: holds rejected rows of a file of another form: "
                "correct and import them, or move it away, before you go on with --from"
            )
        text = had[len(self._head()) :].decode(errors="replace")
        if self._source.columns is None:
            said = [(line, _read(line)) for line in text.split("\n")]
            return [f"{line}\n".encode() for line, number in said if number is not None and number < begin]
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=self._source.delimiter)
        return [self._record(row) for row in rows if len(row) > 1 and row[-2].isdigit() and int(row[-2]) < begin]

    def _write(self, path: Path, lines: Sequence[bytes]) -> None:
        # PRIVACY: what is about people is for the owner alone.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            begin = b"" if os.fstat(file).st_size else self._head()
            with os.fdopen(file, "ab", buffering=0, closefd=False) as out:
                out.write(begin + b"".join(lines))
            os.fsync(file)
        finally:
            os.close(file)


def _read(line: str) -> int | None:
    """The line that a kept JSON object came from; None of what was cut off as it was written."""
    try:
        number = orjson.loads(line)["_line"]
    except (ValueError, KeyError, TypeError):
        return None
    return number if isinstance(number, int) else None
