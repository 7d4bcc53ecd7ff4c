"""Logs: one line per fact, pretty on a terminal, JSON otherwise; secrets and people are blotted out here and only here.

A log line may say *that*, never *who*. What is personal is read from the classes in the schema, by the field's name.
"""

import logging
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TextIO, get_args

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from schemas.entities import IdentifierKind, Shape
from schemas.personal import level as personal_level

BLOT = "[redacted]"

# PRIVACY: for aiohttp's listeners. Anybody can send broken requests, and it would log each with what it holds; our own
# mistakes are logged by who makes them.
SILENT = logging.Logger("silent", logging.CRITICAL + 1)

# SECURITY: whoever logs a setting or a header under its own name must not leak it.
_SECRET = re.compile(r"(?i)token|secret|passw|authorization|cookie|signature|api_?key|credential")
_FREE_TEXT = frozenset({"event", "reason", "error", "exception", "message", "detail", "remedy", "stack"})

_EVERYWHERE = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {BLOT}"),
    (re.compile(r"(?i)([?&][\w.-]*(?:token|secret|key|password|signature)=)[^&\s'\"]+"), rf"\1{BLOT}"),
    (re.compile(r"://[^/\s:@]*:[^/\s@]+@"), f"://{BLOT}@"),
    (re.compile(r"[\w.%+'-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+"), BLOT),
    # Pydantic quotes the refused input, SQLAlchemy the statement's parameters.
    (re.compile(r"input_value=.*?(?=, input_type=)", re.DOTALL), f"input_value={BLOT}"),
    (re.compile(r"\[parameters: .*"), f"[parameters: {BLOT}]"),
    (re.compile(r"(?:\+|%2B)\d[\d ().-]{5,}\d"), BLOT),
)
# Not a date, not an IPv4 address, not a part of a longer word, path or number.
_PHONE = re.compile(r"(?<![\w/.-])(?!\d{4}-\d\d-\d\d)(?!\d{1,3}(?:\.\d{1,3}){3}(?!\d))\(?\d[\d ().-]{5,}\d(?!\w)")


def setup(
    pretty: bool | None = None,
    level: str = "INFO",
    stream: TextIO | None = None,
    told_elsewhere: Collection[str] = (),
) -> None:
    """Route structlog (from `level` on) and the standard library's logging (from WARNING on) to `stream`, by default
    stderr. `pretty` None: pretty where the stream is a terminal, and there events of `told_elsewhere` are left out. May
    be called again: the last call counts."""
    out = sys.stderr if stream is None else stream
    pretty = out.isatty() if pretty is None else pretty
    numeric = logging.getLevelNamesMapping()[level.upper()]

    def once(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if pretty and event.get("event") in told_elsewhere:
            raise structlog.DropEvent
        return event

    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if pretty else "iso", utc=not pretty),
        structlog.processors.format_exc_info,  # before redact: a traceback's last line quotes what went wrong
        redact,
    ]
    render = _renderer(pretty)
    structlog.configure(
        processors=[once, *chain, render],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *chain],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Structlog processor: personal fields and secrets go by their key, addresses and numbers also out of text."""
    return {key: _blotted(key, value) for key, value in event.items()}


def scrub(text: str) -> str:
    """Free text, such as an error's message, without addresses, phone numbers and credentials."""
    return _PHONE.sub(_blot_phone, _anywhere(text))


def _blotted(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool) or key in ("_record", "_from_structlog"):
        return value
    if key != "event" and (key.lower() in PERSONAL or _SECRET.search(key)):
        return BLOT
    match value:
        case str():
            return scrub(value) if key in _FREE_TEXT else _anywhere(value)
        case BaseException():
            return scrub(f"{type(value).__name__}: {value}")
        case Mapping():
            return {name: _blotted(str(name), inner) for name, inner in value.items()}
        case bytes():
            return f"{len(value)} bytes"
        case list() | tuple() | set() | frozenset():
            return [_blotted(key, item) for item in value]
        case int() | float():
            return value
        case _:
            return scrub(str(value))


def _anywhere(text: str) -> str:
    for pattern, replacement in _EVERYWHERE:
        text = pattern.sub(replacement, text)
    return text


def _blot_phone(found: re.Match[str]) -> str:
    digits = sum(character.isdigit() for character in found[0])
    fewest = 10 if digits == len(found[0]) else 7  # offsets and counts are shorter than numbers written in one run
    return BLOT if fewest <= digits <= 15 else found[0]


def _personal() -> Iterable[str]:
    yield from get_args(IdentifierKind)
    shapes = list(Shape.__subclasses__())
    while shapes:
        shape = shapes.pop()
        shapes += shape.__subclasses__()
        if shape.__module__ == "schemas.entities":
            yield from (name for name in shape.model_fields if personal_level(shape, name) != "none")


def _renderer(pretty: bool) -> Processor:
    if pretty:
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer(ensure_ascii=False)


PERSONAL = frozenset(_personal())
