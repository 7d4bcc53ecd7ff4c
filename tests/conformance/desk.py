"""A connector that keeps every rule, with its mock: the smallest source that has all there is to do wrong.

People come whole in signed webhooks, tickets are only named there and read in batches; both have a list, paged by a
cursor and asked for by when they changed.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from aiohttp import web
from pydantic import Field, SecretStr

from core.sdk import (
    AccountError,
    Connector,
    ConnectorConfig,
    Delivery,
    Hint,
    Http,
    Maker,
    NormalizeError,
    Page,
    Payload,
    SignatureError,
    Split,
    Stream,
    TransientError,
    Webhook,
    from_ms,
)
from core.sdk.mock import Push, answer, page_size
from core.sdk.story import Beat
from schemas.entities import Conversation, Identifier, Person
from schemas.event import Event

MAKE = Maker("desk")
DEMO = {"token": "token-of-the-desk", "webhook_secret": "secret-of-the-desk"}
STATUS = {"open": "open", "closed": "closed", "waiting": "pending"}


class Config(ConnectorConfig):
    token: SecretStr = Field(description="The API's token.")
    webhook_secret: SecretStr | None = Field(None, description="Signs webhooks.")


# -- what webhooks say


def signature(secret: str, sent: str, body: bytes) -> str:
    return hmac.new(secret.encode(), sent.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(delivery: Delivery, config: Config, now: datetime) -> None:
    sent = delivery.headers.get("x-desk-sent", "")
    if config.webhook_secret is None or not sent.isascii() or not sent.isdigit() or len(sent) > 12:
        raise SignatureError("x-desk-sent is no number", code="missing time")
    wanted = signature(config.webhook_secret.get_secret_value(), sent, delivery.body)
    if not hmac.compare_digest(wanted.encode(), delivery.headers.get("x-desk-signature", "").encode()):
        raise SignatureError("x-desk-signature does not match", code="wrong signature")
    if abs(now - datetime.fromtimestamp(int(sent), UTC)) > timedelta(minutes=5):
        raise SignatureError("sent long ago", code="stale")


def cut(body: Any) -> Any:
    return {name: its for name, its in body.items() if name != "token"} if isinstance(body, dict) else body


def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
    if not isinstance(body, dict) or not isinstance(body.get("event"), str):
        raise NormalizeError("not a delivery of the desk")
    if body.get("account") != account:
        raise AccountError("another desk's")
    data, at = body.get("data"), body.get("at")
    match body["event"]:
        case "person.changed":
            return Split([Payload("person", data, account, True, received, at)])
        case "ticket.changed" if isinstance(data, dict) and isinstance(at, int):
            return Split(hints=[Hint("ticket", str(data.get("id")), at)])
        case other:
            return Split(ignored=[other])


# -- what payloads say


def normalize(payload: Payload) -> Iterable[Event]:
    if payload.kind not in ("person", "ticket"):
        return []
    row = payload.data
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise NormalizeError(f"{payload.kind}: no id")
    clock = row.get("updated")
    if not isinstance(clock, int):
        raise NormalizeError(f"{payload.kind}: no updated")
    entity = person(row) if payload.kind == "person" else ticket(row)
    return [MAKE.upserted(payload, payload.kind, row["id"], entity, clock=clock)]


def person(row: Mapping[str, Any]) -> Person:
    known = [("email", row.get("email")), ("phone", row.get("phone"))]
    return Person(
        role="customer",
        display_name=str(row.get("name") or ""),
        identifiers=[Identifier(kind=kind, value=str(value)) for kind, value in known if value],  # type: ignore[arg-type]
        updated_at=from_ms(row["updated"]),
    )


def ticket(row: Mapping[str, Any]) -> Conversation:
    status: Any = STATUS.get(str(row.get("status")))
    return Conversation(
        kind="ticket", subject=str(row.get("subject") or ""), source_state=str(row.get("status")), status=status,
        updated_at=from_ms(row["updated"]),
    )  # fmt: skip


# -- what is asked for


def rows(data: Any, name: str) -> list[dict[str, Any]]:
    found = data.get(name) if isinstance(data, dict) else None
    if not isinstance(found, list):
        raise TransientError(f"the answer has no {name}")
    return found


def moved(row: Any) -> bool:
    """Whether it tells when it changed; what does not is the normalizer's to refuse."""
    return isinstance(row, dict) and isinstance(row.get("updated"), int)


async def listed(http: Http, account: str, cursor: dict[str, Any] | None, name: str, kind: str) -> AsyncIterator[Page]:
    """Between polls {since}, within one {since, next, high}; epoch ms of the source's clock."""
    at = cursor or {"since": 0}
    while True:
        response = await http.get(f"/{name}", since=at["since"], **({"cursor": at["next"]} if "next" in at else {}))
        found = rows(response.data, name)
        high = max([at.get("high", at["since"]), *(row["updated"] for row in found if moved(row))])
        following = response.data.get("next")
        at = {"since": at["since"], "next": following, "high": high} if following else {"since": high}
        yield Page([Payload(kind, row, account, False, response.started) for row in found], at)
        if not following:
            return


async def people(http: Http, config: Config, account: str, cursor: Any) -> AsyncIterator[Page]:
    async for page in listed(http, account, cursor, "people", "person"):
        yield page


