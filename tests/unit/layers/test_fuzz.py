"""Damaged and random layers: refused as LayerInvalid or read, never anything else, and never more than is there."""

from __future__ import annotations

import gzip
import io
import tarfile
from contextlib import suppress
from itertools import pairwise

import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from entrepot.errors import LayerInvalid
from entrepot.layers.compression import decompressor
from entrepot.layers.tar import Kind, Member, TarStream
from entrepot.layers.tree import Tree

TEXT = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=250)
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
MEMBERS = st.lists(st.tuples(TEXT, KINDS, st.binary(max_size=1500), TEXT, st.integers(0, 2**33)), max_size=8)
FORMATS = st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


def tar(members: list[tuple[str, bytes, bytes, str, int]], form: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form, errors="surrogateescape") as archive:
        for name, kind, content, target, number in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.uid, entry.mtime = kind, target, number, number
            entry.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def pieces(content: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    return [content[start:end] for start, end in pairwise(places)]


def read(parts: list[bytes]) -> list[tuple[Member, bytes]]:
    stream = TarStream()
    found: list[tuple[Member, bytearray]] = []
    for part in parts:
        for event in stream.feed(part):
            if isinstance(event, Member):
                found.append((event, bytearray()))
            else:
                found[-1][1].extend(event)
    stream.finish()
    return [(member, bytes(content)) for member, content in found]


@settings(deadline=None)
@given(MEMBERS, FORMATS, st.lists(st.integers(0, 2**20), max_size=6))
def test_read_any_tar_in_any_pieces_gives_what_was_written(
    members: list[tuple[str, bytes, bytes, str, int]], form: int, cuts: list[int]
) -> None:
    archive = tar(members, form)
    found = read(pieces(archive, cuts))
    with tarfile.open(fileobj=io.BytesIO(archive)) as theirs:
        expected = [(each.name, each.size, each.uid, each.mtime) for each in theirs]
    assert [(m.name.rstrip("/"), m.size, m.uid, m.mtime) for m, _ in found] == expected
    files = [content for _, kind, content, _, _ in members if kind == tarfile.REGTYPE]
    assert [content for m, content in found if m.kind is Kind.FILE] == files


@settings(max_examples=200, deadline=None)
@given(MEMBERS, FORMATS, st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=5))
def test_read_damaged_tar_is_read_or_refused(
    members: list[tuple[str, bytes, bytes, str, int]], form: int, flips: list[tuple[int, int]]
) -> None:
    archive = bytearray(tar(members, form))
    for place, bits in flips:
        archive[place % min(len(archive), 6000)] ^= bits
        start = place % min(len(archive), 6000) // 512 * 512
        archive[start + 148 : start + 156] = b" " * 8
        archive[start + 148 : start + 156] = b"%06o\0 " % sum(archive[start : start + 512])
    tree = Tree(limit=1000)
    try:
        found = read([bytes(archive)])
        for place, (member, _) in enumerate(found):
            tree.add(member, 0, place)
    except LayerInvalid:
        return
    assert sum(len(content) for _, content in found) <= len(archive)
    for path, _ in tree.walk():
        assert ".." not in path.split("/")
        assert not path.startswith("/")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000), st.sampled_from([gzip.compress, zstandard.compress]), st.data())
def test_decompress_damaged_content_is_right_or_refused(content, compress, data) -> None:  # type: ignore[no-untyped-def]
    packed = bytearray(compress(content))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    unpacking, size = decompressor(bytes(packed[:4])), 0
    with suppress(LayerInvalid):
        for part in pieces(bytes(packed), data.draw(st.lists(st.integers(0, 5000), max_size=4))):
            for piece in unpacking.feed(part):
                size += len(piece)
                assert size < 100_000_000
        unpacking.finish()


@given(st.binary(max_size=4000))
def test_read_anything_as_layer_is_read_or_refused(content: bytes) -> None:
    with suppress(LayerInvalid):
        read([content])
