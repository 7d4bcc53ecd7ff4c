"""Stores for tests: SQLite in a temporary folder, PostgreSQL from its wheel. A pytest plugin."""

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psycopg
import pytest

from core.store import Store
from core.store.postgres import open_postgres
from core.store.sqlite import open_sqlite
from tests import postgres

OpenStore = Callable[..., AbstractAsyncContextManager[Store]]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server of its own for the session."""
    if not postgres.available():
        if os.environ.get("CI") == "true":
            pytest.fail(f"PostgreSQL must be tested here: {postgres.MISSING}")
        pytest.skip(f"PostgreSQL IS NOT TESTED: {postgres.MISSING}")
    with postgres.server() as url:
        yield url


@pytest.fixture
def postgres_schema(postgres_url: str) -> Iterator[str]:
    """A schema of its own for one test."""
    schema = f"test_{secrets.token_hex(4)}"
    yield schema
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens one and the same place, as often as a test likes: `open_store(kind="demo")`; real by default."""
    if request.param == "sqlite":
        return lambda **options: open_sqlite(tmp_path / "store.db", **{"kind": "real", **options})
    url, schema = request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres_schema")
    return lambda **options: open_postgres(url, **{"kind": "real", "schema": schema, **options})


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[Store]:
    """An empty store of each kind, in turn."""
    async with open_store() as opened:
        yield opened
