"""Decompressors: what they take, in whatever pieces it comes, and what they refuse."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib

import pytest
import zstandard

from entrepot.errors import LayerInvalid
from entrepot.layers.compression import PIECE, Compression, GzipCompressor, decompressor

CONTENT = random.Random(1).randbytes(300_000) + bytes(700_000) + b"the end"
SKIPPABLE = b"\x52\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"


def zstd(content: bytes, *, level: int = 3, checksum: bool = True, size: bool = True) -> bytes:
    return zstandard.ZstdCompressor(level, write_checksum=checksum, write_content_size=size).compress(content)


def zstd_stream(content: bytes) -> bytes:
    compressing = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    return compressing.compress(content) + compressing.flush()


COMPRESSED = {
    "plain": CONTENT,
    "gzip": gzip.compress(CONTENT, 6),
    "gzip-name-and-time": gzip.compress(CONTENT, 1, mtime=1)[:3] + b"\x08" + gzip.compress(CONTENT, 1, mtime=1)[4:10]
    + b"layer.tar\x00" + gzip.compress(CONTENT, 1, mtime=1)[10:],
    "gzip-stored": gzip.compress(CONTENT, 0),
    "gzip-members": b"".join(map(gzip.compress, (CONTENT[:100], b"", CONTENT[100:500_000], CONTENT[500_000:]))),
    "zstd": zstd(CONTENT),
    "zstd-19": zstd(CONTENT, level=19),
    "zstd-no-checksum": zstd(CONTENT, checksum=False),
    "zstd-no-size": zstd(CONTENT, size=False),
    "zstd-stream": zstd_stream(CONTENT),
    "zstd-frames": zstd(CONTENT[:100]) + zstd(b"") + zstd(CONTENT[100:]),
    "zstd-skippable": SKIPPABLE + zstd(CONTENT[:9]) + SKIPPABLE + zstd(CONTENT[9:]) + SKIPPABLE,
}  # fmt: skip


def unpack(content: bytes, *, step: int = 1 << 20) -> bytes:
    unpacking, result = decompressor(content[:4]), bytearray()
    for start in range(0, len(content), step):
        for piece in unpacking.feed(content[start : start + step]):
            assert 0 < len(piece) <= PIECE
            result += piece
    unpacking.finish()
    return bytes(result)


@pytest.mark.parametrize("step", [997, 65536, 1 << 24])
@pytest.mark.parametrize("name", COMPRESSED)
def test_decompress_gives_content_in_small_pieces(name: str, step: int) -> None:
    assert unpack(COMPRESSED[name], step=step) == CONTENT


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd, zstd_stream, lambda c: SKIPPABLE + zstd(c)])
def test_decompress_takes_single_bytes(compress) -> None:  # type: ignore[no-untyped-def]
    assert unpack(compress(b"some content " * 9), step=1) == b"some content " * 9


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd, zstd_stream], ids=["plain", "gzip", "zstd", "stream"])
def test_decompress_of_nothing_gives_nothing(compress) -> None:  # type: ignore[no-untyped-def]
    assert unpack(compress(b"")) == b""


@pytest.mark.parametrize(
    ("first_bytes", "compression"),
    [
        (b"", Compression.NONE),
        (b"\x1f", Compression.NONE),
        (b"\x1f\x8b\x08\x00", Compression.GZIP),
        (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
        (b"\x5f\x2a\x4d\x18", Compression.ZSTD),
        (b"etc/", Compression.NONE),
    ],
)
def test_detect_compression_by_first_bytes(first_bytes: bytes, compression: Compression) -> None:
    assert Compression.of(first_bytes) is compression


@pytest.mark.parametrize("name", [name for name in COMPRESSED if name != "plain"])
@pytest.mark.parametrize("kept", [5, 18, 0.3, 0.9, -1])
def test_decompress_cut_content_is_refused(name: str, kept: float) -> None:
    whole = COMPRESSED[name]
    end = int(kept * len(whole)) if isinstance(kept, float) else kept
    with pytest.raises(LayerInvalid, match="expected the end of its"):
        unpack(whole[:end])


@pytest.mark.parametrize("name", ["gzip", "gzip-members", "zstd", "zstd-stream"])
@pytest.mark.parametrize("place", [10, 0.2, 0.6, -2], ids=str)
def test_decompress_damaged_content_is_refused(name: str, place: float) -> None:
    damaged = bytearray(COMPRESSED[name])
    damaged[int(place * len(damaged)) if isinstance(place, float) else place] ^= 0x55
    with pytest.raises(LayerInvalid):
        unpack(bytes(damaged))


@pytest.mark.parametrize("name", ["gzip", "gzip-members", "zstd", "zstd-skippable"])
@pytest.mark.parametrize(
    "rest", [b"\x00", bytes(600), b"garbage", b"garbage" * 9], ids=["zero", "zeros", "few", "many"]
)
def test_decompress_with_garbage_behind_is_refused(name: str, rest: bytes) -> None:
    with pytest.raises(LayerInvalid):
        unpack(COMPRESSED[name] + rest)


@pytest.mark.parametrize("header", [b"\x00\xff\xff", b"\x06\x00\x00"], ids=["size", "kind"])
def test_decompress_zstd_with_impossible_block_is_refused(header: bytes) -> None:
    with pytest.raises(LayerInvalid, match="a zstd block"):
        unpack(b"\x28\xb5\x2f\xfd\x00\x58" + header + bytes(300_000))


def test_decompress_zstd_with_huge_window_is_refused() -> None:
    with pytest.raises(LayerInvalid, match="zstd data"):
        unpack(b"\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00")


@pytest.mark.parametrize("compress", [lambda c: zlib_bomb(c), zstd_stream], ids=["gzip", "zstd"])
def test_decompress_bomb_takes_little_memory(compress) -> None:  # type: ignore[no-untyped-def]
    bomb = compress(bytes(200_000_000))
    unpacking, size = decompressor(bomb[:4]), 0
    tracemalloc.start()
    try:
        for piece in unpacking.feed(bomb):
            size += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 200_000_000
    assert peak < 2_000_000


def zlib_bomb(content: bytes) -> bytes:
    compressing = zlib.compressobj(9, zlib.DEFLATED, 31)
    return compressing.compress(content) + compressing.flush()


def compress(content: bytes, *, step: int) -> bytes:
    compressing = GzipCompressor()
    parts = [compressing.feed(content[start : start + step]) for start in range(0, len(content), step)]
    return b"".join(parts) + compressing.finish()


def test_compress_gives_gzip_without_time_or_name() -> None:
    packed = compress(CONTENT, step=100_000)
    assert gzip.decompress(packed) == CONTENT
    assert packed[3:8] == bytes(5)


def test_compress_gives_same_bytes_for_same_pieces() -> None:
    assert compress(CONTENT, step=65536) == compress(CONTENT, step=65536)
