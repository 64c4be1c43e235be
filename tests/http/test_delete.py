"""Delete of tags, manifests and blobs (distribution-spec, "Content Management")."""

from __future__ import annotations

import asyncio

import pytest

from entrepot.digest import Digest
from entrepot.testing.images import OCI_INDEX, build_image

from .api import ABSENT, Api, refused

ALGORITHMS = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])


async def test_delete_tag_is_202_and_leaves_the_manifest_and_other_tags(repo: Api) -> None:
    content = await repo.push_document(reference="v1")
    await repo.put_manifest("v2", content)
    answer = await repo.delete("manifests/v1")
    assert (answer.status_code, answer.content) == (202, b"")
    assert (await repo.head("manifests/v1")).status_code == 404
    refused(await repo.get("manifests/v1"), 404, "MANIFEST_UNKNOWN")
    assert (await repo.get("tags/list")).json()["tags"] == ["v2"]
    assert (await repo.get(f"manifests/{content.digest}")).content == content.data


@ALGORITHMS
async def test_delete_manifest_is_202_and_takes_its_tags_along(repo: Api, algorithm: str) -> None:
    content = await repo.push_document(reference="other", note="stays")
    doomed = await repo.push_document()
    digest = Digest.of(doomed.data, algorithm)
    await repo.put_manifest(f"{digest}?tag=a&tag=b", doomed)
    answer = await repo.delete(f"manifests/{digest}")
    assert (answer.status_code, answer.content) == (202, b"")
    for reference in (digest, "a", "b"):
        assert (await repo.head(f"manifests/{reference}")).status_code == 404
        refused(await repo.get(f"manifests/{reference}"), 404, "MANIFEST_UNKNOWN")
    assert (await repo.get("tags/list")).json()["tags"] == ["other"]
    assert (await repo.get("manifests/other")).content == content.data


async def test_delete_manifest_leaves_other_repositories_theirs(repo: Api) -> None:
    other = repo.beside("other")
    content = await repo.push_document(reference="v1")
    await other.push_document(reference="v1")
    await repo.delete(f"manifests/{content.digest}")
    assert (await other.get("manifests/v1")).content == content.data


async def test_delete_manifest_leaves_blobs_to_be_deleted(repo: Api) -> None:
    image = build_image()
    await repo.push(image, "v1")
    assert (await repo.delete(f"manifests/{image.digest}")).status_code == 202
    for blob in (*image.layers, image.config):
        assert (await repo.head(f"blobs/{blob.digest}")).status_code == 200
        assert (await repo.delete(f"blobs/{blob.digest}")).status_code == 202


async def test_delete_child_of_index_is_202_and_leaves_the_index(repo: Api) -> None:
    image = await repo.push_document()
    index = await repo.push_document(media_type=OCI_INDEX, manifests=[image.descriptor()])
    assert (await repo.delete(f"manifests/{image.digest}")).status_code == 202
    assert (await repo.get(f"manifests/{index.digest}")).content == index.data


@ALGORITHMS
async def test_delete_blob_is_202_and_it_is_gone_here_only(repo: Api, algorithm: str) -> None:
    other = repo.beside("other")
    digest = await repo.push_blob(b"shared", algorithm)
    await other.push_blob(b"shared", algorithm)
    await repo.push_blob(b"so that the repository exists")
    answer = await repo.delete(f"blobs/{digest}")
    assert (answer.status_code, answer.content) == (202, b"")
    assert (await repo.head(f"blobs/{digest}")).status_code == 404
    refused(await repo.get(f"blobs/{digest}"), 404, "BLOB_UNKNOWN")
    assert (await other.get(f"blobs/{digest}")).content == b"shared"


async def test_delete_blob_that_a_manifest_names_is_202(repo: Api) -> None:
    image = build_image()
    await repo.push(image, "v1")
    assert (await repo.delete(f"blobs/{image.layers[0].digest}")).status_code == 202
    assert (await repo.get("manifests/v1")).content == image.manifest.data


async def test_delete_blob_and_push_it_again_brings_it_back(repo: Api) -> None:
    digest = await repo.push_blob(b"again")
    await repo.delete(f"blobs/{digest}")
    await repo.push_blob(b"again")
    assert (await repo.get(f"blobs/{digest}")).content == b"again"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("manifests/absent", "MANIFEST_UNKNOWN"),
        (f"manifests/{ABSENT}", "MANIFEST_UNKNOWN"),
        (f"blobs/{ABSENT}", "BLOB_UNKNOWN"),
    ],
)
async def test_delete_what_is_absent_is_refused(repo: Api, path: str, code: str) -> None:
    await repo.push_document()
    refused(await repo.delete(path), 404, code)


@pytest.mark.parametrize("path", ["manifests/v1", f"manifests/{ABSENT}", f"blobs/{ABSENT}"])
async def test_delete_in_unknown_repository_is_refused(repo: Api, path: str) -> None:
    refused(await repo.delete(path), 404, "NAME_UNKNOWN")


@pytest.mark.parametrize("path", ["manifests/sha256:bad", "blobs/sha256:bad", "blobs/latest"])
async def test_delete_by_malformed_digest_is_refused(repo: Api, path: str) -> None:
    refused(await repo.delete(path), 400, "DIGEST_INVALID")


@pytest.mark.parametrize("kind", ["tag", "manifest", "blob"])
async def test_delete_twice_is_202_and_404(repo: Api, kind: str) -> None:
    content = await repo.push_document(reference="v1")
    digest = await repo.push_blob(b"x")
    path = {"tag": "manifests/v1", "manifest": f"manifests/{content.digest}", "blob": f"blobs/{digest}"}[kind]
    assert [(await repo.delete(path)).status_code for _ in range(2)] == [202, 404]


@pytest.mark.parametrize("number", range(5))
async def test_delete_is_seen_by_every_worker_at_once(wire: Api, number: int) -> None:
    content = await wire.push_document(reference="v1", number=number)
    digest = await wire.push_blob(b"x")
    for path in ("manifests/v1", f"manifests/{content.digest}", f"blobs/{digest}"):
        assert await statuses(wire, path) == {200}  # on several connections, so of both workers
        assert (await wire.delete(path)).status_code == 202
        assert await statuses(wire, path) == {404}


async def statuses(repo: Api, path: str) -> set[int]:
    answers = await asyncio.gather(*(repo.head(path) for _ in range(8)))
    return {answer.status_code for answer in answers}


@ALGORITHMS
async def test_delete_manifest_that_its_tag_has_left_keeps_the_tag(repo: Api, algorithm: str) -> None:
    old = await repo.push_document(reference="v1")
    new = await repo.push_document(reference="v1", note=algorithm)
    await repo.delete(f"manifests/{old.digest}")
    assert (await repo.get("manifests/v1")).content == new.data
