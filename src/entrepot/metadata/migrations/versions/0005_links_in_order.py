"""One of many links with the same digest is found at once, however many there are."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.drop_index("links_digest", "links")
    op.create_index("links_digest", "links", ["digest", "repository_id"])
