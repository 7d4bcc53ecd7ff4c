"""What HubSpot's ids are called: stages, owners, companies. Objects carry ids alone, people read names."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any

from connectors.hubspot.config import Config
from connectors.hubspot.kinds import Kind
from core.sdk import Http, Payload, PermanentError, Response, TransientError

BATCH = 100  # HubSpot's limit for a batch read
DETAILS = {"companies": ("name",), "line_items": ("name", "hs_sku", "quantity", "amount")}
OBJECT = ("id", "properties")  # what every object has
BUSY = {423: 2, 477: 3600}  # locked; portal is being moved: seconds to wait where the answer does not say

Row = dict[str, Any]
Stages = Mapping[tuple[str, str], dict[str, Any]]  # (pipeline, stage) to labels and what the stage means


async def ask(
    http: Http, method: str, path: str, *, params: Mapping[str, str | int] | None = None, json: Any = None
) -> Response:
    """One request; HubSpot's own statuses for "later" raise TransientError, a missing scope says what to do."""
    with _explained(path):
        return await http.request(method, path, params=params, json=json)


def rows(answer: Response, *needed: str) -> list[Row]:
    """What an answer lists, as far as it has these fields. Raises TransientError where it lists nothing."""
    return [row for row in _listed(answer) if _has(row, needed)]


def odd(answer: Response, account: str, *needed: str) -> list[Payload]:
    """The rest: nobody can ask for it, and it must hold up nobody, so it is kept as it came."""
    found = [row for row in _listed(answer) if not _has(row, needed)]
    return [Payload("malformed", row, account, pushed=False, received=answer.started) for row in found]


def _listed(answer: Response) -> list[Any]:
    found = answer.data.get("results") if isinstance(answer.data, dict) else None
    if not isinstance(found, list):
        raise TransientError("HubSpot's answer has no results")
    return found


def _has(row: Any, needed: Sequence[str]) -> bool:
    return isinstance(row, dict) and all(row.get(name) is not None for name in needed)


class Labels:
    """Asked for when they are needed, each once for as long as this lives: one poll or one batch of hints."""

    def __init__(self, http: Http, config: Config) -> None:
        self._http, self._config = http, config
        self._stages: dict[str, Stages] = {}
        self._owners: dict[str, str] = {}
        self._users: dict[str, str] = {}
        self._details: dict[str, dict[str, Row]] = {}

    async def stages(self, kind: Kind) -> Stages:
        """Empty where the kind stands in no pipeline."""
        if kind.staged and kind.name not in self._stages:
            answer = await ask(self._http, "GET", self._config.path("pipelines", type=kind.plural))
            self._stages[kind.name] = {
                (str(pipeline["id"]), str(stage["id"])): {
                    "pipeline": pipeline.get("label"),
                    "label": stage.get("label"),
                    "metadata": stage.get("metadata") or {},
                }
                for pipeline in rows(answer, "id", "stages")
                for stage in pipeline["stages"]
            }
        return self._stages.get(kind.name, {})

    async def owners(self, ids: set[str]) -> Mapping[str, str]:
        """Names by id, of those who have left, too."""
        await self._read_owners(ids, self._owners)
        self._owners |= dict.fromkeys(ids - self._owners.keys(), "")  # known to nobody any more
        return self._owners

    async def users(self, ids: set[str]) -> Mapping[str, str]:
        """Owner ids by user id: records name owners, the inbox names users."""
        await self._read_owners(ids, self._users)
        self._users |= dict.fromkeys(ids - self._users.keys(), "")
        return self._users

    async def details(self, type: str, ids: set[str]) -> Mapping[str, Row]:
        """What an object shows of the others that it names, by id: their properties that are set."""
        known = self._details.setdefault(type, {})
        path = self._config.path("batch", type=type)
        for part in chunks(sorted(ids - known.keys()), BATCH):
            json = {"properties": list(DETAILS[type]), "inputs": [{"id": id} for id in part]}
            answer = await ask(self._http, "POST", path, json=json)
            known |= {id: {} for id in part}
            for row in rows(answer, *OBJECT):
                shown = {name: row["properties"].get(name) for name in DETAILS[type]}
                known[str(row["id"])] = {name: value for name, value in shown.items() if value}
        return known

    async def _read_owners(self, ids: set[str], known: Mapping[str, str]) -> None:
        """Until all are known. There is no way to ask for some: the list comes whole."""
        for archived in ("false", "true"):
            after = ""
            while ids - known.keys():
                params = {"limit": 100, "archived": archived} | ({"after": after} if after else {})
                answer = await ask(self._http, "GET", self._config.path("owners"), params=params)
                for owner in rows(answer, "id"):
                    self._owners[str(owner["id"])] = owner_name(owner)
                    user = owner.get("userIdIncludingInactive") or owner.get("userId")
                    self._users[str(user)] = str(owner["id"])
                if not (after := following(answer.data)):
                    break


def owner_name(owner: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (owner.get("firstName"), owner.get("lastName")))) or owner.get("email") or ""


def by_their_clock(cursor: Row, response: Response) -> Row:
    """The cursor with its `upper` (epoch ms) no later than HubSpot's own clock says: ours may be ahead of it, and what
    changes until it gets there would be passed over by the next search."""
    try:
        told = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return cursor
    return {**cursor, "upper": min(cursor["upper"], int(told.timestamp() * 1000))}


def following(data: Mapping[str, Any]) -> str:
    """What to ask for the next page with; empty on the last one."""
    return str(((data.get("paging") or {}).get("next") or {}).get("after") or "")


def chunks(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of at most `size`."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except PermanentError as error:
        if error.status == 403:
            raise PermanentError(
                f"HubSpot refuses {path}: give the token the scope for it, or take the object out of `objects:`",
                status=403,
            ) from error
        if error.status not in BUSY:
            raise
        asked = error.headers.get("retry-after", "")
        wait = int(asked) if asked.isdigit() else BUSY[error.status]
        raise TransientError(str(error), retry_after=timedelta(seconds=wait)) from error
