"""Image archives as tars whose members are found by name, without unpacking them anywhere.

A tar on disk is read where it is. What cannot be read from any place, like standard input or a compressed tar, is
first written to a temporary file that has no name, so that it goes away however we end.
"""

from __future__ import annotations

import os
import posixpath
import select
import stat
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self

from entrepot.errors import ArchiveInvalid, Invalid, LayerInvalid, TooLarge
from entrepot.layers.compression import DETECTION_SIZE, Compression, decompressor
from entrepot.layers.tar import Kind, Member, parse

PIECE = 1024 * 1024
MAX_MEMBERS = 100_000
_MAX_LINKS = 16
_LOOK_UP_SECONDS = 0.2
_LINKS = (Kind.SYMLINK, Kind.HARD_LINK)


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A file in an archive: where its bytes begin, and how many they are."""

    name: str
    start: int
    size: int


class ArchiveFile:
    """A tar, open for reading. Every method blocks; reads from several threads do not disturb each other."""

    def __init__(self, file: BinaryIO, title: str) -> None:
        """Read the headers of an uncompressed tar in a file with a descriptor. Raises ArchiveInvalid."""
        self.title = title
        self._file = file
        self._files: dict[str, ArchiveMember] = {}
        self._links: dict[str, str] = {}
        try:
            self._read_headers()
        except LayerInvalid as error:
            raise ArchiveInvalid(f"{title}: {error.message}") from error

    @classmethod
    def take(cls, file: BinaryIO, title: str, spooling: Spooling) -> Self:
        """An archive in an open file or pipe, which is closed with it. Raises as ``spool`` does."""
        try:
            if _is_seekable(file) and Compression.of(os.pread(file.fileno(), DETECTION_SIZE, 0)) is Compression.NONE:
                return cls(file, title)
            spooled = spool(file, title, spooling)
        except BaseException:
            file.close()
            raise
        file.close()
        try:
            return cls(spooled, title)
        except BaseException:
            spooled.close()
            raise

    def find(self, name: str) -> ArchiveMember | None:
        """The file of that name, through links; None when there is none. Raises ArchiveInvalid for wild links."""
        for _ in range(_MAX_LINKS):
            if name in self._files:
                return self._files[name]
            if name not in self._links:
                return None
            name = self._links[name]
        raise ArchiveInvalid(f"{self.title}: expected a file, got links in a circle: {name!r}")

    def require(self, name: str) -> ArchiveMember:
        """``find``, or ArchiveInvalid."""
        found = self.find(name)
        if found is None:
            raise ArchiveInvalid(f"{self.title}: {name[:200]!r} is not in it; it is not complete")
        return found

    def read(self, member: ArchiveMember, limit: int) -> bytes:
        """All of a small file. Raises ArchiveInvalid when it has more than ``limit`` bytes."""
        if member.size > limit:
            raise ArchiveInvalid(f"{self.title}: {member.name} may have {limit} bytes, it has {member.size}")
        return b"".join(self.pieces(member))

    def read_at(self, member: ArchiveMember, position: int, size: int) -> bytes:
        """Some bytes of a file, as many as there are. Raises ArchiveInvalid when the archive has become shorter."""
        wanted = min(size, member.size - position)
        content = os.pread(self._file.fileno(), wanted, member.start + position) if wanted > 0 else b""
        if wanted > 0 and not content:
            raise ArchiveInvalid(f"{self.title} became shorter while it was read")
        return content

    def pieces(self, member: ArchiveMember) -> Iterator[bytes]:
        """All bytes of a file."""
        position = 0
        while position < member.size:
            piece = self.read_at(member, position, PIECE)
            position += len(piece)
            yield piece

    def close(self) -> None:
        self._file.close()

    def _read_headers(self) -> None:
        fd = self._file.fileno()
        end = os.fstat(fd).st_size
        parser = parse()
        request = next(parser)
        position = 0
        while True:
            if isinstance(request, Member):
                if request.size > end - position:
                    raise _invalid(self.title, f"{request.name!r} to end before the archive does", "more bytes")
                self._add(request, position)
                position += request.padded_size
                content = b""
            else:
                content = os.pread(fd, request, position)
                position += len(content)
            try:
                request = parser.send(content)
            except StopIteration:
                return

    def _add(self, member: Member, start: int) -> None:
        name = _inside(member.name, self.title)
        if member.kind is Kind.FOLDER:
            return
        if name in self._files or name in self._links:
            raise _invalid(self.title, "each member once", f"{name!r} again")
        if len(self._files) + len(self._links) >= MAX_MEMBERS:
            raise _invalid(self.title, f"at most {MAX_MEMBERS} members", "more")
        if member.kind is Kind.FILE:
            self._files[name] = ArchiveMember(name, start, member.size)
        elif member.kind in _LINKS:
            from_folder = posixpath.dirname(name) if member.kind is Kind.SYMLINK else ""
            self._links[name] = _inside(posixpath.join(from_folder, member.target), self.title)
        else:
            raise _invalid(self.title, "files, folders and links", f"a device or pipe: {name!r}")


class Stopped(Exception):
    """Somebody has called ``stop`` of a Spooling."""


@dataclass(frozen=True, slots=True)
class Spooling:
    """Where temporary files go, and how much of an archive may (in bytes, 0 for any); and a way to end all that."""

    folder: Path | None = None
    limit: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Make whoever spools or packs right now raise Stopped soon."""
        self._stop.set()

    def go_on(self) -> None:
        """Raises Stopped."""
        if self._stop.is_set():
            raise Stopped


