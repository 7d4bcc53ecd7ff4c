"""A source that nobody has, for tests of the engine: a help desk with signed webhooks, a list, and a batch read.

`CONNECTOR` talks to it; `Source` is it: a real HTTP server that a test can make fail.
"""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from aiohttp import web
from pydantic import Field, SecretStr

from core.config.model import Connection
from core.sdk import (
    AccountError,
    Connector,
    ConnectorConfig,
    Delivery,
    Hint,
    Http,
    Ids,
    Listing,
    Maker,
    NormalizeError,
    Page,
    Payload,
    RateHeaders,
    SignatureError,
    Split,
    Stream,
    Webhook,
    from_ms,
)
from schemas.entities import Conversation, Identifier, Message, Person
from schemas.event import Event

TOKEN = "canary-token-4711"
SECRET = "canary-webhook-secret-0815"
MAKE = Maker("desk")


class Config(ConnectorConfig):
    token: SecretStr = Field(SecretStr(TOKEN), description="The API's token.")
    webhook_secret: SecretStr | None = Field(SecretStr(SECRET), description="Signs webhooks.")


def connection(name: str = "desk", **settings: Any) -> Connection:
    return Connection(name, CONNECTOR, Config(type="desk", **settings))


def verify(delivery: Delivery, config: Config, now: datetime) -> None:
    assert config.webhook_secret is not None
    given = delivery.headers.get("x-signature")
    if given is None:
        raise SignatureError("x-signature is missing", code="missing signature")
    if not hmac.compare_digest(signature(delivery.body, config.webhook_secret.get_secret_value()), given):
        raise SignatureError("x-signature does not match the body", code="wrong signature")
    sent = datetime.fromtimestamp(int(delivery.headers.get("x-sent", "0")), UTC)
    if abs(now - sent) > timedelta(minutes=5):
        raise SignatureError(f"the delivery is {abs(now - sent)} old", code="stale")


