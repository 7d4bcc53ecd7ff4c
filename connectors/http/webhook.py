"""Deliveries, proved and taken apart as they are declared. Pure: no I/O, no clock."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from connectors.http.config import Config
from connectors.http.cuts import cut, only
from connectors.http.functions import Scope, moment
from connectors.http.sections import Basic, Hmac, Token, WebhookPart
from core.sdk import Delivery, Hint, NormalizeError, Payload, SignatureError, Split, Webhook, loads


def webhook(config: Config) -> Webhook[Config] | None:
    part = config.webhook
    if part is None:
        return None
    return Webhook(
        verify=_verify,
        split=_split,
        cut=lambda body: cut(_kept(body, part, Scope(config.vendor, tables=config.tables)), config.cut),
        methods=frozenset({"POST", "HEAD"} if part.head else {"POST"}),
        path_secret="path_secret" if config.path_secret else None,
        instructions=part.instructions,
    )


def _verify(delivery: Delivery, config: Config, now: datetime) -> None:
    """Raises SignatureError unless the delivery proves that it comes from the source."""
    match config.webhook:
        case WebhookPart(hmac=Hmac() as signature):
            _signature(delivery, signature, now)
        case WebhookPart(token=Token() as token):
            _same(_carried(delivery, token), token.secret.get_secret_value(), "token")
        case WebhookPart(basic=Basic() as basic):
            pair = f"{basic.user}:{basic.password.get_secret_value()}"
            wanted = "Basic " + base64.b64encode(pair.encode()).decode()
            _same(delivery.headers.get("authorization", ""), wanted, "credentials")
        case _:
            raise SignatureError("the connection has no webhook", code="no webhook")


def _same(given: str, wanted: str, what: str) -> None:
    if not given:
        raise SignatureError(f"the delivery carries no {what}", code=f"missing {what}")
    if not wanted or not hmac.compare_digest(given.encode(), wanted.encode()):
        raise SignatureError(f"the delivery's {what} is not the connection's", code=f"wrong {what}")


def _carried(delivery: Delivery, token: Token) -> str:
    match token.place:
        case "path":
            return delivery.path_secret
        case "header":
            return delivery.headers.get(token.name.lower(), "")
        case "query":
            return delivery.query.get(token.name, "")
    try:
        body = loads(delivery.body)
    except ValueError:
        raise SignatureError("the body is not JSON, and so without token", code="not JSON") from None
    found = body.get(token.name) if isinstance(body, dict) else None
    return found if isinstance(found, str) else ""


def _signature(delivery: Delivery, part: Hmac, now: datetime) -> None:
    header = delivery.headers.get(part.header.lower(), "")
    pieces = [piece.strip().partition("=") for piece in header.split(",")] if part.part else []
    given = [value for name, _, value in pieces if name == part.part] if part.part else [header]
    given = [each.removeprefix(part.prefix) for each in given if each.startswith(part.prefix) and each]
    if not given:
        raise SignatureError(f"no signature in {part.header}", code="missing signature")
    timestamp = ""
    if part.timestamp:
        named = {name: value for name, _, value in pieces}
        timestamp = named.get(part.timestamp, "") or delivery.headers.get(part.timestamp.lower(), "")
        _fresh(timestamp, part, now)
    wanted = _signed(delivery, part, timestamp)
    if not any(hmac.compare_digest(each.encode(), wanted.encode()) for each in given):
        raise SignatureError("the signature does not fit the delivery", code="wrong signature")


def _fresh(timestamp: str, part: Hmac, now: datetime) -> None:
    try:
        sent = moment(timestamp)
    except NormalizeError:
        sent = None
    if sent is None:
        raise SignatureError(f"no time in {part.timestamp}", code="missing timestamp")
    if abs(now.timestamp() * 1000 - sent) > part.tolerance.total_seconds() * 1000:
        raise SignatureError("the signature is older or newer than allowed", code="stale")


def _signed(delivery: Delivery, part: Hmac, timestamp: str) -> str:
    words = {"{timestamp}": timestamp, "{method}": delivery.method, "{url}": delivery.url}
    pieces = []
    for piece in part.signed.split("{body}"):
        for name, value in words.items():
            piece = piece.replace(name, value)
        pieces.append(piece.encode())
    digest = hmac.new(
        part.secret.get_secret_value().encode(), delivery.body.join(pieces), getattr(hashlib, part.algorithm)
    )
    return base64.b64encode(digest.digest()).decode() if part.encoding == "base64" else digest.hexdigest()


def _split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
    """Payloads or hints for what is declared, and the lists that are due; other events are ignored by their kind.

    An event that cannot be read is odd, and the others of its delivery go through.
    """
    part = config.webhook
    if part is None:
        raise NormalizeError("the connection has no webhook")
    scope = Scope(config.vendor, tables=config.tables)
    found: list[Split] = []
    odd: list[str] = []
    for row in _rows(body, part, scope):
        try:
            found.append(_read(_event(row, part), part, scope, config, account, received))
        except NormalizeError as error:
            odd.append(str(error))
    return Split(
        tuple(chain.from_iterable(each.payloads for each in found)),
        tuple(chain.from_iterable(each.hints for each in found)),
        tuple(chain.from_iterable(each.ignored for each in found)),
        [pair for each in found for pair in each.seen],
        tuple(dict.fromkeys(chain.from_iterable(each.due for each in found))),
        tuple(odd),
    )


def _read(row: Any, part: WebhookPart, scope: Scope, config: Config, account: str, received: int) -> Split:
    """One event."""
    kind = part.kind(row, scope)
    if not isinstance(kind, str) or not kind:
        raise NormalizeError(f"an event without kind: nothing at webhook.kind, {part.kind.text}")
    if kind in part.due:
        return Split(due=(part.due[kind],), seen=[(kind, row)])
    if (part.events and not _among(kind, part.events)) or (part.take is not None and not part.take(row, scope)):
        return Split(ignored=(kind,))
    if part.payload is not None and not (part.hint and _among(kind, part.hint.of)):
        data = part.payload.data(row, scope)
        if not isinstance(data, dict):
            raise NormalizeError(f"{kind}: no object at webhook.payload.data, {part.payload.data.text}")
        at = moment(part.payload.at(row, scope)) if part.payload.at else None
        return Split((Payload(kind, data, account, True, received, at),))
    if part.hint is None or (named := part.hint.kind or kind.partition(".")[0]) not in config.hydrate:
        return Split(ignored=(kind,))
    if (id := part.hint.id(row, scope)) in (None, ""):
        return Split(ignored=(kind,), seen=[(kind, row)])  # it may have changed its shape
    at = moment(part.hint.at(row, scope)) if part.hint.at else None
    return Split(hints=(Hint(named, str(id), received if at is None else at, kind),), seen=[(kind, row)])


def _among(kind: str, kinds: Sequence[str]) -> bool:
    """Whether it is one of them, or begins with one: `call.ended` is of `call`."""
    return any(kind == each or kind.startswith(f"{each}.") for each in kinds)


def _kept(body: Any, part: WebhookPart, scope: Scope) -> Any:
    """The body, in which the objects of some kinds are no more than what may be kept of them."""
    if part.payload is None or not (part.events or part.keep):
        return body
    wanted: dict[int, Sequence[str]] = {}  # by identity: expressions find the very objects of the body
    rows = part.rows(body, scope)
    for row in rows if isinstance(rows, list) else ():
        kind, data = part.kind(row, scope), part.payload.data(row, scope)
        if not isinstance(kind, str) or not isinstance(data, dict):
            continue
        if part.events and not _among(kind, part.events):
            wanted[id(data)] = ()
        for each, names in part.keep.items():
            if _among(kind, [each]):
                wanted[id(data)] = names
    return only(body, wanted)


def _rows(body: Any, part: WebhookPart, scope: Scope) -> list[Any]:
    rows = part.rows(body, scope)
    if not isinstance(rows, list) or not (rows or body):
        raise NormalizeError(f"no list of events at webhook.rows, {part.rows.text}")
    return rows


def _event(row: Any, part: WebhookPart) -> dict[str, Any]:
    if part.decode and isinstance(row, str):
        try:
            row = loads(row)
        except ValueError:
            raise NormalizeError("an event that should be JSON in JSON is none") from None
    if not isinstance(row, dict):
        raise NormalizeError(f"an event that is no object but {type(row).__name__}")
    return row
