"""What a connector declares: it fits together, settings are described, secrets secret, the manual is of today."""

import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from core.conformance import manual
from core.conformance.subject import BrokenError, ExemptError, NotRunError, Subject
from core.sdk import Connector, ConnectorConfig
from schemas.entities import EvidenceClass

_SECRET = re.compile(r"(^|_|\.)(token|secret|password|passphrase|key|credentials?|pin)$")


async def contract(subject: Subject) -> None:
    for wrong in _contradictions(subject.connector):
        raise BrokenError(wrong)


def _contradictions(connector: Connector[Any]) -> list[str]:
    known, webhook = connector.config.model_fields, connector.webhook
    names = [stream.name for stream in connector.streams]
    unclassed = [pair for pair, its in connector.evidence.items() if its not in get_args(EvidenceClass)]
    found = {
        f"its name {connector.name!r} is not lower-case letters, digits, - and _": not re.fullmatch(
            r"[a-z0-9][a-z0-9_-]*", connector.name
        ),
        "its config is no ConnectorConfig": not issubclass(connector.config, ConnectorConfig),
        "it has neither webhook nor streams: nothing can come in": webhook is None and not connector.streams,
        "two of its streams have one name": len(names) != len(set(names)),
        f"evidence has no class {unclassed[:1]}": bool(unclassed),
        f"webhook.path_secret names no setting: {webhook and webhook.path_secret}": bool(
            webhook and webhook.path_secret and webhook.path_secret not in (*known, *vars(connector.config))
        ),
        "webhook has no instructions: nobody knows where to paste the address": bool(
            webhook and not webhook.instructions.strip()
        ),
        "it has listings and no hydrate: what a listing misses cannot be asked for": bool(connector.listings)
        and connector.hydrate is None,
        "batch is not positive": connector.batch < 1,
    }
    return [sentence for sentence, wrong in found.items() if wrong]


async def settings(subject: Subject) -> None:
    for name, field in _settings(subject.connector.config):
        if not (field.description or "").strip():
            raise BrokenError(f"the setting {name} is not described")


async def secrets(subject: Subject) -> None:
    for name, field in _settings(subject.connector.config):
        if _SECRET.search(name) and _is_text(field.annotation) and not _is_secret(field.annotation):
            raise BrokenError(f"the setting {name} is a secret and no SecretStr: it would stand in logs and errors")


def _settings(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting, those inside of others, too."""
    for name, field in model.model_fields.items():
        yield f"{place}{name}", field
        for inner in _models(field.annotation):
            yield from _settings(inner, f"{place}{name}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models(each)


def _is_text(annotation: Any) -> bool:
    return annotation in (str, SecretStr) or any(map(_is_text, get_args(annotation)))


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))


async def readme(subject: Subject) -> None:
    if subject.connector.of is not None:
        raise ExemptError("it is declared by settings, which are its manual")
    if subject.folder is None:
        raise NotRunError("the connector has no folder")
    path = subject.folder / "README.md"
    if not path.exists():
        raise BrokenError("there is no README.md")
    text = path.read_text()
    for part in _parts(subject):
        if f"<!-- {part} -->" not in text or f"<!-- /{part} -->" not in text:
            raise BrokenError(f"README.md has no place for its {part}: <!-- {part} --> and <!-- /{part} -->")
    if manual.filled(text, subject.connector) != text:
        raise BrokenError("README.md shows tables of another day: hub docs --write")


def _parts(subject: Subject) -> list[str]:
    connector = subject.connector
    told = {
        "settings": True,
        "streams": connector.streams,
        "listings": connector.listings,
        "scopes": connector.scopes,
        "limits": connector.quota(subject.settings()),
    }
    return [part for part, its in told.items() if its]
