"""A repository as its clients see it: short words for requests, and what every refusal must have."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from entrepot.digest import Digest
from entrepot.testing.images import (
    DOCKER_LIST,
    EMPTY_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Content,
    Image,
    Index,
    walk_blobs,
    walk_manifests,
)

CODES = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DENIED",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "TOOMANYREQUESTS",
    "UNAUTHORIZED",
    "UNSUPPORTED",
}
ABSENT = Digest.of(b"nobody ever pushes this")

Body = bytes | AsyncIterator[bytes] | None


@dataclass(frozen=True)
class Api:
    """Requests to the repository ``name``; paths are relative to it, or absolute when they begin with a slash."""

    client: httpx.AsyncClient
    name: str

    def beside(self, suffix: str) -> Api:
        """Another repository, which no other test uses either."""
        return Api(self.client, f"{self.name}-{suffix}")

    def path(self, rest: str) -> str:
        return rest if rest.startswith("/") else f"/v2/{self.name}/{rest}"

    async def request(self, method: str, path: str, content: Body = None, /, **headers: str) -> httpx.Response:
        """``headers`` are written with underscores: ``content_range="0-9"``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(method, self.path(path), content=content, headers=named)

    async def get(self, path: str, /, **headers: str) -> httpx.Response:
        return await self.request("GET", path, **headers)

    async def head(self, path: str, /, **headers: str) -> httpx.Response:
        return await self.request("HEAD", path, **headers)

    async def delete(self, path: str) -> httpx.Response:
        return await self.request("DELETE", path)

    async def post(self, path: str, content: Body = None, /, **headers: str) -> httpx.Response:
        return await self.request("POST", path, content, **headers)

    async def put(self, path: str, content: Body = None, /, **headers: str) -> httpx.Response:
        return await self.request("PUT", path, content, **headers)

    async def patch(self, path: str, content: Body = None, /, **headers: str) -> httpx.Response:
        return await self.request("PATCH", path, content, **headers)

    async def begin(self, query: str = "") -> str:
        """Begin an upload and return its location."""
        answer = await self.post(f"blobs/uploads/{query}")
        assert answer.status_code == 202
        return answer.headers["location"]

    async def push_blob(self, data: bytes, algorithm: str = "sha256") -> Digest:
        """Push a blob in one request."""
        digest = Digest.of(data, algorithm)
        answer = await self.post(f"blobs/uploads/?digest={digest}", data)
        assert answer.status_code == 201
        return digest

    async def put_manifest(self, reference: str, manifest: Content | bytes, media_type: str = "") -> httpx.Response:
        """Push a manifest as the official suite does: in chunks, without a length."""
        data = manifest.data if isinstance(manifest, Content) else manifest
        kind = media_type or (manifest.media_type if isinstance(manifest, Content) else OCI_MANIFEST)
        return await self.put(f"manifests/{reference}", chunked(data), content_type=kind)

    async def push(self, content: Image | Index, tag: str = "") -> Digest:
        """Push blobs and manifests; the last one also under ``tag``."""
        for blob in walk_blobs(content):
            await self.push_blob(blob.data)
        for manifest in walk_manifests(content):
            answer = await self.put_manifest(manifest.digest, manifest)
            assert answer.status_code == 201, answer.text
        if tag:
            assert (await self.put_manifest(tag, content.manifest)).status_code == 201
        return content.digest

    async def push_document(self, *, reference: str = "", media_type: str = OCI_MANIFEST, **fields: Any) -> Content:
        """Push a manifest (by default one with an empty config and no layers) with the given fields."""
        if media_type == OCI_MANIFEST:
            await self.push_blob(EMPTY_CONFIG.data)
        content = document(media_type=media_type, **fields)
        answer = await self.put_manifest(reference or content.digest, content)
        assert answer.status_code == 201, answer.text
        return content


def document(*, media_type: str = OCI_MANIFEST, **fields: Any) -> Content:
    """A manifest or index; ``fields`` replace those of the smallest one, None removes."""
    parts = (
        {"manifests": []}
        if media_type in (OCI_INDEX, DOCKER_LIST)
        else {"config": EMPTY_CONFIG.descriptor(), "layers": []}
    )
    merged = {"schemaVersion": 2, "mediaType": media_type, **parts, **fields}
    members = {name: value for name, value in merged.items() if value is not None}
    return Content(media_type, json.dumps(members).encode())


async def chunked(data: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    """A body that httpx sends with Transfer-Encoding: chunked and without Content-Length."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def refused(answer: httpx.Response, status: int, code: str) -> list[dict[str, Any]]:
    """Assert that an answer is a refusal in OCI's form with this status and code, and return its errors."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    errors: list[dict[str, Any]] = answer.json()["errors"]
    assert {error["code"] for error in errors} == {code}
    for error in errors:
        assert set(error) == {"code", "message", "detail"}
        assert error["message"]
        assert error["detail"]
    return errors


def next_page(answer: httpx.Response) -> str | None:
    """The address in the Link header, which must have the form of RFC 8288; None when there is no header."""
    header = answer.headers.get("link")
    if header is None:
        return None
    match = re.fullmatch(r'<(/[^<>;\s]+)>; rel="next"', header)
    assert match is not None, header
    return match[1]


def only(headers: Mapping[str, str], *names: str) -> dict[str, str | None]:
    return {name: headers.get(name) for name in names}
