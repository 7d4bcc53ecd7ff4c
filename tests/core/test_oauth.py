"""Tokens that end: against a token endpoint that refuses what a real one refuses."""

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from connectors.hubspot import CONNECTOR as HUBSPOT
from connectors.hubspot.config import Config as HubSpot
from connectors.hubspot.mock import APP, DEMO, simulator
from core.config.model import Connection
from core.errors import RateLimitedError, TransientError, UnauthorizedError
from core.ingest import Client, Keyring, Patience, forget_tokens, sessions
from core.sdk import OAuth
from core.sdk.mock import Clock, running
from tests.source import CONNECTOR, Config, Source, serving

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
FIRST = "canary-refresh-token-1"


class Granting(Source):
    """Gives access tokens for 30 minutes. `rotates`: each refresh token is good for once. `failing` as in Source, for
    the token endpoint."""

    def __init__(self, rotates: bool = False) -> None:
        super().__init__()
        self.now = START
        self.rotates = rotates
        self.refresh = FIRST
        self.refreshes, self.refused = 0, 0
        self.ends: dict[str, datetime] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/token":
            return self.regular(request, None)
        if self.failing:
            made: web.StreamResponse = self.failing.pop(0)(request)
            return made
        await asyncio.sleep(0.02)
        form = await request.post()
        if form["refresh_token"] != self.refresh:
            self.refused += 1
            return web.json_response({"error": "invalid_grant", "error_description": self.refresh}, status=400)
        self.refreshes += 1
        access = f"canary-access-token-{self.refreshes}"
        self.ends[access] = self.now + timedelta(minutes=30)
        given: dict[str, Any] = {"access_token": access, "expires_in": 1800}
        if self.rotates:
            self.refresh = given["refresh_token"] = hashlib.sha256(access.encode()).hexdigest()
        return web.json_response(given)

    def regular(self, request: web.Request, body: Any) -> web.Response:
        access = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.ends.get(access, START) <= self.now:
            return web.json_response({"message": access}, status=401)
        self.paths.append(request.path)
        return web.json_response({"account": "acme"})


@asynccontextmanager
async def granting(rotates: bool = False) -> AsyncIterator[Granting]:
    async with serving(Granting(rotates)) as source:
        yield source  # type: ignore[misc]


