"""Counts for the metrics. They look at every row, so they are for ``read_much``."""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.metadata.base import Steps, operation
from entrepot.metadata.named import Named

COUNT_BLOBS = Named("statistics.COUNT_BLOBS")
COUNT_MANIFESTS = Named("statistics.COUNT_MANIFESTS")
COUNT_REPOSITORIES = Named("statistics.COUNT_REPOSITORIES")
COUNT_UPLOADS = Named("statistics.COUNT_UPLOADS")


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the registry holds; ``blob_bytes`` counts each blob once, however many repositories see it."""

    blobs: int
    blob_bytes: int
    manifests: int
    repositories: int
    uploads: int


@operation
def count_everything() -> Steps[Statistics]:
    """The statistics as of now."""
    (held,) = yield COUNT_BLOBS, {}
    (manifest_rows,) = yield COUNT_MANIFESTS, {}
    (repository_rows,) = yield COUNT_REPOSITORIES, {}
    (upload_rows,) = yield COUNT_UPLOADS, {}
    return Statistics(held[0], held[1], manifest_rows[0], repository_rows[0], upload_rows[0])
