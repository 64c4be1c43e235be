"""Uploads that nobody finishes go away by themselves, and nothing else does."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess
from tests.hostile.conftest import check_stored
from tests.hostile.raw import Wire, ask, assert_refused, request
from tests.hostile.stored import look
from tests.hostile.waiting import eventually

from .conftest import Starter
from .metrics import scrape
from .pushing import begin_upload, push_blob
from .test_stop import file_of, is_locked

AFTER_SECONDS = 3600  # tests make uploads old, so that none is on a slow machine


@pytest.fixture
def registry(start: Starter) -> Iterator[RegistryProcess]:
    process = start(workers=3, uploads__expire_after_seconds=AFTER_SECONDS, uploads__expire_interval_seconds=1)
    yield process
    check_stored(process.root)


def pass_time(process: RegistryProcess, seconds: int) -> None:
    """All uploads were touched so much longer ago."""
    with closing(sqlite3.connect(process.root / "entrepot.db", timeout=100)) as database, database:
        database.execute("UPDATE uploads SET updated_at = updated_at - ?", (seconds,))


def wait_for_the_job(process: RegistryProcess) -> None:
    """Until one run has begun and ended since; another may have been going on."""
    runs = scrape(process).value("entrepot_job_runs_total")
    eventually(lambda: scrape(process).value("entrepot_job_runs_total") >= runs + 2)


def test_upload_that_nobody_goes_on_with_expires_with_its_bytes(registry: RegistryProcess) -> None:
    kept = push_blob(registry.port, "expiry", b"kept")
    location = begin_upload(registry.port, "expiry")
    assert ask(registry.port, "PATCH", location, body=b"left behind").status == 202
    assert look(registry.root).count("uploads") == 1
    pass_time(registry, 2 * AFTER_SECONDS)
    eventually(lambda: look(registry.root).count("uploads") == 0)
    eventually(lambda: not {file for file in look(registry.root).files if file.startswith("uploads/")})
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
        wire.send(request("PATCH", location, {"Content-Length": str(len(content))}, content[:-1]))
        eventually(lambda: is_locked(file_of(registry, location)))
        pass_time(registry, 2 * AFTER_SECONDS)
        wait_for_the_job(registry)
        wire.send(content[-1:])
        assert wire.reply().status == 202
    assert ask(registry.port, "GET", abandoned).status == 404
    assert ask(registry.port, "PUT", f"{location}?digest={Digest.of(content)}").status == 201


@pytest.mark.slow
def test_upload_that_is_gone_on_with_now_and_then_does_not_expire(registry: RegistryProcess) -> None:
    location = begin_upload(registry.port, "expiry")
    for _ in range(3):
        pass_time(registry, AFTER_SECONDS * 2 // 3)
        wait_for_the_job(registry)
        assert ask(registry.port, "PATCH", location, body=b"x").status == 202
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


def left_over(process: RegistryProcess) -> list[Path]:
    return [path for path in (process.root / "uploads").glob("*") if path.is_file()]


@pytest.mark.slow
def test_push_in_one_request_is_not_taken_for_a_left_over_file(registry: RegistryProcess) -> None:
    content = bytes(3_000_000)
    with Wire(registry.port) as wire:
        target = f"/v2/expiry/blobs/uploads/?digest={Digest.of(content)}"
        wire.send(request("POST", target, {"Content-Length": str(len(content))}, content[:-1]))
        eventually(lambda: left_over(registry))
        for file in left_over(registry):
            make_old(file)
        wait_for_the_job(registry)
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
