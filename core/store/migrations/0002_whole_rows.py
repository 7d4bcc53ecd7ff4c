"""PostgreSQL keeps records and registers whole, beside their row: they change with every event, and compressing them
each time cost more than anything else that a batch did."""

from alembic import op

revision = "0002"
down_revision = "0001"

_WHOLE = {"customer": ("record", "identity", "cause"), "object": ("registers", "card")}


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in _WHOLE.items():
        op.execute(f"ALTER TABLE {table} SET (toast_tuple_target = 8160)")  # a page; more still goes out of line
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")
