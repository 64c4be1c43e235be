"""GET and HEAD of manifests (distribution-spec, "Pulling manifests", "Checking if content exists")."""

from __future__ import annotations

import httpx
import pytest

from entrepot.digest import Digest
from entrepot.testing.images import build_image, build_index

from .api import ABSENT, Api, document, only, refused

METHODS = pytest.mark.parametrize("method", ["GET", "HEAD"])
HEADERS = ("content-type", "content-length", "docker-content-digest", "etag")


@pytest.mark.parametrize("by", ["tag", "digest"])
@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.parametrize("build", [build_image, build_index], ids=["image", "index"])
async def test_get_manifest_returns_the_bytes_pushed(repo: Api, build: type, docker: bool, by: str) -> None:
    image = build(docker=docker)
    await repo.push(image, "v1")
    answer = await repo.get(f"manifests/{'v1' if by == 'tag' else image.digest}")
    assert (answer.status_code, answer.content) == (200, image.manifest.data)


@METHODS
@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_get_manifest_names_its_type_size_and_digest(repo: Api, docker: bool, by: str, method: str) -> None:
    image = build_image(docker=docker)
    await repo.push(image, "v1")
    answer = await repo.request(method, f"manifests/{'v1' if by == 'tag' else image.digest}")
    assert only(answer.headers, *HEADERS) == {
        "content-type": image.manifest.media_type,
        "content-length": str(image.manifest.size),
        "docker-content-digest": image.digest,
        "etag": f'"{image.digest}"',
    }


async def test_head_manifest_has_no_body(repo: Api) -> None:
    content = await repo.push_document(reference="v1")
    answer = await repo.head("manifests/v1")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(content.size)


@METHODS
@pytest.mark.parametrize("reference", ["absent", ABSENT, Digest.of(b"", "sha512")], ids=["tag", "sha256", "sha512"])
async def test_get_manifest_that_is_absent_is_404(repo: Api, method: str, reference: str) -> None:
    await repo.push_document()
    answer = await repo.request(method, f"manifests/{reference}")
    assert answer.status_code == 404
    if method == "GET":
        refused(answer, 404, "MANIFEST_UNKNOWN")


async def test_get_manifest_of_another_repository_is_refused(repo: Api) -> None:
    content = await repo.push_document(reference="v1")
    other = repo.beside("other")
    await other.push_document(note="so that it exists")
    refused(await other.get(f"manifests/{content.digest}"), 404, "MANIFEST_UNKNOWN")
    refused(await other.get("manifests/v1"), 404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("reference", ["v1", ABSENT], ids=["tag", "digest"])
async def test_get_manifest_of_unknown_repository_is_refused(repo: Api, reference: str) -> None:
    refused(await repo.get(f"manifests/{reference}"), 404, "NAME_UNKNOWN")


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:baddigeststring",
        "sha256:",
        f"sha256:{'A' * 64}",
        f"sha512:{'a' * 64}",
        f"md5:{'a' * 32}",
        f"blake3:{'a' * 64}",
        ":abc",
    ],
    ids=lambda digest: digest[:12],
)
async def test_get_manifest_by_digest_we_cannot_have_is_refused(repo: Api, digest: str) -> None:
    refused(await repo.get(f"manifests/{digest}"), 400, "DIGEST_INVALID")


async def test_head_manifest_by_malformed_digest_is_400_without_body(repo: Api) -> None:
    answer = await repo.head("manifests/sha256:baddigeststring")
    assert (answer.status_code, answer.content) == (400, b"")
    assert int(answer.headers["content-length"]) > 0


async def test_get_manifest_keeps_blanks_and_order_of_members(repo: Api) -> None:
    content = document(b_unknown={"x": [1.50, 1e3]}, a_unknown=None)
    spaced = content.data.replace(b",", b" ,\n\t").replace(b'"schemaVersion"', b'"schemaVersi\\u006fn"') + b"\n\n"
    await repo.push_document()
    answer = await repo.put_manifest("v1", spaced)
    assert answer.status_code == 201
    assert (await repo.get("manifests/v1")).content == spaced


@METHODS
@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v2+json",
        "text/html;q=0.9, */*;q=0",
        "",
    ],
)
async def test_get_manifest_ignores_accept(repo: Api, method: str, accept: str) -> None:
    index = build_index()
    await repo.push(index, "v1")
    answer = await repo.request(method, "manifests/v1", accept=accept)
    assert answer.headers["content-type"] == index.manifest.media_type
    assert answer.headers["docker-content-digest"] == index.digest


@METHODS
async def test_get_manifest_without_accept_header_returns_it(repo: Api, method: str) -> None:
    index = build_index()
    await repo.push(index, "v1")
    request = repo.client.build_request(method, repo.path("manifests/v1"))
    del request.headers["accept"]
    answer = await repo.client.send(request)
    assert (answer.status_code, answer.headers["docker-content-digest"]) == (200, index.digest)


async def test_get_manifest_with_many_accept_lines_returns_it(repo: Api) -> None:
    content = await repo.push_document(reference="v1")
    types = ["application/vnd.docker.distribution.manifest.v1+prettyjws", "application/json", content.media_type]
    answer = await repo.client.get(repo.path("manifests/v1"), headers=[("accept", kind) for kind in types])
    assert answer.content == content.data


@METHODS
@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', "{}", '"other", "{}"', "*"])
async def test_get_manifest_the_client_has_is_304(repo: Api, method: str, form: str) -> None:
    content = await repo.push_document(reference="v1")
    answer = await repo.request(method, "manifests/v1", if_none_match=form.format(content.digest))
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == f'"{content.digest}"'


@METHODS
async def test_get_manifest_after_the_tag_moved_is_200(repo: Api, method: str) -> None:
    first = await repo.push_document(reference="v1")
    second = await repo.push_document(reference="v1", note="moved")
    answer = await repo.request(method, "manifests/v1", if_none_match=f'"{first.digest}"')
    assert (answer.status_code, answer.headers["docker-content-digest"]) == (200, second.digest)


@METHODS
@pytest.mark.parametrize("query", ["ns=docker.io", "_state=x", "tag=y"])
async def test_get_manifest_ignores_query(repo: Api, method: str, query: str) -> None:
    content = await repo.push_document(reference="v1")
    answer: httpx.Response = await repo.request(method, f"manifests/v1?{query}")
    assert (answer.status_code, answer.headers["docker-content-digest"]) == (200, content.digest)
    assert "oci-namespace" not in answer.headers
