"""Bodies shorter and longer than promised, and what is kept of them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import pytest

from entrepot.digest import Digest
from entrepot.manifest import OCI_INDEX
from entrepot.testing.server import RegistryProcess

from .raw import Wire, ask, assert_refused, chunked, request
from .stored import look
from .waiting import eventually

CONTENT = bytes(range(256)) * 1024
KEPT = len(CONTENT) // 2


def hang_up(wire: Wire) -> None:
    wire.socket.close()


def reset(wire: Wire) -> None:
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.socket.close()


ENDS: dict[str, Callable[[Wire], None]] = {"end_of_sending": Wire.stop_sending, "hang_up": hang_up}

TORN = {
    "with_length": ({"Content-Length": str(len(CONTENT))}, CONTENT[:KEPT]),
    "in_chunks": ({"Transfer-Encoding": "chunked"}, chunked(CONTENT[:KEPT], end=b"")),
    "within_a_chunk": (
        {"Transfer-Encoding": "chunked"},
        chunked(CONTENT[: KEPT - 100], end=b"%x\r\n" % 1000) + CONTENT[KEPT - 100 : KEPT],
    ),
}


def begin(port: int, name: str) -> str:
    return ask(port, "POST", f"/v2/{name}/blobs/uploads/").headers["location"]


def holds(port: int, location: str, size: int) -> Callable[[], bool]:
    return lambda: ask(port, "GET", location).headers.get("range") == f"0-{size - 1}"


def finish(port: int, location: str, rest: bytes, whole: bytes, name: str) -> None:
    """Go on from the last byte kept, and get back the whole."""
    digest = Digest.of(whole)
    start = len(whole) - len(rest)
    fields = {"Content-Range": f"{start}-{len(whole) - 1}"}
    assert ask(port, "PUT", f"{location}?digest={digest}", fields, rest).status == 201
    assert ask(port, "GET", f"/v2/{name}/blobs/{digest}").body == whole


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("sending", TORN)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_torn_request_to_upload_keeps_what_came_and_goes_on_from_there(
    port: int, name: str, method: str, sending: str, end: str
) -> None:
    location = begin(port, name)
    fields, body = TORN[sending]
    target = location if method == "PATCH" else f"{location}?digest={Digest.of(CONTENT)}"
    with Wire(port) as wire:
        wire.send(request(method, target, fields, body))
        ENDS[end](wire)
        eventually(holds(port, location, KEPT))
    finish(port, location, CONTENT[KEPT:], CONTENT, name)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_upload_over_connections_that_are_reset_ends_well(port: int, name: str, method: str) -> None:
    """A reset drops what lies unread, so only the server can say how much is kept, and may still be at it."""
    location = begin(port, name)
    target = location if method == "PATCH" else f"{location}?digest={Digest.of(CONTENT)}"
    with Wire(port) as wire:
        wire.send(request(method, target, {"Content-Length": str(len(CONTENT))}, CONTENT[:KEPT]))
        reset(wire)
    finished = f"{location}?digest={Digest.of(CONTENT)}"

    def go_on() -> bool:
        last = ask(port, "GET", location).headers["range"].removeprefix("0-")
        kept = 0 if last == "0" else int(last) + 1
        fields = {"Content-Range": f"{kept}-{len(CONTENT) - 1}"}
        return ask(port, "PUT", finished, fields, CONTENT[kept:]).status == 201

    eventually(go_on)
    assert ask(port, "GET", f"/v2/{name}/blobs/{Digest.of(CONTENT)}").body == CONTENT


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("sending", TORN)
def test_torn_push_in_one_request_keeps_nothing(
    port: int, server: RegistryProcess, name: str, sending: str, end: str
) -> None:
    before = look(server.root)
    fields, body = TORN[sending]
    with Wire(port) as wire:
        wire.send(request("POST", f"/v2/{name}/blobs/uploads/?digest={Digest.of(CONTENT)}", fields, body))
        ENDS[end](wire)
        eventually(lambda: f"path=/v2/{name}/blobs/uploads/ status=499" in server.log_text())
    assert look(server.root) == before


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("sending", ["with_length", "in_chunks"])
def test_torn_push_of_manifest_keeps_nothing(
    port: int, server: RegistryProcess, name: str, sending: str, end: str
) -> None:
    before = look(server.root)
    manifest = b'{"schemaVersion":2,"manifests":[]}'  # whole, but more was announced
    fields, body = {
        "with_length": ({"Content-Length": "100"}, manifest),
        "in_chunks": ({"Transfer-Encoding": "chunked"}, chunked(manifest, end=b"")),
    }[sending]
    with Wire(port) as wire:
        wire.send(request("PUT", f"/v2/{name}/manifests/v1", {**fields, "Content-Type": OCI_INDEX}, body))
        ENDS[end](wire)
        eventually(lambda: f"path=/v2/{name}/manifests/v1 status=499" in server.log_text())
    assert look(server.root) == before


def test_torn_request_whose_sender_still_reads_is_told_so(port: int, name: str) -> None:
    location = begin(port, name)
    with Wire(port) as wire:
        wire.send(request("PATCH", location, {"Content-Length": "10"}, b"abc"))
        wire.stop_sending()
        assert_refused(wire.reply(), 499, "BLOB_UPLOAD_INVALID", "expected more of the body", "after 3 bytes")


BROKEN_CHUNKS = {
    "size_is_no_number": b"zz\r\nabc\r\n0\r\n\r\n",
    "size_is_negative": b"-3\r\nabc\r\n0\r\n\r\n",
    "size_with_plus": b"+3\r\nabc\r\n0\r\n\r\n",
    "size_with_prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "size_beyond_64_bits": b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
    "no_size": b"\r\nabc\r\n0\r\n\r\n",
    "longer_than_its_size": b"2\r\nabc\r\n0\r\n\r\n",
    "endless_extension": b"3;" + b"x" * 100_000 + b"\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", [pytest.param(value, id=key) for key, value in BROKEN_CHUNKS.items()])
def test_append_broken_chunks_is_refused_and_the_upload_lives_on(port: int, name: str, body: bytes) -> None:
    location = begin(port, name)
    assert ask(port, "PATCH", location, body=CONTENT[:KEPT]).status == 202
    with Wire(port) as wire:
        wire.send(request("PATCH", location, {"Transfer-Encoding": "chunked"}, body))
        assert_refused(wire.reply(), 499, "BLOB_UPLOAD_INVALID", "expected more of the body")
        wire.rest()
    reply = ask(port, "GET", location)
    assert KEPT <= int(reply.headers["range"].removeprefix("0-")) + 1 <= KEPT + 2
    assert ask(port, "DELETE", location).status == 204


def test_append_more_than_its_content_length_keeps_what_was_announced(port: int, name: str) -> None:
    location = begin(port, name)
    with Wire(port) as wire:
        wire.send(request("PATCH", location, {"Content-Length": "3"}, b"abcdefghijklmnopqrstuvwxyz\r\n\r\n"))
        assert wire.reply().status == 202
        assert wire.reply().status == 400  # the rest is no request
        wire.rest()
    assert ask(port, "GET", location).headers["range"] == "0-2"
    assert ask(port, "PUT", f"{location}?digest={Digest.of(b'abc')}").status == 201


@pytest.mark.parametrize("size", [1, 300_000, 8_000_000, 20_000_000])
@pytest.mark.parametrize(
    ("method", "rest", "status"),
    [
        ("PATCH", "/blobs/uploads/some-id", 404),
        ("PUT", f"/blobs/uploads/some-id?digest={Digest.of(b'')}", 404),
        ("POST", "/blobs/uploads/?digest=sha256:x", 400),
        ("PUT", "/manifests/.bad", 400),
        ("POST", "/tags/list", 405),
    ],
)
def test_refused_body_can_be_sent_to_its_end_before_the_answer_is_read(
    port: int, name: str, method: str, rest: str, status: int, size: int
) -> None:
    """Many clients read no answer before they have written everything; a reset would take it from them."""
    with Wire(port) as wire:
        wire.send(request(method, f"/v2/{name}{rest}", body=bytes(size)))
        assert wire.reply().status == status


def test_refused_endless_body_is_cut_off(port: int, name: str) -> None:
    with Wire(port) as wire:
        wire.send(request("PATCH", f"/v2/{name}/blobs/uploads/some-id", {"Content-Length": str(2**40)}))
        assert wire.reply().status == 404
        with pytest.raises(ConnectionError):
            wire.send(bytes(1 << 30))
