"""Read-only mode: everything can be read, every write is refused with what is allowed instead."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import ask, assert_refused
from tests.hostile.stored import look

from .conftest import Starter
from .pushing import begin_upload, image_of, push_image

NAME = "team/app"
LAYER = b"a layer to read"
BLOB = f"/v2/{NAME}/blobs/{Digest.of(LAYER)}"
MANIFEST = f"/v2/{NAME}/manifests/{Digest.of(image_of(LAYER))}"


@pytest.fixture(scope="module")
def upload_and_registry(start_for_all: Starter) -> tuple[str, RegistryProcess]:
    """A registry that was filled, left with an upload in the middle, and started again for reading."""
    writable = start_for_all()
    push_image(writable.port, NAME, "v1", LAYER)
    location = begin_upload(writable.port, NAME)
    writable.stop()
    return location, start_for_all("--read-only", workers=2, root=writable.root)


@pytest.fixture
def registry(upload_and_registry: tuple[str, RegistryProcess]) -> Iterator[RegistryProcess]:
    process = upload_and_registry[1]
    before = look(process.root)
    yield process
    assert look(process.root) == before


@pytest.fixture
def upload(upload_and_registry: tuple[str, RegistryProcess]) -> str:
    return upload_and_registry[0]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path",
    [
        "/v2/",
        "/v2/_catalog",
        f"/v2/{NAME}/tags/list",
        f"/v2/{NAME}/manifests/v1",
        MANIFEST,
        BLOB,
        f"/v2/{NAME}/referrers/{Digest.of(LAYER)}",
        "/v1/search?q=app",
        "/healthz",
        "/readyz",
        "/metrics",
    ],
)
def test_read_is_answered(registry: RegistryProcess, method: str, path: str) -> None:
    assert ask(registry.port, method, path).status == 200


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", f"/v2/{NAME}/manifests/v2", "GET, HEAD"),
        ("PUT", MANIFEST, "GET, HEAD"),
        ("DELETE", f"/v2/{NAME}/manifests/v1", "GET, HEAD"),
        ("DELETE", MANIFEST, "GET, HEAD"),
        ("DELETE", BLOB, "GET, HEAD"),
        ("POST", f"/v2/{NAME}/blobs/uploads/", ""),
        ("POST", f"/v2/{NAME}/blobs/uploads/?digest={Digest.of(b'x')}", ""),
        ("POST", f"/v2/team/other/blobs/uploads/?mount={Digest.of(LAYER)}&from={NAME}", ""),
    ],
)
def test_write_is_refused_with_what_is_allowed(registry: RegistryProcess, method: str, path: str, allow: str) -> None:
    reply = ask(registry.port, method, path, body=b"x" if method in ("PUT", "POST") else b"")
    assert_refused(reply, 405, "UNSUPPORTED", "read-only mode")
    assert reply.headers["allow"] == allow


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_going_on_with_an_upload_is_refused(registry: RegistryProcess, upload: str, method: str) -> None:
    target = f"{upload}?digest={Digest.of(b'x')}" if method == "PUT" else upload
    reply = ask(registry.port, method, target, body=b"" if method == "DELETE" else b"x")
    assert_refused(reply, 405, "UNSUPPORTED", "read-only mode")
    assert reply.headers["allow"] == "GET, HEAD"
    assert ask(registry.port, "GET", upload).status == 204


def test_method_that_never_was_there_is_refused_as_ever(registry: RegistryProcess) -> None:
    assert_refused(ask(registry.port, "POST", MANIFEST), 405, "UNSUPPORTED", "expected one of GET, HEAD, PUT, DELETE")


def test_start_says_that_it_is_read_only(registry: RegistryProcess) -> None:
    assert "read-only mode: every write is refused" in registry.log_text()
