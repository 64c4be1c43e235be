"""Peers that are slow on purpose, stall, or are merely slow. Only the first two are turned away."""

from __future__ import annotations

import fcntl
import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.manifest import OCI_INDEX
from entrepot.testing.server import RegistryProcess

from .conftest import PATIENT, assert_sound
from .raw import Wire, answers, ask, assert_refused, request
from .stored import look
from .waiting import dribble, eventually, sip

HEADER_SECONDS = 1.0
IDLE_SECONDS = 1.5
BLOB = bytes(range(256)) * 4096 * 16  # more than all buffers on the way hold
LARGE = bytes(256 << 20)
CALM_SECONDS = 5.0
TOOK_NOTHING = "the peer took nothing for 1.5 seconds"
MOST_BYTES_FOR_A_READER = 6 * 1024 * 1024


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry that holds something, put there by a server with time."""
    root = tmp_path_factory.mktemp("slow") / "registry"
    with RegistryProcess(root, environment=PATIENT) as process:
        for name, content in (("blob", BLOB), ("large", LARGE)):
            target = f"/v2/slow/{name}/blobs/uploads/?digest={Digest.of(content)}"
            assert ask(process.port, "POST", target, body=content).status == 201
    return root


@contextmanager
def limited(root: Path, *, header_seconds: float, idle_seconds: float) -> Iterator[RegistryProcess]:
    """A server with one worker, so that a stalled one would show."""
    environment = {
        "ENTREPOT_SERVER__HEADER_TIMEOUT_SECONDS": str(header_seconds),
        "ENTREPOT_SERVER__IDLE_TIMEOUT_SECONDS": str(idle_seconds),
    }
    with RegistryProcess(root, environment=environment) as process:
        yield process
        assert_sound(process)


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[RegistryProcess]:
    """For transfers that stall. Connections may wait for their requests as long as they like."""
    with limited(root, header_seconds=600, idle_seconds=IDLE_SECONDS) as process:
        yield process


@pytest.fixture(scope="module")
def hasty(root: Path) -> Iterator[RegistryProcess]:
    """For connections that stall. Any request may come too late for it on a busy machine, and is tried again."""
    with limited(root, header_seconds=HEADER_SECONDS, idle_seconds=IDLE_SECONDS) as process:
        yield process


@pytest.fixture(scope="module")
def calm(root: Path) -> Iterator[RegistryProcess]:
    """For transfers that are merely slow, on machines that are slow as well."""
    with limited(root, header_seconds=CALM_SECONDS, idle_seconds=CALM_SECONDS) as process:
        yield process


def get_blob() -> bytes:
    return request("GET", f"/v2/slow/blob/blobs/{Digest.of(BLOB)}")


SILENT = {
    "nothing": b"",
    "one_byte": b"G",
    "start_of_http_2": b"P",
    "most_of_http_2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
    "half_a_request_line": b"GET /v2/ HT",
    "half_a_head": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX-",
    "after_an_answer": request("GET", "/v2/"),
    "http_2_without_requests": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]),
}


def test_silent_connections_are_ended(hasty: RegistryProcess) -> None:
    """However they begin; together, as the time runs for all of them."""
    wires = {kind: Wire(hasty.port) for kind in SILENT}
    for kind, wire in wires.items():
        send_if_open(wire, SILENT[kind])
    for wire in wires.values():
        with wire:
            wire.rest()  # returns when the server has hung up


def test_heads_that_drip_in_are_cut_off_and_others_are_served_meanwhile(hasty: RegistryProcess) -> None:
    wires = [Wire(hasty.port) for _ in range(200)]
    for wire in wires:
        send_if_open(wire, b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    with suppress(ConnectionError):  # cut off
        for count in dribble(wires[0].socket, b"a" * 1000, every_seconds=0.1):
            eventually(lambda: answers(hasty.port))
            assert count < 200, "still listening"
    for wire in wires:
        with wire:
            assert wire.rest() == b""


def send_if_open(wire: Wire, data: bytes) -> None:
    with suppress(ConnectionError):  # we were slow, and it is ended already
        wire.send(data)


def test_slow_but_live_upload_is_not_cut(calm: RegistryProcess, name: str) -> None:
    location = ask(calm.port, "POST", f"/v2/{name}/blobs/uploads/").headers["location"]
    content = bytes(range(24))
    with Wire(calm.port) as wire:
        wire.send(request("PATCH", location, {"Content-Length": str(len(content))}, content[:1]))
        began = time.monotonic()
        assert list(dribble(wire.socket, content[1:], every_seconds=0.35))[-1] == len(content) - 1
        assert time.monotonic() - began > CALM_SECONDS * 1.5
        assert wire.reply().status == 202
    assert ask(calm.port, "PUT", f"{location}?digest={Digest.of(content)}").status == 201


def test_request_that_waits_for_another_is_not_cut(server: RegistryProcess, hasty: RegistryProcess, name: str) -> None:
    """It is silent meanwhile."""
    location = ask(server.port, "POST", f"/v2/{name}/blobs/uploads/").headers["location"]
    assert ask(server.port, "PATCH", location, body=b"0123").status == 202
    with (server.root / "uploads" / location.rpartition("/")[2]).open("rb") as held, Wire(hasty.port) as wire:
        fcntl.flock(held, fcntl.LOCK_EX)  # as a server that writes to it
        wire.send(request("PATCH", location, body=b"and more"))
        assert not select.select([wire.socket], [], [], max(HEADER_SECONDS, IDLE_SECONDS) * 1.5)[0]
        fcntl.flock(held, fcntl.LOCK_UN)
        assert wire.reply().headers["range"] == f"0-{len(b'0123and more') - 1}"


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_stalled_upload_is_408_and_keeps_what_came(port: int, name: str, method: str) -> None:
    location = ask(port, "POST", f"/v2/{name}/blobs/uploads/").headers["location"]
    finish = f"{location}?digest={Digest.of(b'abcdef')}"
    with Wire(port) as wire:
        wire.send(request(method, location if method == "PATCH" else finish, {"Content-Length": "6"}, b"abc"))
        assert_refused(wire.reply(), 408, "BLOB_UPLOAD_INVALID", "expected more of the body", "1.5 seconds")
    assert ask(port, "GET", location).headers["range"] == "0-2"
    assert ask(port, "PUT", finish, body=b"def").status == 201


@pytest.mark.parametrize("rest", ["manifests/v1", f"blobs/uploads/?digest={Digest.of(b'abcdef')}"])
def test_stalled_push_in_one_request_is_408_and_keeps_nothing(
    port: int, server: RegistryProcess, name: str, rest: str
) -> None:
    before = look(server.root)
    method = "PUT" if rest.startswith("manifests") else "POST"
    with Wire(port) as wire:
        wire.send(request(method, f"/v2/{name}/{rest}", {"Content-Length": "6", "Content-Type": OCI_INDEX}, b"abc"))
        assert_refused(wire.reply(), 408, "BLOB_UPLOAD_INVALID", "expected more of the body", "1.5 seconds")
    assert look(server.root) == before


def test_peers_that_stop_reading_are_cut_off_and_cost_little_memory(port: int, server: RegistryProcess) -> None:
    [worker] = server.worker_pids()
    before, given_up = resident_bytes(worker), server.log_text().count(TOOK_NOTHING)
    wires = [Wire(port) for _ in range(20)]
    for wire in wires:
        wire.send(get_blob())

    def are_given_up() -> bool:
        assert ask(port, "GET", "/v2/").status == 200
        assert resident_bytes(worker) - before < len(wires) * MOST_BYTES_FOR_A_READER
        return server.log_text().count(TOOK_NOTHING) == given_up + len(wires)

    eventually(are_given_up)
    for wire in wires:
        with wire:
            assert len(wire.rest()) < len(BLOB)


@pytest.mark.slow
def test_slow_reader_is_not_cut(calm: RegistryProcess) -> None:
    """It takes far longer over one piece of what is sent than it may be idle."""
    with socket.socket() as connection:
        connection.settimeout(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", calm.port))
        connection.sendall(get_blob())
        count = sip(connection, 2048, every_seconds=0.05, for_seconds=3 * CALM_SECONDS)
        assert count < 1024 * 1024
        while count < len(BLOB):
            piece = connection.recv(1 << 20)
            assert piece, f"cut off after {count} bytes"
            count += len(piece)


def test_readers_that_hang_up_are_noticed(port: int, server: RegistryProcess) -> None:
    """Or else the whole blob would be read for nobody. It is large, as little of it would be sent before they are."""
    with Wire(port) as wire:
        wire.send(request("GET", f"/v2/slow/large/blobs/{Digest.of(LARGE)}"))
        wire.socket.recv(1000)
    eventually(lambda: "the peer hung up after" in server.log_text())


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
