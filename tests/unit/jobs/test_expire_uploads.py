from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from entrepot.digest import Digest
from entrepot.errors import UploadUnknown
from entrepot.jobs.expire_uploads import ExpireUploads
from entrepot.metadata import leases
from entrepot.repositories.local import LocalRegistry, LocalRepository
from entrepot.store.base import BlobStore, Upload, UploadState
from entrepot.store.cached import CachedBlobStore
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.repository_upload_suite import CONTENT, DIGEST, NAME, chunk
from entrepot.testing.upload_suite import chunks, uploads_of

from .conftest import Clock

WEEK = 7 * 86400


@pytest.fixture
def job(registry: LocalRegistry, clock: Clock) -> ExpireUploads:
    return ExpireUploads(registry.store, registry.metadata, clock, after_seconds=WEEK)


@pytest.fixture
def repository(registry: LocalRegistry) -> LocalRepository:
    return registry.repository(NAME)


async def kept() -> None:
    """The lease is never lost here."""


async def test_upload_that_nobody_touched_is_removed_with_its_bytes(
    job: ExpireUploads, repository: LocalRepository, clock: Clock, store: MemoryBlobStore
) -> None:
    upload_id = await repository.begin_upload()
    await repository.append(upload_id, chunk(CONTENT))
    clock.seconds += WEEK + 1
    await job.run(kept)
    with pytest.raises(UploadUnknown):
        await repository.upload_offset(upload_id)
    assert await uploads_of(store) == []


async def test_upload_that_is_young_enough_stays(job: ExpireUploads, repository: LocalRepository, clock: Clock) -> None:
    upload_id = await repository.begin_upload()
    clock.seconds += WEEK
    await job.run(kept)
    await repository.finish_upload(upload_id, DIGEST, chunk(CONTENT))


async def test_upload_that_is_gone_on_with_when_the_job_has_seen_it_stays(
    job: ExpireUploads, repository: LocalRepository, clock: Clock, registry: LocalRegistry
) -> None:
    upload_id = await repository.begin_upload()
    await repository.append(upload_id, chunk(b"0"))
    clock.seconds += WEEK + 1
    store = _Meanwhile(registry.store, lambda: repository.append(upload_id, chunk(b"1")))
    await ExpireUploads(store, registry.metadata, clock, after_seconds=WEEK).run(kept)
    assert await repository.upload_offset(upload_id) == 2


async def test_upload_that_was_gone_on_with_counts_from_then(
    job: ExpireUploads, repository: LocalRepository, clock: Clock
) -> None:
    upload_id = await repository.begin_upload()
    clock.seconds += WEEK - 10
    await repository.append(upload_id, chunk(CONTENT))
    clock.seconds += WEEK
    await job.run(kept)
    assert await repository.upload_offset(upload_id) == len(CONTENT)


async def test_upload_that_is_being_written_stays(
    job: ExpireUploads, repository: LocalRepository, clock: Clock, store: MemoryBlobStore
) -> None:
    upload_id = await repository.begin_upload()
    store.writers.add(upload_id)
    clock.seconds += WEEK + 1
    await job.run(kept)
    assert await repository.upload_offset(upload_id) == 0


async def test_many_expired_uploads_are_all_removed(
    job: ExpireUploads, repository: LocalRepository, clock: Clock, store: MemoryBlobStore
) -> None:
    for _ in range(250):
        await repository.begin_upload()
    clock.seconds += WEEK + 1
    fresh = await repository.begin_upload()
    await job.run(kept)
    assert await repository.upload_offset(fresh) == 0
    await repository.append(fresh, chunk(CONTENT))
    assert await uploads_of(store) == [fresh]


async def test_bytes_of_an_upload_that_nobody_knows_are_removed(job: ExpireUploads, store: MemoryBlobStore) -> None:
    """A process that is killed in the middle of a push in one request leaves such."""
    upload = await store.begin_upload()
    await upload.write(chunks(CONTENT))
    await job.run(kept)
    assert await uploads_of(store) == [upload.id]  # somebody may be at it
    await upload.close()
    await job.run(kept)
    assert await uploads_of(store) == []


async def test_blobs_stay(job: ExpireUploads, repository: LocalRepository, clock: Clock) -> None:
    await repository.put_blob(DIGEST, chunk(CONTENT))
    clock.seconds += 10 * WEEK
    await job.run(kept)
    assert (await repository.find_blob(Digest.of(CONTENT))).size == len(CONTENT)


async def test_leases_of_writers_that_died_are_forgotten_with_what_they_left(
    job: ExpireUploads, clock: Clock, store: MemoryBlobStore, registry: LocalRegistry
) -> None:
    for number in range(250):
        await _take(registry, f"upload:{number:08x}", clock)
    await _take(registry, "expire_uploads", clock)
    store.writers.add("000000f5")  # and this one is alive
    clock.seconds += WEEK + 60
    await _take(registry, "upload:0000young", clock)
    await job.run(kept)
    assert await _leases(registry) == ["expire_uploads", "upload:000000f5", "upload:0000young"]


@pytest.mark.parametrize(("seconds", "is_kept"), [(120, True), (121, False)], ids=["young", "old"])
async def test_lease_that_ended_a_moment_ago_is_kept_however_short_the_expiry(
    registry: LocalRegistry, clock: Clock, *, seconds: int, is_kept: bool
) -> None:
    await _take(registry, "upload:0", clock)
    clock.seconds += 30 + seconds
    await ExpireUploads(registry.store, registry.metadata, clock, after_seconds=1).run(kept)
    assert bool(await _leases(registry)) is is_kept


async def test_lease_of_an_upload_that_is_open_is_kept(
    job: ExpireUploads, repository: LocalRepository, clock: Clock, registry: LocalRegistry
) -> None:
    upload_id = await repository.begin_upload()
    await registry.metadata.write(leases.take_lease(f"upload:{upload_id}", "dead", now=0, seconds=30))
    await job.run(kept)
    assert f"upload:{upload_id}" in await _leases(registry)
    await repository.cancel_upload(upload_id)
    await job.run(kept)
    assert f"upload:{upload_id}" not in await _leases(registry)


async def _take(registry: LocalRegistry, name: str, clock: Clock) -> None:
    await registry.metadata.write(leases.take_lease(name, "dead", now=clock(), seconds=30))


async def _leases(registry: LocalRegistry) -> list[str]:
    return await registry.metadata.read(leases.ended_leases("", "~", before=1 << 60, limit=1000))


class _Meanwhile(CachedBlobStore):
    """A store at which something happens just before an upload is resumed."""

    def __init__(self, store: BlobStore, happens: Callable[[], Awaitable[object]]) -> None:
        super().__init__(store, capacity=0, largest=0)
        self._happens = happens

    async def resume_upload(self, state: UploadState, *, wait: bool = True) -> Upload:
        await self._happens()
        return await super().resume_upload(state, wait=wait)
