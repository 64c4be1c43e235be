"""What repositories have in common that can only be read."""

# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from entrepot.digest import CANONICAL, Digest
from entrepot.errors import ReadOnly
from entrepot.manifest import TagCondition
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.base import Chunk, PushedManifest


class ReadOnlyRepository:
    """The half of a Repository that changes it: every method raises ReadOnly, with ``title`` in its message."""

    def __init__(self, title: str) -> None:
        self._title = title

    async def put_blob(self, digest: Digest, chunk: Chunk) -> NoReturn:
        self._refuse()

    async def mount_blob(self, digest: Digest, source: RepositoryName | None) -> NoReturn:
        self._refuse()

    async def delete_blob(self, digest: Digest) -> None:
        self._refuse()

    async def begin_upload(self, algorithm: str = CANONICAL) -> NoReturn:
        self._refuse()

    async def upload_offset(self, upload_id: str) -> NoReturn:
        self._refuse()

    async def append(self, upload_id: str, chunk: Chunk) -> NoReturn:
        self._refuse()

    async def finish_upload(self, upload_id: str, digest: Digest, chunk: Chunk) -> NoReturn:
        self._refuse()

    async def cancel_upload(self, upload_id: str) -> None:
        self._refuse()

    async def put_manifest(
        self,
        reference: Tag | Digest,
        content: bytes,
        media_type: str | None,
        *,
        tags: Sequence[Tag] = (),
        condition: TagCondition | None = None,
    ) -> PushedManifest:
        self._refuse()

    async def delete_manifest(self, reference: Tag | Digest) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ReadOnly(f"{self._title} can only be read; nothing in it can be changed", allow=("GET", "HEAD"))
