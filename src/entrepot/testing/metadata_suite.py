"""The contract of metadata as tests: what ``metadata/base.py`` says, and what every operation means.

Bind a database of your own by a fixture, and run pytest (with pytest-asyncio in its ``auto`` mode)::

    class TestMyMetadata(MetadataSuite):
        @pytest.fixture
        async def metadata(self, tmp_path):
            async with closing(MyMetadata(tmp_path)) as metadata:
                yield metadata

Metadata that several processes share bind the suite of ``shared_metadata_suite.py`` instead.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.errors import (
    BlobUnknown,
    PreconditionFailed,
    TooManyUploads,
    UploadUnknown,
)
from entrepot.manifest import TagCondition
from entrepot.metadata import audit, blobs, leases, listings, manifests, uploads
from entrepot.metadata.base import Metadata, Operation, Steps, operation
from entrepot.metadata.statistics import Statistics, count_everything
from entrepot.reference import Tag
from entrepot.store.base import StoredBlob, UploadPart, UploadState
from entrepot.testing.content_suite import (
    CONTENT,
    DIGEST,
    NOW,
    OTHER,
    REPOSITORY,
    V1,
    ContentSuite,
    parsed,
    put_blobs,
    put_content,
    put_image,
    stored,
)
from entrepot.testing.images import build_image, walk_blobs

ID = "7f4f1d0e-1111-4222-8333-444455556666"
TAG = Tag.parse("latest")


@operation
def failing(first: Operation[Any], error: Exception) -> Steps[None]:
    """The operation, and then the error."""
    yield from first
    raise error


def put(content: bytes) -> Operation[StoredBlob]:
    """A blob with that content."""
    return blobs.put_blob(REPOSITORY, Digest.of(content), stored(content), NOW)


async def blob_digests(metadata: Metadata) -> set[str]:
    """Every blob there is."""
    return {row.digest for row in await metadata.read_much(audit.blobs_after(0, limit=1000))}


class MetadataSuite(ContentSuite):
    """What all metadata do: transactions here, repositories and their content in ``ContentSuite``."""

    @pytest.fixture
    def metadata(self) -> Metadata:
        """Fresh metadata, to be closed after the test."""
        raise NotImplementedError("bind the suite with a fixture named metadata")

    # transactions

    @pytest.mark.parametrize("durable", [True, False], ids=["durable", "not_durable"])
    async def test_write_is_seen_by_the_next_read(self, metadata: Metadata, durable: bool) -> None:
        await metadata.write(put(b"x"), durable=durable)
        assert (await metadata.read(blobs.find_blob(REPOSITORY, Digest.of(b"x")))).stored == stored(b"x")
        assert await blob_digests(metadata) == {Digest.of(b"x")}

    @pytest.mark.parametrize("error", [UploadUnknown("no"), ValueError("no")], ids=["ours", "foreign"])
    async def test_write_that_raises_changes_nothing(self, metadata: Metadata, error: Exception) -> None:
        with pytest.raises(type(error), match="no"):
            await metadata.write(failing(put(b"x"), error))
        assert await metadata.read(count_everything()) == Statistics(0, 0, 0, 0, 0)
        await metadata.write(put(b"y"))
        assert await blob_digests(metadata) == {Digest.of(b"y")}

    async def test_writes_at_once_fail_each_for_itself(self, metadata: Metadata) -> None:
        good = [put(b"%d" % number) for number in range(30)]
        bad = [failing(put(b"bad %d" % number), ValueError(str(number))) for number in range(30)]
        mixed = [operation for pair in zip(good, bad, strict=True) for operation in pair]
        outcomes = await asyncio.gather(*map(metadata.write, mixed), return_exceptions=True)
        assert outcomes[::2] == [stored(b"%d" % number) for number in range(30)]
        assert [str(outcome) for outcome in outcomes[1::2]] == [str(number) for number in range(30)]
        assert await blob_digests(metadata) == {Digest.of(b"%d" % number) for number in range(30)}

    async def test_write_whose_waiter_is_cancelled_is_done_whole_or_not_at_all(self, metadata: Metadata) -> None:
        @operation
        def both() -> Steps[None]:
            yield from put(b"x")
            yield from put(b"y")

        before, cancelled, after = (
            asyncio.ensure_future(metadata.write(operation)) for operation in (put(b"1"), both(), put(b"2"))
        )
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(before, after)
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert len(await blob_digests(metadata) & {Digest.of(b"x"), Digest.of(b"y")}) in (0, 2)

    async def test_reads_at_once_with_writes_see_whole_changes(self, metadata: Metadata) -> None:
        images = [build_image(1, seed=seed) for seed in range(10)]
        for image in images:
            await put_image(metadata, REPOSITORY, image, TAG)
        writes = asyncio.gather(*(put_image(metadata, REPOSITORY, image, TAG) for image in images * 3))
        while not writes.done():
            found = await metadata.read(manifests.find_manifest(REPOSITORY, TAG))
            assert Digest.of(found.content) == found.digest
            await asyncio.sleep(0)
        await writes

    async def test_check_passes(self, metadata: Metadata) -> None:
        await metadata.check()

    # many writers of one name

    async def test_tag_that_many_move_ends_at_one_of_theirs(self, metadata: Metadata) -> None:
        images = [build_image(1, seed=seed) for seed in range(20)]
        await asyncio.gather(*(put_image(metadata, REPOSITORY, image, TAG) for image in images))
        assert (await metadata.read(manifests.find_manifest(REPOSITORY, TAG))).content in {
            image.manifest.data for image in images
        }
        assert (await metadata.read_much(count_everything())).manifests == 20

    async def test_tag_that_many_create_if_absent_goes_to_one(self, metadata: Metadata) -> None:
        images = [build_image(1, seed=seed) for seed in range(20)]
        for image in images:
            await put_blobs(metadata, REPOSITORY, image)
        condition = TagCondition(must_be_absent=True)
        creations = [
            manifests.put_manifest(REPOSITORY, image.digest, parsed(image), [TAG], NOW, condition=condition)
            for image in images
        ]
        outcomes = await asyncio.gather(*map(metadata.write, creations), return_exceptions=True)
        assert sum(outcome is None for outcome in outcomes) == 1
        assert sum(isinstance(outcome, PreconditionFailed) for outcome in outcomes) == 19
        winner = images[outcomes.index(None)]
        assert (await metadata.read(manifests.find_manifest(REPOSITORY, TAG))).digest == winner.digest
        assert (await metadata.read_much(count_everything())).manifests == 1

    async def test_repository_that_many_create_is_one(self, metadata: Metadata) -> None:
        await asyncio.gather(*(metadata.write(put(b"%d" % number)) for number in range(20)))
        assert await metadata.read(listings.list_repositories(last="", limit=10)) == [REPOSITORY]

    # uploads

    async def test_begin_upload_can_be_found_with_its_state(self, metadata: Metadata) -> None:
        state = UploadState(ID, 0, {"sha256": b"", "sha512": b""})
        await metadata.write(uploads.begin_upload(REPOSITORY, state, "sha512", NOW, most=1))
        found = await metadata.read(uploads.find_upload(REPOSITORY, ID))
        assert (found.state, found.algorithm) == (state, "sha512")
        assert await metadata.read(uploads.upload_exists(ID))

    async def test_save_upload_replaces_its_state(self, metadata: Metadata) -> None:
        await begin_upload(metadata, ID)
        state = UploadState(ID, 2**40, {"sha256": bytes(range(112))})
        await metadata.write(uploads.save_upload(state, "sha256", NOW))
        assert (await metadata.read(uploads.find_upload(REPOSITORY, ID))).state == state

    async def test_save_upload_keeps_what_an_object_store_needs(self, metadata: Metadata) -> None:
        await begin_upload(metadata, ID)
        parts = (UploadPart(8 * 2**20, '"e1"'), UploadPart(2**33, '"ä"'))
        state = UploadState(ID, 2**33, {"sha256": b"x"}, "a/session?=", parts, bytes(range(256)), "sha256/ab/x")
        await metadata.write(uploads.save_upload(state, "sha256", NOW))
        assert (await metadata.read(uploads.find_upload(REPOSITORY, ID))).state == state

    async def test_find_upload_of_another_repository_is_unknown(self, metadata: Metadata) -> None:
        await begin_upload(metadata, ID)
        with pytest.raises(UploadUnknown):
            await metadata.read(uploads.find_upload(OTHER, ID))

    async def test_end_upload_tells_whether_there_was_one(self, metadata: Metadata) -> None:
        await begin_upload(metadata, ID)
        assert await metadata.write(uploads.end_upload(ID))
        assert not await metadata.write(uploads.end_upload(ID))
        assert not await metadata.read(uploads.upload_exists(ID))
        with pytest.raises(UploadUnknown):
            await metadata.write(uploads.save_upload(UploadState(ID), "sha256", NOW))

    async def test_begin_upload_beyond_the_limit_is_refused(self, metadata: Metadata) -> None:
        begins = [begin_upload(metadata, f"{ID[:-2]}{number:02}", most=5) for number in range(20)]
        outcomes = await asyncio.gather(*begins, return_exceptions=True)
        assert sum(isinstance(outcome, TooManyUploads) for outcome in outcomes) == 15
        assert (await metadata.read_much(count_everything())).uploads == 5

    async def test_expired_uploads_are_the_oldest_first(self, metadata: Metadata) -> None:
        for number, age in enumerate([10, 30, 20, 0]):
            await begin_upload(metadata, f"upload-{number}", now=NOW - age)
        expired = uploads.expired_uploads(before=NOW - 5, limit=10)
        states = [UploadState.empty(f"upload-{number}", "sha256") for number in (1, 2, 0)]
        assert await metadata.read(expired) == states
        assert await metadata.read(uploads.expired_uploads(before=NOW - 5, limit=1)) == states[:1]

    # leases

    async def test_take_lease_is_for_one_holder_until_it_expires(self, metadata: Metadata) -> None:
        assert await take_lease(metadata, "a", now=100) == 1
        assert await take_lease(metadata, "b", now=109) is None
        assert not await metadata.read(leases.is_lease_free("job", "b", now=109, seconds=10))
        assert await take_lease(metadata, "b", now=110) == 2
        assert await take_lease(metadata, "a", now=111) is None

    async def test_take_lease_again_prolongs_it_with_the_same_fence(self, metadata: Metadata) -> None:
        assert await take_lease(metadata, "a", now=100) == 1
        assert await take_lease(metadata, "a", now=105) == 1
        assert await take_lease(metadata, "b", now=114) is None

    async def test_take_lease_of_an_expired_holder_gives_it_back_with_a_new_fence(self, metadata: Metadata) -> None:
        fences = [await take_lease(metadata, holder, now=now) for holder, now in (("a", 0), ("b", 10), ("a", 20))]
        assert fences == [1, 2, 3]

    async def test_give_up_lease_frees_it_at_once(self, metadata: Metadata) -> None:
        await take_lease(metadata, "a", now=100)
        await metadata.write(leases.give_up_lease("job", "b"))
        assert not await metadata.read(leases.is_lease_free("job", "b", now=101, seconds=10))
        await metadata.write(leases.give_up_lease("job", "a"))
        assert await metadata.read(leases.is_lease_free("job", "b", now=101, seconds=10))

    async def test_drop_lease_leaves_nothing_of_it(self, metadata: Metadata) -> None:
        await take_lease(metadata, "a", now=100)
        await metadata.write(leases.drop_lease("job", "b"))
        assert await take_lease(metadata, "b", now=101) is None
        await metadata.write(leases.drop_lease("job", "a"))
        assert await take_lease(metadata, "b", now=101) == 1

    async def test_take_lease_of_a_clock_that_was_far_ahead_succeeds(self, metadata: Metadata) -> None:
        year = 365 * 24 * 3600
        assert await take_lease(metadata, "a", now=100 + year) == 1
        assert await metadata.read(leases.is_lease_free("job", "b", now=100, seconds=10))
        assert await take_lease(metadata, "b", now=100) == 2
        assert not await metadata.read(leases.is_lease_free("job", "c", now=40, seconds=10))  # a minute is borne
        assert await take_lease(metadata, "c", now=40) is None

    async def test_take_lease_by_many_goes_to_one(self, metadata: Metadata) -> None:
        outcomes = await asyncio.gather(*(take_lease(metadata, str(number), now=0) for number in range(20)))
        assert sorted(outcomes, key=bool) == [None] * 19 + [1]

    async def test_ended_leases_are_given_in_order_a_piece_at_a_time(self, metadata: Metadata) -> None:
        for name, now in (("job:b", 3), ("job:a", 2), ("job:c", 1), ("job:d", 50), ("other", 1)):
            await metadata.write(leases.take_lease(name, "holder", now=now, seconds=10))
        names: list[str] = []
        while found := await metadata.read(leases.ended_leases(names[-1] if names else "job:", "job:z", **_SOON)):
            names += found
        assert names == ["job:a", "job:b", "job:c"]

    async def test_forget_lease_leaves_one_that_is_held(self, metadata: Metadata) -> None:
        assert await take_lease(metadata, "a", now=100) == 1
        assert not await metadata.write(leases.forget_lease("job", now=109), durable=False)
        assert await metadata.write(leases.forget_lease("job", now=110), durable=False)
        assert not await metadata.write(leases.forget_lease("job", now=110), durable=False)
        assert await take_lease(metadata, "b", now=110) == 1

    # audit

    async def test_audit_gives_everything_a_piece_at_a_time(self, metadata: Metadata) -> None:
        image = build_image(3)
        await put_image(metadata, REPOSITORY, image, V1)
        first = await metadata.read_much(audit.blobs_after(0, limit=3))
        rest = await metadata.read_much(audit.blobs_after(first[-1].id, limit=3))
        assert {(row.digest, row.size) for row in first + rest} == {(b.digest, b.size) for b in walk_blobs(image)}
        [manifest] = await metadata.read_much(audit.manifests_after(0, limit=3))
        assert (manifest.repository, manifest.digest, manifest.content) == (
            REPOSITORY,
            image.digest,
            image.manifest.data,
        )
        assert await metadata.read_much(audit.absent_children(manifest.id)) == []

    async def test_audit_names_absent_children(self, metadata: Metadata) -> None:
        image = build_image(1)
        await put_image(metadata, REPOSITORY, image)
        await metadata.write(blobs.unlink_blob(REPOSITORY, image.config.digest, protect_used=False))
        [manifest] = await metadata.read_much(audit.manifests_after(0, limit=3))
        assert await metadata.read_much(audit.absent_children(manifest.id)) == [image.config.digest]

    async def test_quarantined_blob_counts_as_absent_until_it_is_put_again(self, metadata: Metadata) -> None:
        await put_content(metadata)
        await metadata.write(audit.mark_quarantined(stored(CONTENT)))
        with pytest.raises(BlobUnknown):
            await metadata.read(blobs.find_blob(REPOSITORY, DIGEST))
        assert await metadata.write(blobs.mount_blob(OTHER, DIGEST, REPOSITORY, NOW)) is None
        assert [row.location for row in await metadata.read_much(audit.blobs_after(0, limit=3))] == [None]
        await put_content(metadata)
        assert await metadata.read(audit.location_of(DIGEST)) == stored(CONTENT).location

    async def test_blobs_that_are_gone_and_unnamed_are_passed_over(self, metadata: Metadata) -> None:
        contents = [b"%d" % number for number in range(7)]
        for content in contents:
            await metadata.write(put(content))
        for content in contents[:5]:
            await metadata.write(audit.mark_quarantined(stored(content)))
            if content != contents[1]:
                await metadata.write(blobs.unlink_blob(REPOSITORY, Digest.of(content), protect_used=False))
        first = await metadata.read_much(audit.blobs_after(0, limit=2))
        assert [(row.digest, row.location) for row in first] == [(Digest.of(contents[1]), None)]
        rest = await metadata.read_much(audit.blobs_after(first[-1].id, limit=2))
        assert [row.digest for row in rest] == [Digest.of(contents[5])]

    async def test_quarantined_blob_that_was_good_is_kept(self, metadata: Metadata) -> None:
        await put_content(metadata)
        await metadata.write(audit.mark_quarantined(stored(CONTENT)))
        await metadata.write(audit.mark_kept(stored(CONTENT)))
        assert (await metadata.read(blobs.find_blob(REPOSITORY, DIGEST))).stored == stored(CONTENT)

    async def test_count_everything_counts_blobs_once(self, metadata: Metadata) -> None:
        image = build_image(2)
        await put_image(metadata, REPOSITORY, image, V1)
        await put_image(metadata, OTHER, image, V1)
        size = sum(blob.size for blob in walk_blobs(image))
        assert await metadata.read_much(count_everything()) == Statistics(3, size, 2, 2, 0)


_SOON = {"before": 20, "limit": 2}


async def begin_upload(metadata: Metadata, upload_id: str, *, now: int = NOW, most: int = 100) -> None:
    """An upload to REPOSITORY that has no bytes yet."""
    state = UploadState.empty(upload_id, "sha256")
    await metadata.write(uploads.begin_upload(REPOSITORY, state, "sha256", now, most=most))


async def take_lease(metadata: Metadata, holder: str, *, now: int) -> int | None:
    """The fence of the lease on a job, for ten seconds."""
    return await metadata.write(leases.take_lease("job", holder, now=now, seconds=10))
