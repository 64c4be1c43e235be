"""What the user's image store knows beyond what a registry does."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "layers",
        sa.Column("digest", NAME, nullable=False),
        sa.Column("diff_id", NAME, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "configs",
        sa.Column("digest", NAME, nullable=False),
        sa.Column("created", sa.Text),
        sa.Column("labels", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "origins",
        sa.Column("manifest_id", KEY, sa.ForeignKey("manifests.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("manifest_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pushes",
        sa.Column("repository", NAME, nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("repository", "digest"),
        sqlite_with_rowid=False,
    )
