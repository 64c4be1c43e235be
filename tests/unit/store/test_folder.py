"""What the layout on disk promises beyond the contract of stores."""

from __future__ import annotations

import asyncio
import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.errors import Corrupt, UploadUnknown
from entrepot.store.base import StoredBlob, UploadState
from entrepot.store.disk import Disk
from entrepot.store.folder import BlobFolder, make_root

CONTENT = b"content"
DIGEST = Digest.of(CONTENT)
LOCATION = f"sha256/{DIGEST.encoded[:2]}/{DIGEST.encoded}"
BLOB = StoredBlob(DIGEST, len(CONTENT), LOCATION)


class RecordingDisk(Disk):
    """Remembers which folders were synced."""

    def __init__(self) -> None:
        self.synced: list[Path] = []

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self.synced.append(folder)


class RacingDisk(Disk):
    """Lets somebody push the blob anew right before it is moved."""

    def __init__(self, blob: Path) -> None:
        self._blob = blob

    def rename(self, source: Path, target: Path) -> None:
        self._blob.unlink()
        self._blob.write_bytes(CONTENT)
        super().rename(source, target)


def put(root: Path, content: bytes = CONTENT) -> Path:
    path = root / "blobs" / LOCATION
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _waits_for(path: Path) -> bool:
    """Whether somebody waits for the lock of a file (proc(5), /proc/locks)."""
    inode = f":{path.stat().st_ino} "
    return any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines())


def upload(folder: BlobFolder, upload_id: str = "upload") -> int:
    fd = folder.create_upload(upload_id)
    os.write(fd, CONTENT)
    return fd


def test_place_puts_a_blob_where_its_digest_says(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path, Disk())
    os.close(upload(folder))
    assert folder.place("upload", DIGEST) == LOCATION
    assert (tmp_path / "blobs" / LOCATION).read_bytes() == CONTENT
    assert folder.upload_ids() == []


def test_make_syncs_every_folder_up_to_the_root(tmp_path: Path) -> None:
    disk = RecordingDisk()
    BlobFolder(tmp_path / "root", disk).make(tmp_path / "root" / "blobs" / "sha256")
    assert disk.synced == [tmp_path, tmp_path / "root", tmp_path / "root" / "blobs"]


def test_make_syncs_folders_that_another_process_has_made(tmp_path: Path) -> None:
    """The other one may have died between the two."""
    (tmp_path / "blobs" / "sha256").mkdir(parents=True)
    disk = RecordingDisk()
    BlobFolder(tmp_path, disk).make(tmp_path / "blobs" / "sha256")
    assert disk.synced[-2:] == [tmp_path, tmp_path / "blobs"]


def test_make_again_costs_no_sync(tmp_path: Path) -> None:
    disk = RecordingDisk()
    folder = BlobFolder(tmp_path, disk)
    folder.make(folder.blobs)
    disk.synced.clear()
    folder.make(folder.blobs)
    assert disk.synced == []


def test_make_learns_that_what_lay_there_before_the_sync_is_durable_too(tmp_path: Path) -> None:
    for name in ("00", "01", "02"):
        (tmp_path / "blobs" / "sha256" / name).mkdir(parents=True)
    disk = RecordingDisk()
    folder = BlobFolder(tmp_path, disk)
    folder.make(folder.blobs / "sha256" / "00")
    disk.synced.clear()
    folder.make(folder.blobs / "sha256" / "01")
    folder.make(folder.blobs / "sha256" / "02")
    assert disk.synced == []


def test_make_root_makes_its_parents(tmp_path: Path) -> None:
    make_root(tmp_path / "a" / "b" / "c", Disk())
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_place_survives_that_somebody_removed_empty_folders(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path, Disk())
    os.close(upload(folder))
    folder.make((tmp_path / "blobs" / LOCATION).parent)
    for path in ("blobs/" + LOCATION.rpartition("/")[0], "blobs/sha256", "blobs"):
        (tmp_path / path).rmdir()
    folder.place("upload", DIGEST)
    assert (tmp_path / "blobs" / LOCATION).read_bytes() == CONTENT


