"""Rows out of a file: CSV with its delimiter and encoding found out, or JSON Lines. Every row knows its line."""

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ConfigError, PermanentError
from core.sdk.bodies import check_depth, clean

Cells = Mapping[str, Any]
_LINES = frozenset({".jsonl", ".ndjson", ".jsonlines"})
_DELIMITERS = ",;\t|"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATOR = re.compile(r"sep=[^\"\s]|sep=\t", re.IGNORECASE)  # how a file tells Excel what stands between its cells
_OTHERS = (  # how files begin that are no rows of text
    (b"PK\3\4", "a workbook or an archive: save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "a workbook: save it as CSV"),
    (b"\x1f\x8b", "packed: unpack it"),
)
_JSON = re.compile(rb"\s*(\{|\[\s*(\{|$))")  # and not a header such as [Order no.]
_CHUNK = 1 << 20
_LONGEST = 64_000_000  # characters of a cell: more is a quote that nobody closes
_UNREADABLE = "\udcff"  # stands where bytes are not of the file's encoding; no text holds it
codecs.register_error("unreadable", lambda error: (_UNREADABLE, error.end))  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Row:
    """`line` is where it begins, from 1 on; `wrong`: why there are no `cells`; `said`: what the file has there, cell by
    cell, or of JSON Lines the line."""

    line: int
    cells: Cells
    wrong: str = ""
    said: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was found. `columns` is None where rows name their own (JSON Lines); `lines` counts all lines;
    `before` those in front of the one that names the columns."""

    path: Path
    encoding: str
    delimiter: str
    columns: Sequence[str] | None
    lines: int
    before: int = 0

    def rows(self) -> Iterator[Row]:
        """Raises PermanentError where the file cannot be read on, with the line."""
        with self.path.open(encoding=self.encoding, errors="unreadable", newline="") as file:
            yield from _objects(file, self) if self.columns is None else _records(file, self)


def found(path: Path, *, delimiter: str | None = None, encoding: str | None = None) -> Source:
    """What kind of file this is. Raises ConfigError where it is none that can be read."""
    try:
        lines, guessed, marked = _scanned(path)
        encoding = guessed if marked or not encoding else encoding
        with path.open(encoding=encoding, errors="unreadable", newline="") as file:
            if path.suffix.lower() in _LINES:
                file.read(1)
                return Source(path, encoding, "", None, lines)
            before, told, head = _head(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeError as error:  # of UTF-16 without its mark
        raise ConfigError(f"{path}: cannot be read as {encoding}: {error}; write `encoding: utf-16-le`") from None
    if _UNREADABLE in head:
        raise ConfigError(f"{path}:{before + 1}: cannot be read as {encoding}: name its `encoding:` in the mapping")
    delimiter = delimiter or told or max(_DELIMITERS, key=lambda each: len(_split(head, each)))
    columns = _apart([name.strip() for name in _split(head, delimiter)])
    if not any(columns):
        raise ConfigError(f"{path}:{before + 1}: the first line must name the columns")
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise ConfigError(f"{path}:{before + 1}: the column {twice[0]!r} stands twice: give each a name of its own")
    return Source(path, encoding, delimiter, columns, lines, before)


def _scanned(path: Path) -> tuple[int, str, bool]:
    """How many lines, and the encoding: what a byte order mark says (then True), else UTF-8 if all of it is, else
    Windows-1252."""
    lines, last, decoder, is_utf8 = 0, b"\n", codecs.getincrementaldecoder("utf-8")(), True
    with path.open("rb") as file:
        begin = file.read(64)
        file.seek(0)
        while chunk := file.read(_CHUNK):
            lines, last = lines + chunk.count(b"\n"), chunk[-1:]
            is_utf8 = is_utf8 and _decodes(decoder, chunk)
    lines += last != b"\n"
    if other := next((what for mark, what in _OTHERS if begin.startswith(mark)), None):
        raise ConfigError(f"{path}: {other}")
    if path.suffix.lower() not in _LINES and _JSON.match(begin.removeprefix(codecs.BOM_UTF8)):
        raise ConfigError(f"{path}: JSON: write an object a line, and name it .jsonl")
    for mark, encoding in _BOMS:
        if begin.startswith(mark):
            return lines, encoding, True
    return lines, "utf-8" if is_utf8 and _decodes(decoder, b"", final=True) else "cp1252", False


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _head(file: io.TextIOBase) -> tuple[int, str, str]:
    """How many lines stand before the header, the delimiter if one of them says it, and the header, which may hold line
    ends inside of quotes."""
    before, told = 0, ""
    while (head := file.readline()) and (not head.strip() or _SEPARATOR.fullmatch(head.strip("\r\n"))):
        before += 1
        told = head[4] if head.strip() else told
    while head.count('"') % 2 and (more := file.readline()):
        head += more
    return before, told, head


def _split(head: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(head), delimiter=delimiter), [])


def _apart(columns: Sequence[str]) -> list[str]:
    """Columns of the same name get their numbers: `Name (1)`, `Name (2)`."""
    seen: Counter[str] = Counter()
    made = []
    for name in columns:
        seen[name] += 1
        made.append(f"{name} ({seen[name]})" if name and columns.count(name) > 1 else name)
    return made


def _records(file: io.TextIOBase, source: Source) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST)  # what is too large for a body is one rejected row, and the next one follows
    reader = csv.reader(file, delimiter=source.delimiter, strict=True)
    for _ in range(source.before):
        file.readline()
    line = source.before + 1
    try:
        next(reader)
        while True:
            line = source.before + reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                return
            if any(cell.strip() for cell in cells):
                yield _record(line, cells, source)
    except (csv.Error, UnicodeError) as error:
        raise PermanentError(
            f"{source.path}:{line}: cannot be read on: {error} "
            "(a cell that begins with a quote ends with one, and a quote within it is written twice)"
        ) from None


def _record(line: int, cells: list[str], source: Source) -> Row:
    columns = list(source.columns or ())
    if source.delimiter != ",":  # which may be in a number, and then the cells would not be those of their columns
        # Programs end a row with a delimiter, or do not, as they like: what has no name need not be there.
        while len(cells) > len(columns) and not cells[-1].strip():
            cells.pop()
        if not any(columns[len(cells) :]):
            cells += [""] * (len(columns) - len(cells))
    if len(cells) != len(columns):
        wrong = f"{len(cells)} cells, and the first line names {len(columns)} columns"
        return Row(line, {}, wrong, [_shown(cell) for cell in cells])
    for name, cell in zip(columns, cells, strict=True):
        if _UNREADABLE in cell:
            wrong = f"column {name!r}: bytes that are not {source.encoding}"
            return Row(line, {}, wrong, [_shown(cell) for cell in cells])
    cells = clean(cells)
    return Row(line, {name: cell for name, cell in zip(columns, cells, strict=True) if name}, said=cells)


def _objects(file: io.TextIOBase, source: Source) -> Iterator[Row]:
    for line, text in enumerate(file, 1):
        if text.strip():
            yield _object(line, text.strip(), source.encoding)


def _object(line: int, text: str, encoding: str) -> Row:
    said = [_shown(text)]
    if _UNREADABLE in text:
        return Row(line, {}, f"bytes that are not {encoding}", said)
    try:
        # Numbers stay as they are written: money is never a float. NaN is how programs write that there is none.
        cells = clean(json.loads(text, parse_float=str, parse_constant=lambda word: {"NaN": None}.get(word, word)))
        check_depth(cells)
    except RecursionError:
        return Row(line, {}, "nested too deep", said)
    except ValueError as error:
        return Row(line, {}, f"not JSON: {error}", said)
    return Row(line, cells, said=said) if isinstance(cells, dict) else Row(line, {}, "not a JSON object", said)


def _shown(text: str) -> str:
    return text.replace(_UNREADABLE, "\N{REPLACEMENT CHARACTER}")
