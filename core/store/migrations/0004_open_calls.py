"""An index of open calls: a feed of ringing phones begins with those that ring, however much has changed since."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    open_ = sa.text("open AND entity = 'call'")
    op.create_index("party_call", "party", ["person"], sqlite_where=open_, postgresql_where=open_)