def spool(file: BinaryIO, title: str, spooling: Spooling) -> BinaryIO:
    """The uncompressed bytes of ``file``, which nobody has read from, in a temporary file without a name.

    Raises ArchiveInvalid when they cannot be unpacked, TooLarge, Stopped.
    """
    spooled = tempfile.TemporaryFile(dir=spooling.folder)  # noqa: SIM115
    try:
        for piece in _unpacked(file.fileno(), title, spooling):
            if spooling.limit and spooled.tell() + len(piece) > spooling.limit:
                raise TooLarge(f"{title} unpacks to more than {spooling.limit} bytes", limit=spooling.limit)
            spooled.write(piece)
        spooled.flush()
    except BaseException:
        spooled.close()
        raise
    return spooled


def _unpacked(fd: int, title: str, spooling: Spooling) -> Iterator[bytes]:
    try:
        first = _read_first(fd, spooling)
        unpacking = decompressor(first)
        piece = first
        while piece:
            yield from unpacking.feed(piece)
            piece = _read(fd, spooling)
        unpacking.finish()
    except LayerInvalid as error:
        raise ArchiveInvalid(f"{title}: {error.message.replace('layer', 'archive')}") from error


def _read_first(fd: int, spooling: Spooling) -> bytes:
    first = b""
    while len(first) < DETECTION_SIZE and (piece := _read(fd, spooling)):
        first += piece
    return first


def _read(fd: int, spooling: Spooling) -> bytes:
    while not select.select([fd], [], [], _LOOK_UP_SECONDS)[0]:  # a pipe may be silent for as long as it likes
        spooling.go_on()
    spooling.go_on()
    return os.read(fd, PIECE)


def _is_seekable(file: BinaryIO) -> bool:
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode) and file.tell() == 0


def _inside(name: str, title: str) -> str:
    """The name without ``.`` and empty parts. Raises ArchiveInvalid when it leads out of the archive."""
    if name.startswith("/"):
        raise _invalid(title, "names below one folder", f"{name[:200]!r}")
    normal = posixpath.normpath(name)
    if normal == ".." or normal.startswith("../"):
        raise _invalid(title, "names below one folder", f"{name[:200]!r}")
    return normal


def _invalid(title: str, expected: str, got: str) -> Invalid:
    return ArchiveInvalid(f"{title}: invalid archive: expected {expected}, got {got}")
