"""Stopping: what runs is finished, what hangs is given up, and nothing is lost."""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import socket
from contextlib import closing, suppress
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess
from tests.hostile.conftest import check_stored, faults
from tests.hostile.raw import Wire, answers, ask, request
from tests.hostile.waiting import eventually, sip

from . import http2
from .conftest import LONG, Starter
from .pushing import INDEX, begin_upload, push_blob, put_manifest

LARGE = bytes(range(256)) * 4096 * 24  # more than all buffers on the way hold


def ask_to_stop(process: RegistryProcess) -> None:
    """Return when it no longer listens."""
    os.kill(process.pid, signal.SIGTERM)
    eventually(lambda: not listens(process.port))


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=100).close()
    except ConnectionRefusedError:
        return False
    return True


def exit_code(process: RegistryProcess) -> int:
    eventually(lambda: not process.is_running)
    return process.stop()


def test_upload_in_progress_is_finished_and_new_connections_are_refused(start: Starter) -> None:
    process = start(workers=2, server__graceful_stop_seconds=LONG)
    location = begin_upload(process.port, "stop/upload")
    digest = Digest.of(b"abcdef")
    with Wire(process.port) as wire:
        wire.send(request("PUT", f"{location}?digest={digest}", {"Content-Length": "6"}, b"abc"))
        eventually(lambda: is_locked(file_of(process, location)))  # a worker has it
        ask_to_stop(process)
        assert process.is_running
        wire.send(b"def")
        reply = wire.reply()
        assert (reply.status, reply.headers["connection"]) == (201, "close")
        assert wire.rest() == b""
    assert exit_code(process) == 0
    process.start()
    assert ask(process.port, "GET", f"/v2/stop/upload/blobs/{digest}").body == b"abcdef"


def test_download_in_progress_is_finished(start: Starter) -> None:
    process = start(workers=2, server__graceful_stop_seconds=LONG)
    digest = push_blob(process.port, "stop/download", LARGE)
    with Wire(process.port) as wire:
        wire.send(request("GET", f"/v2/stop/download/blobs/{digest}"))
        count = len(wire.socket.recv(1000))
        ask_to_stop(process)
        count += sip(wire.socket, 100_000, every_seconds=0.02, for_seconds=0.5)
        while piece := wire.socket.recv(1 << 20):
            count += len(piece)
        assert count > len(LARGE)
    assert exit_code(process) == 0


@pytest.mark.slow
def test_download_by_http_2_is_finished(start: Starter) -> None:
    """Frame by frame, because the library takes no more of a connection that is to end."""
    process = start(server__graceful_stop_seconds=LONG)
    digest = push_blob(process.port, "stop/download", LARGE)
    with Wire(process.port) as wire:
        wire.send(http2.opening() + http2.get(f"/v2/stop/download/blobs/{digest}"))
        with closing(http2.frames(wire.socket)) as frames:
            taken = list(itertools.takewhile(lambda frame: frame.kind != http2.DATA, frames))
            ask_to_stop(process)
            for frame in frames:
                taken.append(frame)
                if frame.ends_stream:
                    break
    assert http2.GOAWAY in {frame.kind for frame in taken}
    count = sum(len(frame.payload) for frame in taken if frame.kind == http2.DATA)
    assert count >= len(LARGE) - http2.MOST_PAYLOAD  # one was taken before
    assert exit_code(process) == 0


def test_idle_connection_by_http_2_is_asked_to_end(start: Starter) -> None:
    process = start(workers=2, server__graceful_stop_seconds=LONG)
    with Wire(process.port) as wire:
        wire.send(http2.opening())
        frames = http2.frames(wire.socket)
        assert next(frames).kind == http2.SETTINGS
        os.kill(process.pid, signal.SIGTERM)
        for frame in frames:  # until it hangs up
            if frame.kind == http2.PING:
                wire.send(http2.encode(http2.answer(frame)))
    assert exit_code(process) == 0


@pytest.mark.parametrize("kind", ["silent", "idle"])
def test_connections_without_request_do_not_hold_it_up(start: Starter, kind: str) -> None:
    process = start(workers=2, server__graceful_stop_seconds=LONG)
    data = {"silent": b"", "idle": request("GET", "/v2/")}[kind]
    with Wire(process.port) as wire:
        wire.send(data)
        if data:
            wire.socket.recv(10)
        assert process.stop() == 0


