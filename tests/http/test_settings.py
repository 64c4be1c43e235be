"""What an operator can decide about the protocol, and what the defaults are."""

from __future__ import annotations

import pytest

from entrepot.digest import Digest
from entrepot.testing.images import EMPTY_CONFIG, OCI_INDEX, OCI_MANIFEST, build_image

from .api import ABSENT, Api, document, refused
from .conftest import Registry

OTHER = "application/vnd.example.manifest.v7+json"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "blobs/uploads/", ""),
        ("PUT", "manifests/v1", "GET, HEAD"),
        ("DELETE", "manifests/v1", "GET, HEAD"),
        ("DELETE", f"blobs/{ABSENT}", "GET, HEAD"),
        ("PATCH", "blobs/uploads/x", "GET, HEAD"),
        ("PUT", "blobs/uploads/x", "GET, HEAD"),
        ("DELETE", "blobs/uploads/x", "GET, HEAD"),
    ],
)
async def test_write_in_read_only_mode_is_refused(registry: Registry, method: str, path: str, allow: str) -> None:
    async with registry({"server.read_only": True}) as repo:
        answer = await repo.request(method, path)
        refused(answer, 405, "UNSUPPORTED")
        assert answer.headers["allow"] == allow


async def test_read_in_read_only_mode_is_answered(registry: Registry) -> None:
    async with registry() as repo:
        content = await repo.push_document(reference="v1")
    async with registry({"server.read_only": True}) as reader:
        pulled = await Api(reader.client, repo.name).get("manifests/v1")
        assert pulled.content == content.data


@pytest.mark.parametrize("kind", ["tag", "manifest", "blob"])
async def test_delete_while_deletion_is_off_is_refused(registry: Registry, kind: str) -> None:
    async with registry({"delete.enabled": False}) as repo:
        content = await repo.push_document(reference="v1")
        path = {
            "tag": "manifests/v1",
            "manifest": f"manifests/{content.digest}",
            "blob": f"blobs/{EMPTY_CONFIG.digest}",
        }[kind]
        answer = await repo.delete(path)
        refused(answer, 405, "UNSUPPORTED")
        assert "DELETE" not in answer.headers["allow"]
        assert (await repo.head(path)).status_code == 200


async def test_cancel_upload_while_deletion_is_off_is_204(registry: Registry) -> None:
    async with registry({"delete.enabled": False}) as repo:
        assert (await repo.delete(await repo.begin())).status_code == 204


async def test_delete_blob_in_use_is_refused_where_such_are_protected(registry: Registry) -> None:
    async with registry({"delete.protect_used_blobs": True}) as repo:
        content = await repo.push_document()
        errors = refused(await repo.delete(f"blobs/{EMPTY_CONFIG.digest}"), 403, "DENIED")
        assert errors[0]["detail"]["manifest"] == content.digest
        await repo.delete(f"manifests/{content.digest}")
        assert (await repo.delete(f"blobs/{EMPTY_CONFIG.digest}")).status_code == 202


async def test_push_manifest_with_absent_children_is_taken_where_allowed(registry: Registry) -> None:
    async with registry({"manifests.allow_missing_children": ["mirror/*"]}) as repo:
        mirror, image = Api(repo.client, "mirror/app"), build_image()
        assert (await mirror.put_manifest("v1", image.manifest)).status_code == 201
        assert (await mirror.get("manifests/v1")).content == image.manifest.data
        refused(await repo.put_manifest("v1", image.manifest), 400, "MANIFEST_BLOB_UNKNOWN")


async def test_push_index_with_absent_children_is_taken_where_allowed(registry: Registry) -> None:
    async with registry({"manifests.allow_missing_children": ["*"]}) as repo:
        child = {"mediaType": OCI_MANIFEST, "digest": ABSENT, "size": 10}
        await repo.push_document(media_type=OCI_INDEX, manifests=[child])


async def test_push_manifest_of_unknown_type_is_kept_unread_where_allowed(registry: Registry) -> None:
    async with registry({"manifests.allow_unknown_types": True}) as repo:
        content = b'{"layers": "anything", "subject": 5}'
        assert (await repo.put_manifest("v1", content, OTHER)).status_code == 201
        answer = await repo.get("manifests/v1")
        assert (answer.content, answer.headers["content-type"]) == (content, OTHER)


