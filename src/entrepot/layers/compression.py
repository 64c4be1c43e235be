"""Layers compressed and not: found out by their first bytes, unpacked piece by piece with little memory.

What a manifest says of a layer's compression is not asked: clients have been wrong about it for years, and the bytes
know. gzip goes through ISA-L; both it and the hash of what comes out let other threads run meanwhile.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from enum import Enum
from typing import Protocol

from isal import igzip_lib, isal_zlib

from entrepot.errors import LayerInvalid
from entrepot.layers.zstd import ZSTD_MAGIC, ZstdDecompressor, is_skippable

DETECTION_SIZE = 4  # bytes that Compression.of needs to see
PIECE = 256 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_LEVEL = 2  # of 0 to 3: 1 % smaller than 1 at the same speed; 3 gains another 2 % for half the speed
_GZIP_WITHOUT_TIME = 16 + zlib.MAX_WBITS
_IsalError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub has an instance for a class


class Compression(Enum):
    """How a layer is compressed."""

    NONE = ""
    GZIP = "gzip"
    ZSTD = "zstd"

    @classmethod
    def of(cls, first_bytes: bytes) -> Compression:
        """The compression of what begins with these (at least four, unless there are no more)."""
        if first_bytes.startswith(_GZIP_MAGIC):
            return cls.GZIP
        if first_bytes.startswith(ZSTD_MAGIC) or is_skippable(first_bytes):
            return cls.ZSTD
        return cls.NONE


class Decompressor(Protocol):
    """Bytes in, bytes out. Blocks, and does no I/O; fit for a thread."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What more input unpacks to, in pieces of at most ``PIECE`` bytes; take them all before the next ``feed``.

        Raises LayerInvalid.
        """

    def finish(self) -> None:
        """Say that there is no more input. Raises LayerInvalid when there should be."""


def decompressor(first_bytes: bytes) -> Decompressor:
    """For what begins with ``first_bytes`` (at least four, unless there are no more), which are yet to be fed."""
    return _DECOMPRESSORS[Compression.of(first_bytes)]()


class PlainDecompressor:
    """Gives what it gets."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), PIECE):
            yield data[start : start + PIECE]

    def finish(self) -> None:
        pass


class GzipDecompressor:
    """gzip of any number of members. After the last nothing else may follow, zeros neither: as in Go."""

    def __init__(self) -> None:
        self._member: igzip_lib.IgzipDecompressor | None = None
        self._is_first = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member is None:
                self._member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            yield from self._inflate(self._member, data)
            if not self._member.eof:
                return
            data = self._member.unused_data
            self._member, self._is_first = None, False

    def _inflate(self, member: igzip_lib.IgzipDecompressor, data: bytes) -> Iterator[bytes]:
        try:
            piece = member.decompress(data, PIECE)
            while piece:
                yield piece
                piece = b"" if member.eof else member.decompress(b"", PIECE)
        except _IsalError as error:
            raise self._invalid(str(error)) from error

    def finish(self) -> None:
        if self._member is not None:
            raise LayerInvalid("invalid layer: expected the end of its gzip data, got the end of the layer before it")

    def _invalid(self, reason: str) -> LayerInvalid:
        what = "gzip data" if self._is_first else "nothing after its gzip data, or more of it"
        return LayerInvalid(f"invalid layer: expected {what}, got something else ({reason})")


_DECOMPRESSORS: dict[Compression, type[PlainDecompressor | GzipDecompressor | ZstdDecompressor]] = {
    Compression.NONE: PlainDecompressor,
    Compression.GZIP: GzipDecompressor,
    Compression.ZSTD: ZstdDecompressor,
}


class GzipCompressor:
    """gzip without a name or a time: the same bytes for the same bytes, as long as ISA-L stays the same."""

    def __init__(self) -> None:
        self._stream = isal_zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WITHOUT_TIME)

    def feed(self, data: bytes) -> bytes:
        """What can be written so far; often nothing."""
        return self._stream.compress(data)

    def finish(self) -> bytes:
        """The rest."""
        return self._stream.flush()
