"""Uploads that nobody finishes go away by themselves, and nothing else does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess
from tests.hostile.conftest import check_stored
from tests.hostile.raw import Wire, ask, assert_refused, request
from tests.hostile.stored import look
from tests.hostile.waiting import dribble, eventually

from .conftest import Starter
from .metrics import scrape
from .pushing import begin_upload, push_blob

AFTER_SECONDS = 2


@pytest.fixture
def registry(start: Starter) -> Iterator[RegistryProcess]:
    process = start(workers=3, uploads__expire_after_seconds=AFTER_SECONDS, uploads__expire_interval_seconds=1)
    yield process
    check_stored(process.root)


def test_upload_that_nobody_goes_on_with_expires_with_its_bytes(registry: RegistryProcess) -> None:
    kept = push_blob(registry.port, "expiry", b"kept")
    location = begin_upload(registry.port, "expiry")
    assert ask(registry.port, "PATCH", location, body=b"left behind").status == 202
    assert look(registry.root).count("uploads") == 1
    eventually(lambda: look(registry.root).count("uploads") == 0)
    assert {file for file in look(registry.root).files if file.startswith("uploads/")} == set()
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        reply = ask(registry.port, method, f"{location}?digest={Digest.of(b'x')}")
        assert_refused(reply, 404, "BLOB_UPLOAD_UNKNOWN", "has expired")
    assert ask(registry.port, "GET", f"/v2/expiry/blobs/{kept}").body == b"kept"


@pytest.mark.slow
def test_upload_that_somebody_is_writing_to_does_not_expire(registry: RegistryProcess) -> None:
    location = begin_upload(registry.port, "expiry")
    abandoned = begin_upload(registry.port, "expiry")
    content = bytes(20)
    with Wire(registry.port) as wire:
        wire.send(request("PATCH", location, {"Content-Length": str(len(content))}))
        for _ in dribble(wire.socket, content, every_seconds=0.25):  # slower than it would expire
            pass
        assert wire.reply().status == 202
    eventually(lambda: ask(registry.port, "GET", abandoned).status == 404)
    assert ask(registry.port, "PUT", f"{location}?digest={Digest.of(content)}").status == 201


@pytest.mark.slow
def test_upload_that_is_gone_on_with_now_and_then_does_not_expire(registry: RegistryProcess) -> None:
    location = begin_upload(registry.port, "expiry")
    began = time.monotonic()

    def is_old_enough() -> bool:
        assert ask(registry.port, "PATCH", location, body=b"x").status == 202
        return time.monotonic() - began > 2 * AFTER_SECONDS

    eventually(is_old_enough)
    assert ask(registry.port, "DELETE", location).status == 204


def test_file_that_belongs_to_no_upload_is_removed(registry: RegistryProcess) -> None:
    """What a killed server leaves of a push in one request."""
    stray = registry.root / "uploads" / "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"left by a process that was killed")
    make_old(stray)
    eventually(lambda: not stray.exists())


def make_old(path: Path) -> None:
    long_ago = time.time() - 30 * 86400
    os.utime(path, (long_ago, long_ago))


@pytest.mark.slow
def test_push_in_one_request_is_not_taken_for_a_left_over_file(registry: RegistryProcess) -> None:
    content = bytes(3_000_000)
    with Wire(registry.port) as wire:
        target = f"/v2/expiry/blobs/uploads/?digest={Digest.of(content)}"
        wire.send(request("POST", target, {"Content-Length": str(len(content))}, content[:-1]))
        runs = scrape(registry).value("entrepot_job_runs_total")
        eventually(lambda: scrape(registry).value("entrepot_job_runs_total") >= runs + 3)
        wire.send(content[-1:])
        assert wire.reply().status == 201


def test_job_runs_in_one_worker_at_a_time(registry: RegistryProcess) -> None:
    began = time.monotonic()
    before = scrape(registry).value("entrepot_job_runs_total", job="expire_uploads")
    eventually(lambda: scrape(registry).value("entrepot_job_runs_total", job="expire_uploads") >= before + 3)
    runs = scrape(registry).value("entrepot_job_runs_total", job="expire_uploads") - before
    assert runs <= time.monotonic() - began + 2  # three workers on their own would have made three times as many
    assert scrape(registry).value("entrepot_job_runs_total", outcome="failed") == 0
    assert scrape(registry).value("entrepot_job_seconds_total", job="expire_uploads") > 0
