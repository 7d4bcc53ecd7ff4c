"""The parts of a connector's README that are generated, so that they cannot be wrong."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from core.config.schema import duration_text
from core.sdk import ConnectorConfig


def filled(text: str, connector: Any) -> str:
    """The README with each `<!-- part -->…<!-- /part -->` filled in; a part without marks is left out."""
    for part, table in _TABLES.items():
        text = between(text, part, table(connector))
    return text


def between(text: str, part: str, lines: Iterable[str]) -> str:
    """The text with these lines between the marks of a part, or as it is where it has none."""
    begin, end = f"<!-- {part} -->", f"<!-- /{part} -->"
    head, opened, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    return f"{head}{begin}\n{chr(10).join(lines)}\n{end}{tail}" if opened and closed else text


def _settings(connector: Any) -> Iterator[str]:
    yield "| setting | default | |"
    yield "| --- | --- | --- |"
    for name, field in _own_first(connector.config.model_fields):
        if name not in ("type", "mock"):
            yield f"| `{name}` | {_default(field)} | {field.description}{_choices(field)} |"


def _sections(connector: Any) -> Iterator[str]:
    """The settings below settings, once each, in the order in which they are met."""

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
    common = ConnectorConfig.model_fields
    return sorted(fields.items(), key=lambda item: common.get(item[0]) is not None and not item[1].is_required())


def _choices(field: Any) -> str:
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return f" One of {', '.join(f'`{each}`' for each in choices)}." if choices else ""


def _default(field: Any) -> str:
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
    return _paced((stream.every, _named(stream.name, stream.pull_only)) for stream in connector.streams)


def _listings(connector: Any) -> Iterator[str]:
    return _paced((listing.every, _named(listing.kind, listing.pull_only)) for listing in connector.listings)


def _named(name: str, pull_only: bool) -> str:
    return f"*{name}* (no webhook tells)" if pull_only else f"*{name}*"


def _paced(named: Iterable[tuple[Any, str]]) -> Iterator[str]:
    """One line per pause."""
    by_pause: dict[str, list[str]] = {}
    for every, name in named:
        by_pause.setdefault(duration_text(every) if every else "`poll_every`", []).append(name)
    yield from (f"- every {pause}: {', '.join(names)}" for pause, names in by_pause.items())


def _limits(connector: Any) -> Iterator[str]:
    """What holds before the source's own headers tell better, by the settings' defaults."""
    for quota in connector.quota(connector.config.model_construct(type=connector.name)):
        where = f" to `{quota.path}`" if quota.path else ""
        told = f", {_told(quota.headers)}" if quota.headers else ""
        yield f"- {quota.requests} requests in {duration_text(quota.per)}{where}{told}"
    if told := _told(connector.rate_headers):
        yield f"- {told}"
    if connector.hydrate is not None:
        yield f"- what webhooks name is fetched {connector.batch} at a time"


def _told(headers: Any) -> str:
    names = [f"`{name}`" for name in (headers.limit, headers.remaining, headers.reset) if name]
    return f"as the answers tell: {', '.join(names)}" if names else ""


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
