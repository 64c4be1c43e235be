"""What is still served by digest while the database cannot be reached."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.errors import BlobUnknown, ManifestUnknown, NotFound, Unavailable
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.local import LocalRegistry, LocalRepository
from entrepot.repositories.recent import RecentReads
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.images import OCI_INDEX
from entrepot.testing.outages import InterruptedMetadata, Outage
from entrepot.testing.repository_upload_suite import chunk, read

NAME, OTHER = RepositoryName.parse("team/app"), RepositoryName.parse("team/other")
CONTENT = b"content"
BLOB = Digest.of(CONTENT)
INDEX = b'{"schemaVersion":2,"mediaType":"%b","manifests":[]}' % OCI_INDEX.encode()
MANIFEST = Digest.of(INDEX)
SECONDS = 300
OUTAGES = pytest.mark.parametrize("outage", [Outage.UNNOTICED, Outage.KNOWN, Outage.SILENT], ids=lambda it: it.name)

Read = Callable[[LocalRepository], Awaitable[object]]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def metadata(database: Path) -> AsyncIterator[InterruptedMetadata]:
    metadata = InterruptedMetadata(SqliteMetadata(database))
    yield metadata
    await metadata.close()


@pytest.fixture
async def registry(metadata: InterruptedMetadata, clock: Clock) -> LocalRegistry:
    recent = RecentReads(metadata, SECONDS, patience_seconds=0.01, clock=clock)
    registry = LocalRegistry(MemoryBlobStore(), metadata, recent=recent)
    repository = registry.repository(NAME)
    await repository.put_blob(BLOB, chunk(CONTENT))
    await repository.put_manifest(Tag.parse("v1"), INDEX, OCI_INDEX)
    return registry


async def get_blob(repository: LocalRepository) -> object:
    return await read(await repository.find_blob(BLOB))


async def get_manifest(repository: LocalRepository) -> object:
    return (await repository.get_manifest(MANIFEST)).content


async def head_manifest(repository: LocalRepository) -> object:
    return (await repository.head_manifest(MANIFEST)).size


READS = pytest.mark.parametrize("ask", [get_blob, get_manifest, head_manifest])


@READS
@OUTAGES
async def test_read_by_digest_again_is_answered_in_an_outage(
    registry: LocalRegistry, metadata: InterruptedMetadata, ask: Read, outage: Outage
) -> None:
    before = await ask(registry.repository(NAME))
    metadata.outage = outage
    assert await ask(registry.repository(NAME)) == before


@READS
async def test_read_in_an_outage_that_is_known_does_not_wait_for_the_database(
    registry: LocalRegistry, metadata: InterruptedMetadata, ask: Read
) -> None:
    await ask(registry.repository(NAME))
    metadata.outage, metadata.asked = Outage.KNOWN, 0
    await ask(registry.repository(NAME))
    assert metadata.asked == 0


@READS
async def test_read_for_the_first_time_in_an_outage_is_unavailable(
    registry: LocalRegistry, metadata: InterruptedMetadata, ask: Read
) -> None:
    metadata.outage = Outage.KNOWN
    with pytest.raises(Unavailable):
        await ask(registry.repository(NAME))


@READS
async def test_read_from_another_repository_is_not_answered_from_memory(
    registry: LocalRegistry, metadata: InterruptedMetadata, ask: Read
) -> None:
    await ask(registry.repository(NAME))
    metadata.outage = Outage.KNOWN
    with pytest.raises(Unavailable):
        await ask(registry.repository(OTHER))


@READS
async def test_read_too_long_ago_is_not_answered_from_memory(
    registry: LocalRegistry, metadata: InterruptedMetadata, clock: Clock, ask: Read
) -> None:
    await ask(registry.repository(NAME))
    metadata.outage, clock.now = Outage.KNOWN, SECONDS
    with pytest.raises(Unavailable):
        await ask(registry.repository(NAME))


async def test_read_by_tag_in_an_outage_is_unavailable(registry: LocalRegistry, metadata: InterruptedMetadata) -> None:
    await registry.repository(NAME).get_manifest(Tag.parse("v1"))
    metadata.outage = Outage.KNOWN
    with pytest.raises(Unavailable):
        await registry.repository(NAME).get_manifest(Tag.parse("v1"))


async def test_write_in_an_outage_is_unavailable(registry: LocalRegistry, metadata: InterruptedMetadata) -> None:
    metadata.outage = Outage.KNOWN
    with pytest.raises(Unavailable):
        await registry.repository(NAME).put_blob(Digest.of(b"new"), chunk(b"new"))


@pytest.mark.parametrize(
    ("ask", "delete"),
    [
        (get_blob, lambda repository: repository.delete_blob(BLOB)),
        (get_manifest, lambda repository: repository.delete_manifest(MANIFEST)),
        (head_manifest, lambda repository: repository.delete_manifest(MANIFEST)),
    ],
)
async def test_read_of_what_was_deleted_is_not_answered_from_memory(
    registry: LocalRegistry, metadata: InterruptedMetadata, ask: Read, delete: Read
) -> None:
    await ask(registry.repository(NAME))
    await delete(registry.repository(NAME))
    metadata.outage = Outage.KNOWN
    with pytest.raises(Unavailable):
        await ask(registry.repository(NAME))


@pytest.mark.parametrize(("ask", "error"), [(get_blob, BlobUnknown), (get_manifest, ManifestUnknown)])
async def test_read_that_found_it_deleted_elsewhere_is_forgotten(
    registry: LocalRegistry, metadata: InterruptedMetadata, ask: Read, error: type[NotFound]
) -> None:
    await registry.repository(NAME).put_blob(Digest.of(b"keeps the repository"), chunk(b"keeps the repository"))
    await ask(registry.repository(NAME))
    elsewhere = LocalRegistry(registry.store, metadata).repository(NAME)
    await elsewhere.delete_manifest(MANIFEST)
    await elsewhere.delete_blob(BLOB)
    with pytest.raises(error):
        await ask(registry.repository(NAME))
    metadata.outage = Outage.KNOWN
    with pytest.raises(Unavailable):
        await ask(registry.repository(NAME))


async def test_oldest_reads_are_forgotten_when_there_are_too_many(metadata: InterruptedMetadata, clock: Clock) -> None:
    recent = RecentReads(metadata, SECONDS, most_bytes=2000, clock=clock)
    registry = LocalRegistry(MemoryBlobStore(), metadata, recent=recent)
    repository = registry.repository(NAME)
    digests = [
        (await repository.put_blob(Digest.of(b"%d" % number), chunk(b"%d" % number))).digest for number in range(9)
    ]
    for digest in digests:
        await repository.find_blob(digest)
    metadata.outage = Outage.KNOWN
    found = [digest for digest in digests if await _is_found(repository, digest)]
    assert found == digests[-4:]


async def _is_found(repository: LocalRepository, digest: Digest) -> bool:
    try:
        await repository.find_blob(digest)
    except Unavailable:
        return False
    return True