def signature(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def signed(body: Any, secret: str = SECRET) -> dict[str, Any]:
    """Arguments of a post that the source would send."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    sent = str(int(datetime.now(UTC).timestamp()))
    return {"data": data, "headers": {"x-signature": signature(data, secret), "x-sent": sent}}


def cut(body: Any) -> Any:
    return {name: value for name, value in body.items() if name != "token"} if isinstance(body, dict) else body


def split(body: Any, delivery: Delivery, config: Config, account: str, received: int) -> Split:
    if not isinstance(body, dict) or not isinstance(body.get("items", []), list):
        raise NormalizeError("not a notification of the desk")
    if body.get("account", account) != account:
        raise AccountError(f"this is for {body['account']!r}")
    payloads, hints, ignored = [], [], []
    for item in body.get("items", []):
        match item.get("kind"):
            case "person" | "ticket" | "message" as kind:
                payloads.append(Payload(kind, item, account, True, received, headers=dict(delivery.headers)))
            case "named":
                hints.append(Hint("person", str(item["id"]), item.get("at", received)))
            case other:
                ignored.append(str(other))
    return Split(payloads, hints, ignored)


def normalize(payload: Payload) -> Iterable[Event]:
    item = payload.data
    match payload.kind:
        case "person":
            yield MAKE.upserted(payload, "person", item["id"], _person(item), clock=item["updated"])
        case "ticket":
            ticket = Conversation(
                subject=item["subject"], preview=item.get("preview"), updated_at=from_ms(item["updated"])
            )
            yield MAKE.upserted(payload, "ticket", item["id"], ticket, clock=item["updated"])
        case "gone":
            yield MAKE.deleted(payload, "person", item["id"], Person, clock=payload.at)
        case "message":
            message = Message(body=item["body"], updated_at=from_ms(item["updated"]))
            yield MAKE.upserted(payload, "message", item["id"], message, clock=item["updated"])


def _person(item: dict[str, Any]) -> Person:
    emails = [Identifier(kind="email", value=item["email"])] if "email" in item else []
    return Person(
        role="customer",
        display_name=item["name"],
        identifiers=emails,
        attributes=item.get("attributes", {}),
        updated_at=from_ms(item["updated"]),
    )


async def poll(http: Http, config: Config, account: str, cursor: dict[str, Any] | None) -> AsyncIterator[Page]:
    after = cursor["after"] if cursor else 0
    more = True
    while more:
        answer = await http.get("/people", after=after)
        items = answer.data["people"]
        payloads = [Payload("person", item, account, False, answer.started) for item in items]
        after, more = answer.data["next"], answer.data["more"]
        yield Page(payloads, {"after": after}, answer.data.get("total"))


async def ids(http: Http, config: Config, account: str, cursor: dict[str, Any] | None) -> AsyncIterator[Ids]:
    after, more = cursor["after"] if cursor else 0, True
    while more:
        answer = (await http.get("/ids", after=after)).data
        after, more = answer["next"], answer["more"]
        yield Ids(answer["ids"], {"after": after})


async def hydrate(http: Http, config: Config, account: str, hints: Sequence[Hint]) -> AsyncIterator[Payload]:
    answer = await http.request("POST", "/batch", json={"ids": [hint.id for hint in hints]})
    for item in answer.data["people"]:
        yield Payload("person", item, account, False, answer.started)
    found = {str(item["id"]) for item in answer.data["people"]}
    for hint in hints:
        if hint.id not in found:
            yield Payload("gone", {"id": hint.id}, account, False, answer.started, hint.at)


async def _account(http: Http, config: Config) -> str:
    return str((await http.get("/me")).data["account"])


CONNECTOR = Connector(
    name="desk",
    title="Desk",
    category="helpdesk",
    config=Config,
    normalize=normalize,
    evidence={("customer", "email"): "recorded"},
    base_url=lambda config: config.base_url,
    auth=lambda config: {"Authorization": f"Bearer {config.token.get_secret_value()}"},
    account=_account,
    webhook=Webhook(
        needs="webhook_secret",
        verify=verify,
        split=split,
        cut=cut,
        methods=frozenset({"POST", "HEAD"}),
    ),
    streams=(Stream("people", poll),),
    hydrate=hydrate,
    listings=(Listing("person", ids),),
    batch=10,
    rate_headers=RateHeaders("x-remaining", "x-reset"),
)

Answer = Callable[[web.Request], Any]


class Source:
    """`people` are what it has, in order, listed `page` at a time, their ids `listed` at a time; `failing` answers come
    first, one per request; `broken` counts for all."""

    def __init__(self, account: str = "acme", page: int = 2) -> None:
        self.account = account
        self.page = page
        self.listed = 50
        self.url = ""
        self.people: list[dict[str, Any]] = []
        self.failing: list[Answer] = []
        self.broken: Answer | None = None
        self.requests: list[web.Request] = []
        self.paths: list[str] = []
        self.bodies: list[Any] = []

    def person(self, number: int, **more: Any) -> dict[str, Any]:
        item = {"kind": "person", "id": number, "name": f"Person {number}", "updated": 1_700_000_000_000 + number}
        self.people.append({**item, **more})
        return self.people[-1]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.paths.append(request.path_qs)
        self.bodies.append(await request.json() if request.can_read_body else None)
        failing = self.failing.pop(0) if self.failing else self.broken
        if failing is not None:
            made = failing(request)
            return await made if asyncio.iscoroutine(made) else made
        return self.regular(request, self.bodies[-1])

    def regular(self, request: web.Request, body: Any) -> web.Response:
        """What it answers when it is well."""
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({}, status=401)
        match request.path:
            case "/me":
                return web.json_response({"account": self.account})
            case "/people":
                after = int(request.query["after"])
                end = min(after + self.page, len(self.people))
                more = end < len(self.people)
                page = {"people": self.people[after:end], "next": end, "more": more, "total": len(self.people)}
                return web.json_response(page)
            case "/ids":
                after = int(request.query["after"])
                end = min(after + self.listed, len(self.people))
                ids = [str(one["id"]) for one in self.people[after:end]]
                return web.json_response({"ids": ids, "next": end, "more": end < len(self.people)})
            case "/batch":
                wanted = set(body["ids"])
                return web.json_response({"people": [one for one in self.people if str(one["id"]) in wanted]})
        return web.json_response({}, status=404)


@asynccontextmanager
async def serving(source: Source) -> AsyncIterator[Source]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", source.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    source.url = f"http://{host}:{port}"
    try:
        yield source
    finally:
        await runner.cleanup()
