"""The contract of metadata that several processes share, as tests; see ``metadata_suite``.

Bind it with the fixtures ``metadata`` and ``second_metadata``: two objects over the same database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.errors import (
    BlobInUse,
    ManifestUnknown,
    PreconditionFailed,
    RegistryErrors,
    RepositoryUnknown,
    TooManyUploads,
)
from entrepot.manifest import TagCondition
from entrepot.metadata import audit, blobs, listings, manifests
from entrepot.metadata.base import Metadata
from entrepot.reference import Tag
from entrepot.testing.content_suite import NOW, REPOSITORY, parsed, put_blobs, put_image, stored
from entrepot.testing.images import build_image, build_index
from entrepot.testing.metadata_suite import TAG, MetadataSuite, begin_upload, blob_digests, put, take_lease


class SharedMetadataSuite(MetadataSuite):
    """What metadata do that several processes share."""

    @pytest.fixture
    def second_metadata(self) -> Metadata:
        """Another object over the same database as ``metadata``, to be closed after the test."""
        raise NotImplementedError("bind the suite with a fixture named second_metadata")

    async def test_write_is_seen_by_another_process(self, metadata: Metadata, second_metadata: Metadata) -> None:
        with pytest.raises(RepositoryUnknown):
            await second_metadata.read(blobs.find_blob(REPOSITORY, Digest.of(b"x")))
        await metadata.write(put(b"x"))
        assert (await second_metadata.read(blobs.find_blob(REPOSITORY, Digest.of(b"x")))).stored == stored(b"x")
        await second_metadata.write(blobs.unlink_blob(REPOSITORY, Digest.of(b"x"), protect_used=False))
        with pytest.raises(RepositoryUnknown):
            await metadata.read(blobs.find_blob(REPOSITORY, Digest.of(b"x")))

    async def test_limit_holds_for_all_processes_together(self, metadata: Metadata, second_metadata: Metadata) -> None:
        begins = [
            begin_upload(each, f"{name}{number}", most=7)
            for number in range(10)
            for name, each in (("a", metadata), ("b", second_metadata))
        ]
        outcomes = await asyncio.gather(*begins, return_exceptions=True)
        assert sum(isinstance(outcome, TooManyUploads) for outcome in outcomes) == 13

    async def test_writes_of_several_processes_all_arrive(self, metadata: Metadata, second_metadata: Metadata) -> None:
        contents: Sequence[bytes] = [b"%d" % number for number in range(100)]
        each = [metadata, second_metadata]
        await asyncio.gather(*(each[number % 2].write(put(content)) for number, content in enumerate(contents)))
        assert await blob_digests(metadata) == {Digest.of(content) for content in contents}

    async def test_manifest_is_never_there_without_its_layers_while_blobs_are_deleted(
        self, metadata: Metadata, second_metadata: Metadata
    ) -> None:
        """Deleting protects what is used, so each layer goes before the manifest comes, or not at all."""
        images = [build_image(2, seed=seed) for seed in range(15)]
        for image in images:
            await put_blobs(metadata, REPOSITORY, image)
        puts = [
            metadata.write(manifests.put_manifest(REPOSITORY, image.digest, parsed(image), [TAG], NOW))
            for image in images
        ]
        deletions = [
            second_metadata.write(blobs.unlink_blob(REPOSITORY, layer.digest, protect_used=True))
            for image in images
            for layer in image.layers[:1]
        ]
        outcomes = await asyncio.gather(*_alternating(puts, deletions), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {type(None), RegistryErrors, BlobInUse}
        await _require_whole(metadata)

    async def test_index_is_never_there_without_its_manifests_while_these_are_deleted(
        self, metadata: Metadata, second_metadata: Metadata
    ) -> None:
        """Who is told that his push was done has all of it, as long as the deletion was not after it."""
        index = build_index(["linux/amd64", "linux/arm64"], seed=1)
        for _ in range(10):
            await put_image(metadata, REPOSITORY, index.children[0])
            await put_image(metadata, REPOSITORY, index.children[1])
            put_index = manifests.put_manifest(REPOSITORY, index.digest, parsed(index), [], NOW)
            delete = manifests.delete_manifest(REPOSITORY, index.children[0].digest)
            outcomes = await asyncio.gather(
                metadata.write(put_index), second_metadata.write(delete), return_exceptions=True
            )
            assert outcomes[1] is None
            assert outcomes[0] is None or isinstance(outcomes[0], RegistryErrors)
            with suppress(ManifestUnknown):
                await metadata.write(manifests.delete_manifest(REPOSITORY, index.digest))

    async def test_repository_that_is_emptied_and_filled_at_once_loses_nothing(
        self, metadata: Metadata, second_metadata: Metadata
    ) -> None:
        """The last blob goes, and with it the repository, while another comes."""
        for number in range(20):
            await metadata.write(put(b"old %d" % number))
            old, new = Digest.of(b"old %d" % number), Digest.of(b"new %d" % number)
            unlink = blobs.unlink_blob(REPOSITORY, old, protect_used=False)
            await asyncio.gather(metadata.write(put(b"new %d" % number)), second_metadata.write(unlink))
            assert (await metadata.read(blobs.find_blob(REPOSITORY, new))).stored == stored(b"new %d" % number)
            await metadata.write(blobs.unlink_blob(REPOSITORY, new, protect_used=False))
        assert await metadata.read(listings.list_repositories(last="", limit=1)) == []

    async def test_tag_that_many_replace_if_unchanged_is_replaced_by_one_at_a_time(
        self, metadata: Metadata, second_metadata: Metadata
    ) -> None:
        """Compare and swap: of those that have read the same, one succeeds."""
        images = [build_image(1, seed=seed) for seed in range(9)]
        for image in images:
            await put_blobs(metadata, REPOSITORY, image)
        await put_image(metadata, REPOSITORY, images[0], TAG)
        condition = TagCondition(digests=frozenset([images[0].digest]))
        swaps = [
            each.write(manifests.put_manifest(REPOSITORY, image.digest, parsed(image), [TAG], NOW, condition=condition))
            for each, image in zip([metadata, second_metadata] * 4, images[1:], strict=True)
        ]
        outcomes = await asyncio.gather(*swaps, return_exceptions=True)
        assert sum(outcome is None for outcome in outcomes) == 1
        assert sum(isinstance(outcome, PreconditionFailed) for outcome in outcomes) == 7

    async def test_tag_that_is_deleted_while_another_replaces_it_fits_one_order(
        self, metadata: Metadata, second_metadata: Metadata
    ) -> None:
        """Replaced and then deleted, or deleted and then not replaced; never deleted and there all the same."""
        first, second = build_image(1, seed=1), build_image(1, seed=2)
        await put_image(metadata, REPOSITORY, second)
        for _ in range(10):
            await put_image(metadata, REPOSITORY, first, TAG)
            replace = manifests.put_manifest(
                REPOSITORY, second.digest, parsed(second), [TAG], NOW, condition=TagCondition(must_exist=True)
            )
            await asyncio.gather(
                metadata.write(replace),
                second_metadata.write(manifests.delete_tag(REPOSITORY, TAG)),
                return_exceptions=True,
            )
            with pytest.raises(ManifestUnknown):
                await metadata.read(manifests.find_manifest(REPOSITORY, TAG))

    async def test_manifest_with_many_tags_that_two_push_at_once_arrives(
        self, metadata: Metadata, second_metadata: Metadata
    ) -> None:
        """Both write the same rows, in whatever order the tags were given."""
        tags = [Tag.parse(f"t{number}") for number in range(20)]
        image = build_image(30)
        await put_blobs(metadata, REPOSITORY, image)
        puts = [
            each.write(manifests.put_manifest(REPOSITORY, image.digest, parsed(image), order, NOW))
            for each, order in [(metadata, tags), (second_metadata, tags[::-1])] * 5
        ]
        await asyncio.gather(*puts)
        assert len(await metadata.read(listings.list_tags(REPOSITORY, last="", limit=30))) == 20

    async def test_lease_that_many_take_over_goes_to_one_with_the_next_fence(
        self, metadata: Metadata, second_metadata: Metadata
    ) -> None:
        await take_lease(metadata, "dead", now=0)
        for turn in range(1, 6):
            takes = [
                take_lease(each, f"{turn} {number}", now=turn * 100)
                for number, each in enumerate([metadata, second_metadata] * 5)
            ]
            assert sorted(await asyncio.gather(*takes), key=bool) == [None] * 9 + [turn + 1]


def _alternating(first: Sequence[Awaitable[Any]], second: Sequence[Awaitable[Any]]) -> list[Awaitable[Any]]:
    return [each for pair in zip(first, second, strict=True) for each in pair]


async def _require_whole(metadata: Metadata) -> None:
    for manifest in await metadata.read_much(audit.manifests_after(0, limit=1000)):
        assert await metadata.read_much(audit.absent_children(manifest.id)) == []
