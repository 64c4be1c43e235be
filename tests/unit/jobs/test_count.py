"""The counts that replicas share."""

from __future__ import annotations

import pytest

from entrepot.digest import Digest
from entrepot.jobs.count import Count
from entrepot.metadata.base import Steps, operation
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.metadata.statistics import PUT_COUNT, Statistics, count_everything, recorded_counts
from entrepot.reference import RepositoryName
from entrepot.repositories.local import LocalRegistry
from entrepot.testing.repository_upload_suite import chunk


async def keep() -> None:
    pass


async def fill(registry: LocalRegistry) -> None:
    for number in range(10):
        repository = registry.repository(RepositoryName.parse(f"team/app{number % 3}"))
        content = b"x" * (number + 1)
        await repository.put_blob(Digest.of(content), chunk(content))
        await repository.begin_upload()


async def test_counts_are_nothing_before_they_are_made(metadata: SqliteMetadata) -> None:
    assert await metadata.read(recorded_counts()) == Statistics(0, 0, 0, 0, 0)


@pytest.mark.parametrize("page", [1, 3, 5, 10, 1000])
async def test_count_in_pages_is_what_there_is(metadata: SqliteMetadata, registry: LocalRegistry, page: int) -> None:
    await fill(registry)
    await Count(metadata, page=page).run(keep)
    counted = await metadata.read(recorded_counts())
    assert counted == Statistics(blobs=10, blob_bytes=55, manifests=0, repositories=3, uploads=10)
    assert counted == await metadata.read_much(count_everything())


async def test_count_again_replaces_what_was_counted(metadata: SqliteMetadata, registry: LocalRegistry) -> None:
    await Count(metadata).run(keep)
    await fill(registry)
    await Count(metadata).run(keep)
    assert (await metadata.read(recorded_counts())).blobs == 10


async def test_counts_of_a_later_version_are_passed_over(metadata: SqliteMetadata) -> None:
    @operation
    def count_cats() -> Steps[None]:
        yield PUT_COUNT, {"name": "cats", "value": 9}

    await metadata.write(count_cats())
    assert await metadata.read(recorded_counts()) == Statistics(0, 0, 0, 0, 0)
