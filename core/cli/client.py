"""How a command reaches the hub: the API of the one that runs, otherwise the same API over the store."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any, NamedTuple

import aiohttp
import orjson

from core.cli.auth import authorize, kept, valid
from core.config import HubConfig
from core.errors import ConfigError, PermanentError, TransientError

_QUICK = aiohttp.ClientTimeout(total=3)
_PATIENT = aiohttp.ClientTimeout(total=60)
_ENDLESS = aiohttp.ClientTimeout(total=None, connect=5, sock_read=60)  # a silent feed has a heartbeat every 15 s
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104  to listen at, not to call


class Frame(NamedTuple):
    """One event of the feed, its data as it came."""

    id: str
    event: str
    data: bytes


class Client:
    """The API of one hub. Answers are JSON as schemas.answers and schemas.customer describe it.

    Problems are raised with their remedy: ConfigError for what was asked wrongly, TransientError where it may work
    later, PermanentError otherwise. `absent` is the remedy in a command's words where something is not there.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str, *, running: bool) -> None:
        self.url = url
        self.running = running
        self._session = session
        self._headers = {"Authorization": f"Bearer {token}"}

    async def get(self, path: str, *, absent: str | None = None, **params: str | int | None) -> dict[str, Any]:
        return await self._json("GET", path, absent, params=_given(params))

    async def post(
        self, path: str, body: Mapping[str, Any] | None = None, *, absent: str | None = None
    ) -> dict[str, Any]:
        return await self._json("POST", path, absent, json=dict(body or {}))

    async def delete(self, path: str) -> dict[str, Any]:
        return await self._json("DELETE", path, None)

    async def text(self, path: str) -> str:
        with _reached(self.url):
            async with self._session.get(self.url + path, headers=self._headers, timeout=_PATIENT) as answer:
                return await answer.text()

    async def feed(self, params: Mapping[str, str | int | None], last: str | None = None) -> AsyncIterator[Frame]:
        """Frames until the hub ends the stream. Raises TransientError where it breaks; go on with the last id."""
        headers = self._headers | ({"Last-Event-ID": last} if last else {})
        with _reached(self.url):
            async with self._session.get(
                f"{self.url}/v1/feed", params=_given(params), headers=headers, timeout=_ENDLESS
            ) as answer:
                await _raise_for(answer)
                rest = b""
                async for chunk in answer.content.iter_any():
                    *blocks, rest = (rest + chunk).split(b"\n\n")
                    for block in blocks:
                        if frame := _frame(block):
                            yield frame

    async def _json(self, method: str, path: str, absent: str | None, **options: Any) -> dict[str, Any]:
        with _reached(self.url):
            async with self._session.request(
                method, self.url + path, headers=self._headers, timeout=_PATIENT, **options
            ) as answer:
                await _raise_for(answer, absent)
                return dict(orjson.loads(await answer.read()))


@asynccontextmanager
async def connect(config: HubConfig, *, write: bool = False, running: bool = False) -> AsyncIterator[Client]:
    """The hub of this hub.yaml. `write`: the command changes something; `running`: it needs one that runs.

    Raises TransientError where one must run and none does, ConfigError where there is nothing to read yet.
    """
    url = address(config)
    async with aiohttp.ClientSession() as session:
        if await answers(session, url):
            secret = kept(config)
            if secret is None:
                raise ConfigError(_strange(config, url))
            client = Client(session, url, secret, running=True)
            await _ours(client, config)
            yield client
            return
        if running:
            raise TransientError(f"no hub answers at {url}: start it with `hub run`")
        from core import hub  # the engine: where a hub runs, a command needs none of it

        async with AsyncExitStack() as stack:
            try:
                at, store = await stack.enter_async_context(hub.offline(config, write=write))
            except TransientError as error:
                remedy = (
                    f"may this user read and write {config.data}?"
                    if config.store.type == "sqlite"
                    else "start the database, or correct `store:` in hub.yaml (`hub check` tells more)"
                )
                raise TransientError(f"{error}: {remedy}") from error
            secret = await valid(store, config)
            if secret is None:
                async with hub.open_store(config) as writable:
                    secret = await authorize(writable, config)
            yield Client(session, at, secret, running=False)


def address(config: HubConfig) -> str:
    """Where the API of this hub.yaml answers."""
    return f"http://{reachable(config.server.api)}"


def reachable(listens: str) -> str:
    """HOST:PORT to call for HOST:PORT to listen at."""
    host, _, port = listens.rpartition(":")
    return f"{_EVERYWHERE.get(host, host)}:{port}"


async def answers(session: aiohttp.ClientSession, url: str) -> bool:
    """Whether a hub listens there."""
    with suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
        async with session.get(f"{url}/healthz", timeout=_QUICK) as answer:
            return answer.status == 200 and orjson.loads(await answer.read()).get("status") == "ok"
    return False


async def is_running(config: HubConfig) -> bool:
    async with aiohttp.ClientSession() as session:
        return await answers(session, address(config))


async def _ours(client: Client, config: HubConfig) -> None:
    try:
        await client.get("/v1/dead", limit=1)
    except PermanentError as error:
        if error.status == 401:
            raise ConfigError(_strange(config, client.url)) from None
        raise


def _strange(config: HubConfig, url: str) -> str:
    return (
        f"the hub at {url} is not the one of {config.path} (it does not know the token in {config.data / 'auth'}): "
        "name its file with --config, or change `server:`"
    )


async def _raise_for(answer: aiohttp.ClientResponse, absent: str | None = None) -> None:
    if answer.status < 400:
        return
    raw = await answer.read()
    try:
        problem = orjson.loads(raw)
    except ValueError:
        problem = {"detail": f"{answer.url.host} answered {answer.status}"}
    errors = ", ".join(f"{name}: {wrong}" for name, wrong in (problem.get("errors") or {}).items())
    remedy = absent if absent and answer.status == 404 else problem.get("remedy")
    said = "; ".join(filter(None, (problem.get("detail"), errors, remedy)))
    match answer.status:
        case 400:
            raise ConfigError(said)
        case 503:
            raise TransientError(said)
    raise PermanentError(said, status=answer.status)


@contextmanager
def _reached(url: str) -> Iterator[None]:
    """The library's errors as ours."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        what = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        raise TransientError(f"the hub at {url} is gone ({what}): look at its log") from error


def _frame(block: bytes) -> Frame | None:
    """None for comments and for ids without data."""
    fields: dict[bytes, bytes] = {}
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        fields[name] = value.removeprefix(b" ")
    if b"data" not in fields:
        return None
    return Frame(fields.get(b"id", b"").decode(), fields.get(b"event", b"message").decode(), fields[b"data"])


def _given(params: Mapping[str, str | int | None]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items() if value is not None}
