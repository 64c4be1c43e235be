"""The statements of ``metadata/uploads.py``."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import bindparam, func, select

from entrepot.metadata.schema import uploads

COUNT_UPLOADS = select(func.count()).select_from(uploads).where(uploads.c.repository == bindparam("repository"))

# Unless there are as many already as there may be.
INSERT_UPLOAD = (
    sa.insert(uploads)
    .from_select(
        ["id", "repository", "state", "updated_at"],
        select(bindparam("id"), bindparam("repository"), bindparam("state"), bindparam("now")).where(
            COUNT_UPLOADS.scalar_subquery() < bindparam("most")
        ),
    )
    .returning(uploads.c.id)
)

SELECT_UPLOAD = select(uploads.c.state).where(
    uploads.c.id == bindparam("id"), uploads.c.repository == bindparam("repository")
)

UPDATE_UPLOAD = (
    sa.update(uploads)
    .where(uploads.c.id == bindparam("upload_id"))
    .values(state=bindparam("new_state"), updated_at=bindparam("now"))
    .returning(uploads.c.id)
)

DELETE_UPLOAD = sa.delete(uploads).where(uploads.c.id == bindparam("id")).returning(uploads.c.id)

SELECT_EXPIRED = (
    select(uploads.c.id, uploads.c.state)
    .where(uploads.c.updated_at < bindparam("before"))
    .order_by(uploads.c.updated_at)
    .limit(bindparam("limit"))
)

SELECT_UPLOAD_EXISTS = select(uploads.c.updated_at).where(uploads.c.id == bindparam("id"))