@asynccontextmanager
async def process(
    source: Granting, folder: Path | None = None, refresh: str = FIRST, name: str = "desk"
) -> AsyncIterator[Client]:
    """A process of the hub that asks it."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    connector = replace(CONNECTOR, auth=lambda config: {}, oauth=lambda config: OAuth("/token", form))
    connection = Connection(name, connector, Config(type="desk", base_url=source.url))

    def now() -> datetime:
        return source.now

    async with sessions() as session:
        yield Client(connection, session, now, patience=Patience(tries=1), keyring=Keyring(session, now, folder))


async def test_fifty_waiters_refresh_once() -> None:
    async with granting(rotates=True) as source, process(source) as client:
        await asyncio.gather(*(client.get("/me") for _ in range(50)))
        assert (source.refreshes, source.refused, len(source.paths)) == (1, 0, 50)
        source.ends.clear()
        await asyncio.gather(*(client.of("live").get("/me") for _ in range(50)))
        assert (source.refreshes, source.refused, len(source.paths)) == (2, 0, 100)


async def test_a_new_token_is_on_the_disk_by_its_name_before_anybody_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, bool]] = []
    sync = os.fsync

    def watched(file: int) -> None:
        synced.append((os.fstat(file).st_ino, any((tmp_path / "oauth").glob("*.json"))))
        sync(file)

    monkeypatch.setattr(os, "fsync", watched)
    async with granting(rotates=True) as source, process(source, tmp_path) as client:
        await client.get("/me")
    token, folder = next((tmp_path / "oauth").glob("*.json")), tmp_path / "oauth"
    assert synced == [(token.stat().st_ino, False), (folder.stat().st_ino, True), (tmp_path.stat().st_ino, True)]


async def test_a_token_is_replaced_before_it_ends() -> None:
    async with granting() as source, process(source) as client:
        await client.get("/me")
        source.now += timedelta(minutes=28)
        await client.get("/me")
        assert source.refreshes == 1
        source.now += timedelta(minutes=1.5)
        await client.get("/me")
        assert source.refreshes == 2


async def test_a_token_that_is_refused_before_its_end_is_replaced_and_the_request_repeated() -> None:
    async with granting() as source, process(source) as client:
        await client.get("/me")
        source.ends.clear()
        assert (await client.get("/me")).data == {"account": "acme"}
        assert source.refreshes == 2


async def test_a_source_that_refuses_fresh_tokens_is_not_asked_for_ever() -> None:
    async with granting() as source, process(source) as client:
        source.regular = lambda request, body: web.json_response({}, status=401)  # type: ignore[method-assign]
        with pytest.raises(UnauthorizedError):
            await client.get("/me")
        assert source.refreshes == 2


async def test_a_refused_refresh_is_told_to_all_who_wait_and_shows_no_token() -> None:
    async with granting() as source, process(source, refresh="canary-of-yesterday") as client:
        with capture_logs() as lines:
            failed = await asyncio.gather(*(client.get("/me") for _ in range(20)), return_exceptions=True)
        assert {type(each) for each in failed} == {UnauthorizedError}
        assert source.refused == 1
        assert "authorize the app again" in str(failed[0])
        assert "canary" not in f"{failed} {lines}"
        source.refresh = "canary-of-yesterday"
        assert (await client.get("/me")).status == 200, "it heals without restart"


@pytest.mark.parametrize(
    ("status", "error"), [(429, RateLimitedError), (500, TransientError), (302, UnauthorizedError)]
)
async def test_a_token_endpoint_that_fails_is_told_by_its_kind(status: int, error: type[Exception]) -> None:
    async with granting() as source, process(source) as client:
        source.failing = [lambda _: web.Response(status=status, headers={"Location": "https://example.com/"})]
        with pytest.raises(error) as caught:
            await client.get("/me")
        assert type(caught.value) is error
        assert (await client.get("/me")).status == 200


async def test_a_replaced_refresh_token_is_kept_where_only_its_owner_reads_it(tmp_path: Path) -> None:
    async with granting(rotates=True) as source:
        async with process(source, tmp_path) as client:
            await client.get("/me")
        source.now += timedelta(hours=5)
        async with process(source, tmp_path) as client:
            await client.get("/me")
        assert (source.refreshes, source.refused) == (2, 0)
        [file] = (tmp_path / "oauth").glob("*.json")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600 and source.refresh in file.read_text()
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        source.refresh = "canary-refresh-token-2"
        async with process(source, tmp_path, refresh=source.refresh) as client:
            await client.get("/me")
        assert source.refused == 0, "another one in hub.yaml counts from the start"


async def test_processes_that_share_a_source_do_not_end_one_anothers_tokens(tmp_path: Path) -> None:
    async with granting(rotates=True) as source:
        async with process(source, tmp_path) as one, process(source, tmp_path) as other:
            for _ in range(3):
                await asyncio.gather(*(client.get("/me") for client in (one, other) for _ in range(5)))
                source.now += timedelta(minutes=31)
        assert (source.refreshes, source.refused) == (3, 0)


async def test_tokens_of_a_connection_that_is_gone_are_deleted_but_not_those_that_another_has_too(
    tmp_path: Path,
) -> None:
    async with granting(rotates=True) as source:
        for name in ("desk", "other"):
            async with process(source, tmp_path, name=name) as client:
                await client.get("/me")
        (shared,) = (tmp_path / "oauth").glob("*.json")
        source.refresh = "canary-of-a-new-app"
        async with process(source, tmp_path, refresh=source.refresh) as client:
            await client.get("/me")
    assert len(list((tmp_path / "oauth").glob("*.json"))) == 2
    forget_tokens(tmp_path, "nobody")
    forget_tokens(tmp_path, "desk")
    assert list((tmp_path / "oauth").glob("*.json")) == [shared]
    forget_tokens(tmp_path, "other")
    assert list((tmp_path / "oauth").iterdir()) == []


async def test_hubspots_token_ends_while_it_is_read_and_nobody_notices() -> None:
    """By the mock's clock; the hub's own knows nothing of it, so that it learns by being refused."""

    def now() -> datetime:
        return datetime.now(UTC)

    portal, clock = simulator(7, {}), Clock(rate=0)
    async with running(portal, pace=0, clock=clock) as mock, sessions() as session:
        app = {**APP, "client_secret": DEMO["client_secret"]}
        connection = Connection("crm", HUBSPOT, HubSpot(type="hubspot", base_url=mock.url, **app))
        client = Client(connection, session, now, keyring=Keyring(session, now, None))
        account = await HUBSPOT.account(client, connection.settings)
        read: set[tuple[str, str]] = set()
        for stream in HUBSPOT.streams[:4]:
            async for page in stream.poll(client, connection.settings, account, None):
                read |= {(each.kind, str(each.data["id"])) for each in page.payloads if "id" in each.data}
                mock.player.set_clock(clock.now() + 1_801_000, None)
        assert portal.grants.given > 3
        assert {("contact", id) for id in portal.truth()["contact"]} <= read
