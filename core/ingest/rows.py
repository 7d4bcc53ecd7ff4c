"""Rows out of a file: CSV with its delimiter and encoding found out, or JSON Lines. Every row knows its line."""

import codecs
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ConfigError, PermanentError

Cells = Mapping[str, Any]
_LINES = frozenset({".jsonl", ".ndjson", ".jsonlines"})
_DELIMITERS = ",;\t|"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """`line` is where it begins, from 1 on; `wrong`: why there are no `cells`, and then `text` is all there is."""

    line: int
    cells: Cells
    wrong: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was found. `columns` is None where rows name their own (JSON Lines); `lines` counts all lines."""

    path: Path
    encoding: str
    delimiter: str
    columns: Sequence[str] | None
    lines: int

    def rows(self) -> Iterator[Row]:
        """Raises PermanentError where the file cannot be read on, with the line."""
        with self.path.open(encoding=self.encoding, newline="") as file:
            yield from _objects(file) if self.columns is None else _records(file, self)


def found(path: Path, *, delimiter: str | None = None, encoding: str | None = None) -> Source:
    """What kind of file this is. Raises ConfigError where it is none that can be read."""
    try:
        lines, guessed = _scanned(path)
        encoding = encoding or guessed
        if path.suffix.lower() in _LINES:
            return Source(path, encoding, "", None, lines)
        with path.open(encoding=encoding, newline="") as file:
            head = _first_record(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (LookupError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as {encoding}: name its `encoding:` in the mapping") from error
    delimiter = delimiter or max(_DELIMITERS, key=lambda each: len(_split(head, each)))
    columns = [name.strip() for name in _split(head, delimiter)]
    if not any(columns):
        raise ConfigError(f"{path}:1: the first line must name the columns")
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise ConfigError(f"{path}:1: the column {twice[0]!r} stands twice: give each a name of its own")
    return Source(path, encoding, delimiter, columns, lines)


def _scanned(path: Path) -> tuple[int, str]:
    """How many lines, and the encoding: what a byte order mark says, else UTF-8 if all of it is, else Windows-1252."""
    lines, last, decoder, is_utf8 = 0, b"\n", codecs.getincrementaldecoder("utf-8")(), True
    with path.open("rb") as file:
        begin = file.read(4)
        file.seek(0)
        while chunk := file.read(_CHUNK):
            lines, last = lines + chunk.count(b"\n"), chunk[-1:]
            is_utf8 = is_utf8 and _decodes(decoder, chunk)
    lines += last != b"\n"
    for mark, encoding in _BOMS:
        if begin.startswith(mark):
            return lines, encoding
    return lines, "utf-8" if is_utf8 and _decodes(decoder, b"", final=True) else "cp1252"


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _first_record(file: io.TextIOBase) -> str:
    """The header, which may hold line ends inside of quotes."""
    head = file.readline()
    while head.count('"') % 2 and (more := file.readline()):
        head += more
    return head


def _split(head: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(head), delimiter=delimiter), [])


def _records(file: io.TextIOBase, source: Source) -> Iterator[Row]:
    reader = csv.reader(file, delimiter=source.delimiter, strict=True)
    columns = list(source.columns or ())
    line = 1
    try:
        next(reader)
        while True:
            line = reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                return
            if not any(cells):
                continue
            if len(cells) == len(columns):
                yield Row(line, {name: cell for name, cell in zip(columns, cells, strict=True) if name})
            else:
                wrong = f"{len(cells)} cells, and the first line names {len(columns)} columns"
                yield Row(line, {}, wrong, source.delimiter.join(cells))
    except (csv.Error, UnicodeError) as error:
        raise PermanentError(f"{source.path}:{line}: cannot be read on: {error}") from None


def _objects(file: io.TextIOBase) -> Iterator[Row]:
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            # Numbers stay as they are written: money is never a float.
            cells = json.loads(text, parse_float=str)
        except (ValueError, RecursionError) as error:
            yield Row(line, {}, f"not JSON: {error}", text.strip())
            continue
        if isinstance(cells, dict):
            yield Row(line, cells)
        else:
            yield Row(line, {}, "not a JSON object", text.strip())
