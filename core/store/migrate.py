"""Bringing a database to this hub's schema, forward only, and a store's birth."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from core.errors import ConfigError, NoStoreError
from core.store import tables

_FOLDER = Path(__file__).parent / "migrations"
_SECRET_BYTES = 32
_NO_STORE = "there is no store yet: start `hub run` first, or correct `store:` in hub.yaml"


@dataclass(frozen=True, slots=True)
class Birth:
    """What a new store is marked with. `kind` None: none may be born. `secret` keys the birth ids; None: random.
    `rules` as in HubRow."""

    kind: str | None
    secret: bytes | None = None
    fold_revision: int = 0
    rules: str = ""


def upgrade(connection: sa.Connection, birth: Birth, *, to: str = "head") -> None:
    """Migrate and, where there is no hub yet, give birth; the caller holds the lock and commits.

    Raises ConfigError where a newer hub has made the schema.
    """
    check_revision(connection)
    scripts = _scripts()
    # What Alembic's own env.py would do, without a file of settings.
    with EnvironmentContext(Config(), scripts, fn=lambda current, _: scripts._upgrade_revs(to, current)) as environment:
        environment.configure(connection=connection, target_metadata=tables.METADATA)
        environment.run_migrations()
    if connection.execute(sa.select(sa.func.count()).select_from(tables.HUB)).scalar_one():
        return
    if birth.kind is None:
        raise NoStoreError(_NO_STORE)
    row = {
        "one": 1, "generation": 1, "seq": 0, "fold_revision": birth.fold_revision, "kind": birth.kind,
        "secret": birth.secret or secrets.token_bytes(_SECRET_BYTES),
    }  # fmt: skip
    if to == "head" or to >= "0005":  # older schemas do not have it
        row["rules"] = birth.rules
    connection.execute(tables.HUB.insert().values(row))
    connection.execute(tables.PUBLISHED.insert().values(one=1, seq=0))


def revisions() -> list[str]:
    """All that this hub knows, the newest first."""
    return [script.revision for script in _scripts().walk_revisions()]


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(_FOLDER), version_locations=[str(_FOLDER)])


def check_revision(connection: sa.Connection, *, newest: bool = False) -> None:
    """Raise ConfigError where the schema is newer than this hub, or (`newest`) not exactly its own."""
    current = MigrationContext.configure(connection).get_current_revision()
    known = revisions()
    if current is not None and current not in known:
        raise ConfigError(
            f"the store's schema is {current}, this supporthub knows {known[0]} at most: "
            "install the newer supporthub again, or name another `data:` folder in hub.yaml"
        )
    if newest and current is None:
        raise NoStoreError(_NO_STORE)
    if newest and current != known[0]:
        raise ConfigError("the store's schema is older than this supporthub: start `hub run` once, it migrates")


def upgrade_sqlite(path: Path, birth: Birth, *, read_only: bool = False, to: str = "head") -> None:
    """Make or migrate the file; one process at a time, all or nothing."""
    if (read_only or birth.kind is None) and not path.exists():
        raise NoStoreError(f"there is no store at {path}: start `hub run` first, or correct `data:` in hub.yaml")
    if read_only:
        _in_transaction(_sqlite_engine(path, "ro"), "BEGIN", lambda connection: check_revision(connection, newest=True))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)  # PRIVACY: it holds people
    engine = _sqlite_engine(path, "rw")
    with _unwrapped(), engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    _in_transaction(engine, "BEGIN IMMEDIATE", lambda connection: upgrade(connection, birth, to=to))


def upgrade_postgres(
    connect: Callable[[], Any],
    schema: str | None,
    lock: int,
    birth: Birth,
    *,
    read_only: bool = False,
    to: str = "head",
) -> None:
    """The same on PostgreSQL. `connect` gives a psycopg connection, `lock` numbers the schema for an advisory lock."""
    engine = sa.create_engine("postgresql+psycopg://", creator=connect, poolclass=sa.pool.NullPool)

    with _unwrapped(), engine.begin() as connection:
        if read_only:
            check_revision(connection, newest=True)
            return
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
        if schema is not None:
            connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
        upgrade(connection, birth, to=to)


@contextmanager
def _unwrapped() -> Iterator[None]:
    """The driver's own exceptions, which each database's file turns into ours."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise (error.orig or error) from None


def _sqlite_engine(path: Path, mode: str) -> sa.Engine:
    url = f"sqlite:///{path.absolute().as_uri()}?mode={mode}&uri=true"
    # The driver's own transactions would commit before every CREATE; without them BEGIN is ours.
    return sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args={"isolation_level": None, "timeout": 30})


def _in_transaction(engine: sa.Engine, begin: str, call: Callable[[sa.Connection], None]) -> None:
    with _unwrapped(), engine.connect() as connection:
        connection.exec_driver_sql(begin)
        try:
            call(connection)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")
