"""What a local repository fetches, what it finds instead, and what it holds off while it records a blob."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.errors import BlobUnknown, DigestInvalid, RepositoryUnknown, SizeInvalid, Unavailable, Unsupported
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Fetching
from entrepot.repositories.local import LocalRegistry, LocalRepository
from entrepot.repositories.local_fetch import LocalFetches
from entrepot.store.base import PartialStore
from entrepot.store.cached import CachedBlobStore
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.testing.faults import Fault, FaultPlan, FaultyCommit
from entrepot.testing.partial_suite import partials_of
from entrepot.testing.repository_upload_suite import chunk, read
from entrepot.testing.upload_suite import chunks, push

CONTENT = bytes(range(256)) * 1000
DIGEST, SIZE = Digest.of(CONTENT), len(CONTENT)
HERE, THERE = RepositoryName.parse("docker.io/library/here"), RepositoryName.parse("docker.io/library/there")


@pytest.fixture
def plan(tmp_path: Path) -> FaultPlan:
    return FaultPlan(tmp_path / "plan")


@pytest.fixture
def store(tmp_path: Path) -> FilesystemBlobStore:
    return FilesystemBlobStore(tmp_path)


@pytest.fixture
async def registry(store: FilesystemBlobStore, database: Path, plan: FaultPlan) -> AsyncIterator[LocalRegistry]:
    metadata = SqliteMetadata(database, commit=FaultyCommit(plan))
    yield LocalRegistry(store, metadata)
    await metadata.close()


@pytest.fixture
def here(registry: LocalRegistry) -> LocalRepository:
    return registry.repository(HERE)


@pytest.fixture
def there(registry: LocalRegistry) -> LocalRepository:
    return registry.repository(THERE)


async def fetch(repository: LocalRepository, digest: Digest = DIGEST, content: bytes = CONTENT) -> int:
    """Fetch a blob, if it is not there, and tell how many bytes had to be written."""
    async with repository.fetch_blob(digest, SIZE) as fetching:
        missing = fetching.missing()
        for start, end in missing:
            await fetching.write(start, chunks(content[start:end]))
        blob = await fetching.commit()
        assert await read(blob) == CONTENT
    assert await read(await repository.find_blob(digest)) == CONTENT
    return sum(end - start for start, end in missing)


def test_local_repository_can_fetch(here: LocalRepository) -> None:
    assert isinstance(here, Fetching)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_fetch_absent_blob_makes_it_one_of_the_repository(
    here: LocalRepository, store: PartialStore, algorithm: str
) -> None:
    assert await fetch(here, Digest.of(CONTENT, algorithm)) == SIZE
    assert await partials_of(store) == {}


async def test_fetch_blob_again_writes_nothing(here: LocalRepository) -> None:
    await fetch(here)
    assert await fetch(here) == 0


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_fetch_blob_of_another_repository_mounts_it(
    here: LocalRepository, there: LocalRepository, algorithm: str
) -> None:
    digest = Digest.of(CONTENT, algorithm)
    await there.put_blob(digest, chunk(CONTENT))
    assert await fetch(here, digest) == 0


async def test_fetch_blob_that_is_there_refuses_bytes(here: LocalRepository) -> None:
    await here.put_blob(DIGEST, chunk(CONTENT))
    async with here.fetch_blob(DIGEST, SIZE) as fetching:
        assert (fetching.missing(), fetching.prefix(), fetching.validator) == ([], SIZE, None)
        for refused in (fetching.write(0, chunks(b"x")), fetching.restart(), fetching.set_validator("x")):
            with pytest.raises(RuntimeError, match="there already"):
                await refused


async def test_fetch_blob_that_is_there_in_another_size_tells_it(here: LocalRepository) -> None:
    await here.put_blob(DIGEST, chunk(CONTENT))
    async with here.fetch_blob(DIGEST, SIZE + 1) as fetching:
        assert fetching.blob is not None
        assert fetching.size == SIZE


async def test_fetch_that_was_left_goes_on_in_any_repository(here: LocalRepository, there: LocalRepository) -> None:
    async with here.fetch_blob(DIGEST, SIZE) as fetching:
        await fetching.write(0, chunks(CONTENT[:1000]))
        await fetching.set_validator('"v1"')
    async with there.fetch_blob(DIGEST, SIZE) as fetching:
        assert (fetching.prefix(), fetching.validator) == (1000, '"v1"')
        assert fetching.blob is None
    assert await fetch(there) == SIZE - 1000


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_fetch_that_waits_finds_what_the_other_has_finished(
    here: LocalRepository, there: LocalRepository, algorithm: str
) -> None:
    digest = Digest.of(CONTENT, algorithm)
    async with asyncio.timeout(60):
        async with here.fetch_blob(digest, SIZE) as fetching:
            waiting = asyncio.create_task(fetch(there, digest))
            await fetching.write(0, chunks(CONTENT))
            assert not waiting.done()
            await fetching.commit()
        assert await waiting == 0


async def test_fetch_of_many_at_once_writes_it_once(registry: LocalRegistry) -> None:
    names = [RepositoryName.parse(f"team/app{number}") for number in range(8)]
    written = await asyncio.gather(*(fetch(registry.repository(name)) for name in names))
    assert sorted(written) == [0] * 7 + [SIZE]


@pytest.mark.parametrize("left", [None, b"", CONTENT[:-1]], ids=["missing", "empty", "short"])
@pytest.mark.parametrize("owner", [HERE, THERE])
async def test_fetch_blob_whose_bytes_are_damaged_fetches_them_anew(
    registry: LocalRegistry, here: LocalRepository, tmp_path: Path, owner: RepositoryName, left: bytes | None
) -> None:
    blob = await registry.repository(owner).put_blob(DIGEST, chunk(CONTENT))
    damage(tmp_path / "blobs" / blob.stored.location, left)
    assert await fetch(here) == SIZE
    assert await read(await registry.repository(owner).find_blob(DIGEST)) == CONTENT


async def test_fetch_damaged_blob_of_another_repository_does_not_mount_it(
    here: LocalRepository, there: LocalRepository, tmp_path: Path
) -> None:
    blob = await there.put_blob(DIGEST, chunk(CONTENT))
    damage(tmp_path / "blobs" / blob.stored.location, None)
    async with here.fetch_blob(DIGEST, SIZE) as fetching:
        assert fetching.blob is None
    with pytest.raises(RepositoryUnknown):
        await here.find_blob(DIGEST)


def damage(path: Path, content: bytes | None) -> None:
    path.unlink()
    if content is not None:
        path.write_bytes(content)


async def test_fetch_blob_whose_bytes_nobody_names_takes_them(here: LocalRepository, store: PartialStore) -> None:
    await push(store, CONTENT)
    assert await fetch(here) == 0


async def test_fetch_blob_that_could_not_be_recorded_need_not_be_fetched_again(
    here: LocalRepository, plan: FaultPlan
) -> None:
    plan.set(Fault("before_commit", "full"))
    with pytest.raises(Unavailable):
        await fetch(here)
    assert await fetch(here) == 0


async def test_fetch_with_wrong_bytes_records_nothing(here: LocalRepository, there: LocalRepository) -> None:
    await here.put_blob(Digest.of(b"x"), chunk(b"x"))
    with pytest.raises(DigestInvalid):
        await fetch(here, content=CONTENT[::-1])
    with pytest.raises(BlobUnknown):
        await here.find_blob(DIGEST)
    assert await fetch(there) == SIZE


async def test_fetch_with_missing_bytes_records_nothing(here: LocalRepository) -> None:
    async with here.fetch_blob(DIGEST, SIZE) as fetching:
        await fetching.write(0, chunks(CONTENT[:-1]))
        with pytest.raises(SizeInvalid):
            await fetching.commit()
    with pytest.raises(RepositoryUnknown):
        await here.find_blob(DIGEST)


async def test_fetch_into_a_store_without_partials_is_unsupported(registry: LocalRegistry) -> None:
    cached = CachedBlobStore(registry.store, capacity=1000, largest=10)
    fetches = LocalFetches(HERE, cached, registry.metadata, registry.now)
    with pytest.raises(Unsupported, match="CachedBlobStore keeps no partial downloads"):
        async with fetches.open(DIGEST, SIZE):
            pass


# the guard


async def finish_upload(repository: LocalRepository) -> object:
    upload_id = await repository.begin_upload()
    return await repository.finish_upload(upload_id, DIGEST, chunk(CONTENT))


Store = Callable[[LocalRepository], Awaitable[object]]
WAYS: dict[str, Store] = {
    "fetch": fetch,
    "put": lambda repository: repository.put_blob(DIGEST, chunk(CONTENT)),
    "upload": finish_upload,
}


@pytest.mark.parametrize("way", WAYS)
async def test_blob_is_neither_committed_nor_recorded_while_somebody_deletes(
    here: LocalRepository, store: PartialStore, way: str
) -> None:
    async with asyncio.timeout(60):
        async with store.guard(alone=True):
            storing = asyncio.ensure_future(WAYS[way](here))
            await asyncio.wait({storing}, timeout=0.2)
            assert not storing.done()
            assert [blob async for blob in store.walk()] == []
        await storing
    assert await read(await here.find_blob(DIGEST)) == CONTENT


@pytest.mark.parametrize("way", WAYS)
async def test_nobody_deletes_between_commit_and_record(
    here: LocalRepository, store: PartialStore, plan: FaultPlan, way: str
) -> None:
    """A deletion that looks for bytes without a name must not see those that are just getting one."""
    await here.put_blob(Digest.of(b"x"), chunk(b"x"))
    plan.set(Fault("before_commit", "hold", on="FULL"))
    storing = asyncio.ensure_future(WAYS[way](here))
    try:
        async with asyncio.timeout(60):
            while not [call for call in plan.calls() if call.subject == "FULL"]:
                await asyncio.sleep(0.01)
        assert len([blob async for blob in store.walk()]) == 2
        deleting = asyncio.create_task(_delete(store, here))
        await asyncio.wait({deleting}, timeout=0.2)
        assert not deleting.done()
    finally:
        plan.clear()
    assert await deleting
    await storing


async def _delete(store: PartialStore, repository: LocalRepository) -> bool:
    """Whether the blob has its name by the time a deletion may look."""
    async with store.guard(alone=True):
        return (await repository.find_blob(DIGEST)).digest == DIGEST
