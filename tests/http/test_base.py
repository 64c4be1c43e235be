"""The ends of the API: what is at /v2/, and how every refusal looks (distribution-spec, "Error Codes")."""

from __future__ import annotations

import pytest

from entrepot.digest import Digest
from entrepot.wire.errors import STATUS_AND_CODE

from .api import ABSENT, CODES, Api, refused


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/v2/", "/v2"])
async def test_ping_base_with_and_without_slash_is_200_without_redirect(repo: Api, method: str, path: str) -> None:
    answer = await repo.request(method, path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == "2"
    assert answer.content == (b"{}" if method == "GET" else b"")


@pytest.mark.parametrize(
    "path",
    [
        "/v3/",
        "/v2/name",
        "/v2/name/manifests",
        "/v2/_oci/ext/discover",
        "/v2/name/_oci/ext/discover",
        "/v2/_docker/thing",
    ],
)
async def test_get_unknown_address_is_refused(repo: Api, path: str) -> None:
    refused(await repo.get(path), 404, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/v2/", "GET, HEAD"),
        ("PUT", "/v2/_catalog", "GET, HEAD"),
        ("PATCH", "manifests/v1", "GET, HEAD, PUT, DELETE"),
        ("PUT", f"blobs/{ABSENT}", "GET, HEAD, DELETE"),
        ("GET", "blobs/uploads/", "POST"),
        ("POST", "blobs/uploads/some-id", "GET, HEAD, PATCH, PUT, DELETE"),
        ("DELETE", "tags/list", "GET, HEAD"),
        ("OPTIONS", f"referrers/{ABSENT}", "GET, HEAD"),
    ],
)
async def test_call_address_by_method_it_lacks_is_405_with_allow(repo: Api, method: str, path: str, allow: str) -> None:
    answer = await repo.request(method, path)
    refused(answer, 405, "UNSUPPORTED")
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize("path", ["blobs/uploads", "blobs/uploads/"])
async def test_begin_upload_with_and_without_slash_is_202_without_redirect(repo: Api, path: str) -> None:
    assert (await repo.post(path)).status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/", 200),
        ("GET", "manifests/absent", 404),
        ("POST", "blobs/uploads/", 202),
        ("GET", f"blobs/{ABSENT}", 404),
        ("GET", f"referrers/{ABSENT}", 200),
        ("PUT", "tags/list", 405),
        ("GET", "/v2/nowhere", 404),
    ],
)
async def test_call_any_address_names_the_api_version(repo: Api, method: str, path: str, status: int) -> None:
    answer = await repo.request(method, path)
    assert answer.status_code == status
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"


def test_list_codes_of_4xx_answers_is_the_list_of_the_specification() -> None:
    assert {code for status, code in STATUS_AND_CODE.values() if status < 500} <= CODES


@pytest.mark.parametrize(
    "name",
    ["a", "a.b_c__d-e---f", "0/1/2", "a/b/c/d/e/f/g/h", "a" * 255],
    ids=lambda name: name[:20],
)
async def test_push_blob_to_legal_name_is_taken(repo: Api, name: str) -> None:
    assert (await repo.post(f"/v2/{name}/blobs/uploads/")).status_code == 202


@pytest.mark.parametrize(
    "name",
    ["A", "a/B", "a..b", "a___b", "_a", "a-", "a/-b", "a//b", ".a", "a%20b", "a%2fb", "a%0a", "ä", "a" * 256],
    ids=lambda name: name[:20],
)
async def test_push_blob_to_illegal_name_is_refused(repo: Api, name: str) -> None:
    refused(await repo.post(f"/v2/{name}/blobs/uploads/"), 400, "NAME_INVALID")


@pytest.mark.parametrize("tag", ["v1", "_", "A.b-c_D", "0", "t" * 128], ids=lambda tag: tag[:20])
async def test_push_manifest_under_legal_tag_is_found_there(repo: Api, tag: str) -> None:
    content = await repo.push_document(reference=tag)
    assert (await repo.get(f"manifests/{tag}")).content == content.data


@pytest.mark.parametrize("tag", [".v1", "-v1", "a b", "a+b", "ä", "t" * 129, "v1%0a"], ids=lambda tag: tag[:20])
async def test_push_manifest_under_illegal_tag_is_refused(repo: Api, tag: str) -> None:
    refused(await repo.put_manifest(tag, b"{}"), 400, "MANIFEST_INVALID")


async def test_push_manifest_under_reference_with_colon_is_taken_for_a_digest(repo: Api) -> None:
    refused(await repo.put_manifest("v1:2", b"{}"), 400, "DIGEST_INVALID")


@pytest.mark.parametrize(
    "name",
    [
        "blobs",
        "uploads",
        "tags/list",
        "manifests/manifests",
        "a/blobs/uploads",
        "a/tags",
        "referrers/x",
        "v2",
        "v2/v2/manifests",
    ],
)
async def test_use_repository_named_like_a_part_of_addresses_is_like_any_other(repo: Api, name: str) -> None:
    other = Api(repo.client, f"{repo.name}/{name}")
    digest = Digest.of(b"x")
    assert (await other.put(f"{await other.begin()}?digest={digest}", b"x")).status_code == 201
    content = await other.push_document(reference="list")
    assert (await other.get(f"blobs/{digest}")).content == b"x"
    assert (await other.get("manifests/list")).content == content.data
    assert (await other.get("tags/list")).json() == {"name": other.name, "tags": ["list"]}
    assert (await other.get(f"referrers/{content.digest}")).json()["manifests"] == []


async def test_use_digest_with_its_colon_encoded_is_the_same(repo: Api) -> None:
    content = await repo.push_document()
    digest = await repo.push_blob(b"x")
    blob, manifest = (f"sha256%3A{name.encoded}" for name in (digest, content.digest))
    assert (await repo.put_manifest(manifest, content)).status_code == 201
    assert (await repo.get(f"manifests/{manifest}")).content == content.data
    assert (await repo.get(f"blobs/{blob}")).content == b"x"
    assert (await repo.get(f"referrers/{manifest}")).status_code == 200
    assert (await repo.delete(f"blobs/{blob}")).status_code == 202
    assert (await repo.delete(f"manifests/{manifest.replace('%3A', '%3a')}")).status_code == 202
