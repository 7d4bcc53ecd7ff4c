"""By which rules the records were last folded, so that whoever folds by others notices."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ROWS = "SELECT one, generation, seq, fold_revision, kind, secret FROM hub"


def upgrade() -> None:
    (_sqlite if op.get_bind().dialect.name == "sqlite" else _postgres)()


def _postgres() -> None:
    # The table stays: a worker that waits for its row would find it dropped, and its grants would be lost.
    op.add_column("hub", sa.Column("rules", sa.Text(collation="C"), nullable=False, server_default=""))
    op.alter_column("hub", "rules", server_default=None)


def _sqlite() -> None:
    # Its one row is made anew: SQLite would put a new column behind the table's constraint, where no schema can say so.
    found = op.get_bind().execute(sa.text(_ROWS)).mappings().all()
    op.drop_table("hub")
    hub = op.create_table(
        "hub",
        sa.Column("one", sa.Integer(), primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("generation", "seq", "fold_revision")),
        sa.Column("kind", sa.Text(), nullable=False), sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.CheckConstraint("one = 1", name="hub_one"),
    )  # fmt: skip
    op.bulk_insert(hub, [{**row, "rules": ""} for row in found])
