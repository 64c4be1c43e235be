"""What the filesystem store promises when the disk does not do what it should; the rest is in the contract."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.errors import StorageFull, Unavailable, UploadBusy
from entrepot.store.base import UploadState
from entrepot.store.filesystem import SYNC_EVERY, FilesystemBlobStore, FilesystemUpload
from entrepot.testing.faults import Action, Fault, FaultPlan, FaultyDisk, Step
from entrepot.testing.upload_suite import MIB, chunks, finish_upload, pull, push, require_empty, uploads_of

CONTENT = bytes(range(256)) * (4 * MIB // 256)
ERRORS = [
    pytest.param("full", StorageFull, id="full"),
    pytest.param("error", Unavailable, id="broken"),
]


@pytest.fixture
def plan(tmp_path: Path) -> FaultPlan:
    return FaultPlan(tmp_path / "plan")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path, plan: FaultPlan) -> FilesystemBlobStore:
    return FilesystemBlobStore(root, disk=FaultyDisk(plan), lock_wait_seconds=0.2)


async def begun(store: FilesystemBlobStore) -> tuple[FilesystemUpload, UploadState]:
    """An upload with a megabyte that is safe."""
    upload = await store.begin_upload()
    await upload.write(chunks(CONTENT[:MIB]))
    return upload, await upload.save()


@pytest.mark.parametrize("torn", [False, True], ids=["before", "torn"])
@pytest.mark.parametrize(("action", "error"), ERRORS)
async def test_write_that_fails_leaves_the_upload_at_its_last_saved_state(
    store: FilesystemBlobStore, plan: FaultPlan, action: Action, error: type[Exception], torn: bool
) -> None:
    upload, state = await begun(store)
    plan.set(Fault("write", action, nth=2, torn=torn))
    with pytest.raises(error):
        await upload.write(chunks(*(CONTENT[at : at + MIB + 1] for at in range(MIB, 3 * MIB, MIB + 1))))
    await upload.close()
    plan.clear()
    assert state.offset == MIB
    await finish_upload(store, state, CONTENT, "sha256")


async def test_write_that_fails_counts_bytes_that_are_not_there(
    store: FilesystemBlobStore, root: Path, plan: FaultPlan
) -> None:
    """Which is why nobody may save such an upload; ``LocalUploads`` does not."""
    upload, _ = await begun(store)
    plan.set(Fault("write", "full"))
    with pytest.raises(StorageFull):
        await upload.write(chunks(CONTENT[MIB : 2 * MIB + 1]))
    assert upload.size == 2 * MIB + 1
    assert (root / "uploads" / upload.id).stat().st_size == MIB
    await upload.cancel()


async def test_close_gives_up_bytes_that_no_saved_state_knows_of(
    store: FilesystemBlobStore, root: Path, plan: FaultPlan
) -> None:
    """Or they would keep a full disk full until the upload expires."""
    upload, _ = await begun(store)
    plan.set(Fault("write", "full", nth=2))
    with pytest.raises(StorageFull):
        await upload.write(chunks(CONTENT, CONTENT))
    assert (root / "uploads" / upload.id).stat().st_size == 5 * MIB
    await upload.close()
    assert (root / "uploads" / upload.id).stat().st_size == MIB


@pytest.mark.parametrize("step", ["rename", "sync_folder"])
async def test_close_after_a_failed_commit_leaves_the_bytes_whole(
    store: FilesystemBlobStore, root: Path, plan: FaultPlan, step: Step
) -> None:
    """They may be a blob already."""
    upload = await store.begin_upload()
    await upload.write(chunks(CONTENT))
    plan.set(Fault(step, "error", on="/blobs/sha256/"))
    with pytest.raises(Unavailable):
        await upload.commit(Digest.of(CONTENT))
    [path] = [path for path in root.rglob("*") if path.is_file()]
    assert path.read_bytes() == CONTENT


async def test_write_that_fails_outweighs_a_peer_that_left(store: FilesystemBlobStore, plan: FaultPlan) -> None:
    upload, _ = await begun(store)
    plan.set(Fault("write", "full"))
    with pytest.raises(StorageFull):
        await upload.write(chunks(CONTENT[MIB:], then=ConnectionError("gone")))
    await upload.cancel()


@pytest.mark.parametrize("step", ["write", "sync"])
@pytest.mark.parametrize(("action", "error"), ERRORS)
async def test_save_that_fails_leaves_the_upload_at_its_last_saved_state(
    store: FilesystemBlobStore, plan: FaultPlan, step: Step, action: Action, error: type[Exception]
) -> None:
    upload, state = await begun(store)
    await upload.write(chunks(b"some more"))
    plan.set(Fault(step, action))
    with pytest.raises(error):
        await upload.save()
    await upload.close()
    plan.clear()
    await finish_upload(store, state, CONTENT, "sha256")


@pytest.mark.parametrize("step", ["write", "sync", "rename"])
@pytest.mark.parametrize(("action", "error"), ERRORS)
async def test_commit_that_fails_can_be_resumed(
    store: FilesystemBlobStore, plan: FaultPlan, step: Step, action: Action, error: type[Exception]
) -> None:
    upload, state = await begun(store)
    plan.set(Fault(step, action))
    with pytest.raises(error):
        await upload.commit(Digest.of(CONTENT[:MIB]))
    plan.clear()
    await finish_upload(store, state, CONTENT, "sha256")


@pytest.mark.parametrize(("action", "error"), ERRORS)
async def test_commit_whose_last_sync_fails_is_not_acknowledged(
    store: FilesystemBlobStore, plan: FaultPlan, action: Action, error: type[Exception]
) -> None:
    digest = Digest.of(CONTENT[:MIB])
    upload, _ = await begun(store)
    plan.set(Fault("sync_folder", action, on=f"/{digest.encoded[:2]}"))
    with pytest.raises(error):
        await upload.commit(digest)
    plan.clear()
    assert await pull(store, await push(store, CONTENT[:MIB])) == CONTENT[:MIB]
    assert await uploads_of(store) == []


async def test_commit_syncs_renames_and_syncs_the_folder_in_this_order(
    store: FilesystemBlobStore, plan: FaultPlan, root: Path
) -> None:
    blob = await push(store, CONTENT)
    calls = [(call.step, Path(call.subject)) for call in plan.calls()]
    upload = calls[[step for step, _ in calls].index("write")][1]
    target = root / "blobs" / blob.location
    last_write = max(index for index, (step, _) in enumerate(calls) if step == "write")
    order = [calls.index(call) for call in (("sync", upload), ("rename", target), ("sync_folder", target.parent))]
    assert [last_write, *order] == sorted([last_write, *order])
    folders = [path for step, path in calls[: order[1]] if step == "sync_folder"]
    assert folders[-3:] == [root, root / "blobs", root / "blobs" / "sha256"]


async def test_write_of_much_gives_checkpoints_of_what_is_synced(store: FilesystemBlobStore, plan: FaultPlan) -> None:
    states: list[UploadState] = []

    async def checkpoint(state: UploadState) -> None:
        assert [call.step for call in plan.calls()].count("sync") > len(states)
        states.append(state)

    upload = await store.begin_upload()
    await upload.write(chunks(*[CONTENT] * 18), checkpoint=checkpoint)
    state = await upload.save()
    await upload.close()
    assert [state.offset // SYNC_EVERY for state in states] == [1, 2]
    assert state.offset == 72 * MIB
    await finish_upload(store, states[0], CONTENT * 9, "sha256")


async def test_write_that_raised_gives_no_checkpoint_any_more(store: FilesystemBlobStore, plan: FaultPlan) -> None:
    """Else the state of a chunk that was refused could overwrite the one before it."""
    states: list[UploadState] = []
    upload = await store.begin_upload()
    hold = Fault("sync", "hold")
    plan.set(hold)

    async def checkpoint(state: UploadState) -> None:
        states.append(state)

    async def refused() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield CONTENT
        while not any(call.step == "sync" for call in plan.calls()):
            await asyncio.sleep(0)
        raise ValueError("refused")

    writing = asyncio.create_task(upload.write(refused(), checkpoint=checkpoint))
    done, _ = await asyncio.wait({writing}, timeout=0.3)
    assert not done
    plan.clear()
    with pytest.raises(ValueError, match="refused"):
        await writing
    assert len(states) == 1
    await upload.cancel()
    assert len(states) == 1


async def test_write_that_is_cancelled_does_not_lose_its_file_to_a_thread(
    store: FilesystemBlobStore, plan: FaultPlan
) -> None:
    upload, _ = await begun(store)
    plan.set(Fault("write", "hold"))
    writing = asyncio.create_task(upload.write(chunks(CONTENT[MIB:])))
    while not plan.calls():
        await asyncio.sleep(0)
    writing.cancel()
    await asyncio.sleep(0)
    assert not writing.done()  # the thread is still in the file
    plan.clear()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await upload.cancel()
    await require_empty(store)


async def test_resume_upload_waits_for_its_holder(root: Path) -> None:
    store = FilesystemBlobStore(root, lock_wait_seconds=60)
    upload, state = await begun(store)
    waiting = asyncio.create_task(store.resume_upload(state))
    await asyncio.wait({waiting}, timeout=0.05)
    assert not waiting.done()
    await upload.close()
    await (await waiting).cancel()


async def test_resume_upload_that_waits_too_long_is_busy(store: FilesystemBlobStore) -> None:
    upload, state = await begun(store)
    with pytest.raises(UploadBusy) as caught:
        await store.resume_upload(state)
    assert caught.value.detail == {"offset": MIB, "upload": upload.id}
    await upload.cancel()


async def test_resume_upload_that_is_cancelled_lets_go_of_it(store: FilesystemBlobStore) -> None:
    upload, state = await begun(store)
    await upload.close()
    resuming = asyncio.create_task(store.resume_upload(state))
    await asyncio.sleep(0)  # its thread is at work
    resuming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await resuming
    await finish_upload(store, state, CONTENT, "sha256")


async def test_resume_upload_that_is_refused_leaves_no_file_open(store: FilesystemBlobStore) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        upload, state = await begun(store)
        with pytest.raises(UploadBusy):
            await store.resume_upload(state)
        await upload.cancel()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_check_of_a_store_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("not a folder")
    with pytest.raises(Unavailable, match="the disk failed"):
        await FilesystemBlobStore(tmp_path).check()