def test_hanging_upload_is_given_up_in_time_and_what_was_acknowledged_is_kept(start: Starter) -> None:
    process = start(workers=2, server__graceful_stop_seconds=1)
    location = begin_upload(process.port, "stop/hang")
    assert ask(process.port, "PATCH", location, body=b"abc").status == 202
    with Wire(process.port) as wire:
        wire.send(request("PATCH", location, {"Content-Length": "6"}, b"def"))
        assert process.stop() == 0  # far sooner than its peer would be given up
    check_stored(process.root)
    process.start()
    assert ask(process.port, "GET", location).headers["range"] in ("0-2", "0-5")


@pytest.mark.slow
def test_push_whose_sender_has_gone_is_finished_first(start: Starter) -> None:
    """It takes a while, as all of it has to be hashed anew."""
    process = start(server__graceful_stop_seconds=LONG)
    content = bytes(300 << 20)
    digest = Digest.of(content, "sha512")
    location = begin_upload(process.port, "stop/gone")
    assert ask(process.port, "PATCH", location, body=content).status == 202
    with Wire(process.port) as wire:
        wire.send(request("PUT", f"{location}?digest={digest}"))
        file = file_of(process, location)
        eventually(lambda: is_locked(file) or not file.exists())  # at work, or done already
    assert process.stop() == 0
    process.start()
    assert ask(process.port, "HEAD", f"/v2/stop/gone/blobs/{digest}").status == 200


def file_of(process: RegistryProcess, location: str) -> Path:
    """Where the bytes of an upload are kept."""
    return process.root / "uploads" / location.rpartition("/")[2]


def is_locked(file: Path) -> bool:
    """Whether somebody writes to it; a writer that comes while we look waits."""
    with suppress(FileNotFoundError), file.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.slow
def test_stop_with_a_thousand_connections_is_quick(start: Starter) -> None:
    process = start(workers=2)
    wires = [Wire(process.port) for _ in range(1000)]
    for wire in wires:
        wire.send(request("GET", "/v2/"))
    assert {wire.reply().status for wire in wires} == {200}
    assert process.stop() == 0
    for wire in wires:
        with wire:
            assert wire.rest() == b""


@pytest.mark.parametrize("sent", ["SIGTERM", "SIGINT"])
def test_stop_is_quiet_and_successful(start: Starter, sent: str) -> None:
    """SIGINT goes to all processes at once, as Ctrl-C in a shell has it."""
    process = start("--access-log", "off", workers=2)
    assert put_manifest(process.port, "stop/quiet", "v1", INDEX).status == 201
    greeting = process.log_text()
    os.killpg(process.pid, getattr(signal, sent))
    assert exit_code(process) == 0
    assert process.log_text() == greeting


def test_stop_is_successful_though_a_worker_ends_first(start: Starter) -> None:
    """As it may be with Ctrl-C, which goes to all of them."""
    process = start(workers=2)
    assert answers(process.port)
    worker = process.worker_pids()[0]
    os.kill(process.pid, signal.SIGSTOP)
    os.kill(worker, signal.SIGTERM)
    eventually(lambda: worker not in process.worker_pids())
    os.kill(process.pid, signal.SIGINT)
    os.kill(process.pid, signal.SIGCONT)
    assert exit_code(process) == 0


@pytest.mark.slow
def test_stop_twice_and_start_again(start: Starter) -> None:
    process = start(workers=2)
    assert put_manifest(process.port, "stop/again", "v1", INDEX).status == 201
    os.kill(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGTERM)
    assert exit_code(process) == 0
    process.start()
    assert ask(process.port, "GET", "/v2/stop/again/manifests/v1").body == INDEX
    assert faults(process) == []


@pytest.mark.slow
def test_stop_after_a_worker_was_killed_is_successful(start: Starter) -> None:
    process = start(workers=2)
    victim = process.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(process.worker_pids()) == 2 and victim not in process.worker_pids())
    assert process.stop() == 0
