"""What may stand in a manifest, and what not (OCI image-spec; Docker schema 2)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.testing.images import (
    DOCKER_LIST,
    EMPTY_CONFIG,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    build_artifact,
    build_image,
    build_index,
)

from .api import Api, document, refused

EXAMPLE = "application/vnd.example.thing.v1+json"
LARGE = 9_000_000_000_000_000_000
UNREGISTERED = "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8"
NOWHERE = {"digest": Digest.of(b"kept elsewhere"), "size": 123456}
descriptor = EMPTY_CONFIG.descriptor
NON_DISTRIBUTABLE = [
    *(f"application/vnd.oci.image.layer.nondistributable.v1.tar{end}" for end in ("", "+gzip", "+zstd")),
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
]


@pytest.mark.parametrize(
    "fields",
    [
        {"layers": []},
        {"layers": [descriptor(mediaType=EXAMPLE)]},
        {"config": descriptor(mediaType=EXAMPLE)},
        {"config": descriptor(mediaType=OCI_CONFIG)},  # two bytes that are no image config: nobody reads them
        {"artifactType": "x/y.unknown"},
        {"annotations": {}},
        {"annotations": {"org.opencontainers.unknown": "", "": "x", "Ä/?": "y"}},
        {"annotations": None, "null_annotations": 1},
        {"unknown": {"manifests": [1]}},
        {"config": descriptor(annotations={"a": "b"}, artifactType=EXAMPLE, unknown=[None])},
        {"config": descriptor(data=base64.b64encode(b"{}").decode())},
        {"layers": [descriptor(urls=["https://example.com/x", "http://example.com/y"])]},
        {"layers": [descriptor(platform={"architecture": "amd64", "os": "linux"})]},
        {"layers": [descriptor(), descriptor()]},
    ],
    ids=lambda fields: json.dumps(fields)[:50],
)
async def test_push_image_with_anything_the_specification_allows_is_kept_as_it_is(
    repo: Api, fields: dict[str, Any]
) -> None:
    content = await repo.push_document(**fields)
    assert (await repo.get(f"manifests/{content.digest}")).content == content.data


async def test_push_image_with_null_annotations_is_taken(repo: Api) -> None:
    await repo.push_document()
    content = document().data[:-1] + b', "annotations": null}'
    assert (await repo.put_manifest("v1", content)).status_code == 201


async def test_push_image_with_null_members_that_are_optional_is_taken(repo: Api) -> None:
    await repo.push_document()
    content = document().data[:-1] + b', "subject": null, "artifactType": null, "manifests": null}'
    assert (await repo.put_manifest("v1", content)).status_code == 201


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("schemaVersion", {"schemaVersion": None}),
        ("schemaVersion", {"schemaVersion": 1}),
        ("schemaVersion", {"schemaVersion": "2"}),
        ("schemaVersion", {"schemaVersion": 2.0}),
        ("schemaVersion", {"schemaVersion": True}),
        ("config", {"config": None}),
        ("config", {"config": "sha256:abc"}),
        ("layers", {"layers": None}),
        ("layers", {"layers": {}}),
        ("layers[0]", {"layers": [None]}),
        ("manifests", {"manifests": []}),
        ("config.mediaType", {"config": descriptor(mediaType=None)}),
        ("config.mediaType", {"config": descriptor(mediaType="no slash")}),
        ("config.mediaType", {"config": descriptor(mediaType=f"a/{'b' * 128}")}),
        ("config.digest", {"config": descriptor(digest=None)}),
        ("config.digest", {"config": descriptor(digest="abc")}),
        ("config.digest", {"config": descriptor(digest=f"sha256:{'A' * 64}")}),
        ("config.digest", {"config": descriptor(digest=f"sha256:{'a' * 63}")}),
        ("config.digest", {"config": descriptor(digest=f"sha512:{'a' * 64}")}),
        ("config.digest", {"config": descriptor(digest=f"blake3:{'a' * 63}")}),
        ("config.digest", {"config": descriptor(digest=f"blake3:{'A' * 64}")}),
        ("config.size", {"config": descriptor(size=None)}),
        ("config.size", {"config": descriptor(size=-1)}),
        ("config.size", {"config": descriptor(size="2")}),
        ("config.size", {"config": descriptor(size=2.0)}),
        ("config.size", {"config": descriptor(size=True)}),
        ("config.data", {"config": descriptor(data="not base64!")}),
        ("config.data", {"config": descriptor(data=base64.b64encode(b"[]").decode())}),
        ("config.data", {"config": descriptor(data=base64.b64encode(b"{ }").decode())}),
        ("config.urls", {"config": descriptor(urls="https://example.com")}),
        ('config.annotations["a"]', {"config": descriptor(annotations={"a": 1})}),
        ("artifactType", {"artifactType": "no slash"}),
        ("annotations", {"annotations": []}),
        ('annotations["a"]', {"annotations": {"a": None}}),
        ("subject", {"subject": "sha256:abc"}),
        ("subject.digest", {"subject": descriptor(digest="x")}),
        ("mediaType", {"mediaType": OCI_INDEX}),
        ("mediaType", {"mediaType": 5}),
    ],
)
async def test_push_image_against_the_specification_is_refused_and_names_the_field(
    repo: Api, field: str, fields: dict[str, Any]
) -> None:
    await repo.push_document()
    content = document(**fields)
    errors = refused(await repo.put_manifest("v1", content), 400, "MANIFEST_INVALID")
    assert errors[0]["detail"]["field"] == field


@pytest.mark.parametrize("name", ["layers", "config"])
async def test_push_image_with_null_where_a_value_must_be_is_refused(repo: Api, name: str) -> None:
    await repo.push_document()
    left_out: dict[str, Any] = {name: None}
    content = document(**left_out).data[:-1] + f', "{name}": null}}'.encode()
    refused(await repo.put_manifest("v1", content), 400, "MANIFEST_INVALID")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff{}",
        b"\xef\xbb\xbf{}",
        b'{"schemaVersion": 2, "schemaVersion": 2}',
        b'{"schemaVersion": NaN}',
        b'{"schemaVersion": Infinity}',
        b'{"schemaVersion": 1e999}',
        b'{"schemaVersion": ' + b"9" * 30 + b"}",
        b'{"x": ' * 100 + b"1" + b"}" * 100,
        b"[" * 100_000,
        b'{"x": "\\ud800"}',
    ],
    ids=lambda text: text[:20].decode("latin-1"),
)
async def test_push_text_that_is_no_interoperable_json_is_refused(repo: Api, text: bytes) -> None:
    refused(await repo.put_manifest("v1", text), 400, "MANIFEST_INVALID")


async def test_push_manifest_with_repeated_name_deep_inside_is_refused(repo: Api) -> None:
    await repo.push_document()
    content = document(x={"y": 1}).data.replace(b'"y": 1', b'"y": 1, "y": 2')
    refused(await repo.put_manifest("v1", content), 400, "MANIFEST_INVALID")


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 1.5, 1e308], ids=str)
async def test_push_manifest_with_numbers_that_fit_is_taken(repo: Api, value: float) -> None:
    await repo.push_document(number=value)


async def test_push_image_that_is_also_an_index_is_refused(repo: Api) -> None:
    await repo.push_document()
    refused(await repo.put_manifest("v1", document(manifests=[])), 400, "MANIFEST_INVALID")


@pytest.mark.parametrize("name", ["config", "layers"])
@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST], ids=["oci", "docker"])
async def test_push_index_that_is_also_an_image_is_refused(repo: Api, name: str, media_type: str) -> None:
    content = document(media_type=media_type, manifests=[], **{name: [] if name == "layers" else descriptor()})
    errors = refused(await repo.put_manifest("v1", content), 400, "MANIFEST_INVALID")
    assert errors[0]["detail"]["field"] == name


@pytest.mark.parametrize("place", ["config", "layers"])
@pytest.mark.parametrize("size", [0, 1, 3, LARGE])
async def test_push_image_with_wrong_size_of_a_blob_is_refused(repo: Api, place: str, size: int) -> None:
    await repo.push_document()
    wrong = descriptor(size=size)
    content = document(config=wrong) if place == "config" else document(layers=[wrong])
    errors = refused(await repo.put_manifest("v1", content), 400, "MANIFEST_INVALID")
    assert (errors[0]["detail"]["expected"], errors[0]["detail"]["actual"]) == (2, size)


async def test_push_image_with_a_digest_in_two_sizes_is_refused_whatever_their_order(repo: Api) -> None:
    await repo.push_document()
    for layers in ([descriptor(), descriptor(size=3)], [descriptor(size=3), descriptor()]):
        refused(await repo.put_manifest("v1", document(layers=layers)), 400, "MANIFEST_INVALID")


async def test_push_index_with_wrong_size_of_a_child_is_refused(repo: Api) -> None:
    image = await repo.push_document()
    content = document(media_type=OCI_INDEX, manifests=[image.descriptor(size=image.size + 1)])
    refused(await repo.put_manifest("v1", content), 400, "MANIFEST_INVALID")


@pytest.mark.parametrize("media_type", NON_DISTRIBUTABLE)
async def test_push_image_with_layer_that_is_never_pushed_is_taken(repo: Api, media_type: str) -> None:
    layer = {**NOWHERE, "mediaType": media_type, "urls": ["https://store.example.com/blob"]}
    await repo.push_document(layers=[layer, descriptor(mediaType=OCI_LAYER)])


async def test_push_image_with_absent_layer_is_refused_though_it_has_urls(repo: Api) -> None:
    await repo.push_document()
    layer = {**NOWHERE, "mediaType": OCI_LAYER, "urls": ["https://store.example.com/blob"]}
    refused(await repo.put_manifest("v1", document(layers=[layer])), 400, "MANIFEST_BLOB_UNKNOWN")


async def test_push_image_with_empty_config_needs_that_blob_like_any_other(repo: Api) -> None:
    await repo.push_blob(b"so that the repository exists")
    errors = refused(await repo.put_manifest("v1", document()), 400, "MANIFEST_BLOB_UNKNOWN")
    assert errors[0]["detail"]["digest"] == EMPTY_CONFIG.digest


async def test_delete_empty_config_here_leaves_it_in_other_repositories(repo: Api) -> None:
    other = repo.beside("other")
    await repo.push_document()
    await other.push_document()
    await repo.delete(f"blobs/{EMPTY_CONFIG.digest}")
    assert (await repo.head(f"blobs/{EMPTY_CONFIG.digest}")).status_code == 404
    assert (await other.get(f"blobs/{EMPTY_CONFIG.digest}")).content == b"{}"


@pytest.mark.parametrize(
    "subject",
    [
        {"mediaType": OCI_MANIFEST, **NOWHERE},
        {"mediaType": OCI_MANIFEST, "digest": Digest.of(b"x", "sha512"), "size": 1},
        {"mediaType": EXAMPLE, "digest": UNREGISTERED, "size": 0},
    ],
    ids=["sha256", "sha512", "unregistered algorithm"],
)
async def test_push_image_with_absent_subject_is_taken(repo: Api, subject: dict[str, Any]) -> None:
    await repo.push_document()
    answer = await repo.put_manifest("v1", document(subject=subject))
    assert (answer.status_code, answer.headers["oci-subject"]) == (201, subject["digest"])


async def test_push_image_with_layer_under_unregistered_algorithm_is_valid_but_the_layer_is_absent(repo: Api) -> None:
    await repo.push_document()
    layer = {"mediaType": OCI_LAYER, "digest": UNREGISTERED, "size": 7}
    errors = refused(await repo.put_manifest("v1", document(layers=[layer])), 400, "MANIFEST_BLOB_UNKNOWN")
    assert errors[0]["detail"]["digest"] == UNREGISTERED


async def test_push_artifact_without_config_type_of_its_own_is_taken(repo: Api) -> None:
    await repo.push(build_artifact(b"payload", artifact_type=EXAMPLE), "v1")


@pytest.mark.parametrize("artifact_type", [None, EXAMPLE], ids=["without type", "with type"])
async def test_push_artifact_with_empty_layer_is_taken(repo: Api, artifact_type: str | None) -> None:
    await repo.push_document(artifactType=artifact_type, layers=[descriptor()])


async def test_push_image_with_sha512_blobs_is_taken(repo: Api) -> None:
    digest = await repo.push_blob(b"layer", "sha512")
    config = await repo.push_blob(b"{}", "sha512")
    await repo.push_document(
        config={"mediaType": OCI_EMPTY, "digest": config, "size": 2},
        layers=[{"mediaType": OCI_LAYER, "digest": digest, "size": 5}],
    )


@pytest.mark.parametrize(
    "kind", [EXAMPLE, "application/json", "text/plain", "application/vnd.cncf.oras.artifact.manifest.v1+json"]
)
async def test_push_manifest_of_unknown_type_is_refused(repo: Api, kind: str) -> None:
    refused(await repo.put_manifest("v1", b'{"schemaVersion": 2}', kind), 400, "MANIFEST_INVALID")


# --- indexes ---


async def test_push_empty_index_is_taken(repo: Api) -> None:
    content = await repo.push_document(media_type=OCI_INDEX, reference="v1")
    assert (await repo.get("manifests/v1")).content == content.data


async def test_push_index_of_indexes_is_taken(repo: Api) -> None:
    first, second = build_index(seed=1), build_index(seed=2)
    await repo.push(first)
    await repo.push(second)
    outer = await repo.push_document(
        media_type=OCI_INDEX, manifests=[first.manifest.descriptor(), second.manifest.descriptor()], reference="v1"
    )
    assert (await repo.get("manifests/v1")).content == outer.data


async def test_push_index_that_names_blobs_is_taken(repo: Api) -> None:
    image = build_image()
    await repo.push(image)
    children = [layer.descriptor() for layer in image.layers] + [image.manifest.descriptor()]
    await repo.push_document(media_type=OCI_INDEX, manifests=children)


@pytest.mark.parametrize(
    "fields",
    [
        {"artifactType": EXAMPLE},
        {"annotations": {"a": "b"}},
        {"manifests": [descriptor(platform={"os": "linux", "architecture": "arm64", "variant": "v8", "x": [1]})]},
        {"manifests": [descriptor(mediaType=EXAMPLE, artifactType=EXAMPLE)]},
        {"unknown": 1},
    ],
    ids=lambda fields: json.dumps(fields)[:40],
)
async def test_push_index_with_anything_the_specification_allows_is_kept_as_it_is(
    repo: Api, fields: dict[str, Any]
) -> None:
    await repo.push_blob(EMPTY_CONFIG.data)
    content = await repo.push_document(media_type=OCI_INDEX, **fields)
    assert (await repo.get(f"manifests/{content.digest}")).content == content.data


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("schemaVersion", {"schemaVersion": 1}),
        ("manifests", {"manifests": None}),
        ("manifests", {"manifests": {}}),
        ("manifests[0].size", {"manifests": [descriptor(size=-1)]}),
        ("manifests[0].platform", {"manifests": [descriptor(platform="linux/amd64")]}),
        ("manifests[0].platform.os", {"manifests": [descriptor(platform={"architecture": "amd64"})]}),
        ("manifests[0].platform.architecture", {"manifests": [descriptor(platform={"os": "linux"})]}),
    ],
)
async def test_push_index_against_the_specification_is_refused_and_names_the_field(
    repo: Api, field: str, fields: dict[str, Any]
) -> None:
    errors = refused(await repo.put_manifest("v1", document(media_type=OCI_INDEX, **fields)), 400, "MANIFEST_INVALID")
    assert errors[0]["detail"]["field"] == field
