"""The contract of a repository: blobs, uploads, manifests, tags and referrers under one name.

Errors mean the same everywhere: BlobUnknown, ManifestUnknown and UploadUnknown for what is not in this
repository, RepositoryUnknown for a repository that holds nothing at all. The suite every repository must pass
is ``entrepot.testing.repository_suite``.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from entrepot.digest import CANONICAL, Digest
from entrepot.manifest import ManifestHead, StoredManifest, TagCondition
from entrepot.reference import RepositoryName, Tag


class Blob(Protocol):
    """A blob of a repository; ``digest`` is the name it was asked for by, ``size`` in bytes."""

    @property
    def digest(self) -> Digest: ...

    @property
    def size(self) -> int: ...

    def open(self, *, start: int = 0, end: int | None = None) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes from ``start`` up to, not including, ``end``."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes to append to an upload.

    ``start`` is where they must begin: UploadRangeInvalid when the upload ends elsewhere; None appends.
    ``length`` is how many there must be: SizeInvalid otherwise, and the upload is as before; None takes all.
    """

    pieces: AsyncIterable[bytes]
    start: int | None = None
    length: int | None = None


@dataclass(frozen=True, slots=True)
class PushedManifest:
    """The outcome of a push: the digest it is stored under, its subject, the tags that now point to it."""

    digest: Digest
    subject: str | None
    tags: tuple[Tag, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a sorted listing; ``last`` is where the next page goes on, None when this was the end."""

    items: list[Any]
    last: str | None


class Repository(Protocol):
    """One repository."""

    @property
    def name(self) -> RepositoryName: ...

    async def find_blob(self, digest: Digest) -> Blob:
        """Raises BlobUnknown or RepositoryUnknown."""

    async def put_blob(self, digest: Digest, chunk: Chunk) -> Blob:
        """Store a whole blob. Raises DigestInvalid when the bytes have another digest, UploadTooLarge."""

    async def mount_blob(self, digest: Digest, source: RepositoryName | None) -> Blob | None:
        """Take over a blob of another repository, of any when ``source`` is None; None when it is not there."""

    async def delete_blob(self, digest: Digest) -> None:
        """Remove it from this repository; others keep theirs. Raises BlobUnknown, RepositoryUnknown, BlobInUse."""

    async def begin_upload(self, algorithm: str = CANONICAL) -> str:
        """Begin an upload whose digest will be of ``algorithm`` and return its id. Raises TooManyUploads."""

    async def upload_offset(self, upload_id: str) -> int:
        """How many bytes of it are kept; may wait a little for a writer to let go. Raises UploadUnknown."""

    async def append(self, upload_id: str, chunk: Chunk) -> int:
        """Append and return the new size. When the pieces break off, what came is kept.

        Raises UploadUnknown, UploadRangeInvalid, UploadBusy, SizeInvalid, UploadTooLarge.
        """

    async def finish_upload(self, upload_id: str, digest: Digest, chunk: Chunk) -> Blob:
        """Append the last bytes, if any, and make the whole a blob.

        Raises as ``append`` does, and DigestInvalid when the digest is another one; then the upload is over.
        """

    async def cancel_upload(self, upload_id: str) -> None:
        """Forget an upload. Raises UploadUnknown, UploadBusy."""

    async def get_manifest(self, reference: Tag | Digest) -> StoredManifest:
        """Raises ManifestUnknown or RepositoryUnknown."""

    async def head_manifest(self, reference: Tag | Digest) -> ManifestHead:
        """Raises ManifestUnknown or RepositoryUnknown."""

    async def put_manifest(
        self,
        reference: Tag | Digest,
        content: bytes,
        media_type: str | None,
        *,
        tags: Sequence[Tag] = (),
        condition: TagCondition | None = None,
    ) -> PushedManifest:
        """Store exactly these bytes, and let the tag (of ``reference`` and ``tags``) point to them.

        Raises ManifestInvalid, ManifestTooLarge, DigestInvalid, PreconditionFailed, or RegistryErrors with
        one ManifestBlobUnknown for each absent child.
        """

    async def delete_manifest(self, reference: Tag | Digest) -> None:
        """By digest: the manifest with all its tags. By tag: the tag only."""

    async def list_tags(self, *, last: str = "", limit: int) -> Page:
        """Tags after ``last`` in byte order. Raises RepositoryUnknown."""

    async def list_referrers(self, subject: str, artifact_type: str | None, *, last: str = "") -> Page:
        """Descriptors (dictionaries) of the manifests with this subject, a digest of any algorithm; maybe none."""


class Fetch(Protocol):
    """A blob that is being fetched; ``store.base.Partial`` says what the parts mean.

    When ``blob`` is not None the blob was there already, or somebody else has finished it while we waited: then
    nothing is missing, ``size`` is what it really has (which may not be what was asked for), and nothing may be
    written.
    """

    @property
    def blob(self) -> Blob | None: ...

    @property
    def size(self) -> int: ...

    @property
    def validator(self) -> str | None: ...

    async def set_validator(self, validator: str) -> None: ...

    def missing(self) -> list[tuple[int, int]]: ...

    def prefix(self) -> int: ...

    async def write(self, start: int, pieces: AsyncIterable[bytes]) -> int: ...

    async def restart(self) -> None: ...

    async def commit(self) -> Blob:
        """Make it a blob of the repository. Raises SizeInvalid, or DigestInvalid; after that all is missing again."""


@runtime_checkable
class Fetching(Protocol):
    """A repository that keeps what came of a blob when the transfer breaks off, and goes on from there."""

    @property
    def keeps_partials(self) -> bool:
        """Whether there is a place for parts of blobs."""

    def fetch_blob(self, digest: Digest, size: int) -> AbstractAsyncContextManager[Fetch]:
        """Take the blob in hand; waits while somebody else fetches it, be it another process.

        Leaving keeps what is not committed. Raises Unsupported where there is no place for parts of blobs.
        """


Sent = Callable[[int], None]  # told how many bytes of the blob are there now; may go back when a part is sent again


@runtime_checkable
class Pushing(Protocol):
    """A repository that sends a blob itself, because it may have to send parts of it again."""

    def past_mirrors(self) -> Repository:
        """The same repository, but read where it is written to: a mirror may have what is not there, or older tags."""

    async def push_blob(self, blob: Blob, *, sent: Sent) -> None:
        """Upload it, going on where an earlier attempt has ended. Raises as put_blob does."""


class Registry(Protocol):
    """All repositories of one place."""

    def repository(self, name: RepositoryName) -> Repository:
        """The repository of that name, whether or not it holds anything yet."""

    async def list_repositories(self, *, last: str = "", limit: int) -> Page:
        """Names after ``last`` in byte order."""

    async def search(self, text: str, *, limit: int) -> list[str]:
        """Names that contain ``text``, in byte order."""
