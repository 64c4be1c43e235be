"""The contract of a repository as tests: what ``repositories/base.py`` says, one test for each sentence.

Bind a registry of your own by a fixture, and run pytest (with pytest-asyncio in its ``auto`` mode)::

    class TestMyRegistry(RepositorySuite):
        @pytest.fixture
        def registry(self, tmp_path):
            return MyRegistry(tmp_path)

A registry that several processes share binds ``SharedRepositorySuite`` instead and adds the fixture
``second_registry``: another object over the same place.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest

from entrepot.digest import Digest
from entrepot.errors import (
    BlobUnknown,
    ClientGone,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NotFound,
    PreconditionFailed,
    RegistryErrors,
    RepositoryUnknown,
)
from entrepot.manifest import TagCondition
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.base import Chunk, Page, Registry, Repository
from entrepot.testing.images import Image, Index, build_artifact, build_image, build_index, walk_blobs, walk_manifests
from entrepot.testing.repository_upload_suite import (
    CONTENT,
    DIGEST,
    NAME,
    OTHER,
    RepositoryUploadSuite,
    RequireEmpty,
    chunk,
    read,
)

V1, V2 = Tag.parse("v1"), Tag.parse("v2")
IMAGE = build_image(2, seed=1)
OTHER_IMAGE = build_image(2, seed=2)


async def push(repository: Repository, image: Image | Index, *tags: Tag) -> None:
    """Push an image with its blobs; the tags go to the outermost manifest."""
    for blob in walk_blobs(image):
        await repository.put_blob(blob.digest, chunk(blob.data))
    for manifest in walk_manifests(image):
        names = tags if manifest is image.manifest else ()
        await repository.put_manifest(manifest.digest, manifest.data, manifest.media_type, tags=names)


async def require_whole(repository: Repository, image: Image | Index, reference: Tag | Digest) -> None:
    """The image can be pulled, byte for byte."""
    found = await repository.get_manifest(reference)
    assert (found.digest, found.content) == (image.manifest.digest, image.manifest.data)
    for manifest in walk_manifests(image):
        assert (await repository.get_manifest(manifest.digest)).content == manifest.data
    for blob in walk_blobs(image):
        assert await read(await repository.find_blob(blob.digest)) == blob.data


class RepositorySuite(RepositoryUploadSuite):
    """What every repository does.

    ``absent_repository`` is what ``find_blob`` raises for a repository that holds nothing. Over HTTP that question is a
    HEAD, whose answer has no body to say more than "not there": bind ``BlobUnknown`` then.
    """

    absent_repository: type[NotFound] = RepositoryUnknown

    # blobs

    @pytest.mark.parametrize(("start", "end"), [(0, None), (3, 7), (0, 0), (9, None), (10, None)])
    async def test_open_range_gives_those_bytes(self, repository: Repository, start: int, end: int | None) -> None:
        blob = await repository.put_blob(DIGEST, chunk(CONTENT))
        assert await read(blob, start=start, end=end) == CONTENT[start:end]

    async def test_find_blob_that_is_absent_is_unknown(self, repository: Repository) -> None:
        with pytest.raises(self.absent_repository):
            await repository.find_blob(DIGEST)
        await repository.put_blob(Digest.of(b""), chunk())
        with pytest.raises(BlobUnknown):
            await repository.find_blob(DIGEST)

    @pytest.mark.parametrize("source", [NAME, None], ids=["named", "any"])
    async def test_mount_blob_makes_it_visible(self, registry: Registry, source: RepositoryName | None) -> None:
        await registry.repository(NAME).put_blob(DIGEST, chunk(CONTENT))
        mounted = await registry.repository(OTHER).mount_blob(DIGEST, source)
        assert mounted is not None
        assert mounted.digest == DIGEST
        assert await read(await registry.repository(OTHER).find_blob(DIGEST)) == CONTENT

    @pytest.mark.parametrize("source", [OTHER, None], ids=["named", "any"])
    async def test_mount_blob_that_is_absent_gives_none(
        self, repository: Repository, require_empty: RequireEmpty, source: RepositoryName | None
    ) -> None:
        assert await repository.mount_blob(DIGEST, source) is None
        await require_empty()

    async def test_delete_blob_leaves_it_to_others(self, registry: Registry) -> None:
        for name in (NAME, OTHER):
            await registry.repository(name).put_blob(DIGEST, chunk(CONTENT))
        await registry.repository(NAME).delete_blob(DIGEST)
        with pytest.raises(self.absent_repository):
            await registry.repository(NAME).find_blob(DIGEST)
        with pytest.raises(RepositoryUnknown):
            await registry.repository(NAME).delete_blob(DIGEST)
        assert await read(await registry.repository(OTHER).find_blob(DIGEST)) == CONTENT

    async def test_mount_and_delete_at_once_end_with_a_whole_blob_or_none(self, registry: Registry) -> None:
        source, target = registry.repository(NAME), registry.repository(OTHER)
        await source.put_blob(DIGEST, chunk(CONTENT))
        mounted, _ = await asyncio.gather(target.mount_blob(DIGEST, NAME), source.delete_blob(DIGEST))
        if mounted is None:
            with pytest.raises(NotFound):
                await target.find_blob(DIGEST)
        else:
            assert await read(await target.find_blob(DIGEST)) == CONTENT

    # manifests

    @pytest.mark.parametrize("image", [IMAGE, build_index(), build_image(1, docker=True)], ids=["image", "index", "d"])
    async def test_put_manifest_gives_back_its_exact_bytes(self, repository: Repository, image: Image | Index) -> None:
        await push(repository, image, V1)
        await require_whole(repository, image, V1)
        head = await repository.head_manifest(V1)
        manifest = image.manifest
        assert (head.digest, head.media_type, head.size) == (manifest.digest, manifest.media_type, manifest.size)

    async def test_put_manifest_by_tag_names_its_digest(self, repository: Repository) -> None:
        await push(repository, IMAGE)
        pushed = await repository.put_manifest(V1, IMAGE.manifest.data, IMAGE.manifest.media_type, tags=[V2])
        assert (pushed.digest, pushed.subject, set(pushed.tags)) == (IMAGE.digest, None, {V1, V2})
        assert (await repository.get_manifest(V2)).digest == IMAGE.digest

    async def test_put_manifest_by_sha512_is_found_by_it(self, repository: Repository) -> None:
        await push(repository, IMAGE)
        digest = Digest.of(IMAGE.manifest.data, "sha512")
        await repository.put_manifest(digest, IMAGE.manifest.data, IMAGE.manifest.media_type, tags=[V1])
        assert (await repository.get_manifest(digest)).content == IMAGE.manifest.data
        assert (await repository.head_manifest(V1)).digest == digest

    async def test_put_manifest_with_wrong_digest_is_refused(self, repository: Repository) -> None:
        await push(repository, IMAGE)
        with pytest.raises(DigestInvalid) as caught:
            await repository.put_manifest(OTHER_IMAGE.digest, IMAGE.manifest.data, IMAGE.manifest.media_type, tags=[V1])
        assert caught.value.detail["actual"] == IMAGE.digest
        for reference in (OTHER_IMAGE.digest, V1):
            with pytest.raises(ManifestUnknown):
                await repository.get_manifest(reference)

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}"], ids=["empty", "torn", "array", "object"])
    async def test_put_manifest_that_is_none_is_refused(
        self, repository: Repository, require_empty: RequireEmpty, content: bytes
    ) -> None:
        with pytest.raises(ManifestInvalid) as caught:
            await repository.put_manifest(V1, content, IMAGE.manifest.media_type)
        assert caught.value.detail
        await require_empty()

    async def test_put_manifest_with_absent_children_names_each_and_stores_nothing(
        self, repository: Repository, require_empty: RequireEmpty
    ) -> None:
        with pytest.raises(RegistryErrors) as caught:
            await repository.put_manifest(V1, IMAGE.manifest.data, IMAGE.manifest.media_type)
        assert {type(error) for error in caught.value.errors} == {ManifestBlobUnknown}
        assert {error.detail["digest"] for error in caught.value.errors} == {b.digest for b in walk_blobs(IMAGE)}
        await require_empty()

    async def test_put_manifest_with_children_elsewhere_is_refused(self, registry: Registry) -> None:
        await push(registry.repository(OTHER), IMAGE)
        with pytest.raises(RegistryErrors):
            await registry.repository(NAME).put_manifest(V1, IMAGE.manifest.data, IMAGE.manifest.media_type)

    async def test_put_manifest_on_condition_that_does_not_hold_moves_no_tag(self, repository: Repository) -> None:
        await push(repository, IMAGE, V1)
        await push(repository, OTHER_IMAGE)
        condition = TagCondition(must_be_absent=True)
        manifest = OTHER_IMAGE.manifest
        with pytest.raises(PreconditionFailed):
            await repository.put_manifest(V1, manifest.data, manifest.media_type, condition=condition)
        assert (await repository.head_manifest(V1)).digest == IMAGE.digest

    @pytest.mark.parametrize("reference", [IMAGE.digest, V1], ids=["digest", "tag"])
    async def test_get_manifest_that_is_absent_is_unknown(
        self, repository: Repository, reference: Tag | Digest
    ) -> None:
        with pytest.raises(RepositoryUnknown):
            await repository.get_manifest(reference)
        await repository.put_blob(DIGEST, chunk(CONTENT))
        for attempt in (repository.get_manifest, repository.head_manifest, repository.delete_manifest):
            with pytest.raises(ManifestUnknown):
                await attempt(reference)

    async def test_delete_manifest_by_digest_takes_its_tags_along(self, repository: Repository) -> None:
        await push(repository, IMAGE, V1, V2)
        await repository.delete_manifest(IMAGE.digest)
        for reference in (V1, V2, IMAGE.digest):
            with pytest.raises(ManifestUnknown):
                await repository.head_manifest(reference)
        assert (await repository.list_tags(limit=10)).items == []

    async def test_delete_manifest_by_tag_leaves_it(self, repository: Repository) -> None:
        await push(repository, IMAGE, V1, V2)
        await repository.delete_manifest(V1)
        assert (await repository.list_tags(limit=10)).items == [V2]
        await require_whole(repository, IMAGE, IMAGE.digest)

    async def test_delete_everything_and_push_it_again_brings_it_back(self, repository: Repository) -> None:
        await push(repository, IMAGE, V1)
        await repository.delete_manifest(IMAGE.digest)
        for blob in walk_blobs(IMAGE):
            await repository.delete_blob(blob.digest)
        with pytest.raises(RepositoryUnknown):
            await repository.list_tags(limit=10)
        await push(repository, IMAGE, V1)
        await require_whole(repository, IMAGE, V1)

    async def test_tag_moved_by_many_is_a_whole_manifest_at_any_time(self, repository: Repository) -> None:
        images = [build_image(1, seed=seed) for seed in range(10)]
        for image in images:
            await push(repository, image, V1)
        moves = asyncio.gather(*(push(repository, image, V1) for image in images))
        while not moves.done():
            found = await repository.get_manifest(V1)
            assert Digest.of(found.content) == found.digest
            await asyncio.sleep(0)
        await moves
        assert (await repository.head_manifest(V1)).digest in {image.digest for image in images}

    # listings

    async def test_list_tags_goes_on_page_by_page_in_byte_order(self, repository: Repository) -> None:
        names = ["b", "B", "a.1", "a-1", "a_1", "0", "10", "9", "_"]
        await push(repository, IMAGE, *map(Tag.parse, names))
        seen: list[str] = []
        page = Page([], "")
        while page.last is not None:
            page = await repository.list_tags(last=page.last, limit=2)
            assert len(page.items) <= 2
            seen += page.items
        assert seen == sorted(names, key=str.encode)

    async def test_list_referrers_gives_their_descriptors(self, repository: Repository) -> None:
        await push(repository, IMAGE)
        note = build_artifact(b"note", artifact_type="a/note", subject=IMAGE, annotations={"k": "v"})
        other = build_artifact(b"other", artifact_type="a/other", subject=IMAGE)
        await push(repository, note)
        await push(repository, other)
        page = await repository.list_referrers(IMAGE.digest, "a/note")
        expected = note.manifest.descriptor(artifactType="a/note", annotations={"k": "v"})
        assert (page.items, page.last) == ([json.loads(json.dumps(expected))], None)
        page = await repository.list_referrers(IMAGE.digest, None)
        assert {item["digest"] for item in page.items} == {note.digest, other.digest}

    async def test_list_referrers_of_nothing_is_empty(self, repository: Repository) -> None:
        assert await repository.list_referrers(IMAGE.digest, None) == Page([], None)

    async def test_list_repositories_goes_on_page_by_page_in_byte_order(self, registry: Registry) -> None:
        names: Sequence[str] = ["a", "a/b", "a-b", "a.b", "ab", "a0"]
        for name in names:
            await registry.repository(RepositoryName.parse(name)).put_blob(DIGEST, chunk(CONTENT))
        first = await registry.list_repositories(limit=4)
        rest = await registry.list_repositories(last=first.last or "", limit=4)
        assert first.items + rest.items == sorted(names, key=str.encode)
        assert rest.last is None

    async def test_search_finds_names_that_contain_the_text(self, registry: Registry) -> None:
        for name in ("team/web", "web", "team/db"):
            await registry.repository(RepositoryName.parse(name)).put_blob(DIGEST, chunk(CONTENT))
        assert await registry.search("web", limit=10) == ["team/web", "web"]
        assert await registry.search("nothing", limit=10) == []


class SharedRepositorySuite(RepositorySuite):
    """What a registry does that several processes share."""

    @pytest.fixture
    def second_registry(self) -> Registry:
        """Another object over the same place as ``registry``."""
        raise NotImplementedError("bind the suite with a fixture named second_registry")

    async def test_push_is_seen_by_another_process(self, repository: Repository, second_registry: Registry) -> None:
        await push(repository, IMAGE, V1)
        await require_whole(second_registry.repository(NAME), IMAGE, V1)

    async def test_upload_goes_on_in_another_process(self, repository: Repository, second_registry: Registry) -> None:
        both = [repository, second_registry.repository(NAME)]
        upload_id = await repository.begin_upload("sha512")
        for number, byte in enumerate(CONTENT):
            assert await both[number % 2].append(upload_id, chunk(bytes([byte]), start=number)) == number + 1
        digest = Digest.of(CONTENT, "sha512")
        await both[1].finish_upload(upload_id, digest, chunk())
        assert await read(await both[0].find_blob(digest)) == CONTENT

    async def test_status_in_another_process_waits_for_a_writer_that_breaks_off(
        self, repository: Repository, second_registry: Registry
    ) -> None:
        upload_id, reached, break_off = await repository.begin_upload(), asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield CONTENT[:7]
            reached.set()
            await break_off.wait()
            raise ClientGone("gone")

        appending = asyncio.create_task(repository.append(upload_id, Chunk(slow())))
        await reached.wait()
        asking = asyncio.create_task(second_registry.repository(NAME).upload_offset(upload_id))
        answered, _ = await asyncio.wait({asking}, timeout=0.2)
        break_off.set()
        with pytest.raises(ClientGone):
            await appending
        assert not answered
        assert await asking == 7

    @pytest.mark.parametrize("before", [b"", CONTENT[:5], CONTENT], ids=["nothing", "half", "all"])
    async def test_finish_upload_by_two_processes_at_once_succeeds_for_one(
        self, repository: Repository, second_registry: Registry, before: bytes
    ) -> None:
        upload_id = await repository.begin_upload()
        await repository.append(upload_id, chunk(before))
        both = [repository, second_registry.repository(NAME)]
        closes = (each.finish_upload(upload_id, DIGEST, chunk(CONTENT[len(before) :])) for each in both)
        outcomes = await asyncio.gather(*closes, return_exceptions=True)
        assert sum(isinstance(outcome, BaseException) for outcome in outcomes) == 1
        assert await read(await repository.find_blob(DIGEST)) == CONTENT

    async def test_append_by_several_processes_at_once_never_mixes_their_bytes(
        self, repository: Repository, second_registry: Registry
    ) -> None:
        upload_id = await repository.begin_upload()
        both = [repository, second_registry.repository(NAME)]
        parts = [bytes([number]) * 1000 for number in range(12)]
        sizes = await asyncio.gather(
            *(both[number % 2].append(upload_id, chunk(part[:1], part[1:])) for number, part in enumerate(parts))
        )
        assert sorted(sizes) == [1000 * count for count in range(1, 13)]
        whole = b"".join(part for _, part in sorted(zip(sizes, parts, strict=True)))
        await repository.finish_upload(upload_id, Digest.of(whole), chunk())