async def test_push_manifest_with_empty_config_and_no_type_is_taken_by_default(registry: Registry) -> None:
    async with registry() as repo:
        await repo.push_document()


async def test_push_manifest_with_empty_config_and_no_type_is_refused_where_strict(registry: Registry) -> None:
    async with registry({"manifests.require_artifact_type": True}) as repo:
        await repo.push_blob(EMPTY_CONFIG.data)
        errors = refused(await repo.put_manifest("v1", document()), 400, "MANIFEST_INVALID")
        assert errors[0]["detail"]["field"] == "artifactType"
        await repo.push_document(artifactType="application/vnd.example")


async def test_begin_more_uploads_than_allowed_is_429_with_retry_after(registry: Registry) -> None:
    async with registry({"limits.uploads_per_repository": 2}) as repo:
        location, _ = await repo.begin(), await repo.begin()
        answer = await repo.post("blobs/uploads/")
        refused(answer, 429, "TOOMANYREQUESTS")
        assert int(answer.headers["retry-after"]) > 0
        await repo.delete(location)
        await repo.begin()
        await repo.beside("other").begin()


@pytest.mark.parametrize("way", ["put", "patch", "post"])
async def test_push_blob_over_the_limit_is_413_and_not_kept(registry: Registry, way: str) -> None:
    async with registry({"limits.upload_bytes": 1000}) as repo:
        data, location = b"x" * 1001, await repo.begin()
        digest = Digest.of(data)
        answer = await {
            "put": lambda: repo.put(f"{location}?digest={digest}", data),
            "patch": lambda: repo.patch(location, data),
            "post": lambda: repo.post(f"blobs/uploads/?digest={digest}", data),
        }[way]()
        refused(answer, 413, "BLOB_UPLOAD_INVALID")
        assert (await repo.head(f"blobs/{digest}")).status_code == 404
        assert (await repo.push_blob(b"x" * 1000)) == Digest.of(b"x" * 1000)


async def test_push_more_tags_than_allowed_is_414(registry: Registry) -> None:
    async with registry({"limits.tags_per_push": 10}) as repo:
        content = await repo.push_document()
        query = [f"tag=v{number}" for number in range(11)]
        assert (await repo.put_manifest(f"{content.digest}?{'&'.join(query[:10])}", content)).status_code == 201
        refused(await repo.put_manifest(f"{content.digest}?{'&'.join(query)}", content), 414, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("settings", "headers", "expected"),
    [
        ({}, {}, ""),
        ({"server.absolute_urls": True}, {}, "http://registry.test"),
        ({"server.absolute_urls": True}, {"host": "here:5000"}, "http://here:5000"),
        (
            {"server.absolute_urls": True},
            {"host": "here", "x_forwarded_proto": "https", "x_forwarded_host": "there:443"},
            "http://here",
        ),
        (
            {"server.absolute_urls": True, "server.behind_proxy": True},
            {"host": "here", "x_forwarded_proto": "https, http", "x_forwarded_host": "there:443, here"},
            "https://there:443",
        ),
        ({"server.absolute_urls": True, "server.behind_proxy": True}, {"host": "here"}, "http://here"),
        ({"server.behind_proxy": True}, {"x_forwarded_proto": "https", "x_forwarded_host": "there"}, ""),
    ],
    ids=["relative", "absolute", "host with port", "not trusted", "trusted", "nothing forwarded", "trusted relative"],
)
async def test_begin_upload_gives_location_as_set(
    registry: Registry, settings: dict[str, bool], headers: dict[str, str], expected: str
) -> None:
    async with registry(settings) as repo:
        answer = await repo.post("blobs/uploads/", **headers)
        assert answer.headers["location"].startswith(f"{expected}/v2/{repo.name}/blobs/uploads/")
        digest = Digest.of(b"x")
        answer = await repo.post(f"blobs/uploads/?digest={digest}", b"x", **headers)
        assert answer.headers["location"] == f"{expected}/v2/{repo.name}/blobs/{digest}"
