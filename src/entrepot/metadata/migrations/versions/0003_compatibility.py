"""Which programs may use these tables; see "Change tables" in CONTRIBUTING.md."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "compatibility",
        sa.Column("least", NAME, nullable=False),
        sa.PrimaryKeyConstraint("least"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO compatibility (least) VALUES ('0003')")
