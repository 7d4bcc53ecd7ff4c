"""`hub import`: a file of an in-house system, row by row through the door of its push connection."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.options import CONFIG, JSON, YAML

if TYPE_CHECKING:
    from core.ingest.mapping import Built, Plan
    from core.ingest.rows import Row, Source

_BATCH = 200  # items
_BATCH_BYTES = 1_000_000
_TRIES = 8
_SHOWN = 20  # rejected rows that are named on the terminal


def import_(
    file: Annotated[Path, typer.Argument(help="CSV, or JSON Lines (.jsonl).")],
    connection: Annotated[str, typer.Option("--connection", help="The connection, `type: push`.")],
    map_: Annotated[Path, typer.Option("--map", help="The mapping: which column is which field.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check every row, and show the first item.")] = False,
    from_: Annotated[int, typer.Option("--from", min=1, help="Begin at this line of the file.")] = 1,
    config: CONFIG = YAML,
    json: JSON = False,
) -> None:
    """Import a file of an in-house system: a row becomes an object in its customer's record.

    Rows that cannot be taken are named, and written to a file beside with their reasons; then it ends with 1. The same
    file once more changes nothing. It works while the hub runs and while it does not.
    """
    from core.cli.terminal import emit, finish
    from core.config import load

    loaded = load(config)
    entry = _entry(loaded, connection)
    plan, source = _prepared(file, map_, loaded.identity.region)
    run = _Import(plan, source, entry, from_)
    answer = _dry(run) if dry_run else finish(_sent(run, loaded))
    if json:
        emit(answer)
    else:
        _show(answer, source)
    if answer["rejected"]:
        raise typer.Exit(1)


@dataclass(slots=True)
class _Import:
    """What a run has come to. `rejected`: (row, reason), reasons as people read them."""

    plan: "Plan"
    source: "Source"
    connection: Any
    begin: int
    accepted: int = 0
    first: dict[str, Any] | None = None
    rejected: "list[tuple[Row, str]]" = field(default_factory=list)

    def batches(self) -> "Iterator[list[tuple[Row, Built]]]":
        """Rows that can be taken, in batches that a push connection takes; the others are rejected. Raises
        PermanentError where the file cannot be read on, after all that stands before."""
        import orjson

        from core.errors import PermanentError

        settings = self.connection.settings
        most, largest = min(_BATCH, settings.max_items), min(_BATCH_BYTES, settings.max_body)
        batch: list[tuple[Row, Built]] = []
        size = 2  # the array's brackets
        try:
            for row in self.source.rows():
                if row.line < self.begin or (built := self._checked(row)) is None:
                    continue
                self.first = self.first or built.item
                length = len(orjson.dumps(built.item)) + 1
                if batch and (len(batch) >= most or size + length > largest):
                    yield batch
                    batch, size = [], 2
                batch.append((row, built))
                size += length
        except PermanentError:
            if batch:
                yield batch
            raise
        if batch:
            yield batch

    def _checked(self, row: "Row") -> "Built | None":
        """The row's item, as the connection would take it; None where it is rejected."""
        import orjson

        from core.deadletter import reason_of
        from core.errors import NormalizeError
        from core.sdk import Payload, loads

        if row.wrong:
            self.rejected.append((row, row.wrong))
            return None
        try:
            built = self.plan.build(row.cells)
            if not built.mistakes:
                body = orjson.dumps([built.item])
                if len(body) > self.connection.settings.max_body:
                    raise NormalizeError(self._too_large())
                # As it comes out of the door's body.
                now = int(time.time() * 1000)
                list(self.connection.connector.normalize(Payload("item", loads(body)[0], "check", True, now)))
                return built
        except NormalizeError as error:
            self.refuse(row, built, str(error))
        except Exception as error:  # one row must not end an import
            self.rejected.append((row, f"cannot be taken: {reason_of(error)}"))
        else:
            self.rejected.append((row, "; ".join(f"column {column!r}: {why}" for column, why in built.mistakes)))
        return None

    def _too_large(self) -> str:
        name, most = self.connection.name, self.connection.settings.max_body
        return f"the row is too large for a body: raise connections.{name}.max_body ({most})"

    def refuse(self, row: "Row", built: "Built", reason: str) -> None:
        place, _, why = reason.partition(": ")
        column = built.column_of(place)
        self.rejected.append((row, f"column {column!r} ({place}): {why}" if column else reason))


def _entry(config: Any, name: str) -> Any:
    from core.errors import ConfigError

    pushes = [each for each in config.connections.values() if (w := each.connector.webhook) is not None and w.tells]
    found = next((each for each in pushes if each.name == name), None)
    if found is None:
        there = ", ".join(each.name for each in pushes) or "none yet"
        raise ConfigError(
            f"--connection: hub.yaml has no push connection {name!r}; there are: {there}. "
            "Write under `connections:` its name with `type: push`, an `account:` and a `token:`"
        )
    return found


