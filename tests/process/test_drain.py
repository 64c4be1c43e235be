"""Leaving a load balancer: for a while the server says that it stops, and serves on."""

from __future__ import annotations

import json
import os
import signal
import time

import httpx
import pytest

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import Reply, Wire, answers, ask, request
from tests.hostile.waiting import eventually

from .conftest import LONG, Starter
from .pushing import begin_upload
from .test_stop import exit_code, file_of, is_locked, listens

SHORT = 1.0


def drain(process: RegistryProcess) -> None:
    """Return when it drains."""
    os.kill(process.pid, signal.SIGTERM)
    eventually(lambda: ready(process).status == 503)


def ready(process: RegistryProcess) -> Reply:
    return ask(process.port, "GET", "/readyz")


def test_first_signal_makes_every_worker_unready_while_it_serves_on(start: Starter) -> None:
    process = start(workers=2, server__drain_seconds=LONG)
    drain(process)
    for _ in range(20):  # whichever worker is asked
        assert json.loads(ready(process).body) == {"status": "stopping"}
        assert ask(process.port, "GET", "/healthz").status == 200
        assert ask(process.port, "GET", "/v2/").status == 200
    eventually(lambda: f"serves on for {LONG:g} s while /readyz says 503" in process.log_text())


def test_port_is_closed_when_the_time_is_over(start: Starter) -> None:
    process = start(workers=2, server__drain_seconds=SHORT)
    began = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    eventually(lambda: not listens(process.port))
    assert time.monotonic() - began >= SHORT
    assert exit_code(process) == 0


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT"])
def test_second_signal_ends_it_at_once(start: Starter, second: str) -> None:
    process = start(workers=2, server__drain_seconds=LONG)
    drain(process)
    os.kill(process.pid, getattr(signal, second))
    assert exit_code(process) == 0


def test_interrupt_stops_without_draining(start: Starter) -> None:
    """Whoever presses Ctrl-C sits before it and waits."""
    process = start(workers=2, server__drain_seconds=LONG)
    os.killpg(process.pid, signal.SIGINT)
    assert exit_code(process) == 0
    assert "serves on" not in process.log_text()


def test_upload_that_runs_meanwhile_is_finished(start: Starter) -> None:
    process = start(workers=2, server__drain_seconds=SHORT, server__graceful_stop_seconds=LONG)
    location, digest = begin_upload(process.port, "drain/upload"), Digest.of(b"abcdef")
    with Wire(process.port) as wire:
        wire.send(request("PUT", f"{location}?digest={digest}", {"Content-Length": "6"}, b"abc"))
        eventually(lambda: is_locked(file_of(process, location)))  # a worker has it
        os.kill(process.pid, signal.SIGTERM)
        eventually(lambda: not listens(process.port))
        wire.send(b"def")
        assert wire.reply().status == 201
    assert exit_code(process) == 0
    process.start()
    assert ask(process.port, "GET", f"/v2/drain/upload/blobs/{digest}").body == b"abcdef"


def test_push_that_begins_meanwhile_is_finished(start: Starter) -> None:
    process = start(workers=2, server__drain_seconds=LONG)
    drain(process)
    location, digest = begin_upload(process.port, "drain/push"), Digest.of(b"abcdef")
    assert ask(process.port, "PATCH", location, body=b"abcdef").status == 202
    assert ask(process.port, "PUT", f"{location}?digest={digest}").status == 201
    assert ask(process.port, "GET", f"/v2/drain/push/blobs/{digest}").body == b"abcdef"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_kept_connection_ends_with_its_next_answer(start: Starter, version: str) -> None:
    """So that its client comes again by way of the load balancer."""
    process = start(server__drain_seconds=LONG)
    data = request("GET", "/v2/", {"Connection": "keep-alive"}, version=version)
    with Wire(process.port) as wire:
        wire.send(data)
        assert "close" not in wire.reply().headers.get("connection", "")
        drain(process)
        wire.send(data)
        reply = wire.reply()
        assert reply.status == 200
        assert "close" in reply.headers["connection"].split(", ")
        assert wire.rest() == b""


def test_connection_by_http_2_serves_on(start: Starter) -> None:
    """It knows no such header (RFC 9113, 8.2.2), and is asked to end when the port is closed."""
    process = start(server__drain_seconds=LONG)
    with httpx.Client(base_url=process.url, http1=False, http2=True, timeout=100) as client:
        assert client.get("/readyz").status_code == 200
        drain(process)
        for _ in range(3):
            reply = client.get("/v2/")
            assert (reply.http_version, reply.status_code, reply.headers.get("connection")) == ("HTTP/2", 200, None)


def test_worker_that_is_replaced_meanwhile_knows_of_it(start: Starter) -> None:
    process = start(server__drain_seconds=LONG)
    drain(process)
    victim = process.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: set(process.worker_pids()) - {victim} and answers(process.port))
    assert ready(process).status == 503
    assert ask(process.port, "GET", "/v2/").status == 200
