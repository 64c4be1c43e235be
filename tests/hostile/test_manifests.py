"""Manifests that are JSON and still cannot be: missing children, confused types, wrong sizes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST
from entrepot.testing.server import RegistryProcess

from .raw import Reply, ask, assert_refused
from .stored import look

REPOSITORY = "hostile/manifests"
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
LAYER = b"a layer of nineteen"
ABSENT = [Digest.of(b"absent %d" % number) for number in range(60)]

Document = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def _pushed(server: RegistryProcess) -> None:
    """A repository with a config, a layer, and an image of both."""
    for blob in (CONFIG, LAYER):
        target = f"/v2/{REPOSITORY}/blobs/uploads/?digest={Digest.of(blob)}"
        assert ask(server.port, "POST", target, body=blob).status == 201
    assert push(server.port, image()).status == 201


@pytest.fixture(autouse=True)
def _unchanged(_pushed: None, server: RegistryProcess) -> Iterator[None]:
    before = look(server.root)
    yield
    assert look(server.root) == before


def describe(content: bytes, media_type: str = OCI_LAYER_GZIP, **changes: Any) -> Document:
    """A descriptor of ``content``; None among the ``changes`` leaves a property out."""
    whole = {"mediaType": media_type, "digest": Digest.of(content), "size": len(content), **changes}
    return {name: value for name, value in whole.items() if value is not None}


def image(**changes: Any) -> Document:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": describe(CONFIG, OCI_CONFIG),
        "layers": [describe(LAYER)],
        **changes,
    }


def index(*children: Any, **changes: Any) -> Document:
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(children), **changes}


def push(port: int, document: Document, media_type: str | None = None, name: str = REPOSITORY) -> Reply:
    body = json.dumps(document).encode()
    sent = media_type or document["mediaType"]
    return ask(port, "PUT", f"/v2/{name}/manifests/{Digest.of(body)}?tag=bad", {"Content-Type": sent}, body)


def test_push_image_without_its_blobs_names_each_of_them(port: int) -> None:
    layers = [describe(b"", digest=digest) for digest in ABSENT]
    config = describe(b"config", OCI_CONFIG)
    reply = push(port, image(config=config, layers=[*layers, describe(LAYER)]))
    assert_refused(reply, 400, "MANIFEST_BLOB_UNKNOWN", "push it first")
    named = [error["detail"]["digest"] for error in reply.errors]
    assert sorted(named) == sorted([config["digest"], *ABSENT])


def test_push_image_that_names_an_absent_layer_twice_reports_it_once(port: int) -> None:
    layer = describe(b"", digest=ABSENT[0])
    assert len(push(port, image(layers=[layer, layer])).errors) == 1


def test_push_image_whose_blobs_are_in_another_repository_is_refused(port: int) -> None:
    reply = push(port, image(), name="hostile/elsewhere")
    assert_refused(reply, 400, "MANIFEST_BLOB_UNKNOWN", Digest.of(CONFIG), Digest.of(LAYER), "hostile/elsewhere")
    assert len(reply.errors) == 2


def test_push_index_without_its_manifests_names_each_of_them(port: int) -> None:
    children = [describe(b"", OCI_MANIFEST, digest=digest) for digest in ABSENT]
    reply = push(port, index(*children, describe(json.dumps(image()).encode(), OCI_MANIFEST)))
    assert_refused(reply, 400, "MANIFEST_BLOB_UNKNOWN", "push it first")
    assert sorted(error["detail"]["digest"] for error in reply.errors) == sorted(ABSENT)


def test_push_image_with_a_digest_we_cannot_store_is_missing_that_blob(port: int) -> None:
    layer = describe(b"", digest="md5:d41d8cd98f00b204e9800998ecf8427e")
    assert_refused(push(port, image(layers=[layer])), 400, "MANIFEST_BLOB_UNKNOWN", layer["digest"])


@pytest.mark.parametrize("size", [0, 18, 20, 2**62])
@pytest.mark.parametrize("part", ["config", "layer", "child"])
def test_push_manifest_with_wrong_size_names_both_sizes(port: int, part: str, size: int) -> None:
    child = json.dumps(image()).encode()
    document, real = {
        "config": (image(config=describe(CONFIG, OCI_CONFIG, size=size)), len(CONFIG)),
        "layer": (image(layers=[describe(LAYER, size=size)]), len(LAYER)),
        "child": (index(describe(child, OCI_MANIFEST, size=size)), len(child)),
    }[part]
    reply = push(port, document)
    assert_refused(reply, 400, "MANIFEST_INVALID", f"{size} bytes", f"it has {real}")


CONFUSED = {
    "image_that_is_an_index": (image(manifests=[]), "manifests", "absent from this media type"),
    "index_that_is_an_image": (index(config=describe(CONFIG)), "config", "absent from this media type"),
    "index_with_layers": (index(layers=[]), "layers", "absent from this media type"),
    "docker_list_with_layers": (index(mediaType=DOCKER_LIST, layers=[]), "layers", "absent"),
    "docker_image_with_manifests": (image(mediaType=DOCKER_MANIFEST, manifests=[]), "manifests", "absent"),
    "image_under_index_type": (image(mediaType=OCI_INDEX), "config", "absent"),
    "index_under_image_type": (index(mediaType=OCI_MANIFEST), "manifests", "absent"),
    "schema_1": (image(schemaVersion=1), "schemaVersion", "got 1"),
    "schema_3": (image(schemaVersion=3), "schemaVersion", "got 3"),
    "schema_as_text": (image(schemaVersion="2"), "schemaVersion", 'got "2"'),
    "schema_as_double": (image(schemaVersion=2.0), "schemaVersion", "got 2.0"),
    "schema_as_true": (image(schemaVersion=True), "schemaVersion", "got true"),
    "no_schema": (image(schemaVersion=None), "schemaVersion", "got nothing"),
    "layers_null": (image(layers=None), "layers", "got nothing"),
    "layers_object": (image(layers={}), "layers", "got an object"),
    "layers_text": (image(layers="none"), "layers", 'got "none"'),
    "layer_null": (image(layers=[None]), "layers[0]", "got nothing"),
    "layer_text": (image(layers=[Digest.of(LAYER)]), "layers[0]", "sha256:"),
    "layer_array": (image(layers=[describe(LAYER), [describe(LAYER)]]), "layers[1]", "got an array"),
    "config_null": (image(config=None), "config", "got nothing"),
    "config_array": (image(config=[describe(CONFIG)]), "config", "got an array"),
    "manifests_null": (index(manifests=None), "manifests", "got nothing"),
    "manifests_object": (index(manifests={"a": describe(CONFIG)}), "manifests", "got an object"),
    "no_digest": (image(config=describe(CONFIG, digest=None)), "config.digest", "got nothing"),
    "digest_number": (image(config=describe(CONFIG, digest=5)), "config.digest", "got 5"),
    "digest_array": (image(config=describe(CONFIG, digest=["x"])), "config.digest", "got an array"),
    "digest_with_newline": (image(config=describe(CONFIG, digest=Digest.of(CONFIG) + "\n")), "config.digest", "got"),
    "digest_upper_case": (
        image(config=describe(CONFIG, digest="sha256:" + Digest.of(CONFIG).encoded.upper())),
        "config.digest",
        "got",
    ),
    "digest_path": (image(config=describe(CONFIG, digest="../../etc/passwd")), "config.digest", "etc"),
    "no_size": (image(config=describe(CONFIG, size=None)), "config.size", "got nothing"),
    "size_text": (image(config=describe(CONFIG, size=str(len(CONFIG)))), "config.size", "got"),
    "size_double": (image(config=describe(CONFIG, size=float(len(CONFIG)))), "config.size", "got"),
    "size_negative": (image(config=describe(CONFIG, size=-1)), "config.size", "got -1"),
    "size_true": (image(config=describe(CONFIG, size=True)), "config.size", "got true"),
    "no_media_type": (image(layers=[describe(LAYER, mediaType=None)]), "layers[0].mediaType", "got nothing"),
    "bad_media_type": (image(layers=[describe(LAYER, mediaType="tar")]), "layers[0].mediaType", 'got "tar"'),
    "media_type_number": (image(mediaType=5), "mediaType", "got 5"),
    "annotations_array": (image(annotations=[]), "annotations", "got an array"),
    "annotation_number": (image(annotations={"a": 1}), "annotations", "got 1"),
    "annotation_null": (image(annotations={"a": None}), "annotations", "got nothing"),
    "subject_text": (image(subject="sha256:x"), "subject", "got"),
    "subject_without_digest": (image(subject={"mediaType": OCI_MANIFEST, "size": 1}), "subject.digest", "got nothing"),
    "artifact_type_number": (image(artifactType=1), "artifactType", "got 1"),
    "artifact_type_text": (image(artifactType="not a type"), "artifactType", "not a type"),
    "urls_text": (image(layers=[describe(LAYER, urls="http://x")]), "layers[0].urls", "got"),
    "data_of_other_content": (image(layers=[describe(LAYER, data="AAAA")]), "layers[0].data", "got 3"),
    "data_no_base64": (image(layers=[describe(LAYER, data="???")]), "layers[0].data", "???"),
    "platform_text": (index(describe(CONFIG, platform="linux/amd64")), "manifests[0].platform", "linux/amd64"),
    "platform_without_os": (
        index(describe(CONFIG, platform={"architecture": "amd64"})),
        "manifests[0].platform.os",
        "got nothing",
    ),
}


@pytest.mark.parametrize(("document", "field", "words"), [pytest.param(*row, id=key) for key, row in CONFUSED.items()])
def test_push_confused_manifest_is_refused_with_the_field(
    port: int, document: Document, field: str, words: str
) -> None:
    sent = document["mediaType"] if isinstance(document["mediaType"], str) else OCI_MANIFEST
    reply = push(port, document, sent)
    assert_refused(reply, 400, "MANIFEST_INVALID", f"expected {field}", "to be", words)
    assert reply.errors[0]["detail"]["field"].startswith(field)


def test_push_manifest_just_over_the_size_limit_is_refused(port: int) -> None:
    document = image(padding="x" * 4 * 1024 * 1024)
    reply = push(port, document)
    assert_refused(reply, 413, "MANIFEST_INVALID", "4194304 bytes")
