"""The first schema. Frozen: what a later revision changes is written there."""
# ruff: noqa: S608 - put together from this file's own constants

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0001"
down_revision = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_WORDS = sa.Text().with_variant(TSVECTOR(), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _hub()
    _objects()
    _persons()
    _customers()
    _others()
    (_sqlite_words if op.get_bind().dialect.name == "sqlite" else _postgres_words)()


def _column(name: str, kind: sa.types.TypeEngine[Any], *, key: bool = False, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=key, nullable=null, autoincrement=False)


def _text(name: str, *, key: bool = False, null: bool = False) -> sa.Column[Any]:
    return _column(name, _TEXT, key=key, null=null)


def _number(name: str, *, key: bool = False) -> sa.Column[Any]:
    return _column(name, sa.BigInteger(), key=key)


def _bytes(name: str, *, key: bool = False, null: bool = False) -> sa.Column[Any]:
    return _column(name, sa.LargeBinary(), key=key, null=null)


def _flag(name: str) -> sa.Column[Any]:
    return _column(name, sa.Boolean())


def _index(name: str, table: str, *columns: str, where: str | None = None) -> None:
    condition = sa.text(where) if where else None
    op.create_index(
        name, table, [sa.text(column) if " " in column else column for column in columns],
        sqlite_where=condition, postgresql_where=condition,
    )  # fmt: skip


def _hub() -> None:
    op.create_table(
        "hub",
        _column("one", sa.Integer(), key=True), _number("generation"), _number("seq"), _number("fold_revision"),
        _text("kind"), _bytes("secret"), sa.CheckConstraint("one = 1", name="hub_one"),
    )  # fmt: skip
    op.create_table(
        "published",
        _column("one", sa.Integer(), key=True), _number("seq"), sa.CheckConstraint("one = 1", name="published_one"),
    )  # fmt: skip
    op.create_table(
        "bus_offset", _text("topic", key=True), _number("partition", key=True), _number("next"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_table("suppressed", _text("key", key=True), _number("at"), sqlite_with_rowid=False)


def _objects() -> None:
    op.create_table(
        "object",
        _text("key", key=True), _text("source"), _text("entity"), _text("parent", null=True), _flag("live"),
        _bytes("registers"), _bytes("card", null=True), _text("text", null=True),
    )  # fmt: skip
    _index("object_live", "object", "source", "entity", where="live")
    op.create_table(
        "article",
        sa.Column("number", _NUMBER, sa.Identity(), primary_key=True),
        sa.Column("object", _TEXT, unique=True, nullable=False), _flag("verified"), _column("words", _WORDS),
    )  # fmt: skip
    op.create_table(
        "party",
        _text("object", key=True), _text("person", key=True), _text("role"), _text("entity"), _text("at"),
        _flag("open"), _flag("live"), sqlite_with_rowid=False,
    )  # fmt: skip
    _index("party_newest", "party", "person", "live", "at DESC", "object DESC")
    _index("party_open", "party", "person", "live", "at", "object", where="open")


def _persons() -> None:
    op.create_table(
        "person",
        _text("key", key=True), sa.Column("birth_id", _TEXT, unique=True, nullable=False), _text("customer"),
        _text("implied", null=True), _number("first"), _flag("staff"), _flag("departed"), _text("alias_of", null=True),
        _text("names"), _bytes("state", null=True),
    )  # fmt: skip
    _index("person_customer", "person", "customer", "key")
    _index("person_implied", "person", "implied", "key", where="implied IS NOT NULL")
    _index("person_alias", "person", "alias_of", "key", where="alias_of IS NOT NULL")
    op.create_table(
        "evidence", _text("person", key=True), _text("identifier", key=True), _text("class"), _flag("former"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    _index("evidence_identifier", "evidence", "identifier", "person")


def _customers() -> None:
    op.create_table(
        "customer",
        _text("id", key=True), sa.Column("seq", sa.BigInteger(), unique=True, nullable=False), _text("status"),
        _text("into", null=True), _bytes("hash"), _bytes("identity"), _text("search"),
        _bytes("cause"), _bytes("record"),
    )  # fmt: skip
    op.create_table(
        "customer_words",
        sa.Column("number", _NUMBER, sa.Identity(), primary_key=True),
        sa.Column("customer", _TEXT, unique=True, nullable=False), _column("words", _WORDS),
    )  # fmt: skip
    op.create_table(
        "customer_part", _text("customer", key=True), _text("entity", key=True), _number("seq"),
        sqlite_with_rowid=False,
    )  # fmt: skip


def _others() -> None:
    op.create_table(
        "dead",
        _text("id", key=True), _text("connection"), _text("stage"), _text("reason"), _bytes("payload"), _number("at"),
        _text("state"), _number("times"),
    )  # fmt: skip
    _index("dead_state", "dead", "state", "at DESC", "id DESC")
    _index("dead_open", "dead", "connection", where="state = 'open'")
    op.create_table(
        "token",
        _bytes("hash", key=True), _text("kind"), _text("name"), _text("scopes"), _number("created"),
        _number("expires"),
    )  # fmt: skip
    _index("token_kind", "token", "kind", "name")
    _index("token_name", "token", "name")
    op.create_table(
        "connection_state",
        _text("connection", key=True), _text("process", key=True), _bytes("document"), _number("at"),
    )  # fmt: skip


def _sqlite_words() -> None:
    """Indexes beside their tables, kept by triggers. `ascii` splits at blanks and signs only: the words come folded."""
    for name, options in (("customer", "detail=none, prefix='1 2 3 4'"), ("article", "detail=full")):
        table = name + "_words" if name == "customer" else name
        index = f"{name}_index"
        add = f"INSERT INTO {index} (rowid, words) VALUES (new.number, new.words)"
        remove = f"INSERT INTO {index} ({index}, rowid, words) VALUES ('delete', old.number, old.words)"
        for statement in (
            f"CREATE VIRTUAL TABLE {index} USING fts5(words, content='{table}', content_rowid='number', "
            f"tokenize='ascii', {options})",
            f"CREATE TRIGGER {index}_add AFTER INSERT ON {table} BEGIN {add}; END",
            f"CREATE TRIGGER {index}_remove AFTER DELETE ON {table} BEGIN {remove}; END",
            f"CREATE TRIGGER {index}_change AFTER UPDATE ON {table} WHEN old.words IS NOT new.words "
            f"BEGIN {remove}; {add}; END",
        ):
            op.execute(statement)


def _postgres_words() -> None:
    for table in ("customer_words", "article"):
        op.create_index(f"{table}_index", table, ["words"], postgresql_using="gin")
