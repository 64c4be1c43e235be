"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "repositories",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("repositories_name", "repositories", ["name"], unique=True)
    op.create_table(
        "blobs",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("location", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("blobs_digest", "blobs", ["digest"], unique=True)
    op.create_table(
        "links",
        sa.Column("repository_id", KEY, sa.ForeignKey("repositories.id"), nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("blob_id", KEY, sa.ForeignKey("blobs.id"), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_index("links_digest", "links", ["digest"])
    op.create_index("links_blob", "links", ["blob_id"])
    op.create_table(
        "manifests",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("repository_id", KEY, sa.ForeignKey("repositories.id"), nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("subject", NAME),
        sa.Column("artifact_type", NAME),
        sa.Column("referrer", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("manifests_digest", "manifests", ["repository_id", "digest"], unique=True)
    op.create_index(
        "manifests_subject",
        "manifests",
        ["repository_id", "subject", "digest"],
        sqlite_where=sa.text("subject IS NOT NULL"),
        postgresql_where=sa.text("subject IS NOT NULL"),
    )
    _create_what_points_to_manifests()
    _create_what_comes_and_goes()


def _create_what_points_to_manifests() -> None:
    manifest = sa.ForeignKey("manifests.id", ondelete="CASCADE")
    op.create_table(
        "edges",
        sa.Column("manifest_id", KEY, manifest, nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.PrimaryKeyConstraint("manifest_id", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_index("edges_digest", "edges", ["digest"])
    op.create_table(
        "tags",
        sa.Column("repository_id", KEY, sa.ForeignKey("repositories.id"), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("manifest_id", KEY, sa.ForeignKey("manifests.id", ondelete="CASCADE"), nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "name"),
        sqlite_with_rowid=False,
    )
    op.create_index("tags_manifest", "tags", ["manifest_id"])


def _create_what_comes_and_goes() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("repository", NAME, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index("uploads_repository", "uploads", ["repository"])
    op.create_index("uploads_updated", "uploads", ["updated_at"])
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
