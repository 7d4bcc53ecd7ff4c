"""Schemas: from the first version on to today's, on both databases, with what stood in them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from core.errors import ConfigError
from core.store import migrate
from core.store.postgres import open_postgres
from core.store.sqlite import open_sqlite
from core.store.tables import METADATA, OBJECT, PARTY

REAL = migrate.Birth("real", b"s" * 32)
OLDEST_FIRST = migrate.revisions()[::-1]


class Sqlite:
    def __init__(self, path: Path) -> None:
        self.path = path

    def upgrade(self, to: str) -> None:
        migrate.upgrade_sqlite(self.path, REAL, to=to)

    def open(self, **options: Any) -> Any:
        return open_sqlite(self.path, kind="real", **options)

    @contextmanager
    def engine(self, *, fresh: bool = False) -> Iterator[sa.Engine]:
        engine = sa.create_engine(f"sqlite:///{self.path}{'.fresh' if fresh else ''}")
        yield engine
        engine.dispose()


class Postgres:
    def __init__(self, url: str, schema: str) -> None:
        self.url, self.schema = url, schema

    def _connect(self, schema: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, options=f"-c search_path={schema}")

    def upgrade(self, to: str) -> None:
        migrate.upgrade_postgres(lambda: self._connect(self.schema), self.schema, 1, REAL, to=to)

    def open(self, **options: Any) -> Any:
        return open_postgres(self.url, kind="real", schema=self.schema, **options)

    @contextmanager
    def engine(self, *, fresh: bool = False) -> Iterator[sa.Engine]:
        schema = self.schema + ("_fresh" if fresh else "")
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            engine = sa.create_engine(
                "postgresql+psycopg://", creator=lambda: self._connect(schema), poolclass=sa.pool.NullPool
            )
            yield engine
            engine.dispose()
            if fresh:
                connection.execute(f"DROP SCHEMA {schema} CASCADE")


Place = Sqlite | Postgres


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Sqlite(tmp_path / "store.db")
    return Postgres(request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres_schema"))


def described(engine: sa.Engine) -> dict[str, Any]:
    """Tables with their columns, keys and indexes, as the database itself tells them."""
    ours = set(METADATA.tables)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT tbl_name, name, sql FROM sqlite_master WHERE type <> 'trigger'")
            return {f"{table}.{name}": " ".join((sql or "").split()) for table, name, sql in rows if table in ours}
    with engine.connect() as connection:
        columns = connection.exec_driver_sql(
            """SELECT table_name || '.' || column_name, data_type, is_nullable, collation_name, is_identity
               FROM information_schema.columns WHERE table_schema = current_schema()"""
        )
        indexes = connection.exec_driver_sql(
            """SELECT tablename || '.' || indexname, replace(indexdef, current_schema() || '.', '')
               FROM pg_indexes WHERE schemaname = current_schema()"""
        )
        found = {row[0]: tuple(row[1:]) for row in (*columns, *indexes)}
        return {name: what for name, what in found.items() if name.partition(".")[0] in ours}


def test_the_migrations_arrive_at_the_schema(place: Place) -> None:
    for revision in OLDEST_FIRST:
        place.upgrade(revision)
    with place.engine() as migrated, place.engine(fresh=True) as fresh:
        METADATA.create_all(fresh)
        wanted, found = described(fresh), described(migrated)
        if isinstance(place, Postgres):  # word indexes are the migrations' own: each database has another kind
            found = {name: what for name, what in found.items() if not name.endswith("_index")}
    assert found == wanted and len(wanted) > 30


async def test_a_store_of_the_first_version_goes_forward_with_all_that_it_holds(place: Place) -> None:
    place.upgrade("0001")
    with place.engine() as engine, engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO suppressed (key, at) VALUES ('v/a/contact/1', 5)")
        connection.exec_driver_sql("INSERT INTO bus_offset (topic, partition, next) VALUES ('events', 0, 42)")
    async with place.open() as store:
        assert await store.offsets("events") == {0: 42}
        assert (await store.hub()).secret == b"s" * 32
        assert (await store.hub()).rules == "", "nobody knows by which rules an older hub folded it"
        async with store.writing() as tx:
            assert await tx.suppressed(["v/a/contact/1"]) == {"v/a/contact/1"}


async def test_messages_of_a_conversation_that_is_gone_are_hidden_at_once(place: Place) -> None:
    for revision in ("0001", "0005"):
        place.upgrade(revision)
    with place.engine() as engine, engine.begin() as connection:
        for number, live in ((1, True), (2, False)):
            whole = f"v/a/conversation/{number}"
            for key, entity, parent in ((whole, "conversation", None), (f"v/a/part/{number}", "message", whole)):
                shown = live or parent is not None
                row = {"key": key, "source": "v/a", "entity": entity, "parent": parent, "live": shown}
                connection.execute(OBJECT.insert(), row | {"registers": b"{}", "card": b"{}" if shown else None})
                part = {"object": key, "person": "p", "role": "requester", "entity": entity, "at": "2026"}
                connection.execute(PARTY.insert(), part | {"open": False, "live": shown})
    async with place.open() as store:
        found = [row.object for row in await store.timeline(["p"], None, 9)]
    assert found == ["v/a/part/1", "v/a/conversation/1"]


@pytest.mark.postgres
def test_the_table_a_worker_waits_for_stays_the_same_one_with_its_grants(
    postgres_url: str, postgres_schema: str
) -> None:
    place = Postgres(postgres_url, postgres_schema)
    place.upgrade("0001")
    told = "SELECT oid, relacl::text FROM pg_class WHERE oid = to_regclass('hub')"
    with place.engine() as engine, engine.begin() as connection:
        connection.exec_driver_sql("GRANT SELECT ON hub TO PUBLIC")
        before = connection.exec_driver_sql(told).one()
    place.upgrade("head")
    with place.engine() as engine, engine.connect() as connection:
        assert connection.exec_driver_sql(told).one() == before


async def test_a_store_of_a_newer_hub_is_refused(place: Place) -> None:
    async with place.open():
        pass
    with place.engine() as engine, engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match=r"schema is 9999.*install the newer supporthub"):
        async with place.open():
            pass


async def test_reading_only_refuses_a_schema_that_is_not_its_own(place: Place) -> None:
    async with place.open():
        pass
    for version, reason in (("9999", "newer"), (OLDEST_FIRST[-2], "older than this.*hub run"), (None, "no store yet")):
        with place.engine() as engine, engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM alembic_version")
            if version:
                connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{version}')")
        with pytest.raises(ConfigError, match=reason):
            async with place.open(read_only=True):
                pass


async def test_reading_only_leaves_the_store_of_an_older_hub_as_it_is(place: Place) -> None:
    place.upgrade(OLDEST_FIRST[0])
    with place.engine() as engine:
        before = described(engine)
        with pytest.raises(ConfigError, match="start `hub run` once, it migrates"):
            async with place.open(read_only=True):
                pass
        assert described(engine) == before


async def test_reading_only_makes_no_store(place: Place) -> None:
    with pytest.raises(ConfigError, match=r"there is no store.*start `hub run` first"):
        async with place.open(read_only=True):
            pass
    if isinstance(place, Postgres):
        with psycopg.connect(place.url) as connection:
            found = "SELECT FROM information_schema.tables WHERE table_schema = %s"
            assert not connection.execute(found, [place.schema]).fetchall()
    else:
        assert not place.path.exists()


async def test_reading_only_reads_a_store_of_its_own_schema(place: Place) -> None:
    async with place.open():
        pass
    async with place.open(read_only=True) as store:
        assert (await store.hub()).kind == "real"


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE token (mine)")  # in the way of a late step
    connection.close()
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate.upgrade_sqlite(path, REAL)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("token",)]
    connection.close()
