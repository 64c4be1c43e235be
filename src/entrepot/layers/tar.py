"""Tar archives of strangers, read without trust: ustar, GNU and pax headers, as Go's archive/tar reads them.

The standard library's reader takes a damaged header for the end, reads headers of any size into memory, and follows
sizes below zero; here each of these is a LayerInvalid. Nothing is written anywhere.

``parse`` is the grammar and does no I/O; ``TarStream`` drives it with bytes that come piece by piece.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NoReturn

from entrepot.errors import LayerInvalid

BLOCK = 512
MAX_HEADER = 1024 * 1024  # of one long name or set of pax records
MAX_NAME = 4096  # PATH_MAX
_MAX_NUMBER = 2**63 - 1


class Kind(Enum):
    """What a member is; the values are the type flags of POSIX."""

    FILE = b"0"
    HARD_LINK = b"1"
    SYMLINK = b"2"
    CHARACTER_DEVICE = b"3"
    BLOCK_DEVICE = b"4"
    FOLDER = b"5"
    PIPE = b"6"


_KINDS = {kind.value: kind for kind in Kind} | {b"\0": Kind.FILE, b"7": Kind.FILE}
_PAX, _GLOBAL_PAX, _LONG_NAME, _LONG_TARGET = b"x", b"g", b"L", b"K"


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a tar: its header, and how many bytes of content follow it.

    ``name`` and ``target`` are as they are written, with surrogates for bytes that are not UTF-8; ``records`` are
    its pax records, e.g. ``SCHILY.xattr.security.capability``.
    """

    name: str
    kind: Kind
    size: int
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float = 0
    target: str = ""  # of links
    owner: str = ""
    group: str = ""
    device: tuple[int, int] = (0, 0)
    records: Mapping[str, str] = field(default_factory=dict)

    @property
    def padded_size(self) -> int:
        """Bytes up to the next header."""
        return -(-self.size // BLOCK) * BLOCK


Request = int | Member  # so many bytes are wanted; or a member, whose content the driver takes or leaves
Parser = Generator[Request, bytes, None]


def parse() -> Parser:
    """The grammar. Raises LayerInvalid.

    Yields how many bytes it wants (and is sent as many, or fewer at the end of the input), or a member. After a
    member the driver sends ``b""`` once it is past ``member.padded_size`` bytes. Ends at the end of the archive;
    what comes after that means nothing.
    """
    everywhere: dict[str, str] = {}
    own: dict[str, str] = {}
    while True:
        block = yield BLOCK
        if not block or not block.strip(b"\0"):
            return
        header = _Header(block)
        if header.flag in (_PAX, _GLOBAL_PAX):
            records = _read_records((yield from _extension(header)))
            (own if header.flag == _PAX else everywhere).update(records)
        elif header.flag in (_LONG_NAME, _LONG_TARGET):
            text = _text((yield from _extension(header)))
            own["path" if header.flag == _LONG_NAME else "linkpath"] = text
        else:
            yield _member(header, {**everywhere, **own})
            own = {}


def _extension(header: _Header) -> Generator[Request, bytes, bytes]:
    size = header.number(124, 12, "size")
    if size > MAX_HEADER:
        _refuse(f"at most {MAX_HEADER} bytes in a long header", f"{size}")
    padded = -(-size // BLOCK) * BLOCK
    content = (yield padded) if padded else b""
    if len(content) < padded:
        _refuse("the rest of a long header", "the end of the archive")
    return content[:size]


class _Header:
    """One block, with a right checksum."""

    def __init__(self, block: bytes) -> None:
        if len(block) < BLOCK:
            _refuse(f"a header of {BLOCK} bytes", f"{len(block)} bytes and the end of the archive")
        if not _has_right_checksum(block):
            _refuse("a header with a right checksum", "a wrong one; this is no tar, or a damaged one")
        self._block = block
        self.flag = block[156:157]
        self.is_ustar = block[257:263] == b"ustar\0"
        self.has_owner = block[257:262] == b"ustar"  # also GNU's

    def text(self, start: int, length: int) -> str:
        return _text(self._block[start : start + length])

    def number(self, start: int, length: int, name: str) -> int:
        """Octal digits, or GNU's binary form for what does not fit them. At least 0."""
        content = self._block[start : start + length]
        if content[0] & 0x80:
            value = int.from_bytes(bytes([content[0] & 0x7F]) + content[1:], "big")
            if content[0] & 0x40 or value > _MAX_NUMBER:
                _refuse(f"{name} to be a number from 0 up to 2^63", "another one")
            return value
        digits = content.strip(b" \0")
        if not digits:
            return 0
        if digits.strip(b"01234567"):
            _refuse(f"{name} to be an octal number", repr(digits[:20]))
        return int(digits, 8)

    def time(self) -> int:
        # Times before 1970 are in use: Go writes the zero time as a number below zero.
        return 0 if self._block[136] == 0xFF else self.number(136, 12, "mtime")


def _has_right_checksum(block: bytes) -> bool:
    digits = block[148:156].strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        return False
    others = block[:148] + block[156:]
    excess = int(digits, 8) - sum(others) - 8 * ord(" ")
    # old programs of some systems took bytes for signed
    return excess == 0 or excess == -256 * sum(byte > 127 for byte in others)


def _member(header: _Header, records: dict[str, str]) -> Member:
    def text(name: str, otherwise: str) -> str:
        return records.pop(name, "") or otherwise

    def number(name: str, start: int, length: int) -> int:
        written = records.pop(name, "")
        return _whole(written, name) if written else header.number(start, length, name)

    name = _checked_name(text("path", _name(header)))
    kind = _kind(header, name, records)
    size = number("size", 124, 12) if kind is Kind.FILE else 0
    is_device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
    mtime = records.pop("mtime", "")
    return Member(
        name,
        kind,
        size,
        mode=header.number(100, 8, "mode") & 0o7777,
        uid=number("uid", 108, 8),
        gid=number("gid", 116, 8),
        mtime=_seconds(mtime) if mtime else header.time(),
        target=text("linkpath", header.text(157, 100)),
        owner=text("uname", header.text(265, 32) if header.has_owner else ""),
        group=text("gname", header.text(297, 32) if header.has_owner else ""),
        device=(header.number(329, 8, "devmajor"), header.number(337, 8, "devminor")) if is_device else (0, 0),
        records=records,
    )


def _kind(header: _Header, name: str, records: Mapping[str, str]) -> Kind:
    kind = _KINDS.get(header.flag)
    if kind is None:
        _refuse("files, folders, links and devices", f"a member of type {header.flag!r}")
    if any(record.startswith("GNU.sparse.") for record in records):
        _refuse("whole files", "a sparse one")
    # the oldest tars mark folders so
    return Kind.FOLDER if kind is Kind.FILE and name.endswith("/") else kind


def _checked_name(name: str) -> str:
    if not name or len(name) > MAX_NAME:
        _refuse(f"a name of 1 to {MAX_NAME} characters", f"one of {len(name)}")
    if "\0" in name:
        _refuse("a name without zero bytes", "one with them")
    return name


def _name(header: _Header) -> str:
    prefix = header.text(345, 155) if header.is_ustar else ""
    name = header.text(0, 100)
    return f"{prefix}/{name}" if prefix else name


def _read_records(content: bytes) -> dict[str, str]:
    """pax records: ``<length> <name>=<value>\\n``, the length counting all of it."""
    records = {}
    position = 0
    while position < len(content):
        space = content.find(b" ", position, position + 20)
        digits = content[position:space] if space > 0 else b""
        end = position + int(digits) if digits.isdigit() else 0
        record = content[space + 1 : end]
        name, equals, value = record.partition(b"=")
        if end > len(content) or not equals or not name or not value.endswith(b"\n"):
            _refuse("pax records", "something else")
        records[_text(name)] = value[:-1].decode("utf-8", "surrogateescape")
        position = end
    return records


def _whole(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > _MAX_NUMBER:
        _refuse(f"{name} to be a number from 0 up to 2^63", repr(text[:20]))
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text) if len(text) < 40 else float("nan")
    except ValueError:
        value = float("nan")
    if not -_MAX_NUMBER < value < _MAX_NUMBER:
        _refuse("mtime to be a number of seconds", repr(text[:20]))
    return value


def _text(content: bytes) -> str:
    return content.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _refuse(expected: str, got: str) -> NoReturn:
    raise LayerInvalid(f"invalid tar: expected {expected}, got {got}")


class TarStream:
    """Reads a tar whose bytes come piece by piece; holds no more of it than one header."""

    def __init__(self) -> None:
        self._parser = parse()
        self._request: Request | None = next(self._parser)
        self._waiting = bytearray()
        self._content_left = self._padding_left = 0

    def feed(self, data: bytes) -> Iterator[Member | bytes]:
        """The members in ``data``, each followed by its content in pieces. Take them all before the next ``feed``.

        Raises LayerInvalid.
        """
        rest = memoryview(data)
        while rest and self._request is not None:
            if self._content_left:
                piece, rest = rest[: self._content_left], rest[self._content_left :]
                self._content_left -= len(piece)
                yield bytes(piece)
            elif self._padding_left:
                skipped = min(len(rest), self._padding_left)
                self._padding_left -= skipped
                rest = rest[skipped:]
            else:
                rest = self._read_header(rest)
                if isinstance(self._request, Member):
                    yield self._begin(self._request)

    def _begin(self, member: Member) -> Member:
        self._content_left, self._padding_left = member.size, member.padded_size - member.size
        self._send(b"")
        return member

    def finish(self) -> None:
        """Say that there is no more input. Raises LayerInvalid when there should be."""
        if self._content_left or self._padding_left:
            _refuse(f"{self._content_left or self._padding_left} more bytes of a file", "the end of the archive")
        if isinstance(self._request, int):
            self._send(bytes(self._waiting))

    def _read_header(self, rest: memoryview) -> memoryview:
        assert isinstance(self._request, int)
        lacking = self._request - len(self._waiting)
        self._waiting += rest[:lacking]
        if len(self._waiting) == self._request:
            block = bytes(self._waiting)
            self._waiting.clear()
            self._send(block)
        return rest[lacking:]

    def _send(self, content: bytes) -> None:
        try:
            self._request = self._parser.send(content)
        except StopIteration:
            self._request = None
