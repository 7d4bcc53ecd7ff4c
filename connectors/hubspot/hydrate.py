"""Reads objects whole: 100 per call, with what they are associated with and the labels of their stage.

What is handed on is HubSpot's own object with three keys more: `associations` (type -> [{id, primary}]), `stage` (of
deals and tickets: its labels and metadata) and `external_id` (which property holds it, in which namespace).
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from connectors.hubspot.config import Config
from connectors.hubspot.kinds import KINDS, Kind
from core.sdk import Hint, Http, Payload

BATCH = 100  # HubSpot's limit for a batch read
PRIMARY = frozenset({1, 2, 5, 26})  # association type ids that mark the primary company

Row = dict[str, Any]
Stages = dict[tuple[str, str], dict[str, Any]]  # (pipeline, stage) to labels and what the stage means


async def hydrate(http: Http, config: Config, account: str, hints: Sequence[Hint]) -> AsyncIterator[Payload]:
    """The objects that hints name, as they are now; what is not there any more comes as `<kind>.gone`."""
    for name, kind in KINDS.items():
        wanted = {hint.id: hint for hint in hints if hint.kind == name}
        for ids in chunks(wanted, BATCH):
            async for payload in read(http, config, account, kind, {id: wanted[id] for id in ids}):
                yield payload


async def read(
    http: Http, config: Config, account: str, kind: Kind, hints: Mapping[str, Hint], stages: Stages | None = None
) -> AsyncIterator[Payload]:
    """At most 100 objects of one kind, by id. `stages` as `stages_of` gives them; None: asked for here."""
    response = await http.request(
        "POST",
        config.path("batch", type=kind.plural),
        json={"properties": kind.asked(config), "inputs": [{"id": id} for id in hints]},
    )
    rows: list[Row] = response.data["results"]
    stages = await stages_of(http, config, kind) if stages is None and rows else stages or {}
    for row in await completed(http, config, kind, rows, stages):
        hint = hints.get(str(row["id"]))
        # A restore is not sure to move `updatedAt`: what we read after it holds at least since then.
        at = hint.at if hint and hint.action == "restored" else None
        yield Payload(kind.name, row, account, pushed=False, received=response.started, at=at)
    found = {str(row["id"]) for row in rows}
    aliases = {id for row in rows for id in listed(row["properties"].get("hs_merged_object_ids"))}
    for id in hints.keys() - found - aliases:
        yield Payload(
            f"{kind.name}.gone", {"id": id}, account, pushed=False, received=response.started, at=hints[id].at
        )


async def completed(http: Http, config: Config, kind: Kind, rows: Sequence[Row], stages: Stages) -> list[Row]:
    """Objects with their associations (those that they bring themselves are kept), stage and external id."""
    missing = [str(row["id"]) for row in rows if kind.to and "associations" not in row]
    associations = await _associations(http, config, kind, missing) if missing else {}
    found = []
    for row in rows:
        more: Row = {}
        if kind.to and "associations" not in row:
            more["associations"] = {kind.to: associations.get(str(row["id"]), [])}
        if kind.staged:
            more["stage"] = stages.get(_stage_id(kind, row), {})
        if kind.name == "contact" and config.external_id_property:
            property, namespace = config.external_id_property, config.external_id_namespace
            more["external_id"] = {"property": property, "namespace": namespace}
        found.append({**row, **more})
    return found


def chunks(items: Iterable[str], size: int) -> Iterable[list[str]]:
    """Lists of at most `size`."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def listed(value: str | None) -> list[str]:
    """The parts of a property that HubSpot separates by semicolons."""
    return [part.strip() for part in (value or "").split(";") if part.strip()]


async def _associations(http: Http, config: Config, kind: Kind, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Per id what it is associated with."""
    found: dict[str, list[dict[str, Any]]] = {}
    inputs: list[dict[str, str]] = [{"id": id} for id in ids]
    path = config.path("associations", type=kind.plural, to=kind.to or "")
    while inputs:
        asked, inputs = inputs[:BATCH], inputs[BATCH:]
        response = await http.request("POST", path, json={"inputs": asked})
        for result in response.data["results"]:
            id = str(result["from"]["id"])
            found.setdefault(id, []).extend(map(_association, result["to"]))
            if after := result.get("paging", {}).get("next", {}).get("after"):
                inputs.append({"id": id, "after": after})
    return found


def _association(target: Mapping[str, Any]) -> dict[str, Any]:
    primary = any(
        kind.get("category") == "HUBSPOT_DEFINED" and kind.get("typeId") in PRIMARY
        for kind in target.get("associationTypes", ())
    )
    return {"id": str(target["toObjectId"]), "primary": primary}


async def stages_of(http: Http, config: Config, kind: Kind) -> Stages:
    """Empty where the kind has no pipelines."""
    if not kind.staged:
        return {}
    response = await http.get(config.path("pipelines", type=kind.plural))
    return {
        (str(pipeline["id"]), str(stage["id"])): {
            "pipeline": pipeline.get("label"),
            "label": stage.get("label"),
            "metadata": stage.get("metadata") or {},
        }
        for pipeline in response.data["results"]
        for stage in pipeline["stages"]
    }


def _stage_id(kind: Kind, row: Row) -> tuple[str, str]:
    properties = row["properties"]
    if kind.name == "deal":
        return str(properties.get("pipeline")), str(properties.get("dealstage"))
    return str(properties.get("hs_pipeline")), str(properties.get("hs_pipeline_stage"))