async def tickets(http: Http, config: Config, account: str, cursor: Any) -> AsyncIterator[Page]:
    async for page in listed(http, account, cursor, "tickets", "ticket"):
        yield page


async def hydrate(http: Http, config: Config, account: str, hints: Sequence[Hint]) -> AsyncIterator[Payload]:
    response = await http.request("POST", "/batch", json={"ids": [hint.id for hint in hints]})
    for row in rows(response.data, "tickets"):
        yield Payload("ticket", row, account, False, response.started)


async def _account(http: Http, config: Config) -> str:
    data = (await http.get("/me")).data
    if not isinstance(data, dict) or not data.get("account"):
        raise TransientError("the desk names no account")
    return str(data["account"])


WEBHOOK = Webhook(
    needs="webhook_secret",
    verify=verify,
    split=split,
    cut=cut,
    instructions="Settings > Webhooks: paste the URL.",
)
CONNECTOR: Connector[Config] = Connector(
    name="desk",
    title="Desk",
    category="helpdesk",
    config=Config,
    normalize=normalize,
    evidence={("customer", "email"): "recorded"},
    base_url=lambda config: config.base_url,
    auth=lambda config: {"Authorization": f"Bearer {config.token.get_secret_value()}"},
    account=_account,
    webhook=WEBHOOK,
    streams=(Stream("people", people), Stream("tickets", tickets)),
    hydrate=hydrate,
    mock="tests.conformance.desk",
)

# -- its mock


class Desk:
    """People and tickets of the story's help desk. `offset` pages by number instead of by cursor."""

    name = "intercom"
    timeout = 5.0
    retries = 3
    limit = 1_000

    def __init__(self, seed: int, secrets: Mapping[str, str]) -> None:
        self.seed = seed
        self.people: dict[str, dict[str, Any]] = {}
        self.tickets: dict[str, dict[str, Any]] = {}
        self._secrets = secrets

    def apply(self, beat: Beat, now_ms: int) -> Sequence[Push]:
        data, known = beat.data, self.tickets.get(beat.ref)
        match beat.kind:
            case "person.upsert":
                named = {"name": f"{data.get('given', '')} {data.get('family', '')}".strip()} if "given" in data else {}
                told = {name: data[name] for name in ("email", "phone") if name in data}
                old = self.people.get(beat.ref, {"id": beat.ref})
                self.people[beat.ref] = {**old, **named, **told, "updated": now_ms}
                return [self._push("person.changed", now_ms, dict(self.people[beat.ref]))]
            case "conversation.open":
                self.tickets[beat.ref] = {"id": beat.ref, "subject": data.get("subject"), "status": "open"}
            case "conversation.close" if known:
                known["status"] = "closed"
            case "conversation.snooze" if known:
                known["status"] = "waiting"
            case _ if beat.kind.startswith("conversation.") and known:
                known["status"] = "open"
            case _:
                return []
        self.tickets[beat.ref]["updated"] = now_ms
        return [self._push("ticket.changed", now_ms, {"id": beat.ref})]

    def _push(self, event: str, at: int, data: dict[str, Any]) -> Push:
        body = {"account": "acme", "event": event, "at": at, "token": self._secrets["token"], "data": data}
        return Push(data["id"], body, event)

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/me", self._me), web.get("/people", self._list), web.get("/tickets", self._list),
            web.post("/batch", self._batch),
        ]  # fmt: skip

    async def _me(self, request: web.Request) -> web.Response:
        return answer({"account": "acme"})

    async def _list(self, request: web.Request) -> web.Response:
        name, query = request.path.strip("/"), request.query
        found = list(self.truth()[name[:-1] if name == "tickets" else "person"].values())
        found = [row for row in found if row["updated"] >= int(query.get("since", 0))]
        found.sort(key=lambda row: (row["updated"], row["id"]))
        if "offset" in query:
            begin = int(query["offset"])
            return answer({name: found[begin : begin + page_size(request, 50)], "total": len(found)})
        if after := query.get("cursor"):
            found = [row for row in found if f"{row['updated']}:{row['id']}" > after]
        shown = found[: page_size(request, 50)]
        last = f"{shown[-1]['updated']}:{shown[-1]['id']}" if len(found) > len(shown) else None
        return answer({name: shown, "next": last})

    async def _batch(self, request: web.Request) -> web.Response:
        ids = (await request.json())["ids"]
        return answer({"tickets": [self.tickets[id] for id in ids if id in self.tickets]})

    def authorized(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self._secrets['token']}"

    def sign(self, push: Push, target: str, now: datetime) -> tuple[str, dict[str, str], bytes]:
        body, sent = orjson.dumps(push.body), str(int(now.timestamp()))
        secret = "somebody-else" if push.forged else self._secrets["webhook_secret"]
        headers = {"Content-Type": "application/json", "X-Desk-Sent": sent}
        return target, {**headers, "X-Desk-Signature": signature(secret, sent, body)}, body

    def failure(self, status: int) -> Any:
        """In words of its own: with status 200 only the connector can tell it from an answer."""
        return {"refusal": status}

    def rate_headers(self, limit: int, remaining: int, reset_seconds: int, now_ms: int) -> Mapping[str, str]:
        return {}

    def counts(self) -> Mapping[str, int]:
        return {"people": len(self.people), "tickets": len(self.tickets)}

    def truth(self) -> Mapping[str, Any]:
        return {"person": self.people, "ticket": self.tickets}


simulator = Desk
