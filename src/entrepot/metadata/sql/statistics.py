"""The statements of ``metadata/statistics.py``."""

from __future__ import annotations

from sqlalchemy import func, select

from entrepot.metadata.schema import blobs, manifests, repositories, uploads

COUNT_BLOBS = select(func.count(), func.coalesce(func.sum(blobs.c.size), 0)).where(blobs.c.location.is_not(None))

COUNT_MANIFESTS = select(func.count()).select_from(manifests)

COUNT_REPOSITORIES = select(func.count()).select_from(repositories)

COUNT_UPLOADS = select(func.count()).select_from(uploads)
