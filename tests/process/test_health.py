"""Whether the server lives, and whether it can work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import Reply, ask, assert_refused
from tests.hostile.waiting import eventually

from .conftest import Starter
from .pushing import INDEX, push_blob, put_manifest


@pytest.fixture(scope="module")
def shared(start_for_all: Starter) -> RegistryProcess:
    process = start_for_all(workers=2)
    push_blob(process.port, "health/here", b"content")
    assert put_manifest(process.port, "health/here", "v1", INDEX).status == 201
    return process


def ready(process: RegistryProcess) -> Reply:
    return ask(process.port, "GET", "/readyz")


def test_healthy_server_is_alive_and_ready(shared: RegistryProcess) -> None:
    assert ask(shared.port, "GET", "/healthz").body == b"ok\n"
    assert json.loads(ready(shared).body) == {"status": "ready"}
    for path in ("/healthz", "/readyz"):
        reply = ask(shared.port, "HEAD", path)
        assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/"])
def test_pages_for_machines_take_reads_only(shared: RegistryProcess, path: str) -> None:
    reply = ask(shared.port, "DELETE", path)
    assert_refused(reply, 405, "UNSUPPORTED")
    assert reply.headers["allow"] == "GET, HEAD"


@pytest.fixture
def moved(shared: RegistryProcess, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A part of the registry that is moved away while the server runs; afterwards all must be well again."""
    path: Path = shared.root / request.param
    away = path.with_name(path.name + ".away")
    path.rename(away)
    yield path
    if path.exists():
        path.unlink()
    away.rename(path)
    eventually(lambda: ready(shared).status == 200)
    assert ask(shared.port, "GET", "/v2/health/here/manifests/v1").body == INDEX


def assert_not_ready(process: RegistryProcess, part: str) -> None:
    for _ in range(6):  # whichever worker is asked
        reply = ready(process)
        found = json.loads(reply.body)
        assert (reply.status, found["status"], list(found["problems"])) == (503, "not ready", [part])
        assert found["problems"][part]
        assert ask(process.port, "GET", "/healthz").status == 200


@pytest.mark.parametrize("moved", ["blobs"], indirect=True)
def test_server_whose_blobs_folder_is_a_file_is_not_ready(shared: RegistryProcess, moved: Path) -> None:
    moved.write_text("no folder")
    assert_not_ready(shared, "store")


@pytest.mark.parametrize("moved", ["blobs"], indirect=True)
def test_server_whose_blobs_folder_is_gone_is_not_ready(shared: RegistryProcess, moved: Path) -> None:
    """It would be easy to make a new one, and to look ready while every pull fails."""
    assert_not_ready(shared, "store")


@pytest.mark.parametrize("moved", ["entrepot.db"], indirect=True)
def test_server_whose_database_is_gone_is_not_ready(shared: RegistryProcess, moved: Path) -> None:
    assert_not_ready(shared, "database")


@pytest.mark.parametrize("moved", ["entrepot.db"], indirect=True)
def test_server_whose_database_is_another_file_is_not_ready(shared: RegistryProcess, moved: Path) -> None:
    moved.write_bytes(b"another")
    assert_not_ready(shared, "database")
