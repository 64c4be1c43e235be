"""The diff ID of a layer: the digest of what it unpacks to (image-spec, config.md, "Layer DiffID")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from entrepot import hashing
from entrepot.digest import CANONICAL, Digest
from entrepot.errors import LayerTooLarge
from entrepot.layers.compression import DETECTION_SIZE, Decompressor, decompressor


@dataclass(frozen=True, slots=True)
class Uncompressed:
    """A layer's diff ID and its size without compression, in bytes."""

    diff_id: Digest
    size: int


class DiffIdHash:
    """Takes a layer's bytes as they come. Blocks; made for a thread beside the download.

    ``limit``, in bytes, is how large the uncompressed layer may be; 0 for any size.
    """

    def __init__(self, limit: int = 0, *, algorithm: str = CANONICAL) -> None:
        self._limit = limit
        self._hash = hashing.begin(algorithm)
        self._size = 0
        self._first = b""
        self._decompressor: Decompressor | None = None

    @property
    def size(self) -> int:
        """Uncompressed bytes so far."""
        return self._size

    def update(self, piece: bytes) -> None:
        """More of the layer as it is stored. Raises LayerInvalid, LayerTooLarge."""
        for _ in self.unpack(piece):
            pass

    def finish(self) -> Uncompressed:
        """Raises LayerInvalid when the layer cannot end here."""
        for _ in self.flush():
            pass
        assert self._decompressor is not None  # flush has seen to it
        self._decompressor.finish()
        return Uncompressed(self._hash.digest(), self._size)

    def unpack(self, piece: bytes) -> Iterator[bytes]:
        """``update`` for those who want to see what it unpacks to; take it all before the next one."""
        if self._decompressor is not None:
            yield from self._hashed(self._decompressor, piece)
            return
        self._first += piece
        if len(self._first) >= DETECTION_SIZE:
            yield from self.flush()

    def flush(self) -> Iterator[bytes]:
        """Before ``finish``: what was held back of a layer of a few bytes."""
        if self._decompressor is None:
            first, self._first = self._first, b""
            self._decompressor = decompressor(first)
            yield from self._hashed(self._decompressor, first)

    def _hashed(self, unpacking: Decompressor, piece: bytes) -> Iterator[bytes]:
        for part in unpacking.feed(piece):
            self._size += len(part)
            if self._limit and self._size > self._limit:
                raise LayerTooLarge(f"a layer may unpack to {self._limit} bytes, this one has more", limit=self._limit)
            self._hash.update(part)
            yield part


def measure(pieces: Iterable[bytes], limit: int = 0) -> Uncompressed:
    """Diff ID and size of a whole layer. Raises LayerInvalid, LayerTooLarge."""
    running = DiffIdHash(limit)
    for piece in pieces:
        running.update(piece)
    return running.finish()