def _prepared(file: Path, map_: Path, region: str) -> "tuple[Plan, Source]":
    from core.cli.terminal import short
    from core.errors import ConfigError
    from core.ingest.mapping import Plan
    from core.ingest.rows import found

    try:
        text = map_.read_text(encoding="utf-8-sig")
        modified = int(file.stat().st_mtime * 1000)
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{map_}:1: not UTF-8 text") from None
    plan = Plan(text, short(map_), region=region, modified=modified)
    source = found(file, delimiter=plan.delimiter, encoding=plan.encoding)
    if source.columns is not None:
        plan.check_columns(source.columns, short(file))
    return plan, source


def _dry(run: _Import) -> dict[str, Any]:
    """Every row up to the door, and not through it."""
    from core.cli.terminal import progress

    with progress("checking", run.source.lines) as done:
        for batch in run.batches():
            run.accepted += len(batch)
            done(batch[-1][0].line)
    return {**_answer(run), "dry_run": True, "first": run.first}


async def _sent(run: _Import, config: Any) -> dict[str, Any]:
    from core.cli.client import is_running
    from core.cli.terminal import progress
    from core.errors import HubError
    from core.ingest.rejected import Beside

    running = await is_running(config)
    line = run.begin
    async with _door(config, run.connection, running) as send:
        beside = Beside(run.source, run.begin)
        with progress("import", run.source.lines) as done:
            try:
                async for line in _through(run, send):
                    beside.add(run.rejected)
                    done(line)
            except HubError as error:
                raise type(error)(f"{error}; what stands before line {line} is in: go on with --from {line}") from error
            finally:
                beside.add(run.rejected)
    return {**_answer(run, beside.path), "running": running}


def _door(config: Any, entry: Any, running: bool) -> "AbstractAsyncContextManager[Any]":
    from core import hub
    from core.cli.client import reachable

    # On Kafka the bus can be reached whoever runs elsewhere; the embedded one belongs to the hub that runs.
    listens = running and config.bus.type == "embedded"
    return hub.pushing(config, entry, listener=f"http://{reachable(config.server.webhooks)}" if listens else "")


async def _through(run: _Import, send: Any) -> AsyncIterator[int]:
    """Yields the line after each batch that is durable."""
    for batch in run.batches():
        told = await _told(send, [built.item for _, built in batch])
        for (row, built), item in zip(batch, told, strict=True):
            if item["status"] == "accepted":
                run.accepted += 1
            else:
                run.refuse(row, built, item["reason"])
        yield batch[-1][0].line + 1


async def _told(send: Any, items: list[Any]) -> list[Any]:
    """What became of each. The hub that runs may take less at once than hub.yaml says now: it gets halves."""
    from core.errors import PermanentError

    try:
        return list(await _patiently(send, items))
    except PermanentError as error:
        if error.status != 413:
            raise
        if len(items) == 1:
            return [{"status": "refused", "reason": str(error)}]
        half = len(items) // 2
        return [*await _told(send, items[:half]), *await _told(send, items[half:])]


async def _patiently(send: Any, items: list[Any]) -> Any:
    import asyncio

    from core.errors import TransientError

    for attempt in range(_TRIES):
        try:
            return await send(items)
        except TransientError:
            if attempt == _TRIES - 1:
                raise
            await asyncio.sleep(min(10.0, 0.5 * 2**attempt))
    raise AssertionError("unreachable")


def _answer(run: _Import, beside: Path | None = None) -> dict[str, Any]:
    """`beside`: where rejected rows are kept, if there are any."""
    return {
        "file": str(run.source.path),
        "accepted": run.accepted,
        "rejected": len(run.rejected),
        "rows": [{"line": row.line, "reason": reason} for row, reason in sorted(run.rejected, key=_line)],
        "rejected_file": str(beside) if beside and beside.exists() else None,
    }


def _line(rejected: "tuple[Row, str]") -> int:
    return rejected[0].line


def _show(answer: dict[str, Any], source: "Source") -> None:
    from core.cli.terminal import number, say, short, warn

    for row in answer["rows"][:_SHOWN]:
        warn(f"{short(source.path)}:{row['line']}: {row['reason']}")
    if (more := answer["rejected"] - _SHOWN) > 0:
        warn(f"and {number(more, 'more row')}")
    rejected = f", {number(answer['rejected'], 'row')} rejected" if answer["rejected"] else ""
    if answer.get("dry_run"):
        first = " The first one becomes" if answer["first"] else ""
        say(f"{number(answer['accepted'], 'row')} can be imported{rejected}; nothing was sent.{first}")
        if first:
            _pretty(answer["first"])
        return
    say(f"{number(answer['accepted'], 'row')} imported{rejected}")
    if answer["rejected_file"]:
        say(f"rejected rows with their reasons: {short(Path(answer['rejected_file']))}")
    if not answer["running"]:
        say("they wait on the bus: `hub run` takes them into the records")


def _pretty(item: Any) -> None:
    import orjson

    from core.cli.terminal import safe, say

    for line in orjson.dumps(item, option=orjson.OPT_INDENT_2).decode().splitlines():
        say(line[: len(line) - len(line.lstrip())] + safe(line.lstrip()))
