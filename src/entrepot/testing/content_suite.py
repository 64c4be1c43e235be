"""The half of the metadata's contract that is about repositories and what is in them; see ``metadata_suite``."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from entrepot.digest import Digest
from entrepot.errors import (
    BlobInUse,
    BlobUnknown,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    PreconditionFailed,
    RegistryErrors,
    RepositoryUnknown,
)
from entrepot.manifest import Manifest, TagCondition, parse_manifest
from entrepot.metadata import audit, blobs, listings, manifests
from entrepot.metadata.base import Metadata, Operation
from entrepot.metadata.manifests import ReferrersPage
from entrepot.metadata.statistics import Statistics, count_everything
from entrepot.reference import RepositoryName, Tag
from entrepot.store.base import StoredBlob
from entrepot.testing.images import Image, Index, build_artifact, build_image, build_index, walk_blobs, walk_manifests

REPOSITORY = RepositoryName.parse("team/app")
OTHER = RepositoryName.parse("team/other")
NOW = 1_700_000_000
V1, V2 = Tag.parse("v1"), Tag.parse("v2")
CONTENT = b"some content"
DIGEST = Digest.of(CONTENT)
SHA512 = Digest.of(CONTENT, "sha512")
ELSEWHERE = StoredBlob(DIGEST, len(CONTENT), "elsewhere")


def stored(content: bytes) -> StoredBlob:
    """Where a store might have put it."""
    return StoredBlob(Digest.of(content), len(content), f"at/{Digest.of(content).encoded[:12]}")


def parsed(image: Image | Index) -> Manifest:
    """The image's manifest as a push brings it."""
    return parse_manifest(image.manifest.data, image.manifest.media_type)


def referrers_of(
    subject: Digest, artifact_type: str | None = None, *, last: str = "", limit: int = 100, most_bytes: int = 1_000_000
) -> Operation[ReferrersPage]:
    """A page of the manifests in REPOSITORY with that subject."""
    return manifests.list_referrers(REPOSITORY, subject, artifact_type, last=last, limit=limit, most_bytes=most_bytes)


async def put_content(metadata: Metadata, name: Digest = DIGEST, repository: RepositoryName = REPOSITORY) -> None:
    """CONTENT under ``name``."""
    await metadata.write(blobs.put_blob(repository, name, stored(CONTENT), NOW))


async def put_blobs(metadata: Metadata, repository: RepositoryName, image: Image | Index) -> None:
    """Config and layers of an image."""
    for blob in walk_blobs(image):
        await metadata.write(blobs.put_blob(repository, blob.digest, stored(blob.data), NOW))


async def put_image(metadata: Metadata, repository: RepositoryName, image: Image | Index, *tags: Tag) -> None:
    """An image with its blobs; the tags go to the outermost manifest."""
    await put_blobs(metadata, repository, image)
    for manifest in walk_manifests(image):
        names = tags if manifest is image.manifest else ()
        content = parse_manifest(manifest.data, manifest.media_type)
        await metadata.write(manifests.put_manifest(repository, manifest.digest, content, names, NOW))


