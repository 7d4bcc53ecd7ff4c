"""What can be wrong with a declaration although each of its settings is right alone. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from connectors.http.config import Config
from connectors.http.expressions import Expression
from connectors.http.sections import Batch, Fetch, Hmac, List, Request, Rule, StreamPart, WebhookPart
from connectors.http.templates import OF_LISTS, OF_OBJECTS, names
from schemas.entities import ENTITIES

Place = tuple[str | int, ...]
Mistake = tuple[Place, str]
_OF_TABLES = ("listed", "lookup", "place")
_OF_PAYLOADS = ("key", "let", "payload", "ref")


def mistakes(config: Config) -> Iterator[Mistake]:
    """Where and what."""
    if not config.account and config.proof.account is None:
        yield ("account",), "is missing: any word for the source's tenant, part of every key; or say `proof.account`"
    for index, stream in enumerate(config.streams):
        yield from _of_stream(("streams", index), stream, config)
    for index, listing in enumerate(config.listings):
        yield from _of_list(("listings", index), listing)
        yield from _known((("listings", index, "kind")), listing.kind, config.hydrate, "hydrate")
    yield from _listed_once(config)
    for kind, fetch in config.hydrate.items():
        yield from _of_fetch(("hydrate", kind), kind, fetch, config)
    if config.webhook and config.webhook.hmac:
        yield from _of_signature(config.webhook.hmac)
    if config.webhook and config.webhook.hint:
        hint = config.webhook.hint
        for name, kind in (("kind", hint.kind), *(("of", each.partition(".")[0]) for each in hint.of if not hint.kind)):
            if kind:
                yield from _known(("webhook", "hint", name), kind, config.hydrate, "hydrate")
    if config.webhook:
        if config.webhook.decode and config.cut:
            yield (
                ("webhook", "decode"),
                "`cut:` does not look into texts, and would leave its members in what is decoded",
            )
        yield from _of_what_is_kept(config.webhook)
        lists = [each.name for each in config.streams]
        lists += [f"all {each.kind}" for each in config.listings]
        lists += [f"all {each.kind}" for each in config.streams if each.listing is not None]
        for kind, name in config.webhook.due.items():
            if name not in lists:
                yield ("webhook", "due", kind), f"no stream or listing {name!r}{_hint(name, lists)}"
    yield from _of_let(("let",), config.let, config.let)
    for kind, rules in config.mapping.items():
        for index, rule in enumerate(rules):
            yield from _of_rule(("mapping", kind, index), rule, config.let)
    for pair in config.evidence:
        role, dot, identifier = pair.partition(".")
        if not (role and dot and identifier in ("email", "phone", "external_id")):
            yield ("evidence", pair), "write ROLE.IDENTIFIER, for instance customer.email or lead.phone"
    yield from _of_functions(config)


def _of_stream(place: Place, stream: StreamPart, config: Config) -> Iterator[Mistake]:
    yield from _of_list(place, stream)
    yield from _known((*place, "kind"), stream.kind, config.mapping, "mapping")
    if [each.name for each in config.streams].count(stream.name) > 1:
        yield (*place, "name"), "two streams have this name; their cursors would be one"
    used, since = _used(stream), stream.since
    if since is None and used & {"since", "until"}:
        yield (*place, "since"), "is missing: the request uses {since} or {until}"
    if since is not None and "since" not in used:
        yield (*place, "since"), "the request does not use {since}: put it into `params:` or `body:`"
    if since is not None and since.most is not None and (stream.total is None or "until" not in used):
        yield (*place, "since", "most"), "needs `total:` and {until} in the request, so that a window can be halved"


def _of_what_is_kept(part: WebhookPart) -> Iterator[Mistake]:
    if part.payload is None or not (part.events or part.keep):
        return
    for place, expression in ((("rows",), part.rows), (("payload", "data"), part.payload.data)):
        if not expression.is_path:
            yield (
                ("webhook", *place),
                "`events:` and `keep:` cut what stands here: write a path without functions or {…}",
            )


def _listed_once(config: Config) -> Iterator[Mistake]:
    """Listings are told apart by their kind."""
    listed = [listing.kind for listing in config.listings]
    for index, stream in enumerate(config.streams):
        if stream.listing is None:
            continue
        place = ("streams", index, "listing")
        yield from _known(place, stream.kind, config.hydrate, "hydrate")
        first = config.mapping.get(stream.kind, [])[:1]
        if any(rule.id.text != "id" or rule.kind not in ("", stream.kind) for rule in first):
            yield place, "needs a mapping without `id:` and `kind:` of its own; else write an entry under `listings:`"
        if stream.kind in listed:
            yield place, f"{stream.kind!r} is listed elsewhere already"
        listed.append(stream.kind)


def _of_list(place: Place, part: List) -> Iterator[Mistake]:
    yield from _placeholders(place, part, OF_LISTS)
    by = part.pages.by if part.pages else ""
    if by in ("cursor", "page", "offset") and by not in _used(part):
        yield (*place, "pages"), f"by: {by}, but the request does not use {{{by}}}"


def _of_fetch(place: Place, kind: str, fetch: Fetch, config: Config) -> Iterator[Mistake]:
    yield from _placeholders(place, fetch, OF_OBJECTS)
    if "id" not in _used(fetch):
        yield place, "the request does not name the object: put {id} into its path"
    if fetch.batch is not None:
        yield from _placeholders((*place, "batch"), fetch.batch, OF_OBJECTS)
        if "ids" not in _used(fetch.batch):
            yield (*place, "batch"), "the request does not name the objects: put {ids} into its `body:`"
    yield from _known(place, kind, config.mapping, "mapping")
    if fetch.missing:
        yield from _known((*place, "missing"), fetch.missing, config.mapping, "mapping")
    for action, other in fetch.kinds.items():
        yield from _known((*place, "kinds", action), other, config.mapping, "mapping")


def _of_signature(part: Hmac) -> Iterator[Mistake]:
    """SECURITY: whoever caught a delivery could send it again for ever, with a new time that no signature covers."""
    signed = "{timestamp}" in part.signed
    if part.timestamp and not signed:
        yield (
            ("webhook", "hmac", "signed"),
            "does not hold {timestamp}, so that anybody can renew the time of a delivery: write it as the source does, "
            "for instance {timestamp}.{body}; or leave `timestamp:` out, if the source does not sign it",
        )
    if signed and not part.timestamp:
        yield ("webhook", "hmac", "timestamp"), "is missing: `signed:` uses {timestamp}; name the header that tells it"


def _of_let(place: Place, own: Iterable[str], let: Mapping[str, Expression]) -> Iterator[Mistake]:
    for name in own:
        read, found = [name], set[str]()
        while read:
            needed = let[read.pop()].constants("let")
            read += [each for each in needed if each in let and each not in found]
            found |= set(needed)
        if name in found:
            yield (*place, name), f"goes in circles: it needs let({name!r})"
        for other in let[name].constants("let"):
            if other not in let:
                yield (*place, name), f"`let:` has no {other!r}{_hint(other, let)}"


def _of_rule(place: Place, rule: Rule, shared: Mapping[str, Expression]) -> Iterator[Mistake]:
    model = ENTITIES.get(rule.entity)
    if model is None:
        yield (*place, "entity"), f"no entity {rule.entity!r}{_hint(rule.entity, ENTITIES)}"
        return
    for section, given in (("fields", rule.fields), ("constants", rule.constants)):
        for name in given:
            if name not in model.model_fields:
                yield (*place, section, name), f"{rule.entity} has no such field{_hint(name, model.model_fields)}"
    for section, names_, known in (("same", rule.same, model.model_fields), ("only", rule.only, rule.fields)):
        for index, name in enumerate(names_):
            if name not in known:
                whose = f"{rule.entity} has" if section == "same" else "`fields:` has"
                yield (*place, section, index), f"{whose} no {name!r}{_hint(name, known)}"
    let = {**shared, **rule.let}
    yield from _of_let((*place, "let"), rule.let, let)
    for at, expression in _expressions(rule.model_copy(update={"let": {}}), place):
        for name in expression.constants("let"):
            if name not in let:
                yield at, f"`let:` has no {name!r}{_hint(name, let)}"
    for name in ("final", "erased"):
        if getattr(rule, name) and not rule.deleted:
            yield (*place, name), "only of `deleted: true`"


def _of_functions(config: Config) -> Iterator[Mistake]:
    """Tables are known to the webhook and the mapping, the payload around an item only to the mapping."""
    for place, expression in _expressions(config, ()):
        for function in expression.functions & {*_OF_TABLES, *_OF_PAYLOADS}:
            if place[0] not in ("let", "mapping") and (function in _OF_PAYLOADS or place[0] != "webhook"):
                yield place, f"{function}() works only under `mapping:` and `let:`"
        for function in _OF_TABLES:
            for name in expression.constants(function):
                if name not in config.tables:
                    yield place, f"no table {name!r} for {function}(){_hint(name, config.tables)}"


def _expressions(value: Any, place: Place) -> Iterator[tuple[Place, Expression]]:
    match value:
        case Expression():
            yield place, value
        case BaseModel():
            for name in type(value).model_fields:
                yield from _expressions(getattr(value, name), (*place, name))
        case dict():
            for name, inner in value.items():
                yield from _expressions(inner, (*place, name))
        case list():
            for index, inner in enumerate(value):
                yield from _expressions(inner, (*place, index))


def _used(request: Request) -> set[str]:
    paging = request.pages.params if isinstance(request, List) and request.pages else {}
    return {name for each in (request.get, request.post, request.params, request.body, paging) for name in names(each)}


def _placeholders(place: Place, request: Request | Batch, known: Iterable[str]) -> Iterator[Mistake]:
    for name in sorted(_used(request) - set(known)):
        yield place, f"{{{name}}} has no value here; there are: {', '.join(f'{{{each}}}' for each in known)}"


def _known(place: Place, kind: str, declared: Mapping[str, Any], section: str) -> Iterator[Mistake]:
    while kind not in declared and section == "mapping" and "." in kind:
        kind = kind.rpartition(".")[0]
    if kind not in declared:
        yield place, f"`{section}:` says nothing of {kind!r}{_hint(kind, declared)}"


def _hint(word: str, known: Iterable[str]) -> str:
    known = list(known)
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known) or 'none'}"
