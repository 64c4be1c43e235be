"""Several workers over one folder: any request may meet any of them, and any of them may die."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterator

import pytest

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import Wire, answers, ask, request
from tests.hostile.waiting import eventually

from .conftest import Starter
from .pushing import INDEX, begin_upload, push_blob, put_manifest
from .sockets import worker_of

WORKERS = 3
MOST_OTHERS = 200
CONTENT = bytes(range(256)) * 400


@pytest.fixture(scope="module")
def registry(start_for_all: Starter) -> RegistryProcess:
    return start_for_all(workers=WORKERS)


def connections_to_all(process: RegistryProcess) -> dict[int, Wire]:
    """A connection to each worker; the kernel deals them out as it likes, so take many and keep one of each."""
    chosen: dict[int, Wire] = {}
    others: deque[Wire] = deque()
    while len(chosen) < WORKERS:
        if len(others) > MOST_OTHERS:  # a worker may take long to start
            others.popleft().socket.close()
        wire = Wire(process.port)
        wire.send(request("GET", "/v2/"))
        assert wire.reply().status == 200
        pid = worker_of(process, wire.socket)
        assert pid is not None
        if chosen.setdefault(pid, wire) is not wire:
            others.append(wire)
    for wire in others:
        wire.socket.close()
    return chosen


@pytest.fixture
def wires(registry: RegistryProcess) -> Iterator[list[Wire]]:
    """One connection to each worker."""
    connections = connections_to_all(registry)
    assert sorted(connections) == registry.worker_pids()
    yield list(connections.values())
    for wire in connections.values():
        wire.socket.close()


def test_upload_goes_on_at_any_worker(wires: list[Wire]) -> None:
    wires[0].send(request("POST", "/v2/workers/turns/blobs/uploads/"))
    location = wires[0].reply().headers["location"]
    step = len(CONTENT) // 10
    for number, start in enumerate(range(0, len(CONTENT), step)):
        piece = CONTENT[start : start + step]
        wire = wires[number % WORKERS]
        wire.send(request("PATCH", location, {"Content-Range": f"{start}-{start + len(piece) - 1}"}, piece))
        assert wire.reply().headers["range"] == f"0-{start + len(piece) - 1}"
    digest = Digest.of(CONTENT)
    wires[1].send(request("PUT", f"{location}?digest={digest}"))
    assert wires[1].reply().status == 201
    for wire in wires:
        wire.send(request("GET", f"/v2/workers/turns/blobs/{digest}"))
        assert wire.reply().body == CONTENT
        wire.send(request("GET", location))
        assert wire.reply().status == 404


def test_what_one_worker_answered_all_others_know_at_once(wires: list[Wire]) -> None:
    for round_number in range(20):
        writer = wires[round_number % WORKERS]
        tag = f"/v2/workers/tags/manifests/v{round_number}"
        writer.send(request("PUT", tag, {"Content-Type": "application/vnd.oci.image.index.v1+json"}, INDEX))
        assert writer.reply().status == 201
        for wire in wires:
            wire.send(request("HEAD", tag))
            assert wire.reply(head=True).status == 200
        writer.send(request("DELETE", tag))
        assert writer.reply().status == 202
        for wire in wires:
            wire.send(request("HEAD", tag))
            assert wire.reply(head=True).status == 404


def test_upload_that_one_worker_writes_is_busy_for_the_others(wires: list[Wire]) -> None:
    writer, other, _ = wires
    writer.send(request("POST", "/v2/workers/busy/blobs/uploads/"))
    location = writer.reply().headers["location"]
    writer.send(request("PATCH", location, {"Transfer-Encoding": "chunked"}, b"3\r\nabc\r\n"))
    other.send(request("PATCH", location, body=b"def"))
    writer.send(b"0\r\n\r\n")
    assert writer.reply().status == 202
    assert other.reply().headers["range"] in ("0-5", "0-2")  # it waited, and then appended or came first
    writer.send(request("GET", location))
    assert writer.reply().headers["range"] == "0-5"


def test_killed_worker_is_replaced_and_requests_go_on(start: Starter) -> None:
    process = start(workers=WORKERS)
    digest = push_blob(process.port, "workers/kept", CONTENT)
    victim = process.worker_pids()[0]
    location = begin_upload(process.port, "workers/kept")
    assert ask(process.port, "PATCH", location, body=CONTENT[:1000]).status == 202
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(process.worker_pids()) == WORKERS and victim not in process.worker_pids())
    for wire in connections_to_all(process).values():
        with wire:
            wire.send(request("GET", f"/v2/workers/kept/blobs/{digest}"))
            assert wire.reply().body == CONTENT
    rest = ask(process.port, "PUT", f"{location}?digest={digest}", body=CONTENT[1000:])
    assert rest.status == 201


def test_worker_killed_in_mid_upload_leaves_what_was_acknowledged(start: Starter) -> None:
    process = start(workers=WORKERS)
    location = begin_upload(process.port, "workers/torn")
    assert ask(process.port, "PATCH", location, body=b"abc").status == 202
    with Wire(process.port) as wire:
        wire.send(request("PATCH", location, {"Content-Length": "6"}, b"def"))
        eventually(lambda: worker_of(process, wire.socket))
        victim = worker_of(process, wire.socket)
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        wire.rest()
    eventually(lambda: victim not in process.worker_pids())  # until then the kernel may give it new connections
    assert ask(process.port, "GET", location).headers["range"] == "0-2"
    assert ask(process.port, "PUT", f"{location}?digest={Digest.of(b'abcdef')}", body=b"def").status == 201


@pytest.mark.slow
def test_all_workers_killed_at_once_are_replaced(start: Starter) -> None:
    process = start(workers=WORKERS)
    assert put_manifest(process.port, "workers/all", "v1", INDEX).status == 201
    before = process.worker_pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(set(process.worker_pids()) - set(before)) == WORKERS and answers(process.port))
    for wire in connections_to_all(process).values():
        with wire:
            wire.send(request("GET", "/v2/workers/all/manifests/v1"))
            assert wire.reply().body == INDEX


def test_workers_end_with_their_main_process(start: Starter) -> None:
    """And let go of the port, so that the registry can be started again."""
    process = start(workers=WORKERS)
    workers = process.worker_pids()
    os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: not any(is_alive(pid) for pid in workers))
    process.start()
    assert ask(process.port, "GET", "/v2/").status == 200


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
