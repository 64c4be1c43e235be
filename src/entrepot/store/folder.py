"""The blocking half of the filesystem store: where things lie, and what is done to them in which order::

    <root>/blobs/sha256/<first two hex digits>/<hex>   committed; the location is the path below blobs/
    <root>/uploads/<upload id>                         bytes on their way in
    <root>/partials/<algorithm>/<hex>                  what is there of a blob that is fetched; see partial_files.py
    <root>/quarantine/<hex>-<n>                        what ``admin check --repair`` took out
    <root>/guard, guard.turn                           empty, for locks; see guard.py
    <root>/store-id                                    the id it shares with a database that is elsewhere

A commit syncs the file, renames it into place, and syncs the folder. An upload's one writer holds a lock on
its file (flock), which the kernel lets go when the process dies.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from contextlib import suppress
from pathlib import Path

from entrepot import hashing
from entrepot.digest import CANONICAL, Digest, is_digest
from entrepot.errors import Corrupt, UploadUnknown
from entrepot.hashing import RunningHash
from entrepot.store.base import StoredBlob, UploadState
from entrepot.store.disk import Disk
from entrepot.store.guard import FolderGuard

READ_PIECE = 1024 * 1024
ID_FILE = "store-id"


class BlobFolder:
    """Files below ``root``. Every method blocks; ``disk`` is what tests replace to make things fail."""

    def __init__(self, root: Path, disk: Disk) -> None:
        self.blobs = root / "blobs"
        self.uploads = root / "uploads"
        self.partials = root / "partials"
        self.quarantined = root / "quarantine"
        self.disk = disk
        self.guard = FolderGuard(root)
        self._root = root
        self._made: set[Path] = set()

    def read_id(self) -> str | None:
        """What ``write_id`` has written."""
        try:
            return (self._root / ID_FILE).read_text("utf-8").strip() or None
        except FileNotFoundError:
            return None

    def write_id(self, store_id: str) -> None:
        new = self._root / f".{ID_FILE}.{uuid.uuid4().hex}"
        try:
            new.write_text(f"{store_id}\n", "utf-8")
            new.replace(self._root / ID_FILE)  # another replica may read it right now
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    def make(self, folder: Path) -> None:
        """Create a folder of the store if it is not there; it is durable then, whoever has created it."""
        if folder in self._made:
            return
        if folder == self._root:
            make_root(folder, self.disk)
        else:
            self.make(folder.parent)
            with suppress(FileExistsError):  # not exist_ok: that raises when others remove it before it looks
                folder.mkdir()
            siblings = _folders_in(folder.parent)  # what is there before the sync is durable after it
            self.disk.sync_folder(folder.parent)
            self._made.update(siblings)
        self._made.add(folder)

    def make_again(self, folder: Path) -> None:
        """Create it although we have done so before: somebody has cleaned up empty folders behind our back."""
        self._made.clear()
        self.make(folder)

    def create_upload(self, upload_id: str) -> int:
        """A new file for an upload, locked."""
        path = self.uploads / upload_id
        while True:
            fd = self._open_upload(path, create=True)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if is_at(path, fd):
                return fd
            os.close(fd)  # the job that removes leftovers took the new file for one

    def resume_upload(self, state: UploadState) -> tuple[int, dict[str, RunningHash]] | None:
        """The upload's file, locked and positioned at ``state``, and its hashes; None while it is locked."""
        fd = self._try_lock(state)
        if fd is None:
            return None
        try:
            return fd, _restore_hashes(fd, state)
        except BaseException:
            os.close(fd)
            raise

    def _try_lock(self, state: UploadState) -> int | None:
        path = self.uploads / state.id
        fd = self._open_upload(path, create=not state.offset)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        if not is_at(path, fd):  # committed or cancelled between our open and our lock
            os.close(fd)
            raise UploadUnknown(f"upload {state.id} has just ended", upload=state.id)
        return fd

    def is_written_to(self, upload_id: str) -> bool:
        """Whether a writer holds the upload. To be read as well where nothing can be written."""
        try:
            fd = os.open(self.uploads / upload_id, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def _open_upload(self, path: Path, *, create: bool) -> int:
        self.make(self.uploads)
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT if create else os.O_RDWR, 0o644)
        except FileNotFoundError:
            if not create:
                raise UploadUnknown(f"the bytes of upload {path.name} are gone", upload=path.name) from None
        self.make_again(self.uploads)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def close_cut(self, upload_id: str, fd: int, size: int) -> None:
        """Cut an upload's file back to ``size`` and close it."""
        try:
            if is_at(self.uploads / upload_id, fd):
                os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def discard_upload(self, upload_id: str) -> bool:
        """Remove an upload's file, unless a writer holds it."""
        path = self.uploads / upload_id
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(path, fd):
                path.unlink()
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def place(self, upload_id: str, digest: Digest) -> str:
        """Rename a synced upload to where ``digest`` belongs, over what may be there; return the location."""
        return self.place_file(self.uploads / upload_id, digest)

    def place_file(self, source: Path, digest: Digest) -> str:
        """The same with any synced file of this file system."""
        location = _location(digest)
        target = self.blobs / location
        self.make(target.parent)
        try:
            self.disk.rename(source, target)
        except FileNotFoundError:
            self.make_again(target.parent)
            self.disk.rename(source, target)
        self.disk.sync_folder(target.parent)
        return location

    def open_blob(self, location: str) -> int:
        """A file descriptor to read from. Raises Corrupt when nothing is there."""
        try:
            return os.open(self.blobs / location, os.O_RDONLY)
        except FileNotFoundError:
            raise _missing(location) from None

    def stat_blob(self, location: str) -> int:
        """The size in bytes. Raises Corrupt when nothing is there."""
        try:
            return (self.blobs / location).stat().st_size
        except FileNotFoundError:
            raise _missing(location) from None

    def find_blob(self, digest: Digest, size: int) -> StoredBlob | None:
        """The blob of that digest and size, if it is there and good."""
        blob = StoredBlob(digest, size, _location(digest))
        with suppress(Corrupt, OSError):
            if self.stat_blob(blob.location) == size and self.hash_blob(blob.location) == digest:
                return blob
        return None

    def hash_blob(self, location: str) -> Digest:
        fd = self.open_blob(location)
        try:
            return hash_file(fd)
        finally:
            os.close(fd)

    def quarantine(self, blob: StoredBlob) -> bool:
        """See ``BlobStore.quarantine``."""
        self.make(self.quarantined)
        source = self.blobs / blob.location
        try:
            fd = os.open(source, os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            if _is_good(fd, blob.digest):
                return False
            with self.guard.held_alone():  # nobody has pushed it anew and not recorded that yet
                return self._take_out(source, blob.digest, fd)
        finally:
            os.close(fd)

    def _take_out(self, source: Path, digest: Digest, bad: int) -> bool:
        target = self.quarantined / f"{digest.encoded}-{uuid.uuid4().hex[:8]}"
        if not is_at(source, bad):
            return False
        self.disk.rename(source, target)
        if not is_at(target, bad):  # somebody pushed it anew just now, and we moved that away
            with suppress(FileExistsError):
                os.link(target, source)
            target.unlink()
        self.disk.sync_folder(self.quarantined)
        self.disk.sync_folder(source.parent)
        return target.exists()

    def blob_folders(self) -> list[Path]:
        return _entries(self.blobs / CANONICAL)

    def blobs_in(self, folder: Path) -> list[StoredBlob]:
        """The blobs in one of ``blob_folders``; anything else that lies there is passed over."""
        digests = [Digest(f"{CANONICAL}:{path.name}") for path in _entries(folder)]
        found = []
        for digest in filter(is_digest, digests):
            with suppress(FileNotFoundError):  # taken out since we listed it
                size = (folder / digest.encoded).stat().st_size
                found.append(StoredBlob(digest, size, f"{CANONICAL}/{folder.name}/{digest.encoded}"))
        return found

    def delete_blob(self, location: str) -> None:
        """Raises Corrupt when nothing is there."""
        try:
            (self.blobs / location).unlink()
        except FileNotFoundError:
            raise _missing(location) from None

    def upload_ids(self) -> list[str]:
        return [path.name for path in _entries(self.uploads)]


def make_root(folder: Path, disk: Disk) -> None:
    """Create a folder if it is not there, with its parents, and make it durable where the system lets us."""
    if not folder.parent.exists():
        make_root(folder.parent, disk)
    folder.mkdir(exist_ok=True)
    with suppress(OSError):  # what lies above may be read-only, or not ours to open
        disk.sync_folder(folder.parent)


def _location(canonical: Digest) -> str:
    return f"{CANONICAL}/{canonical.encoded[:2]}/{canonical.encoded}"


def _missing(location: str) -> Corrupt:
    return Corrupt(f"the bytes at {location} are missing", location=location)


def _is_good(fd: int, digest: Digest) -> bool:
    try:
        return hash_file(fd) == digest
    except OSError:  # a disk that cannot read them any more
        return False


def _folders_in(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [folder / entry.name for entry in entries if entry.is_dir()]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _restore_hashes(fd: int, state: UploadState) -> dict[str, RunningHash]:
    if os.fstat(fd).st_size < state.offset:
        raise UploadUnknown(f"bytes of upload {state.id} are gone", upload=state.id)
    os.lseek(fd, state.offset, os.SEEK_SET)
    resumed = {name: hashing.resume(name, saved) for name, saved in state.hashes.items()}
    hashes = {name: running for name, running in resumed.items() if running is not None}
    for name in {CANONICAL, *resumed} - hashes.keys():
        hashes[name] = hashing.begin(name)
        _feed(fd, hashes[name], state.offset)
    return hashes


def hash_file(fd: int, algorithm: str = CANONICAL) -> Digest:
    """The digest of all bytes of an open file."""
    running = hashing.begin(algorithm)
    _feed(fd, running, os.fstat(fd).st_size)
    return running.digest()


def _feed(fd: int, running: RunningHash, end: int) -> None:
    position = 0
    while position < end:
        piece = os.pread(fd, min(READ_PIECE, end - position), position)
        if not piece:
            break
        position += len(piece)
        running.update(piece)


def is_at(path: Path, fd: int) -> bool:
    """Whether this open file is the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
