"""An index of what is part of a conversation. Messages whose conversation is gone are not shown from here on; a rebuild
does the rest: it folds the records anew, and shows those again whose conversation became part of another one."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    part = sa.text("parent IS NOT NULL")
    op.create_index("object_parent", "object", ["parent", "key"], sqlite_where=part, postgresql_where=part)
    op.execute(
        """UPDATE party SET live = false WHERE live AND object IN (
               SELECT o.key FROM object o JOIN object c ON c.key = o.parent
               WHERE c.entity = 'conversation' AND NOT c.live)"""
    )
