"""The contract of a blob store as tests: what ``store/base.py`` says, one test for each sentence.

Bind a store of your own by a fixture, and run pytest (with pytest-asyncio in its ``auto`` mode)::

    class TestMyStore(BlobStoreSuite):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(tmp_path)

A store that outlives its process binds ``PersistentBlobStoreSuite`` instead and adds the fixture
``second_store``: another object over the same place. Override the fixture ``damage`` to let the tests about
damage run; they are skipped otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import pytest

from entrepot.digest import CANONICAL, Digest
from entrepot.errors import Corrupt, UploadBusy
from entrepot.store.base import BlobStore, StoredBlob
from entrepot.testing.upload_suite import (
    LONG,
    MIB,
    SHORT,
    Damage,
    UploadSuite,
    blobs_of,
    chunks,
    finish_upload,
    missing,
    pull,
    push,
    require_empty,
    uploads_of,
)


class BlobStoreSuite(UploadSuite):
    """What every store does."""

    # reading

    @pytest.mark.parametrize(
        ("start", "end"),
        [(0, None), (0, 0), (0, 1), (3, 7), (7, None), (9, 10), (10, None), (10, 10), (0, 10), (4, 99), (5, 3)],
    )
    async def test_open_range_gives_those_bytes(self, store: BlobStore, start: int, end: int | None) -> None:
        blob = await push(store, SHORT)
        assert await pull(store, blob, start=start, end=end) == SHORT[start:end]

    @pytest.mark.parametrize(
        ("start", "end"), [(0, MIB), (MIB - 1, MIB + 1), (MIB, 2 * MIB), (1, None), (2 * MIB + 5, None), (7, 2 * MIB)]
    )
    async def test_open_range_of_several_pieces_gives_those_bytes(
        self, store: BlobStore, start: int, end: int | None
    ) -> None:
        blob = await push(store, LONG)
        assert await pull(store, blob, start=start, end=end) == LONG[start:end]

    async def test_open_blob_many_times_at_once_gives_all_of_them_everything(self, store: BlobStore) -> None:
        blob = await push(store, LONG)
        assert await asyncio.gather(*(pull(store, blob) for _ in range(16))) == [LONG] * 16

    async def test_open_blob_and_stop_in_the_middle_leaves_it_readable(self, store: BlobStore) -> None:
        blob = await push(store, LONG)
        async with store.open(blob) as pieces:
            assert LONG.startswith(bytes(await anext(aiter(pieces))))
        assert await pull(store, blob) == LONG

    async def test_open_absent_blob_is_corrupt(self, store: BlobStore) -> None:
        with pytest.raises(Corrupt):
            await pull(store, missing(SHORT))

    async def test_open_truncated_blob_is_corrupt(self, store: BlobStore, damage: Damage) -> None:
        blob = await push(store, LONG)
        damage(blob, LONG[:-1])
        with pytest.raises(Corrupt):
            await pull(store, blob, end=5)

    async def test_stat_blob_gives_its_size(self, store: BlobStore) -> None:
        assert await store.stat((await push(store, LONG)).location) == len(LONG)
        assert await store.stat((await push(store, b"")).location) == 0

    async def test_verify_blob_gives_the_digest_of_what_is_there(self, store: BlobStore, damage: Damage) -> None:
        blob = await push(store, SHORT)
        assert await store.verify(blob.location) == blob.digest
        damage(blob, b"9876543210")
        assert await store.verify(blob.location) == Digest.of(b"9876543210")

    @pytest.mark.parametrize("method", ["stat", "verify", "delete"])
    async def test_ask_about_absent_blob_is_corrupt(self, store: BlobStore, method: str) -> None:
        with pytest.raises(Corrupt):
            await getattr(store, method)(missing(SHORT).location)

    # states of uploads

    async def test_save_upload_again_without_new_bytes_gives_the_same_state(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(LONG))
        state = await upload.save()
        assert await upload.save() == state
        await upload.cancel()

    @pytest.mark.parametrize("is_told", [True, False], ids=["told", "not_told"])
    async def test_recorded_state_stays_good_until_the_next_one_is_recorded(
        self, store: BlobStore, is_told: bool
    ) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(LONG))
        first = await upload.save()
        await upload.recorded()
        await upload.write(chunks(LONG))
        second = await upload.save()
        if is_told:
            await upload.recorded()
        await upload.close()
        await finish_upload(store, second if is_told else first, LONG + LONG, CANONICAL)

    # discard_remains

    async def test_discard_remains_removes_the_bytes_of_a_writer_that_is_gone(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(LONG))
        await upload.save()
        await upload.close()
        assert await store.discard_remains(upload.id, nobody_records)
        assert await uploads_of(store) == []

    async def test_discard_remains_of_an_upload_that_is_held_leaves_it(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(LONG))
        await upload.save()
        assert not await store.discard_remains(upload.id, nobody_records)
        assert await pull(store, await upload.commit(Digest.of(LONG))) == LONG

    async def test_discard_remains_leaves_what_was_committed(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(LONG))
        blob = await upload.commit(Digest.of(LONG))
        await upload.close()
        assert await store.discard_remains(upload.id, nobody_records)
        assert await pull(store, blob) == LONG

    async def test_discard_remains_of_an_absent_upload_is_done(self, store: BlobStore) -> None:
        assert await store.discard_remains("7f4f1d0e-1111-4222-8333-444455556666", nobody_records)

    # walk, delete, quarantine, check

    async def test_walk_gives_every_blob_with_digest_size_and_location(self, store: BlobStore) -> None:
        contents: Iterable[bytes] = [b"", SHORT, LONG, *(b"%d" % number for number in range(30))]
        stored = [await push(store, content) for content in contents]
        assert await blobs_of(store) == sorted(stored, key=lambda blob: blob.location)

    async def test_walk_of_empty_store_gives_nothing(self, store: BlobStore) -> None:
        await require_empty(store)

    async def test_delete_blob_removes_it_and_no_other(self, store: BlobStore) -> None:
        blob, other = await push(store, SHORT), await push(store, LONG)
        assert await pull(store, blob) == SHORT
        await store.delete(blob.location)
        assert await blobs_of(store) == [other]
        with pytest.raises(Corrupt):
            await pull(store, blob)
        with pytest.raises(Corrupt):
            await store.delete(blob.location)

    async def test_delete_blob_and_push_it_again_brings_it_back(self, store: BlobStore) -> None:
        await store.delete((await push(store, SHORT)).location)
        assert await pull(store, await push(store, SHORT)) == SHORT

    async def test_quarantine_damaged_blob_takes_it_out(self, store: BlobStore, damage: Damage) -> None:
        blob = await push(store, SHORT)
        damage(blob, b"damaged")
        assert await store.quarantine(blob)
        await require_empty(store)

    async def test_quarantine_good_blob_leaves_it(self, store: BlobStore) -> None:
        blob = await push(store, SHORT)
        assert not await store.quarantine(blob)
        assert await blobs_of(store) == [blob]
        assert await pull(store, blob) == SHORT

    async def test_quarantine_missing_blob_is_done(self, store: BlobStore) -> None:
        assert await store.quarantine(missing(SHORT))
        await require_empty(store)

    async def test_redirect_url_is_an_address_or_none(self, store: BlobStore) -> None:
        url = await store.redirect_url(await push(store, SHORT))
        assert url is None or url.startswith(("http://", "https://"))

    async def test_check_passes(self, store: BlobStore) -> None:
        await store.check()
        await require_empty(store)


async def nobody_records(_: StoredBlob) -> bool:
    """For ``discard_remains``."""
    return False


class PersistentBlobStoreSuite(BlobStoreSuite):
    """What a store that outlives its process does besides: another process sees the same."""

    @pytest.fixture
    def second_store(self) -> BlobStore:
        """Another object over the same place as ``store``, as a second process would have it."""
        raise NotImplementedError("bind the suite with a fixture named second_store")

    async def test_open_blob_after_restart_gives_its_bytes(self, store: BlobStore, second_store: BlobStore) -> None:
        blob = await push(store, LONG)
        assert await pull(second_store, blob) == LONG
        assert await blobs_of(second_store) == [blob]

    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    @pytest.mark.parametrize("offset", [0, 3, 10])
    async def test_resume_upload_after_restart_goes_on(
        self, store: BlobStore, second_store: BlobStore, offset: int, algorithm: str
    ) -> None:
        upload = await store.begin_upload(algorithm=algorithm)
        await upload.write(chunks(SHORT[:offset]))
        state = await upload.save()
        await upload.write(chunks(b"lost"))
        await upload.close()
        await finish_upload(second_store, state, SHORT, algorithm)

    async def test_resume_upload_that_another_process_holds_is_busy(
        self, store: BlobStore, second_store: BlobStore
    ) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(SHORT))
        state = await upload.save()
        with pytest.raises(UploadBusy):
            await second_store.resume_upload(state)
        assert not await second_store.discard_upload(state)
        await upload.cancel()
        await require_empty(second_store)

    async def test_wait_for_writer_tells_whether_another_process_writes(
        self, store: BlobStore, second_store: BlobStore
    ) -> None:
        upload = await store.begin_upload()
        assert not await second_store.wait_for_writer(upload.id)
        await upload.write(chunks(SHORT))
        state = await upload.save()
        assert await second_store.wait_for_writer(upload.id)
        await upload.close()
        assert not await second_store.wait_for_writer(upload.id)
        await (await store.resume_upload(state)).cancel()

    async def test_delete_blob_is_seen_by_another_process(self, store: BlobStore, second_store: BlobStore) -> None:
        blob = await push(store, LONG)
        await store.delete(blob.location)
        with pytest.raises(Corrupt):
            await pull(second_store, blob)

    async def test_commit_heals_what_another_process_has_read_damaged(
        self, store: BlobStore, second_store: BlobStore, damage: Damage
    ) -> None:
        blob = await push(store, SHORT)
        damage(blob, b"9876543210")
        with contextlib.suppress(Corrupt):  # whether a read notices is up to the store
            await pull(second_store, blob)
        assert await pull(second_store, await push(store, SHORT)) == SHORT
