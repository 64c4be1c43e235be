from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable

import pytest

from entrepot.digest import Digest
from entrepot.errors import BlobUnknown, Unavailable
from entrepot.jobs.check import Check, Report
from entrepot.metadata import blobs, manifests
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.reference import Tag
from entrepot.repositories.local import LocalRegistry, LocalRepository
from entrepot.store.base import StoredBlob
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.content_suite import NOW, parsed
from entrepot.testing.images import build_image
from entrepot.testing.repository_suite import push
from entrepot.testing.repository_upload_suite import CONTENT, DIGEST, NAME, chunk, read
from entrepot.testing.upload_suite import push as push_bytes

IMAGE = build_image(2)
DAMAGED = b"9876543210"
OTHER = Digest.of(b"other")
RunCheck = Callable[..., Awaitable[Report]]


class UnreadableStore(MemoryBlobStore):
    """A disk that has lost a sector."""

    async def verify(self, location: str) -> Digest:
        raise Unavailable("the disk failed: Input/output error", errno=errno.EIO)

    async def quarantine(self, blob: StoredBlob) -> bool:
        del self.blobs[blob.location]
        return True


class RepushingStore(MemoryBlobStore):
    """Somebody pushes the blob anew right before, or right after, it is taken out."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], Awaitable[object]] | None = None
        self.after: Callable[[], Awaitable[object]] | None = None

    async def quarantine(self, blob: StoredBlob) -> bool:
        if self.before is not None:
            await self.before()
        is_bad = await super().quarantine(blob)
        if self.after is not None:
            await self.after()
        return is_bad


@pytest.fixture
def store() -> RepushingStore:
    return RepushingStore()


@pytest.fixture
def run(store: RepushingStore, metadata: SqliteMetadata) -> RunCheck:
    async def check(*, repair: bool = False, grace_seconds: float = 0) -> Report:
        return await Check(store, metadata, repair=repair, grace_seconds=grace_seconds).run()

    return check


@pytest.fixture
def repository(registry: LocalRegistry) -> LocalRepository:
    return registry.repository(NAME)


async def test_check_of_a_good_registry_counts_everything(run: RunCheck, repository: LocalRepository) -> None:
    await push(repository, IMAGE, Tag.parse("v1"))
    report = await run()
    assert report.is_clean
    size = sum(blob.size for blob in (IMAGE.config, *IMAGE.layers))
    assert report == Report(blobs=3, manifests=1, bytes=size)


async def test_check_finds_bytes_that_are_missing(
    run: RunCheck, repository: LocalRepository, store: MemoryBlobStore
) -> None:
    await repository.put_blob(DIGEST, chunk(CONTENT))
    store.blobs.clear()
    report = await run()
    assert [finding.digest for finding in report.missing] == [DIGEST]
    assert not report.is_clean


async def test_check_with_repair_lets_missing_blob_be_pushed_again(
    run: RunCheck, repository: LocalRepository, store: MemoryBlobStore
) -> None:
    await repository.put_blob(DIGEST, chunk(CONTENT))
    await repository.put_blob(OTHER, chunk(b"other"))
    del store.blobs[DIGEST]
    assert (await run(repair=True)).repaired == 1
    with pytest.raises(BlobUnknown):  # so clients send it
        await repository.find_blob(DIGEST)
    await repository.put_blob(DIGEST, chunk(CONTENT))
    assert (await run()).is_clean


async def test_check_with_repair_leaves_a_missing_blob_that_is_pushed_meanwhile(
    run: RunCheck, repository: LocalRepository, store: RepushingStore
) -> None:
    await repository.put_blob(DIGEST, chunk(CONTENT))
    await repository.put_blob(OTHER, chunk(b"other"))
    del store.blobs[DIGEST]
    store.before = lambda: repository.put_blob(DIGEST, chunk(CONTENT))
    assert (await run(repair=True)).repaired == 0
    assert await read(await repository.find_blob(DIGEST)) == CONTENT


async def test_check_with_repair_of_another_store_takes_nothing_out(
    run: RunCheck, repository: LocalRepository, store: MemoryBlobStore
) -> None:
    await repository.put_blob(DIGEST, chunk(CONTENT))
    kept = dict(store.blobs)
    store.blobs.clear()
    report = await run(repair=True)
    assert (report.repaired, len(report.missing)) == (0, 1)
    assert "as in another store" in report.warning
    store.blobs.update(kept)
    assert (await run()).is_clean


class FailingStore(MemoryBlobStore):
    """An S3 server that can be reached no more, from the call of ``first`` on."""

    def __init__(self, first: str) -> None:
        super().__init__()
        self.first = first
        self.is_away = False

    def _call(self, name: str) -> None:
        self.is_away = self.is_away or name == self.first
        if self.is_away:
            raise Unavailable("the S3 server cannot be reached")

    async def verify(self, location: str) -> Digest:
        self._call("verify")
        return Digest.of(DAMAGED)

    async def quarantine(self, blob: StoredBlob) -> bool:
        self._call("quarantine")
        return True

    async def check(self) -> None:
        self._call("check")


@pytest.mark.parametrize("first", ["verify", "quarantine"])
async def test_check_with_repair_takes_nothing_out_while_the_store_is_out_of_reach(
    metadata: SqliteMetadata, first: str
) -> None:
    store = FailingStore(first)
    repository = LocalRegistry(store, metadata).repository(NAME)
    await repository.put_blob(DIGEST, chunk(CONTENT))
    with pytest.raises(Unavailable, match="the S3 server cannot be reached"):
        await Check(store, metadata, repair=True).run()
    assert await read(await repository.find_blob(DIGEST)) == CONTENT


@pytest.mark.parametrize("content", [DAMAGED, CONTENT[:-1], b"", CONTENT + b"x"], ids=["other", "cut", "empty", "more"])
async def test_check_finds_bytes_that_are_others(
    run: RunCheck, repository: LocalRepository, store: MemoryBlobStore, content: bytes
) -> None:
    await repository.put_blob(DIGEST, chunk(CONTENT))
    store.blobs[DIGEST] = content
    report = await run()
    assert [(finding.digest, finding.location) for finding in report.corrupt] == [(DIGEST, DIGEST)]
    assert report.repaired == 0
    assert not report.is_clean
    assert store.blobs[DIGEST] == content


async def test_check_takes_bytes_that_cannot_be_read_for_corrupt(metadata: SqliteMetadata) -> None:
    store = UnreadableStore()
    repository = LocalRegistry(store, metadata).repository(NAME)
    await repository.put_blob(DIGEST, chunk(CONTENT))
    report = await Check(store, metadata, repair=True).run()
    message = "its bytes cannot be read: the disk failed: Input/output error"
    assert [(finding.digest, finding.message) for finding in report.corrupt] == [(DIGEST, message)]
    assert report.repaired == 1
    with pytest.raises(BlobUnknown):
        await repository.find_blob(DIGEST)


async def test_check_with_repair_takes_corrupt_blob_out_until_it_is_pushed_again(
    run: RunCheck, repository: LocalRepository, store: MemoryBlobStore
) -> None:
    await repository.put_blob(DIGEST, chunk(CONTENT))
    store.blobs[DIGEST] = DAMAGED
    assert (await run(repair=True)).repaired == 1
    with pytest.raises(BlobUnknown):
        await repository.find_blob(DIGEST)
    report = await run()
    assert [finding.message for finding in report.missing] == ["was taken out before; push it again to heal it"]
    await repository.put_blob(DIGEST, chunk(CONTENT))
    assert await run() == Report(blobs=1, bytes=len(CONTENT))


@pytest.mark.parametrize(("moment", "repaired"), [("before", 0), ("after", 1)])
async def test_check_with_repair_leaves_a_blob_that_is_pushed_meanwhile(
    run: RunCheck, repository: LocalRepository, store: RepushingStore, moment: str, repaired: int
) -> None:
    await repository.put_blob(DIGEST, chunk(CONTENT))
    store.blobs[DIGEST] = DAMAGED
    setattr(store, moment, lambda: repository.put_blob(DIGEST, chunk(CONTENT)))
    report = await run(repair=True)
    assert (len(report.corrupt), report.repaired) == (1, repaired)
    assert await read(await repository.find_blob(DIGEST)) == CONTENT
    assert (await run()).is_clean


async def test_check_with_repair_leaves_bytes_that_are_pushed_meanwhile_before_their_row_is(
    run: RunCheck, repository: LocalRepository, store: RepushingStore
) -> None:
    await repository.put_blob(DIGEST, chunk(CONTENT))
    store.blobs[DIGEST] = DAMAGED
    store.before = lambda: push_bytes(store, CONTENT)
    await run(repair=True)
    assert await read(await repository.find_blob(DIGEST)) == CONTENT


async def test_check_finds_blob_that_was_taken_out_only_while_somebody_names_it(
    run: RunCheck, repository: LocalRepository, store: MemoryBlobStore, metadata: SqliteMetadata
) -> None:
    await repository.put_blob(DIGEST, chunk(CONTENT))
    store.blobs[DIGEST] = DAMAGED
    await run(repair=True)
    await metadata.write(blobs.unlink_blob(NAME, DIGEST, protect_used=False))
    assert await run() == Report()


async def test_check_finds_damaged_manifest(
    run: RunCheck, repository: LocalRepository, metadata: SqliteMetadata
) -> None:
    await push(repository, IMAGE)
    other = build_image(2, seed=5)
    damaged = parsed(other)
    await metadata.write(manifests.put_manifest(NAME, IMAGE.digest, damaged, [], NOW, allow_missing=True))
    [finding] = (await run(repair=True)).corrupt
    assert (finding.digest, finding.location) == (IMAGE.digest, NAME)
    assert finding.message == f"the manifest's bytes are those of {other.digest}"
    await push(repository, IMAGE)
    assert (await run()).is_clean


async def test_check_of_manifest_pushed_by_sha512_is_clean(run: RunCheck, repository: LocalRepository) -> None:
    await push(repository, IMAGE)
    digest = Digest.of(IMAGE.manifest.data, "sha512")
    await repository.put_manifest(digest, IMAGE.manifest.data, IMAGE.manifest.media_type)
    report = await run()
    assert (report.is_clean, report.manifests) == (True, 2)


async def test_check_finds_manifest_whose_layer_was_deleted(run: RunCheck, repository: LocalRepository) -> None:
    await push(repository, IMAGE)
    await repository.delete_blob(IMAGE.layers[0].digest)
    report = await run()
    assert [(finding.digest, finding.location) for finding in report.incomplete] == [(IMAGE.digest, NAME)]
    assert IMAGE.layers[0].digest in report.incomplete[0].message
    assert report.is_clean


async def test_check_finds_orphans_and_calls_them_harmless(run: RunCheck, store: MemoryBlobStore) -> None:
    blob = await push_bytes(store, CONTENT)
    report = await run()
    assert [(finding.digest, finding.location) for finding in report.orphaned] == [(DIGEST, blob.location)]
    assert report.is_clean


async def test_check_takes_no_push_that_is_going_on_for_an_orphan(
    run: RunCheck, store: MemoryBlobStore, metadata: SqliteMetadata
) -> None:
    blob = await push_bytes(store, CONTENT)
    checking = asyncio.ensure_future(run(grace_seconds=3))
    await asyncio.wait({checking}, timeout=0.02)
    await metadata.write(blobs.put_blob(NAME, DIGEST, blob, NOW))
    assert (await checking).orphaned == []


async def test_check_goes_through_more_than_one_piece(run: RunCheck, repository: LocalRepository) -> None:
    contents = [b"%d" % number for number in range(450)]
    await asyncio.gather(*(repository.put_blob(Digest.of(content), chunk(content)) for content in contents))
    report = await run()
    assert (report.blobs, report.is_clean) == (450, True)
