"""The blocking half of a layout repository: files of one OCI image layout, in the order that survives a power cut::

<root>/oci-layout            says that this is a layout
<root>/index.json            manifests and their tags; replaced as a whole, under a lock on <root>
<root>/blobs/sha256/<hex>    blobs and manifests alike
<root>/.uploads/<id>         bytes on their way in; removed when the last has come
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from entrepot import hashing
from entrepot.digest import HEX_LENGTHS, Digest, require_match
from entrepot.errors import ArchiveInvalid, UploadBusy, UploadUnknown
from entrepot.hashing import RunningHash
from entrepot.reference import Tag
from entrepot.repositories.layout_index import (
    BLOBS_FOLDER,
    INDEX_FILE,
    LAYOUT_FILE,
    LAYOUT_MARK,
    MAX_INDEX_SIZE,
    LayoutIndex,
    check_layout_mark,
)

UPLOADS_FOLDER = ".uploads"
_READ_PIECE = 1024 * 1024
_MOST_TRIES = 1000
_UPLOAD_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_BEING_MADE = re.compile(r"index\.json|oci-layout|\.(index\.json|oci-layout)\.[0-9a-f]{32}", re.ASCII)
_NO_HARD_LINKS = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK}


class LayoutFolder:
    """One layout. Every method blocks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uploads = root / UPLOADS_FOLDER

    def path(self, digest: Digest) -> Path:
        return self.root / BLOBS_FOLDER / digest.algorithm / digest.encoded

    def size_of(self, digest: Digest) -> int | None:
        """None when there is no such blob."""
        try:
            found = self.path(digest).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def open_blob(self, digest: Digest) -> int | None:
        """A descriptor to read from; None when there is no such blob."""
        try:
            return _open_file(self.path(digest))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_blob(self, digest: Digest, limit: int) -> bytes | None:
        """The content of a blob of at most ``limit`` bytes; None when there is none."""
        fd = self.open_blob(digest)
        return None if fd is None else _read_all(fd, limit, str(digest))

    def is_empty(self) -> bool:
        """Whether there is not a single blob."""
        for algorithm in HEX_LENGTHS:
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._folder_of(algorithm)) as entries:
                if any(entry.is_file() for entry in entries):
                    return False
        return True

    def read_index(self) -> LayoutIndex:
        """Empty when there is none yet. Raises ArchiveInvalid, ManifestInvalid."""
        try:
            mark = _read_all(_open_file(self.root / LAYOUT_FILE), 4096, LAYOUT_FILE)
            content = _read_all(_open_file(self.root / INDEX_FILE), MAX_INDEX_SIZE, INDEX_FILE)
        except (FileNotFoundError, NotADirectoryError):
            return LayoutIndex.empty()
        check_layout_mark(mark)
        return LayoutIndex.parse(content)

    def change_index(self, change: Callable[[LayoutIndex], LayoutIndex]) -> None:
        """Replace the index by what ``change`` makes of it; one process at a time."""
        self.make()
        with self._locked():
            self._change_index(change)

    def _change_index(self, change: Callable[[LayoutIndex], LayoutIndex]) -> None:
        before = self.read_index()
        after = change(before)
        if after.document != before.document or not (self.root / INDEX_FILE).exists():
            self._write_file(INDEX_FILE, after.content)

    def delete_manifest(self, reference: Tag | Digest) -> bool:
        """Take a tag out of the index, or all entries of a digest and then its bytes; False when these are gone."""
        self.make()
        with self._locked():  # until the bytes are gone: whoever pushes it anew writes them after that
            self._change_index(lambda index: index.without(reference))
            return not isinstance(reference, Digest) or self.delete_blob(reference)

    def delete_blob(self, digest: Digest) -> bool:
        """False when there is none."""
        try:
            self.path(digest).unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def adopt(self, source: Path, digest: Digest) -> bool:
        """Make a blob of a file of another layout; False when that is gone."""
        self._make_folder_of(digest.algorithm)
        try:
            with suppress(FileExistsError):
                os.link(source, self.path(digest))
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            return self._copy(source, digest)
        _sync_folder(self.path(digest).parent)
        return True

    def _copy(self, source: Path, digest: Digest) -> bool:
        try:
            content = source.open("rb")
        except FileNotFoundError:
            return False
        with content, self.stage() as staged:
            try:
                shutil.copyfileobj(content, staged, _READ_PIECE)
                staged.commit(digest)
            except BaseException:
                staged.discard()
                raise
        return True

    def begin_upload(self) -> str:
        """Create an upload without bytes, and return its id."""
        with self.stage() as staged:
            return staged.id

    def stage(self) -> StagedBlob:
        """A new upload, held."""
        upload_id = str(uuid.uuid4())
        fd = self._create_upload(self.uploads / upload_id)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return StagedBlob(self, upload_id, fd)

    def _create_upload(self, path: Path) -> int:
        for _ in range(_MOST_TRIES):
            with suppress(FileExistsError):  # raised too when it was there, and is removed before that is looked at
                self.uploads.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # somebody has just removed the folder, which was empty
                return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)  # it may be a link that leads nowhere

    def take(self, upload_id: str) -> StagedBlob:
        """An upload to go on with. Raises UploadUnknown, UploadBusy."""
        path = self._upload_path(upload_id)
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            raise _unknown(upload_id) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            offset = os.fstat(fd).st_size
            os.close(fd)
            raise UploadBusy(
                f"upload {upload_id} is being written right now", offset=offset, upload=upload_id
            ) from None
        if not _is_at(path, fd):
            os.close(fd)
            raise _unknown(upload_id)
        return StagedBlob(self, upload_id, fd)

    def upload_offset(self, upload_id: str) -> int:
        """Raises UploadUnknown."""
        try:
            return self._upload_path(upload_id).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise _unknown(upload_id) from None

    def place(self, upload_id: str, digest: Digest) -> None:
        """Make a synced upload the blob ``digest``."""
        self._make_folder_of(digest.algorithm)
        target = self.path(digest)
        self._upload_path(upload_id).replace(target)
        _sync_folder(target.parent)
        self._tidy()

    def discard(self, upload_id: str) -> None:
        with suppress(FileNotFoundError):
            self._upload_path(upload_id).unlink()
        self._tidy()

    def _tidy(self) -> None:
        with suppress(OSError):  # others are still uploading
            self.uploads.rmdir()

    def _upload_path(self, upload_id: str) -> Path:
        if not _UPLOAD_ID.fullmatch(upload_id):
            raise _unknown(upload_id[:80])
        return self.uploads / upload_id

    def _folder_of(self, algorithm: str) -> Path:
        return self.root / BLOBS_FOLDER / algorithm

    def _make_folder_of(self, algorithm: str) -> None:
        self.make()
        folder = self._folder_of(algorithm)
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(folder.parent)
            _sync_folder(self.root)

    def make(self) -> None:
        """Create the layout if it is not there."""
        (self.root / BLOBS_FOLDER).mkdir(parents=True, exist_ok=True)
        if not (self.root / LAYOUT_FILE).exists() or not (self.root / INDEX_FILE).exists():
            with self._locked():
                if not (self.root / INDEX_FILE).exists():
                    self._write_file(INDEX_FILE, LayoutIndex.empty().content)
                if not (self.root / LAYOUT_FILE).exists():
                    self._write_file(LAYOUT_FILE, LAYOUT_MARK)

    def _write_file(self, name: str, content: bytes) -> None:
        temporary = self.root / f".{name}.{uuid.uuid4().hex}"
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.root / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(self.root)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


