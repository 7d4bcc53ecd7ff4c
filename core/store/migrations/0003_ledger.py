"""The ledger: what came by which way, what a sweep found missing, and which objects it repaired."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "ledger",
        _column("connection", _TEXT, key=True), _column("hour", sa.BigInteger(), key=True),
        _column("stream", _TEXT, key=True), _column("way", _TEXT, key=True),
        *(_column(name, sa.BigInteger()) for name in ("received", "missing", "early", "repaired")),
        sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_table(
        "repair",
        _column("connection", _TEXT, key=True), _column("key", _TEXT, key=True), _column("at", sa.BigInteger()),
        _column("stream", _TEXT), _column("way", _TEXT), _column("found", _TEXT),
        sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_index("repair_newest", "repair", ["connection", sa.text("at DESC"), sa.text('"key" DESC')])


def _column(name: str, kind: sa.types.TypeEngine[Any], *, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=key, nullable=False, autoincrement=False)
