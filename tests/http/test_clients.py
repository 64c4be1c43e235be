"""Requests in the order and form in which the usual clients send them."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from entrepot.digest import Digest
from entrepot.testing.images import DOCKER_MANIFEST, OCI_MANIFEST, Content, build_image, build_index

from .api import Api, chunked, document, next_page, refused

DOCKER_ACCEPT = [
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
]
CONTAINERD_ACCEPT = (
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*"
)


async def begin(repo: Api, *statuses: int, query: str = "", **headers: str) -> httpx.URL:
    answer = await repo.post(f"blobs/uploads/{query}", **headers)
    assert answer.status_code in statuses
    return httpx.URL(answer.headers["location"])


def with_digest(location: httpx.URL, digest: str) -> str:
    """As Go programs do it: into the query, percent-encoded, whatever stood there."""
    return str(location.copy_merge_params({"digest": digest}))


# --- docker with graph drivers: one PATCH without a length for each layer ---


async def docker_push_blob(repo: Api, blob: Content) -> None:
    assert (await repo.head(f"blobs/{blob.digest}")).status_code == 404
    mount = f"?from={repo.name.replace('/', '%2F')}-source&mount={blob.digest.replace(':', '%3A')}"
    unused = await begin(repo, 202, query=mount)
    assert (await repo.delete(str(unused))).status_code == 204
    location = await begin(repo, 202)
    answer = await repo.patch(str(location), chunked(blob.data, 300))
    assert (answer.status_code, answer.headers["range"]) == (202, f"0-{blob.size - 1}")
    closed = await repo.put(with_digest(httpx.URL(answer.headers["location"]), blob.digest), chunked(b""))
    assert (closed.status_code, closed.headers["docker-content-digest"]) == (201, blob.digest)
    assert (await repo.head(f"blobs/{blob.digest}")).headers["content-length"] == str(blob.size)


async def test_push_and_pull_image_as_docker_does(repo: Api) -> None:
    image = build_image(layers=2, docker=True)
    assert (await repo.get("/v2/")).status_code == 200
    await asyncio.gather(*(docker_push_blob(repo, layer) for layer in image.layers))
    await docker_push_blob(repo, image.config)
    answer = await repo.put("manifests/v1", image.manifest.data, content_type=DOCKER_MANIFEST)
    assert (answer.status_code, answer.headers["docker-content-digest"]) == (201, image.digest)
    head = await repo.client.head(repo.path("manifests/v1"), headers=[("accept", kind) for kind in DOCKER_ACCEPT])
    assert int(head.headers["content-length"]) == image.manifest.size
    assert head.headers["content-type"] == DOCKER_MANIFEST
    pulled = await repo.get(f"manifests/{head.headers['docker-content-digest']}")
    assert pulled.content == image.manifest.data
    for blob in (*image.layers, image.config):
        assert (await repo.get(f"blobs/{blob.digest}")).content == blob.data


async def test_pull_layer_again_from_where_it_broke_off_as_docker_does(repo: Api) -> None:
    digest = await repo.push_blob(b"0123456789")
    answer = await repo.get(f"blobs/{digest}", range="bytes=4-")
    assert (answer.status_code, answer.content) == (206, b"456789")
    assert answer.headers["content-range"] == "bytes 4-9/10"


# --- containerd, and docker with its store: no PATCH ---


async def test_push_and_pull_index_as_containerd_does(repo: Api) -> None:
    index = build_index()
    for child in index.children:
        for blob in (*child.layers, child.config):
            head = await repo.head(f"blobs/{blob.digest}", accept=f"{blob.media_type}, */*")
            query = f"?mount={blob.digest}&from={repo.name}-source"
            if head.status_code == 404:
                put = await repo.put(with_digest(await begin(repo, 202, query=query), blob.digest), blob.data)
                assert (put.status_code, put.headers["docker-content-digest"]) == (201, blob.digest)
        assert (await repo.head(f"manifests/{child.digest}")).status_code == 404
        assert (await repo.put_manifest(child.digest, child.manifest)).status_code == 201
    assert (await repo.head("manifests/v1", accept=CONTAINERD_ACCEPT)).status_code == 404
    assert (await repo.put_manifest("v1", index.manifest)).status_code == 201
    head = await repo.head("manifests/v1", accept=CONTAINERD_ACCEPT)
    assert (head.headers["docker-content-digest"], head.headers["content-type"]) == (
        index.digest,
        index.manifest.media_type,
    )


async def test_resolve_digest_of_blob_as_containerd_does_is_404_then_200(repo: Api) -> None:
    image = build_image()
    await repo.push(image)
    digest = image.layers[0].digest
    assert (await repo.head(f"manifests/{digest}")).status_code == 404
    assert (await repo.head(f"blobs/{digest}")).status_code == 200


async def test_pull_layer_as_containerd_does_is_not_compressed(repo: Api) -> None:
    digest = await repo.push_blob(b"a" * 10_000)
    accept = {"accept": "application/vnd.oci.image.layer.v1.tar, */*", "accept_encoding": "zstd, gzip, deflate"}
    answer = await repo.get(f"blobs/{digest}", **accept, range="bytes=0-")
    assert (answer.status_code, len(answer.content), "content-encoding" in answer.headers) == (206, 10_000, False)


# --- skopeo and podman ---


async def test_push_blob_and_delete_image_as_skopeo_does(repo: Api) -> None:
    image = build_image()
    for blob in (*image.layers, image.config):
        location = await begin(repo, 202)
        patched = await repo.patch(str(location), blob.data)
        assert patched.status_code == 202
        put = await repo.put(with_digest(httpx.URL(patched.headers["location"]), blob.digest), b"")
        assert put.status_code == 201
    await repo.put_manifest("v1", image.manifest)
    pulled = await repo.get("manifests/v1", docker_distribution_api_version="registry/2.0", connection="close")
    assert (await repo.delete(f"manifests/{pulled.headers['docker-content-digest']}")).status_code == 202
    assert (await repo.get("tags/list")).json()["tags"] == []


async def test_mount_blob_as_podman_does_after_head_of_the_other_repository(repo: Api) -> None:
    other = repo.beside("other")
    digest = await other.push_blob(b"x")
    assert (await repo.head(f"blobs/{digest}")).status_code == 404
    assert (await other.head(f"blobs/{digest}")).status_code == 200
    query = f"?from={other.name.replace('/', '%2F')}&mount={digest.replace(':', '%3A')}"
    assert (await repo.post(f"blobs/uploads/{query}")).status_code == 201


# --- crane, regctl, oras ---


async def test_push_blob_as_crane_does(repo: Api) -> None:
    digest = Digest.of(b"0123456789")
    query = f"?mount={digest}&from={repo.name}-x&origin=gcr.io"
    location = await begin(repo, 202, query=query, content_type="application/json")
    patched = await repo.patch(str(location), chunked(b"0123456789", 3))
    assert patched.status_code == 202
    assert (await repo.put(with_digest(httpx.URL(patched.headers["location"]), digest))).status_code == 201


async def test_list_tags_as_crane_does(repo: Api) -> None:
    await repo.push_document(reference="v1")
    answer = await repo.get("tags/list?n=1000")
    assert (answer.json()["tags"], next_page(answer)) == (["v1"], None)


async def test_push_blob_as_regctl_does_with_its_mount_session(repo: Api) -> None:
    digest = Digest.of(b"0123456789" + repo.name.encode())
    location = await begin(repo, 202, query=f"?mount={digest}")
    put = await repo.put(with_digest(location, digest), b"0123456789" + repo.name.encode())
    assert put.status_code == 201


async def test_push_blob_as_regctl_does_after_a_chunk_that_was_kept_unnoticed(repo: Api) -> None:
    location = await begin(repo, 202)
    await repo.patch(str(location), b"01234", content_range="0-4")
    again = await repo.patch(str(location), b"01234", content_range="0-4")
    refused(again, 416, "BLOB_UPLOAD_INVALID")
    assert again.headers["range"] == "0-4"
    rest = await repo.patch(again.headers["location"], b"56789", content_range="5-9")
    assert rest.status_code == 202
    put = await repo.put(with_digest(httpx.URL(rest.headers["location"]), Digest.of(b"0123456789")))
    assert put.status_code == 201


async def test_push_artifact_as_oras_does_needs_no_fallback_tag(repo: Api) -> None:
    image = await repo.push_document()
    content = document(artifactType="application/vnd.example", subject=image.descriptor())
    pushed = await repo.put(f"manifests/{content.digest}", content.data, content_type=OCI_MANIFEST)
    assert pushed.headers["oci-subject"] == image.digest
    found = await repo.get(f"referrers/{image.digest}?artifactType=application%2Fvnd.example")
    assert [entry["digest"] for entry in found.json()["manifests"]] == [content.digest]


# --- zot's benchmark, zb ---


async def test_push_image_as_zb_does_by_location_without_query(repo: Api) -> None:
    layer, config = b"not even a tar", json.dumps({"rootfs": {"type": "layers", "diff_ids": []}}).encode()
    for blob in (layer, config):
        location = (await begin(repo, 202)).path
        assert (await repo.patch(location, blob[:7])).status_code == 202
        assert (await repo.patch(location, blob[7:])).status_code == 202
        assert (await repo.patch(location, b"")).status_code == 202
        assert (await repo.put(f"{location}?digest={Digest.of(blob)}")).status_code == 201
        assert (await repo.head(f"blobs/{Digest.of(blob)}")).headers["content-length"] == str(len(blob))
    manifest = _zb_manifest(config, layer)
    assert (await repo.put_manifest("v1", manifest, OCI_MANIFEST)).status_code == 201
    await _zb_clean_up(repo, manifest, config, layer)


def _zb_manifest(config: bytes, layer: bytes) -> bytes:
    parts = {
        "schemaVersion": 2,
        "config": Content("application/vnd.oci.image.config.v1+json", config).descriptor(),
        "layers": [Content("application/vnd.oci.image.layer.v1.tar", layer).descriptor()],
    }
    return json.dumps(parts).encode()


async def _zb_clean_up(repo: Api, manifest: bytes, config: bytes, layer: bytes) -> None:
    (tag,) = (await repo.get("tags/list")).json()["tags"]
    request = repo.client.build_request("GET", repo.path(f"manifests/{tag}"), headers={"content-type": OCI_MANIFEST})
    del request.headers["accept"]
    found = await repo.client.send(request)
    assert found.content == manifest
    for path in (
        f"manifests/{found.headers['docker-content-digest']}",
        f"blobs/{Digest.of(layer)}",
        f"blobs/{Digest.of(config)}",
    ):
        assert (await repo.delete(path)).status_code == 202


async def test_list_repositories_as_zb_does_without_paging_names_all(repo: Api) -> None:
    names = [f"{repo.name}/{number:03}" for number in range(120)]
    await asyncio.gather(*(Api(repo.client, name).push_blob(b"x") for name in names))
    assert set(names) <= set((await repo.get("/v2/_catalog")).json()["repositories"])


# --- many at once ---


@pytest.mark.parametrize("path", ["manifests/v1", "blobs/{}"], ids=["manifest", "blob"])
async def test_head_same_content_many_times_at_once_is_200_each_time(repo: Api, path: str) -> None:
    await repo.push_document(reference="v1")
    digest = await repo.push_blob(b"x")
    answers = await asyncio.gather(*(repo.head(path.format(digest)) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}


async def test_push_same_manifest_many_times_at_once_is_201_each_time(repo: Api) -> None:
    content = await repo.push_document()
    answers = await asyncio.gather(*(repo.put_manifest(f"v{number % 2}", content) for number in range(12)))
    assert {answer.status_code for answer in answers} == {201}
    assert (await repo.get("tags/list")).json()["tags"] == ["v0", "v1"]