class ContentSuite:
    """What the operations on blobs, manifests, tags, referrers and listings mean."""

    # blobs

    async def test_find_blob_gives_name_and_bytes(self, metadata: Metadata) -> None:
        await put_content(metadata)
        assert await metadata.read(blobs.find_blob(REPOSITORY, DIGEST)) == blobs.LinkedBlob(DIGEST, stored(CONTENT))

    async def test_find_blob_by_sha512_gives_the_canonical_blob(self, metadata: Metadata) -> None:
        await put_content(metadata, SHA512)
        assert await metadata.read(blobs.find_blob(REPOSITORY, SHA512)) == blobs.LinkedBlob(SHA512, stored(CONTENT))
        with pytest.raises(BlobUnknown):
            await metadata.read(blobs.find_blob(REPOSITORY, DIGEST))

    async def test_find_blob_of_another_repository_is_unknown(self, metadata: Metadata) -> None:
        await put_content(metadata)
        with pytest.raises(RepositoryUnknown):
            await metadata.read(blobs.find_blob(OTHER, DIGEST))
        await metadata.write(blobs.put_blob(OTHER, Digest.of(b""), stored(b""), NOW))
        with pytest.raises(BlobUnknown):
            await metadata.read(blobs.find_blob(OTHER, DIGEST))

    async def test_put_blob_again_leaves_it_where_it_is(self, metadata: Metadata) -> None:
        first = await metadata.write(blobs.put_blob(REPOSITORY, DIGEST, stored(CONTENT), NOW))
        assert first == stored(CONTENT)
        assert await metadata.write(blobs.put_blob(OTHER, DIGEST, ELSEWHERE, NOW)) == first
        assert (await metadata.read(blobs.find_blob(OTHER, DIGEST))).stored == first
        assert (await metadata.read_much(count_everything())).blobs == 1

    async def test_put_blob_that_is_quarantined_gives_it_a_new_location(self, metadata: Metadata) -> None:
        await put_content(metadata)
        await metadata.write(audit.mark_quarantined(stored(CONTENT)))
        assert await metadata.write(blobs.put_blob(OTHER, DIGEST, ELSEWHERE, NOW)) == ELSEWHERE
        assert (await metadata.read(blobs.find_blob(REPOSITORY, DIGEST))).stored == ELSEWHERE

    async def test_move_blob_that_is_gone_gives_it_a_new_location(self, metadata: Metadata) -> None:
        await put_content(metadata)
        assert await metadata.write(blobs.move_blob(stored(CONTENT), ELSEWHERE)) == ELSEWHERE
        assert (await metadata.read(blobs.find_blob(REPOSITORY, DIGEST))).stored == ELSEWHERE

    async def test_move_blob_that_somebody_else_has_moved_leaves_it_there(self, metadata: Metadata) -> None:
        await put_content(metadata)
        await metadata.write(blobs.move_blob(stored(CONTENT), ELSEWHERE))
        third = StoredBlob(DIGEST, len(CONTENT), "third")
        assert await metadata.write(blobs.move_blob(stored(CONTENT), third)) == ELSEWHERE
        assert (await metadata.read(blobs.find_blob(REPOSITORY, DIGEST))).stored == ELSEWHERE

    async def test_move_blob_that_nobody_knows_is_none(self, metadata: Metadata) -> None:
        assert await metadata.write(blobs.move_blob(stored(CONTENT), ELSEWHERE)) is None

    @pytest.mark.parametrize("source", [REPOSITORY, None], ids=["named", "any"])
    async def test_mount_blob_makes_it_visible(self, metadata: Metadata, source: RepositoryName | None) -> None:
        await put_content(metadata)
        mounted = await metadata.write(blobs.mount_blob(OTHER, DIGEST, source, NOW))
        assert mounted == blobs.LinkedBlob(DIGEST, stored(CONTENT))
        assert await metadata.read(blobs.find_blob(OTHER, DIGEST)) == mounted

    @pytest.mark.parametrize("source", [REPOSITORY, None], ids=["named", "any"])
    async def test_mount_blob_that_is_absent_changes_nothing(
        self, metadata: Metadata, source: RepositoryName | None
    ) -> None:
        assert await metadata.write(blobs.mount_blob(OTHER, DIGEST, source, NOW)) is None
        assert await metadata.read(count_everything()) == Statistics(0, 0, 0, 0, 0)

    async def test_unlink_blob_leaves_it_to_others(self, metadata: Metadata) -> None:
        await put_content(metadata)
        await put_content(metadata, repository=OTHER)
        await metadata.write(blobs.unlink_blob(REPOSITORY, DIGEST, protect_used=False))
        with pytest.raises(RepositoryUnknown):
            await metadata.read(blobs.find_blob(REPOSITORY, DIGEST))
        assert (await metadata.read(blobs.find_blob(OTHER, DIGEST))).stored == stored(CONTENT)

    async def test_unlink_blob_that_is_absent_is_unknown(self, metadata: Metadata) -> None:
        with pytest.raises(RepositoryUnknown):
            await metadata.write(blobs.unlink_blob(REPOSITORY, DIGEST, protect_used=False))
        await put_content(metadata, SHA512)
        with pytest.raises(BlobUnknown):
            await metadata.write(blobs.unlink_blob(REPOSITORY, DIGEST, protect_used=False))

    async def test_unlink_blob_in_use_is_refused_if_protected(self, metadata: Metadata) -> None:
        image = build_image(1)
        await put_image(metadata, REPOSITORY, image)
        [layer] = image.layers
        with pytest.raises(BlobInUse) as caught:
            await metadata.write(blobs.unlink_blob(REPOSITORY, layer.digest, protect_used=True))
        assert caught.value.detail["manifest"] == image.digest
        await metadata.read(blobs.find_blob(REPOSITORY, layer.digest))

    # manifests and tags

    @pytest.mark.parametrize("reference", ["digest", "tag"])
    async def test_find_manifest_gives_its_bytes(self, metadata: Metadata, reference: str) -> None:
        image = build_image(1)
        await put_image(metadata, REPOSITORY, image, V1)
        name = image.digest if reference == "digest" else V1
        found = await metadata.read(manifests.find_manifest(REPOSITORY, name))
        head = await metadata.read(manifests.find_manifest_head(REPOSITORY, name))
        assert (found.digest, found.content) == (image.digest, image.manifest.data)
        assert (head.digest, head.size) == (image.digest, image.manifest.size)
        assert found.media_type == head.media_type == image.manifest.media_type

    @pytest.mark.parametrize("reference", [DIGEST, V2], ids=["digest", "tag"])
    async def test_find_manifest_that_is_absent_is_unknown(self, metadata: Metadata, reference: Tag | Digest) -> None:
        with pytest.raises(RepositoryUnknown):
            await metadata.read(manifests.find_manifest(REPOSITORY, reference))
        await put_image(metadata, REPOSITORY, build_image(1), V1)
        for find in (manifests.find_manifest, manifests.find_manifest_head):
            with pytest.raises(ManifestUnknown):
                await metadata.read(find(REPOSITORY, reference))

    async def test_put_manifest_moves_its_tags(self, metadata: Metadata) -> None:
        first, second = build_image(1, seed=1), build_image(1, seed=2)
        await put_image(metadata, REPOSITORY, first, V1, V2)
        await put_image(metadata, REPOSITORY, second, V2)
        assert (await metadata.read(manifests.find_manifest(REPOSITORY, V1))).digest == first.digest
        assert (await metadata.read(manifests.find_manifest(REPOSITORY, V2))).digest == second.digest

    async def test_put_manifest_with_absent_children_names_each_and_stores_nothing(self, metadata: Metadata) -> None:
        image = build_image(3)
        with pytest.raises(RegistryErrors) as caught:
            await metadata.write(manifests.put_manifest(REPOSITORY, image.digest, parsed(image), [V1], NOW))
        assert all(isinstance(error, ManifestBlobUnknown) for error in caught.value.errors)
        absent = {error.detail["digest"] for error in caught.value.errors}
        assert absent == {blob.digest for blob in walk_blobs(image)}
        assert await metadata.read(count_everything()) == Statistics(0, 0, 0, 0, 0)

    async def test_put_manifest_with_absent_children_is_stored_if_allowed(self, metadata: Metadata) -> None:
        image = build_image(1)
        put = manifests.put_manifest(REPOSITORY, image.digest, parsed(image), [V1], NOW, allow_missing=True)
        await metadata.write(put)
        assert (await metadata.read(manifests.find_manifest(REPOSITORY, V1))).content == image.manifest.data

    async def test_put_manifest_with_child_of_another_size_is_invalid(self, metadata: Metadata) -> None:
        image = build_image(1)
        await put_blobs(metadata, REPOSITORY, image)
        manifest = parsed(image)
        stated = manifest.blobs[1].size
        altered = parse_manifest(
            image.manifest.data.replace(b'"size":%d' % stated, b'"size":%d' % (stated + 1)), manifest.media_type
        )
        with pytest.raises(RegistryErrors) as caught:
            await metadata.write(manifests.put_manifest(REPOSITORY, image.digest, altered, [], NOW))
        [error] = caught.value.errors
        assert isinstance(error, ManifestInvalid)
        assert error.detail == {"digest": image.layers[0].digest, "expected": stated, "actual": stated + 1}

    async def test_put_index_wants_its_children_in_the_same_repository(self, metadata: Metadata) -> None:
        index = build_index()
        for child in index.children:
            await put_image(metadata, OTHER, child)
        with pytest.raises(RegistryErrors) as caught:
            await metadata.write(manifests.put_manifest(REPOSITORY, index.manifest.digest, parsed(index), [], NOW))
        assert [error.detail["digest"] for error in caught.value.errors] == [child.digest for child in index.children]
        await put_image(metadata, REPOSITORY, index, V1)
        assert (await metadata.read(manifests.find_manifest(REPOSITORY, V1))).digest == index.manifest.digest

    @pytest.mark.parametrize(
        ("condition", "holds"),
        [
            (TagCondition(must_be_absent=True), False),
            (TagCondition(must_exist=True), True),
            (TagCondition(digests=frozenset({"sha256:other"})), False),
            (TagCondition(digests=frozenset({build_image(1, seed=1).digest})), True),
        ],
        ids=["absent", "exists", "other_digest", "same_digest"],
    )
    async def test_put_manifest_on_condition_moves_the_tag_if_it_holds(
        self, metadata: Metadata, condition: TagCondition, holds: bool
    ) -> None:
        first, second = build_image(1, seed=1), build_image(1, seed=2)
        await put_image(metadata, REPOSITORY, first, V1)
        await put_blobs(metadata, REPOSITORY, second)
        put = manifests.put_manifest(REPOSITORY, second.digest, parsed(second), [V1], NOW, condition=condition)
        if holds:
            await metadata.write(put)
        else:
            with pytest.raises(PreconditionFailed) as caught:
                await metadata.write(put)
            assert caught.value.detail == {"tag": V1, "current": first.digest}
        found = await metadata.read(manifests.find_manifest(REPOSITORY, V1))
        assert found.digest == (second if holds else first).digest
        assert (await metadata.read_much(count_everything())).manifests == (2 if holds else 1)

    async def test_put_manifest_again_heals_its_bytes(self, metadata: Metadata) -> None:
        image = build_image(1)
        await put_image(metadata, REPOSITORY, image)
        damaged = parse_manifest(image.manifest.data + b" ", image.manifest.media_type)
        await metadata.write(manifests.put_manifest(REPOSITORY, image.digest, damaged, [], NOW))
        await put_image(metadata, REPOSITORY, image)
        found = await metadata.read(manifests.find_manifest(REPOSITORY, image.digest))
        assert found.content == image.manifest.data

    async def test_delete_manifest_takes_its_tags_along(self, metadata: Metadata) -> None:
        image, other = build_image(1, seed=1), build_image(1, seed=2)
        await put_image(metadata, REPOSITORY, image, V1)
        await put_image(metadata, REPOSITORY, other, V2)
        await metadata.write(manifests.delete_manifest(REPOSITORY, image.digest))
        assert await metadata.read(listings.list_tags(REPOSITORY, last="", limit=10)) == [V2]
        with pytest.raises(ManifestUnknown):
            await metadata.read(manifests.find_manifest(REPOSITORY, image.digest))

    async def test_delete_tag_leaves_the_manifest(self, metadata: Metadata) -> None:
        image = build_image(1)
        await put_image(metadata, REPOSITORY, image, V1, V2)
        await metadata.write(manifests.delete_tag(REPOSITORY, V1))
        assert await metadata.read(listings.list_tags(REPOSITORY, last="", limit=10)) == [V2]
        assert (await metadata.read(manifests.find_manifest(REPOSITORY, image.digest))).digest == image.digest

    async def test_delete_what_is_absent_is_unknown(self, metadata: Metadata) -> None:
        with pytest.raises(RepositoryUnknown):
            await metadata.write(manifests.delete_manifest(REPOSITORY, DIGEST))
        await put_content(metadata)
        with pytest.raises(ManifestUnknown):
            await metadata.write(manifests.delete_manifest(REPOSITORY, DIGEST))
        with pytest.raises(ManifestUnknown):
            await metadata.write(manifests.delete_tag(REPOSITORY, V1))

    async def test_delete_everything_ends_the_repository(self, metadata: Metadata) -> None:
        image = build_image(1)
        await put_image(metadata, REPOSITORY, image, V1)
        for blob in walk_blobs(image):
            await metadata.write(blobs.unlink_blob(REPOSITORY, blob.digest, protect_used=False))
        assert await metadata.read(listings.list_repositories(last="", limit=10)) == [REPOSITORY]
        await metadata.write(manifests.delete_manifest(REPOSITORY, image.digest))
        assert await metadata.read(listings.list_repositories(last="", limit=10)) == []

    # referrers

    async def test_list_referrers_gives_those_of_the_subject_by_digest(self, metadata: Metadata) -> None:
        subject, referrers = await _subject_with_referrers(metadata, 7)
        page = await metadata.read(referrers_of(subject.digest))
        assert (_digests(page.descriptors), page.last) == (sorted(each.digest for each in referrers), None)

    async def test_list_referrers_by_type_gives_those_of_the_type(self, metadata: Metadata) -> None:
        subject, referrers = await _subject_with_referrers(metadata, 6)
        page = await metadata.read(referrers_of(subject.digest, "a/odd"))
        assert _digests(page.descriptors) == sorted(each.digest for each in referrers[1::2])

    @pytest.mark.parametrize(("limit", "most_bytes"), [(2, 10**6), (9, 1)], ids=["count", "bytes"])
    async def test_list_referrers_goes_on_where_a_page_ended(
        self, metadata: Metadata, limit: int, most_bytes: int
    ) -> None:
        subject, referrers = await _subject_with_referrers(metadata, 5)
        seen: list[str] = []
        last: str | None = ""
        while last is not None:
            page = await metadata.read(referrers_of(subject.digest, last=last, limit=limit, most_bytes=most_bytes))
            seen, last = seen + _digests(page.descriptors), page.last
        assert seen == sorted(each.digest for each in referrers)

    async def test_list_referrers_of_unknown_subject_or_repository_is_empty(self, metadata: Metadata) -> None:
        assert await metadata.read(referrers_of(DIGEST)) == ReferrersPage([], None)
        await put_content(metadata)
        assert await metadata.read(referrers_of(DIGEST)) == ReferrersPage([], None)

    async def test_list_referrers_outlives_the_subject(self, metadata: Metadata) -> None:
        subject, referrers = await _subject_with_referrers(metadata, 2)
        await metadata.write(manifests.delete_manifest(REPOSITORY, subject.digest))
        page = await metadata.read(referrers_of(subject.digest))
        assert len(page.descriptors) == len(referrers)

    # listings

    async def test_list_tags_is_in_byte_order_and_goes_on_after_last(self, metadata: Metadata) -> None:
        names = ["Z", "a", "A", "_", "0", "10", "9", "a.b", "a-b", "a_b", "aB", "ab"]
        await put_image(metadata, REPOSITORY, build_image(1), *map(Tag.parse, names))
        expected = sorted(names, key=str.encode)
        assert await metadata.read(listings.list_tags(REPOSITORY, last="", limit=100)) == expected
        assert await metadata.read(listings.list_tags(REPOSITORY, last="A", limit=3)) == expected[4:7]
        assert await metadata.read(listings.list_tags(REPOSITORY, last="a", limit=100)) == expected[7:]
        assert await metadata.read(listings.list_tags(REPOSITORY, last="zz", limit=100)) == []

    async def test_list_tags_of_unknown_repository_is_refused(self, metadata: Metadata) -> None:
        with pytest.raises(RepositoryUnknown):
            await metadata.read(listings.list_tags(REPOSITORY, last="", limit=10))

    async def test_list_repositories_is_in_byte_order_and_goes_on_after_last(self, metadata: Metadata) -> None:
        names = ["a/b", "a-b", "a.b", "a_b", "ab", "a", "b", "a0", "a/b/c"]
        for name in names:
            await put_content(metadata, repository=RepositoryName.parse(name))
        expected = sorted(names, key=str.encode)
        assert await metadata.read(listings.list_repositories(last="", limit=100)) == expected
        assert await metadata.read(listings.list_repositories(last="a.b", limit=2)) == expected[3:5]

    @pytest.mark.parametrize(
        ("text", "found"),
        [("app", ["my_app", "myapp"]), ("y_a", ["my_app"]), ("%", []), ("APP", ["my_app", "myapp"]), ("\\", [])],
    )
    async def test_search_repositories_takes_the_text_literally(
        self, metadata: Metadata, text: str, found: Sequence[str]
    ) -> None:
        for name in ("my_app", "myapp", "other"):
            await put_content(metadata, repository=RepositoryName.parse(name))
        assert await metadata.read_much(listings.search_repositories(text, limit=10)) == found


async def _subject_with_referrers(metadata: Metadata, count: int) -> tuple[Image, list[Image]]:
    subject = build_image(1)
    referrers = [
        build_artifact(b"%d" % number, artifact_type=("a/even", "a/odd")[number % 2], subject=subject)
        for number in range(count)
    ]
    for image in (subject, *referrers):
        await put_image(metadata, REPOSITORY, image)
    return subject, referrers


def _digests(descriptors: Sequence[str]) -> list[str]:
    return [json.loads(text)["digest"] for text in descriptors]
