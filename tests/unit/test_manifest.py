from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from entrepot.errors import ManifestInvalid
from entrepot.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MANIFEST_TYPES,
    NON_DISTRIBUTABLE_TYPES,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    SCHEMA1_TYPES,
    Descriptor,
    Manifest,
    parse_manifest,
)

Json = dict[str, Any]
JPEG = "image/jpeg"  # a media type no registry knows


def descriptor(name: str, media_type: str = OCI_LAYER_GZIP, **more: Any) -> Json:
    digest = "sha256:" + hashlib.sha256(name.encode()).hexdigest()
    return {"mediaType": media_type, "digest": digest, "size": len(name), **more}


def image(**more: Any) -> Json:
    layers = [descriptor("base"), descriptor("app")]
    config = descriptor("config", OCI_CONFIG)
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers, **more}


def index(**more: Any) -> Json:
    children = [descriptor("amd64", OCI_MANIFEST), descriptor("arm64", OCI_MANIFEST)]
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children, **more}


def docker_image(**more: Any) -> Json:
    layers = [descriptor("base", DOCKER_LAYER_GZIP)]
    return image(mediaType=DOCKER_MANIFEST, config=descriptor("config", DOCKER_CONFIG), layers=layers) | dict(more)


def docker_list(**more: Any) -> Json:
    return index(mediaType=DOCKER_LIST, manifests=[descriptor("amd64", DOCKER_MANIFEST)]) | dict(more)


def without(document: Json, *names: str) -> Json:
    return {name: value for name, value in document.items() if name not in names}


def parse(document: Json, content_type: str | None = None, **settings: bool) -> Manifest:
    return parse_manifest(json.dumps(document).encode(), content_type, **settings)


def read(source: Json) -> Descriptor:
    return Descriptor(source["mediaType"], source["digest"], source["size"])


def refusal_of(content: bytes | Json, content_type: str | None = None, **settings: bool) -> ManifestInvalid:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(body, content_type, **settings)
    assert caught.value.message.startswith("invalid manifest: expected ")
    assert set(caught.value.detail) == {"field", "expected", "got"}
    return caught.value


def test_parse_image_returns_config_and_layers_in_order() -> None:
    document = image()

    manifest = parse(document, OCI_MANIFEST)

    assert manifest.blobs == (read(document["config"]), *map(read, document["layers"]))
    assert manifest.config_media_type == OCI_CONFIG
    assert manifest.manifests == ()


def test_parse_index_returns_children_in_order() -> None:
    document = index()

    manifest = parse(document, OCI_INDEX)

    assert manifest.manifests == tuple(map(read, document["manifests"]))
    assert manifest.blobs == ()
    assert manifest.config_media_type is None


def test_parse_manifest_keeps_the_exact_bytes() -> None:
    content = b"\n" + json.dumps(image(), indent=7).encode() + b"\t\r\n"

    assert parse_manifest(content, OCI_MANIFEST).content is content


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        pytest.param(image(), OCI_MANIFEST, id="oci image"),
        pytest.param(index(), OCI_INDEX, id="oci index"),
        pytest.param(docker_image(), DOCKER_MANIFEST, id="docker image"),
        pytest.param(docker_list(), DOCKER_LIST, id="docker list"),
    ],
)
class TestMediaType:
    def test_parse_manifest_with_agreeing_content_type_has_that_type(self, document: Json, media_type: str) -> None:
        assert parse(document, media_type).media_type == media_type

    def test_parse_manifest_with_parameters_and_upper_case_has_the_bare_type(
        self, document: Json, media_type: str
    ) -> None:
        assert parse(document, f" {media_type.upper()} ; charset=utf-8").media_type == media_type

    @pytest.mark.parametrize("content_type", [None, "", " ", "; charset=utf-8"])
    def test_parse_manifest_without_content_type_has_the_type_of_the_document(
        self, document: Json, media_type: str, content_type: str | None
    ) -> None:
        assert parse(document, content_type).media_type == media_type

    @pytest.mark.parametrize("absent", [None, ""])
    def test_parse_manifest_without_type_in_the_document_has_that_of_the_header(
        self, document: Json, media_type: str, absent: str | None
    ) -> None:
        assert parse(document | {"mediaType": absent}, media_type).media_type == media_type
        assert parse(without(document, "mediaType"), media_type).media_type == media_type

    @pytest.mark.parametrize("other", sorted(MANIFEST_TYPES))
    def test_parse_manifest_with_another_content_type_is_refused(
        self, document: Json, media_type: str, other: str
    ) -> None:
        if other == media_type:
            document = document | {"mediaType": JPEG}
        refusal = refusal_of(document, other)

        assert refusal.detail["field"] == "mediaType"
        assert other in refusal.message
        assert document["mediaType"] in refusal.message

    def test_parse_manifest_with_another_spelling_in_the_document_is_refused(
        self, document: Json, media_type: str
    ) -> None:
        refusal = refusal_of(document | {"mediaType": media_type.upper()}, media_type)

        assert refusal.detail["field"] == "mediaType"