class StagedBlob:
    """An upload that we hold: a file that grows. Leaving lets go of it; what is in it stays."""

    def __init__(self, folder: LayoutFolder, upload_id: str, fd: int) -> None:
        self.id = upload_id
        self.size = os.lseek(fd, 0, os.SEEK_END)
        self._folder = folder
        self._fd = fd
        self._hashes: dict[str, RunningHash] = {}

    def hash_with(self, algorithm: str) -> None:
        """Hash what is written from now on, if that is all there will be."""
        if not self.size:
            self._hashes[algorithm] = hashing.begin(algorithm)

    def write(self, data: bytes) -> int:
        self.write_all([data])
        return len(data)

    def write_all(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            for running in self._hashes.values():
                running.update(piece)
            self.size += len(piece)

    def cut(self, size: int) -> None:
        """Forget what comes after ``size`` bytes."""
        os.ftruncate(self._fd, size)
        self.size = size

    def commit(self, digest: Digest) -> None:
        """Make it a blob. Raises DigestInvalid, and then it is gone."""
        try:
            require_match(digest, self._digest(digest.algorithm), self.size)
        except BaseException:
            self.discard()
            raise
        os.fsync(self._fd)
        self._folder.place(self.id, digest)

    def _digest(self, algorithm: str) -> Digest:
        running = self._hashes.get(algorithm)
        if running is None:
            running = hashing.begin(algorithm)
            for piece in _pieces(self._fd):
                running.update(piece)
        return running.digest()

    def discard(self) -> None:
        self._folder.discard(self.id)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> StagedBlob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def has_room(root: Path) -> bool:
    """Whether this folder is a layout, or becomes one right now, or has nothing but folders in it."""
    if (root / LAYOUT_FILE).exists():
        return True
    files = [child.name for child in root.iterdir() if not child.is_dir()]
    # the folder for blobs comes before all of these; some may have gone since they were listed
    return not files or (all(map(_BEING_MADE.fullmatch, files)) and (root / BLOBS_FOLDER).is_dir())


def _pieces(fd: int) -> Iterator[bytes]:
    position = 0
    while piece := os.pread(fd, _READ_PIECE, position):
        position += len(piece)
        yield piece


def _open_file(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not keep us waiting
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ArchiveInvalid(f"invalid image layout: expected {path} to be a file")
    return fd


def _read_all(fd: int, limit: int, name: str) -> bytes:
    with open(fd, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ArchiveInvalid(f"invalid image layout: expected {name} to have at most {limit} bytes, got more")
    return content


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unknown(upload_id: str) -> UploadUnknown:
    return UploadUnknown(f"no upload {upload_id} here", upload=upload_id)
