"""A repository kept here: a BlobStore for the bytes and Metadata for the names. Every rule of a push is here."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeVar

from entrepot.digest import CANONICAL, Digest, require_match
from entrepot.errors import ManifestTooLarge
from entrepot.manifest import Manifest, ManifestHead, StoredManifest, TagCondition, parse_manifest
from entrepot.metadata import blobs, listings, manifests
from entrepot.metadata.base import Metadata, Operation
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.base import Chunk, Fetch, Page, PushedManifest
from entrepot.repositories.local_blob import LocalBlob
from entrepot.repositories.local_fetch import LocalFetches
from entrepot.repositories.local_uploads import LocalUploads, Now
from entrepot.repositories.recent import RecentReads
from entrepot.store.base import BlobStore, PartialStore

REFERRERS_PER_PAGE = 1000
REFERRERS_BYTES_PER_PAGE = 3 * 1024 * 1024  # an index of more than 4 MiB would be refused by clients
_PARSE_IN_THREAD = 128 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rules:
    """What a registry accepts; sizes in bytes, 0 for no limit."""

    manifest_bytes: int = 4 * 1024 * 1024
    upload_bytes: int = 0
    uploads_per_repository: int = 1000
    allow_missing_children: tuple[str, ...] = ()
    allow_partial_indexes: bool = False  # an index may lack manifests; an image never its layers
    allow_unknown_types: bool = False
    require_artifact_type: bool = False
    protect_used_blobs: bool = False

    def may_lack_children(self, name: RepositoryName) -> bool:
        """Whether manifests of this repository may name what is not there."""
        return any(fnmatchcase(name, pattern) for pattern in self.allow_missing_children)


class LocalRepository:
    """A Repository over a BlobStore and Metadata. Cheap to make: one is made for each request."""

    def __init__(
        self,
        name: RepositoryName,
        store: BlobStore,
        metadata: Metadata,
        rules: Rules,
        now: Now,
        recent: RecentReads | None = None,
    ) -> None:
        self.name = name
        self._store = store
        self._metadata = metadata
        self._rules = rules
        self._now = now
        self._recent = recent

    @property
    def _uploads(self) -> LocalUploads:
        rules = self._rules
        return LocalUploads(
            self.name,
            self._store,
            self._metadata,
            self._now,
            most=rules.uploads_per_repository,
            most_bytes=rules.upload_bytes,
        )

    async def find_blob(self, digest: Digest) -> LocalBlob:
        find = blobs.find_blob(self.name, digest)
        found = await self._read("blob", digest, find)
        return LocalBlob(digest, found.stored, self._store)

    async def _read(
        self, kind: str, digest: Digest, operation: Operation[T], *, size: Callable[[T], int] = lambda _: 0
    ) -> T:
        """A read by digest, which an outage of the database need not hold up."""
        if self._recent is None:
            return await self._metadata.read(operation)
        return await self._recent.read((kind, self.name, digest), operation, size=size)

    def _forget(self, digest: Digest) -> None:
        if self._recent is not None:
            for kind in ("blob", "manifest", "head"):
                self._recent.forget((kind, self.name, digest))

    async def put_blob(self, digest: Digest, chunk: Chunk) -> LocalBlob:
        return LocalBlob(digest, await self._uploads.put(digest, chunk), self._store)

    async def mount_blob(self, digest: Digest, source: RepositoryName | None) -> LocalBlob | None:
        found = await self._metadata.write(blobs.mount_blob(self.name, digest, source, self._now()))
        return LocalBlob(digest, found.stored, self._store) if found else None

    @property
    def keeps_partials(self) -> bool:
        return isinstance(self._store, PartialStore)

    def fetch_blob(self, digest: Digest, size: int) -> AbstractAsyncContextManager[Fetch]:
        return LocalFetches(self.name, self._store, self._metadata, self._now).open(digest, size)

    async def delete_blob(self, digest: Digest) -> None:
        protect = self._rules.protect_used_blobs
        await self._metadata.write(blobs.unlink_blob(self.name, digest, protect_used=protect))
        self._forget(digest)

    async def begin_upload(self, algorithm: str = CANONICAL) -> str:
        return await self._uploads.begin(algorithm)

    async def upload_offset(self, upload_id: str) -> int:
        return await self._uploads.offset(upload_id)

    async def append(self, upload_id: str, chunk: Chunk) -> int:
        return await self._uploads.append(upload_id, chunk)

    async def finish_upload(self, upload_id: str, digest: Digest, chunk: Chunk) -> LocalBlob:
        return LocalBlob(digest, await self._uploads.finish(upload_id, digest, chunk), self._store)

    async def cancel_upload(self, upload_id: str) -> None:
        await self._uploads.cancel(upload_id)

    async def get_manifest(self, reference: Tag | Digest) -> StoredManifest:
        find = manifests.find_manifest(self.name, reference)
        if not isinstance(reference, Digest):
            return await self._metadata.read(find)
        return await self._read("manifest", reference, find, size=lambda found: len(found.content))

    async def head_manifest(self, reference: Tag | Digest) -> ManifestHead:
        find = manifests.find_manifest_head(self.name, reference)
        if not isinstance(reference, Digest):
            return await self._metadata.read(find)
        return await self._read("head", reference, find)

    async def put_manifest(
        self,
        reference: Tag | Digest,
        content: bytes,
        media_type: str | None,
        *,
        tags: Sequence[Tag] = (),
        condition: TagCondition | None = None,
    ) -> PushedManifest:
        digest = self._digest_of(reference, content)
        manifest = await self._parse(content, media_type)
        names = tuple(dict.fromkeys((*tags, reference) if isinstance(reference, Tag) else tags))
        allow_missing = self._rules.may_lack_children(self.name)
        put = manifests.put_manifest(
            self.name,
            digest,
            manifest,
            names,
            self._now(),
            condition=condition,
            allow_missing=allow_missing,
            allow_partial_index=self._rules.allow_partial_indexes,
        )
        await self._metadata.write(put)
        return PushedManifest(digest, manifest.subject.digest if manifest.subject else None, names)

    def _digest_of(self, reference: Tag | Digest, content: bytes) -> Digest:
        if len(content) > self._rules.manifest_bytes:
            raise ManifestTooLarge(
                f"a manifest may have {self._rules.manifest_bytes} bytes here, this one has more",
                limit=self._rules.manifest_bytes,
            )
        if not isinstance(reference, Digest):
            return Digest.of(content)
        actual = Digest.of(content, reference.algorithm)
        require_match(reference, actual, len(content))
        return actual

    async def _parse(self, content: bytes, media_type: str | None) -> Manifest:
        def parse() -> Manifest:
            return parse_manifest(
                content,
                media_type,
                allow_unknown_types=self._rules.allow_unknown_types,
                require_artifact_type=self._rules.require_artifact_type,
            )

        return parse() if len(content) < _PARSE_IN_THREAD else await asyncio.to_thread(parse)

    async def delete_manifest(self, reference: Tag | Digest) -> None:
        if isinstance(reference, Digest):
            await self._metadata.write(manifests.delete_manifest(self.name, reference))
            self._forget(reference)
        else:
            await self._metadata.write(manifests.delete_tag(self.name, reference))

    async def list_tags(self, *, last: str = "", limit: int) -> Page:
        names = await self._metadata.read(listings.list_tags(self.name, last=last, limit=limit + 1))
        return _page(names, limit)

    async def list_referrers(self, subject: str, artifact_type: str | None, *, last: str = "") -> Page:
        page = await self._metadata.read(
            manifests.list_referrers(
                self.name,
                subject,
                artifact_type,
                last=last,
                limit=REFERRERS_PER_PAGE,
                most_bytes=REFERRERS_BYTES_PER_PAGE,
            )
        )
        return Page([json.loads(text) for text in page.descriptors], page.last)


@dataclass(frozen=True, slots=True)
class LocalRegistry:
    """The Registry of everything in one BlobStore and its Metadata."""

    store: BlobStore
    metadata: Metadata
    rules: Rules = field(default_factory=Rules)
    clock: Callable[[], float] = time.time
    recent: RecentReads | None = None  # for metadata that may be out of reach

    def repository(self, name: RepositoryName) -> LocalRepository:
        return LocalRepository(name, self.store, self.metadata, self.rules, self.now, self.recent)

    def now(self) -> int:
        """Seconds since 1970."""
        return int(self.clock())

    async def list_repositories(self, *, last: str = "", limit: int) -> Page:
        return _page(await self.metadata.read(listings.list_repositories(last=last, limit=limit + 1)), limit)

    async def search(self, text: str, *, limit: int) -> list[str]:
        return await self.metadata.read_much(listings.search_repositories(text, limit=limit))


def _page(names: list[str], limit: int) -> Page:
    shown = names[:limit]
    return Page(shown, shown[-1] if shown and len(names) > limit else None)
