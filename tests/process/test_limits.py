"""How much is too much, by the settings."""

from __future__ import annotations

import json

import pytest

from entrepot.digest import Digest
from entrepot.manifest import OCI_INDEX
from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import ask, assert_refused, chunked
from tests.hostile.stored import look

from .conftest import Starter
from .pushing import INDEX, begin_upload, push_blob, put_manifest

MOST_MANIFEST = 5 * 1024 * 1024
MOST_BLOB = 1024 * 1024
MOST_UPLOADS = 3
PAGE = 4


@pytest.fixture(scope="module")
def registry(start_for_all: Starter) -> RegistryProcess:
    return start_for_all(
        workers=2,
        limits__manifest_bytes="5MiB",
        limits__upload_bytes="1MiB",
        limits__uploads_per_repository=MOST_UPLOADS,
        limits__tags_per_push=10,
        limits__page_size=PAGE,
    )


def padded(size: int) -> bytes:
    """An index of exactly ``size`` bytes."""
    return INDEX[:-1] + b',"padding":"' + b"x" * (size - len(INDEX) - 13) + b'"}'


@pytest.mark.parametrize("sending", ["with_length", "in_chunks"])
def test_push_manifest_up_to_the_limit_is_accepted_and_one_byte_more_is_not(
    registry: RegistryProcess, sending: str
) -> None:
    fields = {"Content-Type": OCI_INDEX} | ({"Transfer-Encoding": "chunked"} if sending == "in_chunks" else {})
    for size, status in ((MOST_MANIFEST, 201), (MOST_MANIFEST + 1, 413)):
        content = padded(size)
        assert len(content) == size
        body = chunked(content) if sending == "in_chunks" else content
        reply = ask(registry.port, "PUT", f"/v2/limits/manifest/manifests/{sending}{status}", fields, body)
        assert reply.status == status
    assert_refused(reply, 413, "MANIFEST_INVALID", f"{MOST_MANIFEST} bytes")
    assert reply.errors[0]["detail"]["limit"] == MOST_MANIFEST
    assert ask(registry.port, "GET", f"/v2/limits/manifest/manifests/{sending}413").status == 404


@pytest.mark.parametrize("sending", ["with_length", "in_chunks"])
@pytest.mark.parametrize("way", ["one_request", "append", "finish"])
def test_push_blob_up_to_the_limit_is_accepted_and_one_byte_more_is_not(
    registry: RegistryProcess, way: str, sending: str
) -> None:
    name = f"limits/{way}-{sending.replace('_', '-')}"
    push_blob(registry.port, name, bytes(MOST_BLOB))
    before = look(registry.root)
    content = bytes(MOST_BLOB) + b"!"
    digest = Digest.of(content)
    location = f"/v2/{name}/blobs/uploads/" if way == "one_request" else begin_upload(registry.port, name)
    method, target = {
        "one_request": ("POST", f"{location}?digest={digest}"),
        "append": ("PATCH", location),
        "finish": ("PUT", f"{location}?digest={digest}"),
    }[way]
    fields = {"Transfer-Encoding": "chunked"} if sending == "in_chunks" else {}
    reply = ask(registry.port, method, target, fields, chunked(content) if fields else content)
    assert_refused(reply, 413, "BLOB_UPLOAD_INVALID", f"{MOST_BLOB} bytes")
    if way != "one_request":
        assert ask(registry.port, "GET", location).headers["range"] == "0-0"
        assert ask(registry.port, "DELETE", location).status == 204
    assert look(registry.root) == before


def test_append_beyond_the_limit_in_small_steps_is_refused_and_what_was_there_is_kept(
    registry: RegistryProcess,
) -> None:
    location = begin_upload(registry.port, "limits/steps")
    assert ask(registry.port, "PATCH", location, body=bytes(MOST_BLOB)).status == 202
    assert_refused(ask(registry.port, "PATCH", location, body=b"!"), 413, "BLOB_UPLOAD_INVALID")
    finished = ask(registry.port, "PUT", f"{location}?digest={Digest.of(bytes(MOST_BLOB))}")
    assert finished.status == 201


def test_begin_more_uploads_than_allowed_is_429_until_one_ends(registry: RegistryProcess) -> None:
    name = "limits/uploads"
    first, *_ = [begin_upload(registry.port, name) for _ in range(MOST_UPLOADS)]
    for query in ("", f"?mount={Digest.of(b'absent')}"):
        refused = ask(registry.port, "POST", f"/v2/{name}/blobs/uploads/{query}")
        assert_refused(refused, 429, "TOOMANYREQUESTS", f"{name} has 3 uploads open")
        assert refused.headers["retry-after"] == "60"
    begin_upload(registry.port, "limits/elsewhere")
    assert ask(registry.port, "DELETE", first).status == 204
    begin_upload(registry.port, name)


def test_push_with_more_tags_than_allowed_is_414_and_moves_none(registry: RegistryProcess) -> None:
    def push(count: int) -> int:
        query = "&".join(f"tag=v{number}" for number in range(count))
        return put_manifest(registry.port, f"limits/tags{count}", f"{Digest.of(INDEX)}?{query}", INDEX).status

    assert (push(10), push(11)) == (201, 414)
    assert ask(registry.port, "GET", "/v2/limits/tags11/tags/list").status == 404


@pytest.mark.parametrize(("asked", "given"), [("", PAGE), ("?n=1000", PAGE), ("?n=3", 3)])
def test_page_has_no_more_entries_than_allowed(registry: RegistryProcess, asked: str, given: int) -> None:
    for number in range(2 * PAGE + 1):
        assert put_manifest(registry.port, f"limits/page{number}", f"v{number}", INDEX).status == 201
        assert put_manifest(registry.port, "limits/page", f"v{number}", INDEX).status == 201
    tags = ask(registry.port, "GET", f"/v2/limits/page/tags/list{asked}")
    assert json.loads(tags.body)["tags"] == [f"v{number}" for number in range(given)]
    assert tags.headers["link"] == f'</v2/limits/page/tags/list?n={given}&last=v{given - 1}>; rel="next"'
    names = ask(registry.port, "GET", f"/v2/_catalog{asked}")
    assert len(json.loads(names.body)["repositories"]) == given
    assert f"n={given}" in names.headers["link"]
