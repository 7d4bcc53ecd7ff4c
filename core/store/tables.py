"""The schema, in one place: what the statements are made from and what the migrations must arrive at.

Times that sort a timeline (`party.at`) are RFC 3339 text, all others epoch ms. Text compares by bytes on both databases
(collation C on PostgreSQL), so that keys sort alike. Words stand in tables of their own: a customer changes with every
event and its words hardly ever, so that an index over them must not be written each time.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

METADATA = MetaData()
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
_WORDS = Text().with_variant(TSVECTOR(), "postgresql")
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")  # only a plain INTEGER is SQLite's own row number


def _text(name: str, *, key: bool = False, null: bool = False) -> Column[Any]:
    return Column(name, _TEXT, primary_key=key, nullable=null)


def _number(name: str, *, key: bool = False) -> Column[Any]:
    return Column(name, BigInteger, primary_key=key, nullable=False, autoincrement=False)


def _bytes(name: str, *, key: bool = False, null: bool = False) -> Column[Any]:
    return Column(name, LargeBinary, primary_key=key, nullable=null)


def _flag(name: str) -> Column[Any]:
    return Column(name, Boolean, nullable=False)


def _only_row(name: str) -> tuple[Column[Any], CheckConstraint]:
    """Lets a table have one row and no more."""
    return Column("one", Integer, primary_key=True, autoincrement=False), CheckConstraint("one = 1", name=f"{name}_one")


HUB = Table(
    "hub", METADATA, *_only_row("hub"),
    _number("generation"), _number("seq"), _number("fold_revision"), _text("kind"), _bytes("secret"),
    _text("rules"),
)  # fmt: skip
# Below zero: a new generation, of which nothing is published yet.
PUBLISHED = Table("published", METADATA, *_only_row("published"), _number("seq"))
BUS_OFFSET = Table(
    "bus_offset", METADATA, _text("topic", key=True), _number("partition", key=True), _number("next"),
    sqlite_with_rowid=False,
)  # fmt: skip
SUPPRESSED = Table("suppressed", METADATA, _text("key", key=True), _number("at"), sqlite_with_rowid=False)

# `live`: has a card. A column of its own, because an index may not hang on `card`: on PostgreSQL every new card would
# then rewrite all indexes of its row.
OBJECT = Table(
    "object", METADATA,
    _text("key", key=True), _text("source"), _text("entity"), _text("parent", null=True), _flag("live"),
    _bytes("registers"), _bytes("card", null=True), _text("text", null=True),
)  # fmt: skip
Index("object_live", OBJECT.c.source, OBJECT.c.entity, sqlite_where=OBJECT.c.live, postgresql_where=OBJECT.c.live)
Index("object_parent", OBJECT.c.parent, OBJECT.c.key,
      sqlite_where=OBJECT.c.parent.is_not(None), postgresql_where=OBJECT.c.parent.is_not(None))  # fmt: skip
ARTICLE = Table(
    "article", METADATA,
    Column("number", _NUMBER, Identity(), primary_key=True), Column("object", _TEXT, unique=True, nullable=False),
    _flag("verified"), Column("words", _WORDS, nullable=False),
)  # fmt: skip

# `live` repeats whether the activity is shown (core.store.database.SHOWN): a person's newest ones are then a walk along
# one index, however many were deleted.
PARTY = Table(
    "party", METADATA,
    _text("object", key=True), _text("person", key=True), _text("role"), _text("entity"), _text("at"), _flag("open"),
    _flag("live"), sqlite_with_rowid=False,
)  # fmt: skip
Index("party_newest", PARTY.c.person, PARTY.c.live, PARTY.c.at.desc(), PARTY.c.object.desc())
Index("party_open", PARTY.c.person, PARTY.c.live, PARTY.c.at, PARTY.c.object,
      sqlite_where=PARTY.c.open, postgresql_where=PARTY.c.open)  # fmt: skip
# A handful of rows at any time: whose phone rings is asked of the store without looking through everybody.
_CALLS = text("open AND entity = 'call'")
Index("party_call", PARTY.c.person, sqlite_where=_CALLS, postgresql_where=_CALLS)

PERSON = Table(
    "person", METADATA,
    _text("key", key=True), Column("birth_id", _TEXT, unique=True, nullable=False), _text("customer"),
    _text("implied", null=True), _number("first"), _flag("staff"), _flag("departed"), _text("alias_of", null=True),
    _text("names"), _bytes("state", null=True),
)  # fmt: skip
Index("person_customer", PERSON.c.customer, PERSON.c.key)
Index("person_implied", PERSON.c.implied, PERSON.c.key,
      sqlite_where=PERSON.c.implied.is_not(None), postgresql_where=PERSON.c.implied.is_not(None))  # fmt: skip
Index("person_alias", PERSON.c.alias_of, PERSON.c.key,
      sqlite_where=PERSON.c.alias_of.is_not(None), postgresql_where=PERSON.c.alias_of.is_not(None))  # fmt: skip

EVIDENCE = Table(
    "evidence", METADATA,
    _text("person", key=True), _text("identifier", key=True), _text("class"), _flag("former"),
    sqlite_with_rowid=False,
)  # fmt: skip
Index("evidence_identifier", EVIDENCE.c.identifier, EVIDENCE.c.person)

CUSTOMER = Table(
    "customer", METADATA,
    _text("id", key=True), Column("seq", BigInteger, unique=True, nullable=False), _text("status"),
    _text("into", null=True), _bytes("hash"), _bytes("identity"), _text("search"),
    _bytes("cause"), _bytes("record"),
)  # fmt: skip
# One row per live customer.
CUSTOMER_WORDS = Table(
    "customer_words", METADATA,
    Column("number", _NUMBER, Identity(), primary_key=True), Column("customer", _TEXT, unique=True, nullable=False),
    Column("words", _WORDS, nullable=False),
)  # fmt: skip
CUSTOMER_PART = Table(
    "customer_part", METADATA, _text("customer", key=True), _text("entity", key=True), _number("seq"),
    sqlite_with_rowid=False,
)  # fmt: skip

DEAD = Table(
    "dead", METADATA,
    _text("id", key=True), _text("connection"), _text("stage"), _text("reason"), _bytes("payload"), _number("at"),
    _text("state"), _number("times"),
)  # fmt: skip
Index("dead_state", DEAD.c.state, DEAD.c.at.desc(), DEAD.c.id.desc())
Index("dead_open", DEAD.c.connection, sqlite_where=DEAD.c.state == "open", postgresql_where=DEAD.c.state == "open")

TOKEN = Table(
    "token", METADATA,
    _bytes("hash", key=True), _text("kind"), _text("name"), _text("scopes"), _number("created"), _number("expires"),
)  # fmt: skip
Index("token_kind", TOKEN.c.kind, TOKEN.c.name)
Index("token_name", TOKEN.c.name)
STATE = Table(
    "connection_state", METADATA,
    _text("connection", key=True), _text("process", key=True), _bytes("document"), _number("at"),
)  # fmt: skip

LEDGER = Table(
    "ledger", METADATA,
    _text("connection", key=True), _number("hour", key=True), _text("stream", key=True), _text("way", key=True),
    _number("received"), _number("missing"), _number("early"), _number("repaired"), sqlite_with_rowid=False,
)  # fmt: skip
REPAIR = Table(
    "repair", METADATA,
    _text("connection", key=True), _text("key", key=True), _number("at"), _text("stream"), _text("way"),
    _text("found"), sqlite_with_rowid=False,
)  # fmt: skip
Index("repair_newest", REPAIR.c.connection, REPAIR.c.at.desc(), REPAIR.c.key.desc())


def kinds(table: Table, columns: Sequence[str]) -> tuple[str, ...]:
    """PostgreSQL's types of these columns, for arrays of them."""
    names: dict[type, str] = {Boolean: "bool", LargeBinary: "bytea", BigInteger: "int8", Text: "text"}
    return tuple(names[type(table.c[name].type)] for name in columns)