def test_parse_manifest_without_any_type_is_refused() -> None:
    refusal = refusal_of(without(image(), "mediaType"))

    assert refusal.detail["field"] == "mediaType"
    assert refusal.detail["got"] == "nothing"


@pytest.mark.parametrize(
    "content_type",
    [
        JPEG,
        "application/json",
        "application/octet-stream",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.artifact.manifest.v1+json",
        "nonsense",
    ],
)
def test_parse_manifest_of_unknown_type_is_refused_with_the_known_ones(content_type: str) -> None:
    refusal = refusal_of(without(image(), "mediaType"), content_type)

    assert refusal.detail["field"] == "mediaType"
    assert all(known in refusal.message for known in (*MANIFEST_TYPES, content_type))


def test_parse_manifest_naming_an_unknown_type_itself_is_refused() -> None:
    assert JPEG in refusal_of(image(mediaType=JPEG)).message


@pytest.mark.parametrize("schema1", sorted(SCHEMA1_TYPES))
@pytest.mark.parametrize("allowed", [False, True], ids=["strict", "unknown types allowed"])
@pytest.mark.parametrize("in_header", [False, True], ids=["in the document", "in the header"])
def test_parse_manifest_of_schema_1_is_refused_by_name(schema1: str, allowed: bool, in_header: bool) -> None:
    document = {"schemaVersion": 1, "fsLayers": [], "mediaType": "" if in_header else schema1}

    refusal = refusal_of(document, schema1.upper() if in_header else None, allow_unknown_types=allowed)

    assert "does not take schema 1" in refusal.message
    assert refusal.detail["field"] == "mediaType"


def test_parse_unknown_type_when_allowed_is_opaque() -> None:
    document = image(mediaType=JPEG, subject=descriptor("subject"), annotations={"a": 1})

    manifest = parse(document, f"{JPEG}; q=1", allow_unknown_types=True)

    assert manifest == Manifest(JPEG, manifest.content, None, None, None, (), (), {})


@pytest.mark.parametrize("content_type", ["nonsense", "a/b c", "a/b\r\nx: y", "a/" + "b" * 200])
def test_parse_unknown_type_that_is_no_media_type_is_refused(content_type: str) -> None:
    refusal = refusal_of(without(image(), "mediaType"), content_type, allow_unknown_types=True)

    assert refusal.detail["field"] == "mediaType"


def test_parse_unknown_type_hiding_a_known_one_is_refused() -> None:
    refusal = refusal_of(image(), JPEG, allow_unknown_types=True)

    assert refusal.detail["field"] == "mediaType"


@pytest.mark.parametrize("layer_type", sorted(NON_DISTRIBUTABLE_TYPES))
def test_parse_image_leaves_out_layers_that_are_not_distributed(layer_type: str) -> None:
    foreign = descriptor("foreign", layer_type, urls=["https://example.org/layer"])
    document = image(layers=[foreign, descriptor("app")])

    assert parse(document).blobs == (read(document["config"]), read(document["layers"][1]))


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(image(layers=[]), id="image without layers"),
        pytest.param(index(manifests=[]), id="empty index"),
        pytest.param(docker_list(manifests=[]), id="empty list"),
        pytest.param(image(annotations=None), id="annotations null"),
        pytest.param(image(annotations={}), id="annotations empty"),
        pytest.param(image(annotations={"a": ""}), id="annotation blank"),
        pytest.param(image(subject=None, artifactType=None), id="subject and artifactType null"),
        pytest.param(image(manifests=None), id="manifests null in an image"),
        pytest.param(index(config=None, layers=None), id="config and layers null in an index"),
        pytest.param(image(unknown={"x": [1, 1.5, True, None, "\U0001f600"]}), id="unknown properties"),
        pytest.param(image(unknown=2**63 - 1, other=-(2**63)), id="64-bit integers"),
        pytest.param(image(config=descriptor("c", JPEG)), id="unknown config type"),
        pytest.param(image(layers=[descriptor("l", JPEG)]), id="unknown layer type"),
        pytest.param(index(manifests=[descriptor("l", JPEG)]), id="unknown child type"),
        pytest.param(image(artifactType="application/x.unknown"), id="unknown artifact type"),
        pytest.param(image(layers=[descriptor("l", size=2**63 - 1)]), id="largest size"),
        pytest.param(image(layers=[descriptor("l", size=0)]), id="size zero"),
        pytest.param(image(layers=[descriptor("l", digest="blake3:" + "a" * 64)]), id="unsupported digest"),
        pytest.param(image(layers=[descriptor("l", digest="sha512:" + "a" * 128)]), id="sha512"),
        pytest.param(image(layers=[descriptor("l", urls=[])]), id="no urls"),
        pytest.param(
            image(layers=[descriptor("l", urls=None, annotations=None, data=None, artifactType=None)]),
            id="optional properties null",
        ),
        pytest.param(image(layers=[descriptor("l", unknown=1)]), id="unknown property of a descriptor"),
        pytest.param(index(manifests=[descriptor("l", platform=None)]), id="platform null"),
        pytest.param(index(manifests=[descriptor("l", platform={"architecture": "", "os": ""})]), id="platform blank"),
        pytest.param(
            index(manifests=[descriptor("l", platform={"architecture": "arm", "os": "linux", "variant": "v7"})]),
            id="platform",
        ),
        pytest.param(docker_image(annotations=7, subject=7, artifactType=7), id="docker knows none of these"),
        pytest.param(docker_list(annotations=7, subject=7, artifactType=7), id="docker list neither"),
        pytest.param(image(annotations={"a": "x" * 4_000_000}), id="4 MB"),
    ],
)
def test_parse_manifest_that_the_specification_permits_is_accepted(document: Json) -> None:
    assert parse(document).media_type == document["mediaType"]


