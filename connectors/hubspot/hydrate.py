"""Reads objects whole: 100 per call, with what they are associated with and what the ids in them are called.

What is handed on is HubSpot's own object with four keys more: `associations` (type -> [{id, primary, name?}]), `stage`
(of deals and tickets: its labels and metadata), `owner_name`, and `external_id` (which property holds it, in which
namespace).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from connectors.hubspot.config import Config
from connectors.hubspot.kinds import KINDS, Kind
from connectors.hubspot.labels import BATCH, Labels, Row, ask, chunks
from core.sdk import Hint, Http, Payload

PRIMARY = frozenset({1, 2, 5, 26})  # association type ids that mark the primary company


async def hydrate(http: Http, config: Config, account: str, hints: Sequence[Hint]) -> AsyncIterator[Payload]:
    """The objects that hints name, as they are now; what is not there any more comes as `<kind>.gone`."""
    labels = Labels(http, config)
    for name, kind in KINDS.items():
        wanted = {hint.id: hint for hint in hints if hint.kind == name}
        for ids in chunks(wanted, BATCH):
            async for payload in read(http, config, account, kind, {id: wanted[id] for id in ids}, labels):
                yield payload


async def read(
    http: Http, config: Config, account: str, kind: Kind, hints: Mapping[str, Hint], labels: Labels
) -> AsyncIterator[Payload]:
    """At most 100 objects of one kind, by id."""
    json = {"properties": kind.asked(config), "inputs": [{"id": id} for id in hints]}
    answer = await ask(http, "POST", config.path("batch", type=kind.plural), json=json)
    rows: list[Row] = answer.data["results"]
    for row in await completed(http, config, kind, rows, labels):
        hint = hints.get(str(row["id"]))
        # A restore is not sure to move `updatedAt`: what we read after it holds at least since then.
        at = hint.at if hint and hint.action == "restored" else None
        yield Payload(kind.name, row, account, pushed=False, received=answer.started, at=at)
    found = {str(row["id"]) for row in rows}
    aliases = {id for row in rows for id in listed(row["properties"].get("hs_merged_object_ids"))}
    for id, hint in hints.items():
        if id not in found | aliases:
            yield Payload(f"{kind.name}.gone", {"id": id}, account, pushed=False, received=answer.started, at=hint.at)


async def completed(http: Http, config: Config, kind: Kind, rows: Sequence[Row], labels: Labels) -> list[Row]:
    """Objects with what is told above; associations that they bring themselves are kept."""
    missing = [str(row["id"]) for row in rows if kind.to and "associations" not in row]
    read = await _associations(http, config, kind, missing) if missing else {}
    associated = {str(row["id"]): _targets(row, kind, read) for row in rows} if kind.to else {}
    companies: Mapping[str, str] = {}
    if kind.to == "companies":
        companies = await labels.companies({target["id"] for targets in associated.values() for target in targets})
    owners = await labels.owners({str(id) for row in rows if (id := row["properties"].get("hubspot_owner_id"))})
    stages = await labels.stages(kind) if rows else {}
    found = []
    for row in rows:
        more: Row = {"owner_name": owners.get(str(row["properties"].get("hubspot_owner_id"))) or None}
        if kind.to:
            more["associations"] = {kind.to: [
                target | ({"name": name} if (name := companies.get(target["id"])) else {})
                for target in associated[str(row["id"])]
            ]}  # fmt: skip
        if kind.staged:
            more["stage"] = stages.get(kind.stage(row["properties"]), {})
        if kind.name == "contact" and config.external_id_property:
            property, namespace = config.external_id_property, config.external_id_namespace
            more["external_id"] = {"property": property, "namespace": namespace}
        found.append({**row, **more})
    return found


def listed(value: str | None) -> list[str]:
    """The parts of a property that HubSpot separates by semicolons."""
    return [part.strip() for part in (value or "").split(";") if part.strip()]


def _targets(row: Row, kind: Kind, read: Mapping[str, list[Row]]) -> list[Row]:
    if "associations" in row:
        return list(row["associations"].get(kind.to, []))
    return read.get(str(row["id"]), [])


async def _associations(http: Http, config: Config, kind: Kind, ids: Sequence[str]) -> dict[str, list[Row]]:
    """Per id what it is associated with."""
    found: dict[str, list[Row]] = {}
    inputs: list[dict[str, str]] = [{"id": id} for id in ids]
    path = config.path("associations", type=kind.plural, to=kind.to or "")
    while inputs:
        asked, inputs = inputs[:BATCH], inputs[BATCH:]
        answer = await ask(http, "POST", path, json={"inputs": asked})
        for result in answer.data["results"]:
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
