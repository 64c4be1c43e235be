"""Layers of docker-archives made into blobs: compressed if they are not, measured either way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

from entrepot import hashing
from entrepot.digest import CANONICAL, Digest
from entrepot.layers.compression import DETECTION_SIZE, Compression, GzipCompressor
from entrepot.layers.diff_id import DiffIdHash, Uncompressed
from entrepot.repositories.archive_file import ArchiveFile, ArchiveMember, Spooling

_AT_ONCE = 2  # compressing lets go of the interpreter lock


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer as it will be in a registry. ``file`` holds it when it had to be compressed; else the archive does."""

    digest: Digest
    size: int
    compression: Compression
    unpacked: Uncompressed
    member: ArchiveMember
    file: BinaryIO | None = None


@dataclass(frozen=True, slots=True)
class LayerPacker:
    """Packs layers of one archive. Blocks."""

    archive: ArchiveFile
    spooling: Spooling
    unpacked_limit: int

    def pack_all(self, members: Iterable[ArchiveMember]) -> dict[str, PackedLayer]:
        """The layers by the names of their members. Raises LayerInvalid, LayerTooLarge, ArchiveInvalid, Stopped."""
        different = {member.name: member for member in members}
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="layers") as executor:
            packing = {name: executor.submit(self.pack, member) for name, member in different.items()}
            try:
                return {name: future.result() for name, future in packing.items()}
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise

    def pack(self, member: ArchiveMember) -> PackedLayer:
        """One layer: compressed here if it is not."""
        compression = Compression.of(self.archive.read_at(member, 0, DETECTION_SIZE))
        unpacked = DiffIdHash(self.unpacked_limit)
        hashed = hashing.begin(CANONICAL)
        if compression is Compression.NONE:
            return self._compress(member, unpacked)
        for piece in self._pieces(member):
            unpacked.update(piece)
            hashed.update(piece)
        return PackedLayer(hashed.digest(), member.size, compression, unpacked.finish(), member)

    def _pieces(self, member: ArchiveMember) -> Iterator[bytes]:
        for piece in self.archive.pieces(member):
            self.spooling.go_on()
            yield piece

    def _compress(self, member: ArchiveMember, unpacked: DiffIdHash) -> PackedLayer:
        hashed = hashing.begin(CANONICAL)
        file = tempfile.TemporaryFile(dir=self.spooling.folder)  # noqa: SIM115
        try:
            for piece in _gzipped(self._pieces(member), unpacked):
                hashed.update(piece)
                file.write(piece)
            file.flush()
        except BaseException:
            file.close()
            raise
        return PackedLayer(hashed.digest(), file.tell(), Compression.GZIP, unpacked.finish(), member, file)


def _gzipped(pieces: Iterable[bytes], unpacked: DiffIdHash) -> Iterator[bytes]:
    compressor = GzipCompressor()
    for piece in pieces:
        unpacked.update(piece)
        yield compressor.feed(piece)
    yield compressor.finish()