@pytest.mark.parametrize("make", [image, index])
def test_parse_manifest_with_subject_returns_it(make: Any) -> None:
    subject = descriptor("subject", OCI_MANIFEST)

    assert parse(make(subject=subject)).subject == read(subject)


@pytest.mark.parametrize("make", [docker_image, docker_list])
def test_parse_docker_manifest_has_neither_subject_nor_annotations(make: Any) -> None:
    manifest = parse(make(subject=descriptor("s"), annotations={"a": "b"}, artifactType="a/b"))

    assert (manifest.subject, manifest.annotations, manifest.artifact_type) == (None, {}, None)


def test_parse_manifest_with_annotations_returns_them() -> None:
    assert parse(image(annotations={"a": "b", "é": ""})).annotations == {"a": "b", "é": ""}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(image(artifactType="a/b"), "a/b", id="image with its own"),
        pytest.param(image(artifactType=""), OCI_CONFIG, id="image with a blank one"),
        pytest.param(image(), OCI_CONFIG, id="image without"),
        pytest.param(index(artifactType="a/b"), "a/b", id="index with its own"),
        pytest.param(index(artifactType=""), None, id="index with a blank one"),
        pytest.param(index(), None, id="index without"),
    ],
)
def test_read_referrer_artifact_type_falls_back_to_config_type(document: Json, expected: str | None) -> None:
    assert parse(document).referrer_artifact_type == expected


def test_parse_empty_config_without_artifact_type_is_accepted_by_default() -> None:
    assert parse(image(config=descriptor("{}", OCI_EMPTY))).artifact_type is None


@pytest.mark.parametrize("artifact_type", [None, ""])
def test_parse_empty_config_without_artifact_type_when_required_is_refused(artifact_type: str | None) -> None:
    document = image(config=descriptor("{}", OCI_EMPTY), artifactType=artifact_type)

    refusal = refusal_of(document, require_artifact_type=True)

    assert refusal.detail["field"] == "artifactType"


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(image(config=descriptor("{}", OCI_EMPTY), artifactType="a/b"), id="empty config with"),
        pytest.param(image(), id="other config"),
        pytest.param(docker_image(config=descriptor("{}", OCI_EMPTY)), id="docker"),
        pytest.param(index(), id="index"),
    ],
)
def test_parse_manifest_when_artifact_type_is_required_elsewhere_is_accepted(document: Json) -> None:
    assert parse(document, require_artifact_type=True).media_type == document["mediaType"]


@pytest.mark.parametrize(
    "digest",
    [
        pytest.param("sha256:" + hashlib.sha256(b"{}").hexdigest(), id="sha256"),
        pytest.param("sha512:" + hashlib.sha512(b"{}").hexdigest(), id="sha512"),
        pytest.param("blake3:" + "a" * 64, id="not checkable"),
    ],
)
def test_parse_descriptor_with_embedded_data_of_its_digest_is_accepted(digest: str) -> None:
    config = {"mediaType": OCI_EMPTY, "digest": digest, "size": 2, "data": "e30="}

    assert parse(image(config=config)).blobs[0].digest == digest
