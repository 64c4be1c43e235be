"""Repositories that are OCI image layouts on disk (image-spec, image-layout.md), as other tools read and write them.

Manifests and blobs lie in one folder there, so ``find_blob`` finds both. Nothing that is read is hashed here but
manifests; whoever copies a blob verifies it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrepot.digest import CANONICAL, Digest, require_match
from entrepot.errors import (
    BlobUnknown,
    Corrupt,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestTooLarge,
    NameInvalid,
    NotFound,
    PreconditionFailed,
    RegistryError,
    RegistryErrors,
    RepositoryUnknown,
)
from entrepot.manifest import (
    Descriptor,
    Manifest,
    ManifestHead,
    StoredManifest,
    TagCondition,
    parse_manifest,
)
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.base import Chunk, Fetch, Page, PushedManifest
from entrepot.repositories.layout_blob import LayoutBlob
from entrepot.repositories.layout_fetch import LayoutFetches
from entrepot.repositories.layout_folder import UPLOADS_FOLDER, LayoutFolder
from entrepot.repositories.layout_index import (
    BLOBS_FOLDER,
    INDEX_FILE,
    LAYOUT_FILE,
    MAX_MANIFEST_SIZE,
    LayoutIndex,
    find_referrers,
    page_of,
    read_stored_manifest,
    unknown,
)
from entrepot.repositories.layout_uploads import LOCK_WAIT_SECONDS, LayoutUploads
from entrepot.store.threads import DiskThreads

_OWN_NAMES = {BLOBS_FOLDER, INDEX_FILE, LAYOUT_FILE, UPLOADS_FOLDER}


class LayoutRepository:
    """A Repository in an OCI image layout. Several processes may use it at once.

    ``siblings`` are the other layouts that blobs can be mounted from.
    """

    def __init__(
        self,
        root: Path,
        name: RepositoryName,
        *,
        threads: DiskThreads | None = None,
        siblings: Callable[[RepositoryName | None], list[LayoutFolder]] | None = None,
        allow_missing: bool = False,
        lock_wait_seconds: float = LOCK_WAIT_SECONDS,
    ) -> None:
        self.name = name
        self._folder = LayoutFolder(root)
        self._threads = threads or DiskThreads(4)
        self._uploads = LayoutUploads(self._folder, self._threads, lock_wait_seconds)
        self._siblings = siblings
        self._allow_missing = allow_missing

    async def read_index(self) -> LayoutIndex:
        """All that the layout names. Raises ArchiveInvalid, ManifestInvalid."""
        return await self._threads.run(self._folder.read_index)

    async def find_blob(self, digest: Digest) -> LayoutBlob:
        size = self._folder.size_of(digest)
        if size is None:
            raise self._absent(BlobUnknown(f"no blob {digest} in {self.name}", name=self.name, digest=digest))
        return LayoutBlob(digest, size, self._folder, self._threads)

    async def put_blob(self, digest: Digest, chunk: Chunk) -> LayoutBlob:
        size = await self._uploads.put(digest, chunk)
        return LayoutBlob(digest, size, self._folder, self._threads)

    @property
    def keeps_partials(self) -> bool:
        return True

    def fetch_blob(self, digest: Digest, size: int) -> AbstractAsyncContextManager[Fetch]:
        return LayoutFetches(self._folder, self._threads).open(digest, size)

    async def mount_blob(self, digest: Digest, source: RepositoryName | None) -> LayoutBlob | None:
        if self._siblings is None:
            return None
        for folder in await self._threads.run(self._siblings, source):
            found = folder.size_of(digest) is not None
            if found and await self._threads.run(self._folder.adopt, folder.path(digest), digest):
                return await self.find_blob(digest)
        return None

    async def delete_blob(self, digest: Digest) -> None:
        if not await self._threads.run(self._folder.delete_blob, digest):
            raise self._absent(BlobUnknown(f"no blob {digest} in {self.name}", name=self.name, digest=digest))

    async def begin_upload(self, algorithm: str = CANONICAL) -> str:
        return await self._uploads.begin(algorithm)

    async def upload_offset(self, upload_id: str) -> int:
        return await self._uploads.offset(upload_id)

    async def append(self, upload_id: str, chunk: Chunk) -> int:
        return await self._uploads.append(upload_id, chunk)

    async def finish_upload(self, upload_id: str, digest: Digest, chunk: Chunk) -> LayoutBlob:
        size = await self._uploads.finish(upload_id, digest, chunk)
        return LayoutBlob(digest, size, self._folder, self._threads)

    async def cancel_upload(self, upload_id: str) -> None:
        await self._uploads.cancel(upload_id)

    async def get_manifest(self, reference: Tag | Digest) -> StoredManifest:
        found = await self._threads.run(self._read_manifest, reference)
        if found is None:
            raise self._absent(unknown(self.name, reference))
        return found

    async def head_manifest(self, reference: Tag | Digest) -> ManifestHead:
        found = await self.get_manifest(reference)
        return ManifestHead(found.digest, found.media_type, len(found.content))

    def _read_manifest(self, reference: Tag | Digest) -> StoredManifest | None:
        entry = self._folder.read_index().find(reference)
        if entry is None and not isinstance(reference, Digest):
            return None
        digest = reference if isinstance(reference, Digest) else Digest.parse(entry.digest if entry else reference)
        size = self._folder.size_of(digest)
        if size is None or (entry is None and size > MAX_MANIFEST_SIZE):
            return None
        content = self._folder.read_blob(digest, MAX_MANIFEST_SIZE)
        if content is None:
            return None
        _require_intact(digest, content)
        return read_stored_manifest(content, digest, entry.media_type if entry else None)

    async def put_manifest(
        self,
        reference: Tag | Digest,
        content: bytes,
        media_type: str | None,
        *,
        tags: Sequence[Tag] = (),
        condition: TagCondition | None = None,
    ) -> PushedManifest:
        digest = _digest_of(reference, content)
        manifest = parse_manifest(content, media_type)
        names = tuple(dict.fromkeys((*tags, reference) if isinstance(reference, Tag) else tags))
        await self._threads.run(self._put_manifest, digest, manifest, names, condition)
        return PushedManifest(digest, manifest.subject.digest if manifest.subject else None, names)

    def _put_manifest(
        self, digest: Digest, manifest: Manifest, names: tuple[Tag, ...], condition: TagCondition | None
    ) -> None:
        self._require_children(manifest)
        descriptor = Descriptor(manifest.media_type, digest, len(manifest.content))
        children = {child.digest for child in manifest.manifests}

        def change(index: LayoutIndex) -> LayoutIndex:
            _require(condition, index, names)
            with self._folder.stage() as staged:
                staged.write(manifest.content)
                staged.commit(digest)
            return index.with_manifest(descriptor, names, children)

        self._folder.change_index(change)

    def _require_children(self, manifest: Manifest) -> None:
        faults = [*self._faults("blob", manifest.blobs), *self._faults("manifest", manifest.manifests)]
        if faults:
            raise RegistryErrors(faults)

    def _faults(self, kind: str, children: Sequence[Descriptor]) -> Iterator[RegistryError]:
        for digest, stated in dict.fromkeys((child.digest, child.size) for child in children):
            actual = self._size_of(digest)
            if actual is None and not self._allow_missing:
                message = f"the manifest names {kind} {digest}, which is not in {self.name}; push it first"
                yield ManifestBlobUnknown(message, name=self.name, digest=digest)
            elif actual is not None and actual != stated:
                message = f"the manifest says {digest} has {stated} bytes; it has {actual}"
                yield ManifestInvalid(message, digest=digest, expected=actual, actual=stated)

    def _size_of(self, digest: str) -> int | None:
        try:
            return self._folder.size_of(Digest.parse(digest))
        except DigestInvalid:  # of an algorithm that we do not store
            return None

    async def delete_manifest(self, reference: Tag | Digest) -> None:
        if not await self._threads.run(self._delete_manifest, reference):
            raise self._absent(unknown(self.name, reference))

    def _delete_manifest(self, reference: Tag | Digest) -> bool:
        return self._read_manifest(reference) is not None and self._folder.delete_manifest(reference)

    async def list_tags(self, *, last: str = "", limit: int) -> Page:
        if self._folder.is_empty():
            raise self._nothing()
        return Page(*page_of((await self.read_index()).tags, last, limit))

    async def list_referrers(self, subject: str, artifact_type: str | None, *, last: str = "") -> Page:
        found = await self._threads.run(self._referrers, subject, artifact_type)
        return Page([item for item in found if item["digest"] > last], None)

    def _referrers(self, subject: str, artifact_type: str | None) -> list[Any]:
        return find_referrers(self._folder.read_index(), subject, artifact_type, self._read_manifest)

    def _absent(self, error: NotFound) -> NotFound:
        return self._nothing() if self._folder.is_empty() else error

    def _nothing(self) -> RepositoryUnknown:
        return RepositoryUnknown(f"no repository {self.name}: there is nothing in {self._folder.root}", name=self.name)


@dataclass(frozen=True)
class LayoutRegistry:
    """A folder of layouts: the repository ``team/app`` is the layout ``<root>/team/app``."""

    root: Path
    threads: DiskThreads

    def repository(self, name: RepositoryName) -> LayoutRepository:
        """Raises NameInvalid for the few names that would lie inside another layout."""
        return LayoutRepository(self._path(name), name, threads=self.threads, siblings=self._siblings)

    def _path(self, name: RepositoryName) -> Path:
        inside = _OWN_NAMES.intersection(name.split("/"))
        if inside:
            raise NameInvalid(f"invalid repository name: a folder of layouts needs {min(inside)} for itself", name=name)
        return self.root / name

    def _siblings(self, source: RepositoryName | None) -> list[LayoutFolder]:
        names = [source] if source is not None else self._names()
        return [LayoutFolder(self._path(name)) for name in names]

    def _names(self) -> list[RepositoryName]:
        found = []
        for path, folders, _ in os.walk(self.root):
            folders[:] = [folder for folder in folders if folder not in _OWN_NAMES]
            if not LayoutFolder(Path(path)).is_empty():
                found.append(RepositoryName(Path(path).relative_to(self.root).as_posix()))
        return sorted(found, key=str.encode)

    async def list_repositories(self, *, last: str = "", limit: int) -> Page:
        return Page(*page_of(await self.threads.run(self._names), last, limit))

    async def search(self, text: str, *, limit: int) -> list[str]:
        names = await self.threads.run(self._names)
        return [str(name) for name in names if text in name][:limit]


def _digest_of(reference: Tag | Digest, content: bytes) -> Digest:
    if len(content) > MAX_MANIFEST_SIZE:
        raise ManifestTooLarge(
            f"a manifest may have {MAX_MANIFEST_SIZE} bytes here, this one has more", limit=MAX_MANIFEST_SIZE
        )
    actual = Digest.of(content, reference.algorithm if isinstance(reference, Digest) else CANONICAL)
    if isinstance(reference, Digest):
        require_match(reference, actual, len(content))
    return actual


def _require_intact(digest: Digest, content: bytes) -> None:
    actual = Digest.of(content, digest.algorithm)
    if actual != digest:
        raise Corrupt(f"the file of {digest} holds something else: {actual}", digest=digest, actual=actual)


def _require(condition: TagCondition | None, index: LayoutIndex, names: Sequence[Tag]) -> None:
    if condition is None:
        return
    for tag in names:
        entry = index.find(tag)
        current = entry.digest if entry else None
        if condition.must_be_absent and current is not None:
            raise PreconditionFailed(f"tag {tag} is already there, at {current}", tag=tag, current=current)
        is_another = condition.digests is not None and current not in condition.digests
        if is_another or (condition.must_exist and current is None):
            raise PreconditionFailed(
                f"tag {tag} points to {current or 'nothing'}, not to what was expected", tag=tag, current=current
            )