def test_create_upload_survives_that_somebody_removed_empty_folders(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path, Disk())
    folder.make(folder.uploads)
    folder.uploads.rmdir()
    os.close(upload(folder))
    assert folder.upload_ids() == ["upload"]


def test_create_upload_survives_that_its_new_file_is_taken_for_a_leftover(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path, Disk())
    folder.make(folder.uploads)
    path = folder.uploads / "upload"
    remover = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(remover, fcntl.LOCK_EX)
    with ThreadPoolExecutor() as threads:
        creating = threads.submit(upload, folder)
        while not _waits_for(path):
            assert not creating.done()
        path.unlink()
        os.close(remover)
        os.close(creating.result())
    assert path.read_bytes() == CONTENT


def test_resume_upload_that_was_renamed_while_we_waited_is_unknown(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path, Disk())
    fd = upload(folder)
    state = UploadState("upload", len(CONTENT), {"sha256": b""})
    assert folder.resume_upload(state) is None
    folder.place("upload", DIGEST)
    os.close(fd)
    with pytest.raises(UploadUnknown):
        folder.resume_upload(state)


def test_resume_upload_with_fewer_bytes_than_saved_is_unknown(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path, Disk())
    os.close(upload(folder))
    with pytest.raises(UploadUnknown):
        folder.resume_upload(UploadState("upload", len(CONTENT) + 1, {"sha256": b""}))
    assert folder.discard_upload("upload")  # and it is not held any more


def test_blobs_in_passes_over_what_is_no_blob(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path, Disk())
    path = put(tmp_path)
    (path.parent / "notes.txt").write_text("mine")
    (path.parent / ("g" * 64)).write_text("as long as a digest")
    (tmp_path / "blobs" / "sha256" / "file").write_text("no folder")
    found = [blob for each in folder.blob_folders() for blob in folder.blobs_in(each)]
    assert found == [BLOB]


def test_quarantine_keeps_the_damaged_bytes(tmp_path: Path) -> None:
    path = put(tmp_path, b"damaged")
    assert BlobFolder(tmp_path, Disk()).quarantine(BLOB)
    [kept] = (tmp_path / "quarantine").iterdir()
    assert kept.name.startswith(DIGEST.encoded)
    assert kept.read_bytes() == b"damaged"
    assert not path.exists()


def test_quarantine_takes_out_what_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "blobs" / LOCATION
    path.mkdir(parents=True)  # reading a folder fails as reading a bad sector does
    assert BlobFolder(tmp_path, Disk()).quarantine(BLOB)
    assert not path.exists()


def test_quarantine_leaves_what_is_pushed_anew_meanwhile(tmp_path: Path) -> None:
    path = put(tmp_path, b"damaged")
    assert not BlobFolder(tmp_path, RacingDisk(path)).quarantine(BLOB)
    assert path.read_bytes() == CONTENT
    assert list((tmp_path / "quarantine").iterdir()) == []


def test_read_id_while_it_is_written_finds_the_one_or_the_other(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path, Disk())
    folder.write_id("a")

    def write_and_read(number: int) -> str | None:
        folder.write_id("ab"[number % 2])
        return folder.read_id()

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(write_and_read, range(1000))) == {"a", "b"}
    assert [path.name for path in tmp_path.iterdir()] == ["store-id"]


async def test_quarantine_waits_for_who_has_pushed_and_not_recorded(tmp_path: Path) -> None:
    path = put(tmp_path, b"damaged")
    folder = BlobFolder(tmp_path, Disk())
    async with folder.guard.held(alone=False):
        working = asyncio.ensure_future(asyncio.to_thread(folder.quarantine, BLOB))
        while not is_locked(tmp_path / "guard.turn"):
            assert not working.done()
            await asyncio.sleep(0)
        assert path.exists()
    assert await working
    assert not path.exists()


def is_locked(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_hash_blob_that_is_missing_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(Corrupt):
        BlobFolder(tmp_path, Disk()).hash_blob(LOCATION)
