"""Tars of all dialects are read as the standard library wrote them; damaged and hostile ones are refused."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest

from entrepot.errors import LayerInvalid
from entrepot.layers.tar import BLOCK, MAX_HEADER, Kind, Member, TarStream

LONG = "folder/" * 30 + "file"
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def tar(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for member in members:
            info, content = member if isinstance(member, tuple) else (member, b"")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def info(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    for key, value in more.items():
        setattr(member, key, value)
    return member


def read(archive: bytes, *, step: int = 1 << 20) -> list[tuple[Member, bytes]]:
    stream = TarStream()
    found: list[tuple[Member, bytearray]] = []
    for start in range(0, len(archive), step):
        for event in stream.feed(archive[start : start + step]):
            if isinstance(event, Member):
                found.append((event, bytearray()))
            else:
                found[-1][1].extend(event)
    stream.finish()
    return [(member, bytes(content)) for member, content in found]


@pytest.mark.parametrize("step", [1, 511, 1024, 1 << 20])
@pytest.mark.parametrize("form", FORMATS)
def test_read_tar_gives_members_and_contents(form: str, step: int) -> None:
    contents = {"a": b"", "b": b"x" * 512, "dir/c": b"y" * 1500}
    archive = tar(*((info(name), content) for name, content in contents.items()), form=FORMATS[form])
    found = read(archive, step=step)
    assert {member.name: content for member, content in found} == contents
    assert [(member.kind, member.size) for member, _ in found] == [(Kind.FILE, len(c)) for c in contents.values()]


@pytest.mark.parametrize("form", ["gnu", "pax"])
@pytest.mark.parametrize(
    "name", [LONG, "grüße", "x" * 100, "x" * 101, "\udcff\udcfe"], ids=["long", "utf", "a", "b", "raw"]
)
def test_read_tar_with_any_name_gives_it(form: str, name: str) -> None:
    [(member, _), (link, _)] = read(tar(info(name), info("link", tarfile.SYMTYPE, linkname=name), form=FORMATS[form]))
    assert (member.name, link.target, link.kind) == (name, name, Kind.SYMLINK)


def test_read_ustar_joins_prefix_and_name() -> None:
    name = "p" * 120 + "/" + "n" * 90
    [(member, _)] = read(tar(info(name), form=tarfile.USTAR_FORMAT))
    assert member.name == name


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_read_tar_gives_owner_mode_and_time(form: str) -> None:
    stated = info("f", mode=0o4755, uid=3_000_000, gid=7, uname="root", gname="wheel", mtime=1234567890.5)
    [(member, _)] = read(tar(stated, form=FORMATS[form]))
    assert (member.mode, member.uid, member.gid, member.owner, member.group) == (0o4755, 3_000_000, 7, "root", "wheel")
    assert member.mtime == (1234567890.5 if form == "pax" else 1234567890)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (tarfile.LNKTYPE, Kind.HARD_LINK),
        (tarfile.DIRTYPE, Kind.FOLDER),
        (tarfile.FIFOTYPE, Kind.PIPE),
        (tarfile.CHRTYPE, Kind.CHARACTER_DEVICE),
        (tarfile.BLKTYPE, Kind.BLOCK_DEVICE),
        (tarfile.AREGTYPE, Kind.FILE),
        (tarfile.CONTTYPE, Kind.FILE),
    ],
)
def test_read_tar_tells_kinds_apart(kind: bytes, expected: Kind) -> None:
    [(member, _)] = read(tar(info("m", kind, linkname="t", devmajor=5, devminor=1)))
    assert member.kind is expected
    assert member.device == ((5, 1) if b"3" <= kind <= b"4" else (0, 0))


def test_read_tar_keeps_pax_records() -> None:
    records = {"SCHILY.xattr.user.note": "value=with\nnewline"}
    [(member, _), (second, _)] = read(tar(info("f", pax_headers=records), info("g"), form=tarfile.PAX_FORMAT))
    assert (member.records, second.records) == (records, {})


def test_read_tar_applies_global_pax_records() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"uname": "everybody"}) as archive:
        archive.addfile(info("f"))
    [(member, _)] = read(file.getvalue())
    assert member.owner == "everybody"


def test_read_size_in_pax_record_counts() -> None:
    one, two = tar((info("a"), b"x" * 9)), tar(info("b"))
    header = bytearray(one)
    header[124:136] = b"0" * 11 + b"\0"
    pax = tar(info("a", pax_headers={"size": "9"}), form=tarfile.PAX_FORMAT)[: 2 * BLOCK]
    found = read(pax + with_checksum(bytes(header))[: 2 * BLOCK] + two)
    assert [(member.name, content) for member, content in found] == [("a", b"x" * 9), ("b", b"")]


def test_read_negative_time_is_taken_for_zero() -> None:
    [(member, _)] = read(tar(info("f", mtime=-62135596800)))
    assert member.mtime == 0


def test_read_ends_at_zeros_and_ignores_what_follows() -> None:
    archive = tar(info("f")) + b"anything"
    assert [member.name for member, _ in read(archive)] == ["f"]


@pytest.mark.parametrize("size", [0, BLOCK])
def test_read_tar_without_end_mark_is_taken(size: int) -> None:
    archive = tar((info("f"), b"x" * size))[: BLOCK + size]
    assert [len(content) for _, content in read(archive)] == [size]


def with_checksum(archive: bytes) -> bytes:
    header = bytearray(archive)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:BLOCK])
    return bytes(header)


def patched(start: int, content: bytes) -> Callable[[], bytes]:
    def build() -> bytes:
        archive = bytearray(tar((info("file"), b"content")))
        archive[start : start + len(content)] = content
        return with_checksum(bytes(archive))

    return build


def pax(content: bytes) -> bytes:
    header = tar((info("x"), content))[: BLOCK + -(-len(content) // BLOCK) * BLOCK]
    return with_checksum(header[:156] + b"x" + header[157:]) + tar(info("f"))


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no-tar": (lambda: b"#!/bin/sh\n" * 100, "right checksum"),
    "other-checksum": (lambda: tar(info("f"))[:148] + b"000001\0 " + tar(info("f"))[156:], "right checksum"),
    "half-header": (lambda: tar(info("f"))[:300], "header of 512 bytes"),
    "cut-content": (lambda: tar((info("f"), b"x" * 600))[: BLOCK + 600], "end of the archive"),
    "cut-second-header": (lambda: tar(info("f"), info("g"))[: BLOCK + 100], "header of 512 bytes"),
    "damaged-second-header": (lambda: tar(info("f"))[:BLOCK] + b"garbage!" * 64, "right checksum"),
    "negative-size": (patched(124, b"\xff" * 12), "size to be a number"),
    "huge-size": (patched(124, b"\x80" + b"\x7f" * 11), "size to be a number"),
    "octal-size": (patched(124, b"99999999999\0"), "octal"),
    "signed-size": (patched(124, b"-0000000012\0"), "octal"),
    "negative-uid": (patched(108, b"\xff" * 8), "uid to be a number"),
    "sparse": (patched(156, b"S"), "member of type b'S'"),
    "multi-volume": (patched(156, b"M"), "member of type b'M'"),
    "no-name": (patched(0, b"\0" * 100), "a name of 1 to"),
    "long-name-too-long": (lambda: tar(info("n" * 5000)), "a name of 1 to"),
    "pax-no-length": (lambda: pax(b"path=x\n"), "pax records"),
    "pax-length-zero": (lambda: pax(b"0 path=x\n"), "pax records"),
    "pax-length-beyond": (lambda: pax(b"99 path=x\n"), "pax records"),
    "pax-digits-only": (lambda: pax(b"1" * 5000), "pax records"),
    "pax-no-newline": (lambda: pax(b"9 path=xx"), "pax records"),
    "pax-zero-in-name": (lambda: pax(b"11 path=a\0\n"), "without zero bytes"),
    "pax-negative-size": (lambda: pax(b"11 size=-5\n"), "size to be a number"),
    "pax-huge-size": (lambda: pax(b"29 size=99999999999999999999\n"), "number"),
    "pax-time": (lambda: pax(b"13 mtime=nan\n"), "mtime"),
    "pax-sparse": (lambda: pax(b"22 GNU.sparse.major=1\n"), "sparse"),
    "pax-cut": (lambda: pax(b"10 path=a\n" * 100)[: 2 * BLOCK], "rest of a long header"),
}  # fmt: skip


@pytest.mark.parametrize("step", [100, 1 << 20])
@pytest.mark.parametrize("name", HOSTILE)
def test_read_damaged_tar_is_refused(name: str, step: int) -> None:
    build, message = HOSTILE[name]
    with pytest.raises(LayerInvalid, match=message) as refusal:
        read(build(), step=step)
    assert refusal.value.message.startswith("invalid tar: expected ")


@pytest.mark.parametrize("flag", [b"x", b"g", b"L", b"K"])
def test_read_huge_header_is_refused_before_it_is_read(flag: bytes) -> None:
    header = bytearray(tar(info("h"))[:BLOCK])
    header[124:136] = b"%011o\0" % (MAX_HEADER + 1)
    header[156:157] = flag
    with pytest.raises(LayerInvalid, match="in a long header"):
        read(with_checksum(bytes(header)))


def test_read_many_headers_without_a_member_does_not_recurse() -> None:
    header = pax(b"10 path=a\n")[: 2 * BLOCK]
    assert [member.name for member, _ in read(header * 5000 + tar(info("f")))] == ["a"]
