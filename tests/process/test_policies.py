"""What a registry takes, keeps and deletes, by the settings."""

from __future__ import annotations

import json

import pytest

from entrepot.digest import Digest
from entrepot.manifest import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from entrepot.testing.images import EMPTY_CONFIG
from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import ask, assert_refused

from .conftest import Starter
from .pushing import image_of, push_blob, push_image, put_manifest

LAYER = b"a layer"
ABSENT = image_of(b"nobody ever pushes this")


@pytest.fixture(scope="module")
def lenient(start_for_all: Starter) -> RegistryProcess:
    """Takes much, gives nothing away."""
    return start_for_all(
        manifests__allow_missing_children="mirror/*,sparse",
        manifests__allow_unknown_types=True,
        delete__enabled=False,
    )


@pytest.fixture(scope="module")
def strict(start_for_all: Starter) -> RegistryProcess:
    return start_for_all(manifests__require_artifact_type=True, delete__protect_used_blobs=True)


@pytest.mark.parametrize("reference", ["v1", Digest.of(image_of(LAYER))])
def test_delete_where_deletion_is_off_is_refused(lenient: RegistryProcess, reference: str) -> None:
    blob = push_image(lenient.port, "policy/kept", "v1", LAYER)
    for path in (f"manifests/{reference}", f"blobs/{blob}"):
        reply = ask(lenient.port, "DELETE", f"/v2/policy/kept/{path}")
        assert_refused(reply, 405, "UNSUPPORTED", "deletion is switched off")
        assert "DELETE" not in reply.headers["allow"]
        assert ask(lenient.port, "GET", f"/v2/policy/kept/{path}").status == 200


def test_cancel_upload_where_deletion_is_off_is_allowed(lenient: RegistryProcess) -> None:
    location = ask(lenient.port, "POST", "/v2/policy/kept/blobs/uploads/").headers["location"]
    assert ask(lenient.port, "DELETE", location).status == 204


@pytest.mark.parametrize("name", ["mirror/app", "mirror/team/app", "sparse"])
def test_push_manifest_without_children_where_that_is_allowed_is_stored(lenient: RegistryProcess, name: str) -> None:
    assert put_manifest(lenient.port, name, "v1", ABSENT, OCI_MANIFEST).status == 201
    assert ask(lenient.port, "GET", f"/v2/{name}/manifests/v1").body == ABSENT


@pytest.mark.parametrize("name", ["mirror", "mirrors/app", "team/mirror/app", "sparse/app", "asparse"])
def test_push_manifest_without_children_elsewhere_is_refused(lenient: RegistryProcess, name: str) -> None:
    reply = put_manifest(lenient.port, name, "v1", ABSENT, OCI_MANIFEST)
    assert_refused(reply, 400, "MANIFEST_BLOB_UNKNOWN", name)
    assert len(reply.errors) == 2


def test_push_manifest_with_wrong_size_is_refused_even_where_children_may_lack(lenient: RegistryProcess) -> None:
    push_blob(lenient.port, "mirror/sizes", LAYER)
    wrong = image_of(LAYER).replace(b'"size": %d' % len(LAYER), b'"size": 1')
    assert_refused(put_manifest(lenient.port, "mirror/sizes", "v1", wrong, OCI_MANIFEST), 400, "MANIFEST_INVALID")


def test_push_manifest_of_unknown_type_where_that_is_allowed_is_stored_unread(lenient: RegistryProcess) -> None:
    content = b'{"manifests": "not what one would think"}'
    assert put_manifest(lenient.port, "policy/types", "v1", content, "application/vnd.test.thing+json").status == 201
    reply = ask(lenient.port, "GET", "/v2/policy/types/manifests/v1")
    assert (reply.body, reply.headers["content-type"]) == (content, "application/vnd.test.thing+json")


@pytest.mark.parametrize(
    ("content", "media_type"), [(b"no json", "application/vnd.test.thing+json"), (b"{}", "no type"), (b"[]", "a/b")]
)
def test_push_nonsense_is_refused_even_where_unknown_types_are_allowed(
    lenient: RegistryProcess, content: bytes, media_type: str
) -> None:
    assert_refused(put_manifest(lenient.port, "policy/types", "v1", content, media_type), 400, "MANIFEST_INVALID")


def test_push_manifest_of_unknown_type_elsewhere_is_refused(strict: RegistryProcess) -> None:
    reply = put_manifest(strict.port, "policy/types", "v1", b"{}", "application/vnd.test.thing+json")
    assert_refused(reply, 400, "MANIFEST_INVALID", "vnd.test.thing", OCI_MANIFEST, OCI_INDEX)


def test_push_artifact_without_a_type_where_one_is_required_is_refused(strict: RegistryProcess) -> None:
    push_blob(strict.port, "policy/artifacts", EMPTY_CONFIG.data)
    document = {"schemaVersion": 2, "config": EMPTY_CONFIG.descriptor(), "layers": []}
    untyped, typed = (json.dumps(part).encode() for part in (document, document | {"artifactType": "a/b"}))
    reply = put_manifest(strict.port, "policy/artifacts", "v1", untyped, OCI_MANIFEST)
    assert_refused(reply, 400, "MANIFEST_INVALID", "expected artifactType", OCI_EMPTY)
    assert put_manifest(strict.port, "policy/artifacts", "v1", typed, OCI_MANIFEST).status == 201


def test_delete_blob_in_use_where_that_is_protected_is_refused_until_it_is_not(strict: RegistryProcess) -> None:
    name = "policy/used"
    blob = push_blob(strict.port, name, LAYER)
    index = {"schemaVersion": 2, "manifests": [{"mediaType": "a/b", "digest": blob, "size": len(LAYER)}]}
    content = json.dumps(index).encode()
    assert put_manifest(strict.port, name, "v1", content).status == 201
    refused = ask(strict.port, "DELETE", f"/v2/{name}/blobs/{blob}")
    assert_refused(refused, 403, "DENIED", blob, "is used by manifest", Digest.of(content))
    assert ask(strict.port, "GET", f"/v2/{name}/blobs/{blob}").body == LAYER
    assert ask(strict.port, "DELETE", f"/v2/{name}/manifests/{Digest.of(content)}").status == 202
    assert ask(strict.port, "DELETE", f"/v2/{name}/blobs/{blob}").status == 202


def test_delete_blob_that_only_another_repository_uses_is_allowed(strict: RegistryProcess) -> None:
    for name in ("policy/one", "policy/two"):
        push_blob(strict.port, name, LAYER)
    index = {"schemaVersion": 2, "manifests": [{"mediaType": "a/b", "digest": Digest.of(LAYER), "size": len(LAYER)}]}
    assert put_manifest(strict.port, "policy/one", "v1", json.dumps(index).encode()).status == 201
    assert ask(strict.port, "DELETE", f"/v2/policy/two/blobs/{Digest.of(LAYER)}").status == 202
    assert ask(strict.port, "GET", f"/v2/policy/one/blobs/{Digest.of(LAYER)}").body == LAYER
