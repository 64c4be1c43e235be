"""The half of a blob store's contract that is about uploads; ``store_suite`` includes it and tells how to bind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from entrepot.digest import CANONICAL, Digest
from entrepot.errors import DigestInvalid, UploadBusy, UploadUnknown
from entrepot.store.base import BlobStore, Checkpoint, StoredBlob, Upload, UploadState

MIB = 1024 * 1024
SHORT = b"0123456789"
LONG = bytes(range(256)) * (5 * MIB // 512)  # two and a half pieces of a megabyte
Damage = Callable[[StoredBlob, bytes | None], None]


async def chunks(*pieces: bytes, then: BaseException | None = None) -> AsyncIterator[bytes]:
    """The pieces as an upload takes them; ``then`` is raised after the last."""
    for piece in pieces:
        yield piece
    if then is not None:
        raise then


async def push(store: BlobStore, content: bytes) -> StoredBlob:
    """Store a blob."""
    upload = await store.begin_upload()
    await upload.write(chunks(content))
    blob = await upload.commit(Digest.of(content))
    await upload.close()
    return blob


async def pull(store: BlobStore, blob: StoredBlob, *, start: int = 0, end: int | None = None) -> bytes:
    """The bytes of a blob, or a range of them."""
    async with store.open(blob, start=start, end=end) as pieces:
        return b"".join([bytes(piece) async for piece in pieces])


async def blobs_of(store: BlobStore) -> list[StoredBlob]:
    """Everything that was committed, by location."""
    return sorted([blob async for blob in store.walk()], key=lambda blob: blob.location)


async def uploads_of(store: BlobStore) -> list[str]:
    """The ids of the uploads that hold bytes."""
    return sorted({state.id async for state in store.walk_uploads()})


async def require_empty(store: BlobStore) -> None:
    """Nothing must be left: no blob, and no bytes of an upload."""
    assert await blobs_of(store) == []
    assert await uploads_of(store) == []


def missing(content: bytes) -> StoredBlob:
    """A blob that nobody has stored."""
    digest = Digest.of(content)
    return StoredBlob(digest, len(content), f"{CANONICAL}/{digest.encoded[:2]}/{digest.encoded}")


def without_hashes(state: UploadState) -> UploadState:
    """The state as a process without savable hashes would have left it."""
    return replace(state, hashes=dict.fromkeys(state.hashes, b""))


class UploadSuite:
    """What the uploads of every store do."""

    @pytest.fixture
    def store(self) -> BlobStore:
        """A fresh store. An upload that is held must not be waited for longer than a second."""
        raise NotImplementedError("bind the suite with a fixture named store")

    @pytest.fixture
    def damage(self) -> Damage:
        """Puts other bytes where a blob is, behind the store's back, or takes them away (None)."""
        pytest.skip("this binding cannot damage what is stored")

    # commit

    @pytest.mark.parametrize("content", [b"", b"x", SHORT, LONG], ids=["empty", "byte", "short", "long"])
    async def test_commit_upload_stores_what_was_written(self, store: BlobStore, content: bytes) -> None:
        blob = await push(store, content)
        assert (blob.digest, blob.size) == (Digest.of(content), len(content))
        assert await pull(store, blob) == content

    @pytest.mark.parametrize("announced", ["sha256", "sha512"])
    @pytest.mark.parametrize("committed", ["sha256", "sha512"])
    async def test_commit_upload_by_any_algorithm_gives_canonical_digest(
        self, store: BlobStore, announced: str, committed: str
    ) -> None:
        upload = await store.begin_upload(algorithm=announced)
        await upload.write(chunks(SHORT))
        blob = await upload.commit(Digest.of(SHORT, committed))
        assert blob.digest == Digest.of(SHORT)
        assert await blobs_of(store) == [blob]

    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    @pytest.mark.parametrize("content", [b"", SHORT, LONG], ids=["empty", "short", "long"])
    async def test_commit_upload_with_wrong_digest_keeps_nothing(
        self, store: BlobStore, algorithm: str, content: bytes
    ) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(content))
        wanted = Digest.of(b"something else", algorithm)
        with pytest.raises(DigestInvalid) as caught:
            await upload.commit(wanted)
        await upload.cancel()
        actual = Digest.of(content, algorithm)
        assert caught.value.detail == {"expected": wanted, "actual": actual, "size": len(content)}
        await require_empty(store)

    async def test_commit_upload_that_was_never_written_stores_the_empty_blob(self, store: BlobStore) -> None:
        blob = await (await store.begin_upload()).commit(Digest.of(b""))
        assert await pull(store, blob) == b""
        assert await uploads_of(store) == []

    async def test_commit_same_content_again_keeps_one_blob(self, store: BlobStore) -> None:
        first, second = await push(store, SHORT), await push(store, SHORT)
        assert await pull(store, first) == await pull(store, second) == SHORT
        assert {blob.digest for blob in await blobs_of(store)} == {Digest.of(SHORT)}

    async def test_commit_same_content_concurrently_stores_it_for_all(self, store: BlobStore) -> None:
        blobs = await asyncio.gather(*(push(store, LONG) for _ in range(8)))
        assert [await pull(store, blob) for blob in blobs] == [LONG] * 8
        assert await uploads_of(store) == []

    async def test_commit_of_different_contents_concurrently_keeps_them_apart(self, store: BlobStore) -> None:
        contents = [bytes([number]) * MIB for number in range(8)]
        blobs = await asyncio.gather(*(push(store, content) for content in contents))
        assert [await pull(store, blob) for blob in blobs] == contents

    async def test_commit_over_damaged_blob_heals_it(self, store: BlobStore, damage: Damage) -> None:
        damage(await push(store, SHORT), b"damaged!!!")
        blob = await push(store, SHORT)
        assert await store.verify(blob.location) == blob.digest
        assert await pull(store, blob) == SHORT

    async def test_commit_over_missing_bytes_heals_them(self, store: BlobStore, damage: Damage) -> None:
        damage(await push(store, SHORT), None)
        assert await pull(store, await push(store, SHORT)) == SHORT

    # what others see of an upload

    async def test_upload_is_no_blob_before_commit(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(SHORT))
        await upload.save()
        assert await blobs_of(store) == []
        assert set(await uploads_of(store)) <= {upload.id}  # a few bytes may be in the state and nowhere else
        await upload.cancel()

    async def test_begin_upload_gives_ids_of_their_own(self, store: BlobStore) -> None:
        uploads = [await store.begin_upload() for _ in range(20)]
        assert len({upload.id for upload in uploads}) == 20

    # write

    async def test_write_upload_returns_the_size_so_far(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        assert await upload.write(chunks(b"01", b"", b"234")) == 5
        assert await upload.write(chunks()) == 5
        assert await upload.write(chunks(b"56789")) == 10
        assert upload.size == 10
        assert (await upload.commit(Digest.of(SHORT))).size == 10

    @pytest.mark.parametrize("size", [1, 1000, MIB - 1, MIB, MIB + 1, 3 * MIB])
    async def test_write_upload_in_chunks_of_any_size_keeps_their_order(self, store: BlobStore, size: int) -> None:
        content = LONG if size > 1000 else LONG[: 300 * size]
        upload = await store.begin_upload()
        await upload.write(chunks(*(content[at : at + size] for at in range(0, len(content), size))))
        assert await pull(store, await upload.commit(Digest.of(content))) == content

    async def test_write_upload_that_breaks_off_keeps_what_came(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        with pytest.raises(ConnectionError):
            await upload.write(chunks(LONG, b"tail", then=ConnectionError("gone")))
        assert upload.size == len(LONG) + 4
        assert (await upload.commit(Digest.of(LONG + b"tail"))).size == len(LONG) + 4

    async def test_write_upload_that_is_cancelled_can_be_resumed(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(SHORT))
        state = await upload.save()
        await _cancel_in_mid_write(upload)
        resumed = await store.resume_upload(state)
        assert resumed.size == 10
        assert await pull(store, await resumed.commit(Digest.of(SHORT))) == SHORT

    async def test_write_upload_gives_checkpoints_that_can_be_resumed(self, store: BlobStore) -> None:
        states: list[UploadState] = []
        upload = await store.begin_upload(algorithm="sha512")
        await upload.write(chunks(*[LONG] * 16), checkpoint=_collect(states))
        last = await upload.save()
        await upload.close()
        assert [state.offset for state in states] == sorted(state.offset for state in states)
        if states:
            await finish_upload(store, states[-1], LONG * 16, "sha512")
        await store.discard_upload(last)

    # save and resume

    @pytest.mark.parametrize("keep", [lambda state: state, without_hashes], ids=["hashes", "no_hashes"])
    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    @pytest.mark.parametrize("offset", range(len(SHORT) + 1))
    async def test_resume_upload_of_dropped_writer_goes_on_where_it_was_saved(
        self, store: BlobStore, offset: int, algorithm: str, keep: Callable[[UploadState], UploadState]
    ) -> None:
        upload = await store.begin_upload(algorithm=algorithm)
        await upload.write(chunks(SHORT[:offset]))
        state = keep(await upload.save())
        await upload.write(chunks(b"these are lost"))
        await upload.close()
        assert state.offset == offset
        await finish_upload(store, state, SHORT, algorithm)

    @pytest.mark.parametrize("keep", [lambda state: state, without_hashes], ids=["hashes", "no_hashes"])
    async def test_resume_upload_of_several_pieces_goes_on(
        self, store: BlobStore, keep: Callable[[UploadState], UploadState]
    ) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(LONG))
        state = keep(await upload.save())
        await upload.close()
        await finish_upload(store, state, LONG + LONG, CANONICAL)

    async def test_resume_upload_again_and_again_goes_on(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        for byte in SHORT:
            await upload.write(chunks(bytes([byte])))
            state = await upload.save()
            await upload.close()
            upload = await store.resume_upload(state)
        assert await pull(store, await upload.commit(Digest.of(SHORT))) == SHORT

    async def test_resume_upload_without_bytes_begins_it(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.close()
        await finish_upload(store, UploadState.empty(upload.id, "sha512"), SHORT, "sha512")

    async def test_resume_upload_commits_as_it_was_saved(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(SHORT))
        state = await upload.save()
        await upload.write(chunks(b"lost"))
        await upload.close()
        blob = await (await store.resume_upload(state)).commit(Digest.of(SHORT))
        assert await pull(store, blob) == SHORT

    async def test_resume_upload_from_an_old_state_does_no_harm_before_it_writes(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(SHORT[:4]))
        old = await upload.save()
        await upload.write(chunks(SHORT[4:]))
        new = await upload.save()
        await upload.close()
        await (await store.resume_upload(old)).close()
        await finish_upload(store, new, SHORT, CANONICAL)

    async def test_resume_upload_that_is_held_is_busy(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(SHORT))
        state = await upload.save()
        with pytest.raises(UploadBusy) as caught:
            await store.resume_upload(state)
        assert caught.value.offset == state.offset
        await upload.close()
        await (await store.resume_upload(state)).cancel()

    async def test_resume_upload_that_is_held_without_waiting_is_busy_at_once(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(SHORT))
        state = await upload.save()
        with pytest.raises(UploadBusy):
            await store.resume_upload(state, wait=False)
        await upload.close()
        await (await store.resume_upload(state, wait=False)).cancel()

    @pytest.mark.parametrize("end", ["cancel", "commit", "discard"])
    async def test_resume_upload_that_has_ended_is_unknown(self, store: BlobStore, end: str) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(SHORT))
        state = await upload.save()
        await _end(store, upload, state, end)
        with pytest.raises(UploadUnknown):
            await store.resume_upload(state)

    async def test_resume_upload_that_never_was_is_unknown(self, store: BlobStore) -> None:
        with pytest.raises(UploadUnknown):
            await store.resume_upload(UploadState("7f4f1d0e-1111-4222-8333-444455556666", 5, {CANONICAL: b""}))
        await require_empty(store)

    # cancel, close, discard

    async def test_cancel_upload_keeps_nothing(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(LONG))
        await upload.cancel()
        await upload.cancel()
        await require_empty(store)

    async def test_cancel_upload_after_commit_leaves_the_blob(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(SHORT))
        blob = await upload.commit(Digest.of(SHORT))
        await upload.cancel()
        assert await pull(store, blob) == SHORT

    async def test_close_upload_twice_leaves_its_bytes(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(SHORT))
        state = await upload.save()
        await upload.close()
        await upload.close()
        await finish_upload(store, state, SHORT, CANONICAL)

    async def test_discard_upload_removes_its_bytes(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(SHORT))
        state = await upload.save()
        await upload.close()
        assert await store.discard_upload(state)
        await require_empty(store)

    async def test_discard_upload_that_is_held_leaves_it(self, store: BlobStore) -> None:
        upload = await store.begin_upload()
        await upload.write(chunks(SHORT))
        state = await upload.save()
        assert not await store.discard_upload(state)
        assert await pull(store, await upload.commit(Digest.of(SHORT))) == SHORT

    async def test_discard_upload_that_is_absent_is_done(self, store: BlobStore) -> None:
        assert await store.discard_upload(UploadState("7f4f1d0e-1111-4222-8333-444455556666"))


def _collect(states: list[UploadState]) -> Checkpoint:
    async def checkpoint(state: UploadState) -> None:
        states.append(state)

    return checkpoint


async def finish_upload(store: BlobStore, state: UploadState, content: bytes, algorithm: str) -> None:
    """Resume an upload of ``content``, write the rest and commit; nothing but the blob must be left."""
    upload = await store.resume_upload(state)
    assert upload.size == state.offset
    await upload.write(chunks(content[state.offset :]))
    blob = await upload.commit(Digest.of(content, algorithm))
    await upload.close()
    assert (blob.digest, blob.size) == (Digest.of(content), len(content))
    assert await pull(store, blob) == content
    assert await uploads_of(store) == []


async def _cancel_in_mid_write(upload: Upload) -> None:
    reached = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield LONG
        reached.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(upload.write(endless()))
    await reached.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await upload.close()


async def _end(store: BlobStore, upload: Upload, state: UploadState, how: str) -> None:
    if how == "commit":
        await upload.commit(Digest.of(SHORT))
        await upload.close()
    elif how == "cancel":
        await upload.cancel()
    else:
        await upload.close()
        await store.discard_upload(state)
