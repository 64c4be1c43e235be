"""zstd, a block at a time (RFC 8878).

The library unpacks all of the input it is given at once, and a kilobyte may be 32 MiB. So the input is cut where blocks
end: one block is never more than 128 KiB.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from entrepot.errors import LayerInvalid

if TYPE_CHECKING:
    import zstandard

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_TAIL = b"\x2a\x4d\x18"  # after a byte 0x50 to 0x5f
_MAX_BLOCK = 128 * 1024
_SKIP = 64 * 1024
_MAX_WINDOW = 128 * 1024 * 1024  # what zstd takes by default, and needs at --ultra -22
_SIZES_OF_DICTIONARY_ID = (0, 1, 2, 4)
_SIZES_OF_CONTENT_SIZE = (0, 2, 4, 8)
_RLE, _RESERVED = 1, 3

_Parser = Generator[tuple[int, bytes], bytes, None]  # how many bytes it wants next, and what the last ones unpack to


def is_skippable(first_bytes: bytes) -> bool:
    """Whether a skippable frame begins so; zstd:chunked and pzstd write such frames."""
    return first_bytes[1:4] == _SKIPPABLE_TAIL and first_bytes[0] & 0xF0 == 0x50


class ZstdDecompressor:
    """zstd of any number of frames, skippable ones included. Checksums are verified where there are any."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._is_between_frames = True
        self._parser = self._parse()
        self._wanted, _ = next(self._parser)

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._waiting += data
        position = 0
        while len(self._waiting) - position >= self._wanted:
            end = position + self._wanted
            self._wanted, piece = self._parser.send(bytes(self._waiting[position:end]))
            position = end
            if piece:
                yield piece
        del self._waiting[:position]

    def finish(self) -> None:
        if self._waiting or not self._is_between_frames:
            raise LayerInvalid("invalid layer: expected the end of its zstd data, got the end of the layer before it")

    def _parse(self) -> _Parser:
        while True:
            magic = yield 4, b""
            self._is_between_frames = False
            if magic == ZSTD_MAGIC:
                yield from _frame()
            elif is_skippable(magic):
                yield from _skippable_frame()
            else:
                raise _invalid("a zstd frame", f"{magic.hex()}")
            self._is_between_frames = True


def _frame() -> _Parser:
    import zstandard

    decoder = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()
    descriptor = yield 1, b""
    header = yield _rest_of_header(descriptor[0]), b""
    _decode(decoder, ZSTD_MAGIC + descriptor + header)
    piece, is_last = b"", False
    while not is_last:
        block = yield 3, piece
        is_last, size = _read_block_header(block)
        content = (yield size, b"") if size else b""
        piece = _decode(decoder, block + content)
    if descriptor[0] & 4:
        checksum = yield 4, piece
        piece = _decode(decoder, checksum)
    if piece:
        yield 0, piece
    if not decoder.eof:
        raise _invalid("the end of a zstd frame", "something else")


def _rest_of_header(descriptor: int) -> int:
    is_single_segment = bool(descriptor & 0x20)
    content_size = _SIZES_OF_CONTENT_SIZE[descriptor >> 6] or int(is_single_segment)
    return int(not is_single_segment) + _SIZES_OF_DICTIONARY_ID[descriptor & 3] + content_size


def _read_block_header(block: bytes) -> tuple[bool, int]:
    """Whether it is the last, and how many bytes follow."""
    word = int.from_bytes(block, "little")
    kind, size = word >> 1 & 3, word >> 3
    if kind == _RESERVED or size > _MAX_BLOCK:
        raise _invalid("a zstd block", f"kind {kind} of {size} bytes")
    return bool(word & 1), 1 if kind == _RLE else size


def _skippable_frame() -> _Parser:
    left = int.from_bytes((yield 4, b""), "little")
    while left:
        size = min(left, _SKIP)
        yield size, b""
        left -= size


def _decode(decoder: zstandard.ZstdDecompressionObj, data: bytes) -> bytes:
    import zstandard

    try:
        return decoder.decompress(data)
    except zstandard.ZstdError as error:
        raise _invalid("zstd data", f"something else ({error})") from error


def _invalid(expected: str, got: str) -> LayerInvalid:
    return LayerInvalid(f"invalid layer: expected {expected}, got {got}")
