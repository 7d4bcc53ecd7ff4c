"""`hub docs`: the parts of the documentation that are generated, so that they cannot be wrong."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer


def docs(
    check: Annotated[bool, typer.Option("--check", help="Only say what is not up to date.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write it again.")] = False,
) -> None:
    """Generate connectors' tables and the reference of this command line, or check that they are up to date.

    Ends with 1 where --check finds something to write.
    """
    from core.cli.terminal import say, short, warn
    from core.errors import ConfigError

    if check == write:
        raise ConfigError("say --check or --write")
    old = [(path, text) for path, text in generated().items() if not path.exists() or path.read_text() != text]
    for path, text in old:
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            say(short(path))
        else:
            warn(f"{short(path)} is not up to date: hub docs --write")
    if old and check:
        raise typer.Exit(1)


def generated() -> dict[Path, str]:
    """Every file with generated parts, as it should be."""
    import schemas
    from core import registry

    root = Path(schemas.__file__ or "").parent.parent
    files = {root / "docs" / "cli.md": _command_line()}
    for name in registry.names():
        readme = registry.folder(name) / "README.md"
        if readme.is_relative_to(root) and readme.exists():
            files[readme] = filled(readme.read_text(), registry.load(name))
    return files


def filled(text: str, connector: Any) -> str:
    """The README with each `<!-- part -->…<!-- /part -->` filled in; a part without marks is left out."""
    for part, table in _TABLES.items():
        begin, end = f"<!-- {part} -->", f"<!-- /{part} -->"
        head, opened, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if opened and closed:
            text = f"{head}{begin}\n{chr(10).join(table(connector))}\n{end}{tail}"
    return text


def _settings(connector: Any) -> Iterator[str]:
    yield "| setting | default | |"
    yield "| --- | --- | --- |"
    for name, field in _own_first(connector.config.model_fields):
        if name not in ("type", "mock"):
            yield f"| `{name}` | {_default(field)} | {field.description}{_choices(field)} |"


def _sections(connector: Any) -> Iterator[str]:
    """The settings below settings, once each, in the order in which they are met."""
    from pydantic import BaseModel

    def inside(annotation: Any) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        for each in get_args(annotation):
            yield from inside(each)

    def met(model: type[BaseModel], place: str) -> Iterator[tuple[str, type[BaseModel]]]:
        for name, field in model.model_fields.items():
            for each in inside(field.annotation):
                yield f"{place}{name}", each
                yield from met(each, f"{place}{name}.")

    places: dict[type[BaseModel], list[str]] = {}
    for place, model in met(connector.config, ""):
        places.setdefault(model, []).append(f"`{place}`")
    for model, named in places.items():
        yield from ("", f"{', '.join(named)}: {(model.__doc__ or '').strip()}", "", "| setting | default | |")
        yield "| --- | --- | --- |"
        for name, field in model.model_fields.items():
            yield f"| `{name}` | {_default(field)} | {field.description}{_choices(field)} |"


def _own_first(fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    from core.sdk import ConnectorConfig

    common = ConnectorConfig.model_fields
    return sorted(fields.items(), key=lambda item: common.get(item[0]) is not None and not item[1].is_required())


def _choices(field: Any) -> str:
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return f" One of {', '.join(f'`{each}`' for each in choices)}." if choices else ""


def _default(field: Any) -> str:
    from datetime import timedelta

    from pydantic import BaseModel

    from core.config.schema import duration_text

    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return ""  # a section of its own tells
    if isinstance(default, timedelta):
        return f"`{duration_text(default)}`"
    return "" if default in (None, "", [], {}) else f"`{default}`"


def _streams(connector: Any) -> Iterator[str]:
    if not connector.streams:
        return iter(["None: it takes what is sent."])
    return _paced((stream.every, stream.name) for stream in connector.streams)


def _listings(connector: Any) -> Iterator[str]:
    return _paced((listing.every, listing.kind) for listing in connector.listings)


def _paced(named: Iterable[tuple[Any, str]]) -> Iterator[str]:
    """One line per pause."""
    from core.config.schema import duration_text

    by_pause: dict[str, list[str]] = {}
    for every, name in named:
        by_pause.setdefault(duration_text(every) if every else "`poll_every`", []).append(f"*{name}*")
    yield from (f"- every {pause}: {', '.join(names)}" for pause, names in by_pause.items())


def _limits(connector: Any) -> Iterator[str]:
    """What holds before the source's own headers tell better, by the settings' defaults."""
    from core.config.schema import duration_text

    for quota in connector.quota(connector.config.model_construct(type=connector.name)):
        where = f" to `{quota.path}`" if quota.path else ""
        yield f"- {quota.requests} requests in {duration_text(quota.per)}{where}"
    headers = connector.rate_headers
    told = [name for name in (headers.limit, headers.remaining, headers.reset) if name]
    if told:
        yield f"- as the answers tell: {', '.join(f'`{name}`' for name in told)}"
    if connector.hydrate is not None:
        yield f"- what webhooks name is fetched {connector.batch} at a time"


def _scopes(connector: Any) -> Iterator[str]:
    yield from (f"- {scope}" for scope in connector.scopes)


_TABLES: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "settings": _settings,
    "sections": _sections,
    "streams": _streams,
    "listings": _listings,
    "limits": _limits,
    "scopes": _scopes,
}


def _command_line() -> str:
    """Every command with its help, as plain text of one width."""
    from core.cli.app import app

    command: Any = typer.main.get_command(app)
    command.name = "hub"
    parts = ["# The command line", "", "Generated by `hub docs --write`.", ""]
    parts += ["Exit codes: 0 done · 1 failed, or nothing found · 2 wrong use, or a mistake in hub.yaml.", ""]
    parts += _described(command, None, "hub")
    return "\n".join(parts).rstrip() + "\n"


def _described(command: Any, parent: Any, path: str) -> list[str]:
    context = command.context_class(command, info_name=path.rpartition(" ")[2], parent=parent)
    lines = [] if parent is None else [f"## `{path}`" if path.count(" ") == 1 else f"### `{path}`", ""]
    lines += _paragraphs(command.help or "")
    rows = [row for parameter in command.get_params(context) if (row := _parameter(parameter, context))]
    if rows:
        lines += ["| | |", "| --- | --- |", *rows, ""]
    examples = [each.strip() for each in (command.epilog or "").split("\n\n")[1:]]
    if examples:
        lines += ["```", *examples, "```", ""]
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        lines += _described(command.get_command(context, name), context, f"{path} {name}")
    return lines


def _paragraphs(text: str) -> list[str]:
    import inspect

    cleaned = inspect.cleandoc(text)
    return (
        [line for paragraph in cleaned.split("\n\n") for line in (" ".join(paragraph.split()), "")] if cleaned else []
    )


def _parameter(parameter: Any, context: Any) -> str | None:
    if parameter.name == "help":
        return None
    names = ", ".join(f"`{each}`" for each in parameter.opts)
    if not parameter.opts[0].startswith("-"):
        names = f"`{parameter.name.upper()}`"
    default = parameter.default
    shown = f" Default: `{default}`." if default not in (None, False, "", []) and not callable(default) else ""
    return f"| {names} | {parameter.help or ''}{shown} |"
