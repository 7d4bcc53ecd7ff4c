"""The endpoints of the mocked portal: paging, limits and errors as HubSpot has them. No connector code is shared."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from aiohttp import web

from connectors.hubspot import world as worlds
from connectors.hubspot.world import ASSOCIATIONS, MODIFIED, PIPELINES, SINGULAR, TYPE_IDS, Record, World
from core.sdk import from_ms
from core.sdk.mock import UNMETERED, answer, now, page_size
from core.sdk.story import uuid

TYPE = f"{{type:{'|'.join(TYPE_IDS)}}}"
DATED = "{version:20[0-9]{2}-[0-9]{2}}"
OBJECTS = ("/crm/v3/objects/", f"/crm/objects/{DATED}/")
DEFAULTS = {"contacts": ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname")}

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """`lag` (ms), `search_cap`, `search_rate` (requests a second), `inline` (associations that a list brings along),
    `association_page`, `forbidden` (types that the token lacks the scope for) and `pipelines` can be set by tests."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lag, self.search_cap, self.search_rate = 1_000, 10_000, 5
        self.inline, self.association_page = 100, 500
        self.forbidden: set[str] = set()
        self.pipelines: dict[str, Sequence[Any]] = dict(PIPELINES)
        self._searches: deque[float] = deque()

    def routes(self) -> Sequence[web.RouteDef]:
        found = [
            route
            for prefix in OBJECTS
            for route in (
                web.get(prefix + TYPE, self._scoped(self._list)),
                web.post(f"{prefix}{TYPE}/search", self._scoped(self._search)),
                web.post(f"{prefix}{TYPE}/batch/read", self._scoped(self._batch)),
            )
        ]
        pair = "{type:[a-z0-9_-]+}/{to:[a-z0-9_-]+}/batch/read"
        found += [
            web.post(prefix + pair, self._associations)
            for prefix in ("/crm/v4/associations/", f"/crm/associations/{DATED}/")
        ]
        found += [web.get(path, self._owners) for path in ("/crm/v3/owners", f"/crm/owners/{DATED}")]
        found += [web.get("/crm/v3/pipelines/{type:deals|tickets|orders}", self._pipelines)]
        found += [
            web.get(path, self._account) for path in ("/account-info/v3/details", f"/account-info/{DATED}/details")
        ]
        return found

    def _scoped(self, handler: Handler) -> Handler:
        async def scoped(request: web.Request) -> web.StreamResponse:
            forbidden = request.match_info["type"] in self.forbidden
            return self._forbidden(request) if forbidden else await handler(request)

        return scoped

    def _forbidden(self, request: web.Request) -> web.Response:
        refusal = {"status": "error", "category": "MISSING_SCOPES", "message": "This app lacks a scope."}
        return answer(refusal | {"correlationId": uuid(self.world.seed, request.path)}, 403)

    async def _list(self, request: web.Request) -> web.Response:
        type, query = request.match_info["type"], request.query
        limit = int(query.get("limit", "10"))
        if limit > 100:
            return self._invalid("limit must be at most 100")
        limit = page_size(request, limit)
        wants_archived = query.get("archived", "false") == "true"
        rows = sorted(
            (record for record in self.world.objects[type].values() if (record.archived is not None) == wants_archived),
            key=lambda record: int(record.id),
        )
        rows = [record for record in rows if int(record.id) >= int(query.get("after", "0"))]
        asked = query.get("properties", "").split(",")
        results = [
            self.shown(type, record, asked) | self._inlined(type, record, query.get("associations", ""))
            for record in rows[:limit]
        ]
        found: Json = {"results": results}
        if len(rows) > limit:
            after = str(int(rows[limit - 1].id) + 1)
            found["paging"] = {"next": {"after": after, "link": str(request.url.update_query({"after": after}))}}
        return answer(found)

    async def _search(self, request: web.Request) -> web.Response:
        found = self._searched(request, request.match_info["type"], await request.json())
        found[UNMETERED] = True
        return found

    def _searched(self, request: web.Request, type: str, body: Json) -> web.Response:
        at, moment = now(request), asyncio.get_running_loop().time()
        while self._searches and self._searches[0] <= moment - 1:
            self._searches.popleft()
        if len(self._searches) >= self.search_rate:
            return answer(throttled(self.world.seed, "SECONDLY"), 429)
        self._searches.append(moment)
        limit, offset = int(body.get("limit", 10)), int(body.get("after") or 0)
        if limit > 200:
            return self._invalid("limit must be at most 200")
        if offset + limit > self.search_cap:
            return self._invalid(f"The search API can return at most {self.search_cap} results")
        limit = page_size(request, limit)
        rows = [
            record
            for record in self.world.objects[type].values()
            # The index lags: what was changed a moment ago is not found yet.
            if record.archived is None and record.updated <= at - self.lag and _matches(type, record, body)
        ]
        for sort in body.get("sorts", [])[:1]:
            rows.sort(
                key=lambda record: _number(type, record, sort["propertyName"]) or 0,
                reverse=sort.get("direction") == "DESCENDING",
            )
        results = [self.shown(type, record, body.get("properties", [])) for record in rows[offset : offset + limit]]
        for row in results:
            row["properties"].pop("hs_merged_object_ids", None)
        found: Json = {"total": len(rows), "results": results}
        if len(rows) > offset + limit:
            found["paging"] = {"next": {"after": str(offset + limit)}}
        return answer(found)

    async def _batch(self, request: web.Request) -> web.Response:
        type, body = request.match_info["type"], await request.json()
        ids = [str(item["id"]) for item in body["inputs"]]
        if len(ids) > 100:
            return self._invalid("at most 100 inputs")
        rows = self.world.objects[type]
        wanted = dict.fromkeys(self.world.aliases.get(id, id) for id in ids)
        archived = request.query.get("archived") == "true"
        found = [rows[id] for id in wanted if id in rows and (rows[id].archived is not None) == archived]
        missing = [id for id in wanted if id not in {record.id for record in found}]
        result: Json = {
            "status": "COMPLETE", "startedAt": from_ms(now(request)), "completedAt": from_ms(now(request)),
            "results": [self.shown(type, record, body.get("properties", [])) for record in found],
        }  # fmt: skip
        if not missing:
            return answer(result)
        error = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some objects.",
                 "context": {"ids": missing}}  # fmt: skip
        return answer(result | {"numErrors": 1, "errors": [error]}, 207)

    async def _associations(self, request: web.Request) -> web.Response:
        pair = request.match_info["type"], request.match_info["to"]
        inputs = (await request.json())["inputs"]
        if pair[1] in self.forbidden:
            return self._forbidden(request)
        if pair not in ASSOCIATIONS:
            return self._invalid(f"no association from {pair[0]} to {pair[1]}")
        if len(inputs) > 1000:
            return self._invalid("at most 1000 inputs")
        results = []
        for item in inputs:
            targets = sorted(self.world.links[pair].get(str(item["id"]), {}).items())
            begin = int(item.get("after") or 0)
            part = targets[begin : begin + self.association_page]
            result: Json = {"from": {"id": str(item["id"])}, "to": [_target(pair, *target) for target in part]}
            if len(targets) > begin + self.association_page:
                result["paging"] = {"next": {"after": str(begin + self.association_page)}}
            if part:
                results.append(result)
        moment = from_ms(now(request))
        return answer({"status": "COMPLETE", "results": results, "startedAt": moment, "completedAt": moment})

    async def _owners(self, request: web.Request) -> web.Response:
        query = request.query
        wants_archived = query.get("archived", "false") == "true"
        rows = [owner for owner in worlds.owners(self.world.seed) if owner["archived"] == wants_archived]
        begin, limit = int(query.get("after", "0")), page_size(request, int(query.get("limit", "100")))
        found: Json = {"results": rows[begin : begin + limit]}
        if len(rows) > begin + limit:
            found["paging"] = {"next": {"after": str(begin + limit)}}
        return answer(found)

    async def _pipelines(self, request: web.Request) -> web.Response:
        return answer({"results": [
            {"id": id, "label": label, "displayOrder": 0, "archived": False, "stages": [
                {"id": stage, "label": text, "displayOrder": index, "metadata": metadata, "archived": False}
                for index, (stage, text, metadata) in enumerate(stages)
            ]}
            for id, label, stages in self.pipelines[request.match_info["type"]]
        ]})  # fmt: skip

    async def _account(self, request: web.Request) -> web.Response:
        return answer({"portalId": self.world.portal, "accountType": "STANDARD", "timeZone": "US/Eastern",
                       "companyCurrency": "USD", "uiDomain": "app.hubspot.com", "utcOffset": "-05:00"})  # fmt: skip

    def shown(self, type: str, record: Record, asked: Iterable[str]) -> Json:
        modified = MODIFIED.get(type, "hs_lastmodifieddate")
        names = {*DEFAULTS.get(type, ("hs_object_id", modified)), *asked}
        kept = record.properties if record.archived is None else {"hs_object_id": record.id}
        row: Json = {
            "id": record.id,
            "properties": {name: kept.get(name) for name in sorted(names & self.world.names[type])}
            | {modified: from_ms(record.updated)},
            "createdAt": from_ms(record.created),
            "updatedAt": from_ms(record.updated),
            "archived": record.archived is not None,
        }
        return row if record.archived is None else row | {"archivedAt": from_ms(record.archived)}

    def _inlined(self, type: str, record: Record, asked: str) -> Json:
        """The types are named with blanks here; left out where there are none, as HubSpot does."""
        found = {to.replace("_", " "): self._inline(type, record, to) for to in asked.split(",") if to}
        found = {to: block for to, block in found.items() if block}
        return {"associations": found} if found else {}

    def _inline(self, type: str, record: Record, to: str) -> Json:
        """One row per type of association."""
        targets = sorted(self.world.links.get((type, to), {}).get(record.id, {}).items())
        if not targets:
            return {}
        name = f"{SINGULAR[type]}_to_{SINGULAR[to]}"
        rows = [row for id, primary in targets[: self.inline] for row in (
            *([{"id": id, "type": name}] if primary or to != "companies" else []),
            *([{"id": id, "type": f"{name}_unlabeled"}] if to == "companies" else []),
        )]  # fmt: skip
        block: Json = {"results": rows}
        if len(targets) > self.inline:
            block["paging"] = {"next": {"after": targets[self.inline - 1][0]}}
        return block

    def _invalid(self, message: str) -> web.Response:
        refusal = {"status": "error", "message": message, "category": "VALIDATION_ERROR"}
        return answer(refusal | {"correlationId": uuid(self.world.seed, message)}, 400)


