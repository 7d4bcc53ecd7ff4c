"""Reads objects whole: 100 per call, with what they are associated with and what the ids in them are called.

What is handed on is HubSpot's own object with some keys more: `associations` (type -> [{id, primary, …what is
shown of it}]), `stage` (of what stands in a pipeline: its labels and metadata), `owner_name`, and of contacts
`external_id` (which property holds it, in which namespace) and `subscriptions` (what the types are for, by id), of the
company's own objects `custom` (what they are called, and which property names one).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from connectors.hubspot.config import Config
from connectors.hubspot.fields import listed
from connectors.hubspot.kinds import CUSTOM, INBOX, KINDS, LINE_ITEM, LINED, Kind, kinds_of
from connectors.hubspot.labels import BATCH, DETAILS, OBJECT, Labels, Row, ask, chunks, odd
from connectors.hubspot.labels import rows as listed_in
from connectors.hubspot.threads import read_threads
from core.sdk import Hint, Http, Payload, PermanentError, Response

PRIMARY = frozenset({1, 2, 5, 26})  # association type ids that mark the primary company


async def hydrate(http: Http, config: Config, account: str, hints: Sequence[Hint]) -> AsyncIterator[Payload]:
    """The objects that hints name, as they are now; what is not there any more comes as `<kind>.gone`.

    Kinds for which the token lacks the scope are passed over, so that they hold up no other: their streams say so, and
    bring them once the scope is there.
    """
    labels = Labels(http, config)
    lines = [hint for hint in hints if hint.kind == LINE_ITEM]
    hints = [*hints, *await _holders(http, config, lines)] if lines else hints
    for name, kind in kinds_of(config).items():
        wanted = {hint.id: hint for hint in hints if hint.kind == name}
        for ids in chunks(wanted, BATCH):
            parts = read(http, config, account, kind, {id: wanted[id] for id in ids}, labels)
            async for payload in _allowed(parts):
                yield payload
    threads = dict.fromkeys(hint.id for hint in hints if hint.kind == INBOX)
    async for payload in _allowed(read_threads(http, config, account, threads, labels)):
        yield payload


async def _allowed(payloads: AsyncIterator[Payload]) -> AsyncIterator[Payload]:
    try:
        async for payload in payloads:
            yield payload
    except PermanentError as error:
        if error.status != 403:
            raise


async def _holders(http: Http, config: Config, lines: Sequence[Hint]) -> list[Hint]:
    """The orders and invoices in which these lines stand: they are read again, for a line may change without them."""
    latest = {hint.id: hint.at for hint in lines}
    found: dict[tuple[str, str], int] = {}
    for name in LINED:
        if name not in config.objects:
            continue
        try:
            holding = await _associations(http, config, "line_items", KINDS[name].plural, [*latest])
        except PermanentError as error:
            if error.status != 403:
                raise
            continue
        for id, holders in holding.items():
            for holder in holders:
                place = name, holder["id"]
                found[place] = max(found.get(place, 0), latest[id])
    return [Hint(name, id, at) for (name, id), at in found.items()]


async def read(
    http: Http, config: Config, account: str, kind: Kind, hints: Mapping[str, Hint], labels: Labels
) -> AsyncIterator[Payload]:
    """At most 100 objects of one kind, by id. What a batch does not bring may lie in the recycle bin; what is not there
    either is gone since the hint at the latest."""
    answer = await _batch(http, config, kind, list(hints), kind.asked(config))
    rows = listed_in(answer, *OBJECT)
    for strange in odd(answer, account, *OBJECT):
        yield strange
    for row in await completed(http, config, kind, rows, labels):
        yield Payload(kind.name, row, account, pushed=False, received=answer.started)
    missing = [id for id in hints if id not in _told(rows)]
    if not missing:
        return
    answer = await _batch(http, config, kind, missing, [kind.modified], archived="true")
    started, archived = answer.started, listed_in(answer, *OBJECT)
    for row in archived:
        yield Payload(kind.name, row, account, pushed=False, received=started)
    for id in missing:
        if id not in _told(archived):
            yield Payload(f"{kind.name}.gone", {"id": id}, account, pushed=False, received=started, at=hints[id].at)


async def _batch(
    http: Http, config: Config, kind: Kind, ids: Sequence[str], properties: Sequence[str], **params: str
) -> Response:
    json = {"properties": list(properties), "inputs": [{"id": id} for id in ids]}
    return await ask(http, "POST", config.path("batch", type=kind.plural), params=params or None, json=json)


def _told(rows: Sequence[Row]) -> set[str]:
    """The ids that these objects answer to, the old ones of merged objects included."""
    aliases = {id for row in rows for id in listed(row["properties"].get("hs_merged_object_ids"))}
    return aliases | {str(row["id"]) for row in rows}


async def completed(http: Http, config: Config, kind: Kind, rows: Sequence[Row], labels: Labels) -> list[Row]:
    """Objects with what is told above; associations that they bring themselves are kept."""
    read = [{**row, **({"associations": dict(row.get("associations") or {})} if kind.to else {})} for row in rows]
    for to in kind.to:
        await _associate(http, config, kind, to, read, labels)
    for name in kind.linked:
        await _link(http, config, kind, KINDS[name], read, labels)
    owners = await labels.owners({str(id) for row in read if (id := row["properties"].get("hubspot_owner_id"))})
    stages = await labels.stages(kind) if read else {}
    for row in read:
        row["owner_name"] = owners.get(str(row["properties"].get("hubspot_owner_id"))) or None
        if kind.staged:
            row["stage"] = stages.get(kind.stage(row["properties"]), {})
        if kind.name == "contact" and config.external_id_property:
            property, namespace = config.external_id_property, config.external_id_namespace
            row["external_id"] = {"property": property, "namespace": namespace}
        if kind.name == "contact" and config.subscriptions:
            row["subscriptions"] = config.subscriptions
        if CUSTOM.fullmatch(kind.name):
            row["custom"] = next({"name": each.name, "title": each.title} for each in config.custom_objects
                                 if each.type_id == kind.name)  # fmt: skip
    return read


async def _associate(http: Http, config: Config, kind: Kind, to: str, rows: Sequence[Row], labels: Labels) -> None:
    """Adds the associations of one type where rows do not bring them, and what is shown of the others."""
    missing = [str(row["id"]) for row in rows if to not in row["associations"]]
    read = await _associations(http, config, kind.plural, to, missing) if missing else {}
    for row in rows:
        row["associations"].setdefault(to, read.get(str(row["id"]), []))
    if to in DETAILS:
        shown = await labels.details(to, {target["id"] for row in rows for target in row["associations"][to]})
        for row in rows:
            row["associations"][to] = [target | shown[target["id"]] for target in row["associations"][to]]


async def _link(http: Http, config: Config, kind: Kind, to: Kind, rows: Sequence[Row], labels: Labels) -> None:
    """Adds what rows name besides. Without the scope for it nothing is added: that is no reason to go without them."""
    if to.name not in config.objects:
        return
    try:
        await _associate(http, config, kind, to.plural, rows, labels)
    except PermanentError as error:
        if error.status != 403:
            raise


async def _associations(http: Http, config: Config, type: str, to: str, ids: Sequence[str]) -> dict[str, list[Row]]:
    """Per id what it is associated with."""
    found: dict[str, list[Row]] = {}
    inputs: list[dict[str, str]] = [{"id": id} for id in ids]
    while inputs:
        asked, inputs = inputs[:BATCH], inputs[BATCH:]
        answer = await ask(http, "POST", config.path("associations", type=type, to=to), json={"inputs": asked})
        for result in listed_in(answer, "from", "to"):
            id = str(result["from"]["id"])
            found.setdefault(id, []).extend(map(_target, result["to"]))
            if after := result.get("paging", {}).get("next", {}).get("after"):
                inputs.append({"id": id, "after": after})
    return found


def _target(target: Mapping[str, Any]) -> Row:
    primary = any(
        kind.get("category") == "HUBSPOT_DEFINED" and kind.get("typeId") in PRIMARY
        for kind in target.get("associationTypes", ())
    )
    return {"id": str(target["toObjectId"]), "primary": primary}
