"""HTTP/2 frame by frame (RFC 9113), for what a well-behaved client would never see."""

from __future__ import annotations

import socket
import struct
from collections.abc import Generator
from dataclasses import dataclass

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MOST_PAYLOAD = 16 * 1024
DATA, HEADERS, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
ACK = 1
END_STREAM, END_HEADERS = 1, 4
_INITIAL_WINDOW_SIZE = 4
_LARGEST_WINDOW = 2**31 - 1
_DEFAULT_WINDOW = 2**16 - 1


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def ends_stream(self) -> bool:
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)


def encode(frame: Frame) -> bytes:
    size = len(frame.payload)
    return struct.pack(">BHBBL", size >> 16, size & 0xFFFF, frame.kind, frame.flags, frame.stream) + frame.payload


def opening() -> bytes:
    """The preface, and windows so large that nothing has to be said about them again."""
    settings = Frame(SETTINGS, 0, 0, struct.pack(">HL", _INITIAL_WINDOW_SIZE, _LARGEST_WINDOW))
    window = Frame(WINDOW_UPDATE, 0, 0, struct.pack(">L", _LARGEST_WINDOW - _DEFAULT_WINDOW))
    return PREFACE + encode(settings) + encode(window)


def get(path: str) -> bytes:
    fields = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "registry.test")]
    return encode(Frame(HEADERS, END_STREAM | END_HEADERS, 1, hpack.Encoder().encode(fields)))


def answer(ping: Frame) -> Frame:
    return Frame(PING, ACK, 0, ping.payload)


def frames(connection: socket.socket) -> Generator[Frame]:
    """All that the server sends, until it hangs up."""
    with connection.makefile("rb") as stream:
        while head := stream.read(9):
            high, low, kind, flags, number = struct.unpack(">BHBBL", head)
            yield Frame(kind, flags, number, stream.read((high << 16) + low))
