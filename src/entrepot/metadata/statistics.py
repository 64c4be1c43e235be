"""Counts for the metrics. They look at every row, so they are for ``read_much``."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from entrepot.metadata.base import Operation
from entrepot.metadata.schema import blobs, manifests, repositories, uploads

COUNT_BLOBS = select(func.count(), func.coalesce(func.sum(blobs.c.size), 0)).where(blobs.c.location.is_not(None))
COUNT_MANIFESTS = select(func.count()).select_from(manifests)
COUNT_REPOSITORIES = select(func.count()).select_from(repositories)
COUNT_UPLOADS = select(func.count()).select_from(uploads)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the registry holds; ``blob_bytes`` counts each blob once, however many repositories see it."""

    blobs: int
    blob_bytes: int
    manifests: int
    repositories: int
    uploads: int


def count_everything() -> Operation[Statistics]:
    """The statistics as of now."""
    (held,) = yield COUNT_BLOBS, {}
    (manifest_rows,) = yield COUNT_MANIFESTS, {}
    (repository_rows,) = yield COUNT_REPOSITORIES, {}
    (upload_rows,) = yield COUNT_UPLOADS, {}
    return Statistics(held[0], held[1], manifest_rows[0], repository_rows[0], upload_rows[0])