def throttled(seed: int, policy: str) -> Json:
    """The body of a 429."""
    return {
        "status": "error",
        "message": f"You have reached your {policy.lower()} limit.",
        "errorType": "RATE_LIMIT",
        "correlationId": uuid(seed, f"429 {policy}"),
        "policyName": policy,
        "requestId": uuid(seed, f"request {policy}"),
    }


_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "GTE": int.__ge__, "LTE": int.__le__, "GT": int.__gt__, "LT": int.__lt__, "EQ": int.__eq__,
}  # fmt: skip


def _matches(type: str, record: Record, body: Json) -> bool:
    """Groups are alternatives, the filters of one hold together. A property that this type lacks matches nothing."""

    def holds(condition: Json) -> bool:
        value = _number(type, record, condition["propertyName"])
        return value is not None and _OPERATORS[condition["operator"]](value, int(condition["value"]))

    groups = body.get("filterGroups", [])
    return not groups or any(all(map(holds, group["filters"])) for group in groups)


def _number(type: str, record: Record, property: str) -> int | None:
    if property == "hs_object_id":
        return int(record.id)
    return record.updated if property == MODIFIED.get(type, "hs_lastmodifieddate") else None


def _target(pair: tuple[str, str], id: str, primary: bool) -> Json:
    plain, first = ASSOCIATIONS[pair]
    types = [{"category": "HUBSPOT_DEFINED", "typeId": plain, "label": None}]
    if primary and first:
        types.insert(0, {"category": "HUBSPOT_DEFINED", "typeId": first, "label": "Primary"})
    return {"toObjectId": int(id), "associationTypes": types}
