"""Repositories of a registry elsewhere: the Repository contract, spoken over HTTP (distribution-spec).

Uploads are in ``remote_uploads.py``, blobs in ``remote_blobs.py``, the fallback for registries without a referrers API
in ``remote_referrers.py``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

from entrepot.auth.scope import Scope
from entrepot.digest import CANONICAL, Digest, is_digest, require_match
from entrepot.errors import (
    BlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NotFound,
    RepositoryUnknown,
)
from entrepot.manifest import MANIFEST_TYPES, SCHEMA1_TYPES, ManifestHead, StoredManifest, TagCondition, parse_manifest
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.base import Blob, Chunk, Page, PushedManifest, Sent
from entrepot.repositories.remote_blobs import RemoteBlob
from entrepot.repositories.remote_referrers import RemoteReferrers
from entrepot.repositories.remote_uploads import PushMemory, RemoteUploads
from entrepot.transport.base import Body
from entrepot.transport.client import Answer, Call, Transport
from entrepot.wire import routes
from entrepot.wire.headers import media_type
from entrepot.wire.responses import parse_link_next

MAX_MANIFEST = 8 * 1024 * 1024  # twice what registries must take
MAX_LISTING = 32 * 1024 * 1024
ACCEPT = ", ".join([*sorted(MANIFEST_TYPES), "*/*;q=0.5"])
_NEXT = "next:"  # before the address of a next page that cannot be said by ``last`` alone


class RemoteRepository:
    """One repository of the registry ``domain``."""

    def __init__(
        self, transport: Transport, domain: str, name: RepositoryName, *, pushes: PushMemory | None = None
    ) -> None:
        self.name = name
        self.domain = domain
        self._transport = transport
        self._uploads = RemoteUploads(transport, domain, name, pushes)
        self._referrers = RemoteReferrers(self)

    def blob(self, digest: Digest, size: int) -> RemoteBlob:
        """The blob that a manifest of this repository names; nothing is asked yet."""
        return RemoteBlob(self._transport, self.domain, self.name, digest, size)

    async def find_blob(self, digest: Digest) -> RemoteBlob:
        call = self._call(
            "HEAD", lambda name: routes.blob_path(name, digest), absent=BlobUnknown, pull=True, by_digest=True
        )
        async with self._transport.open(call) as answer:
            return self.blob(digest, _length(answer))

    async def put_blob(self, digest: Digest, chunk: Chunk) -> Blob:
        return self.blob(digest, await self._uploads.put(digest, chunk))

    async def push_blob(self, blob: Blob, *, sent: Sent) -> None:
        await self._uploads.push(blob, sent)

    async def mount_blob(self, digest: Digest, source: RepositoryName | None) -> Blob | None:
        if not await self._uploads.mount(digest, source):
            return None
        return await self.find_blob(digest)

    async def delete_blob(self, digest: Digest) -> None:
        await self._delete(lambda name: routes.blob_path(name, digest), BlobUnknown)

    async def begin_upload(self, algorithm: str = CANONICAL) -> str:
        return await self._uploads.begin(algorithm)

    async def upload_offset(self, upload_id: str) -> int:
        return await self._uploads.offset(upload_id)

    async def append(self, upload_id: str, chunk: Chunk) -> int:
        return await self._uploads.append(upload_id, chunk)

    async def finish_upload(self, upload_id: str, digest: Digest, chunk: Chunk) -> Blob:
        await self._uploads.finish(upload_id, digest, chunk)
        return await self.find_blob(digest)

    async def cancel_upload(self, upload_id: str) -> None:
        await self._uploads.cancel(upload_id)

    async def get_manifest(self, reference: Tag | Digest) -> StoredManifest:
        call = self._manifest_call("GET", reference)
        answer, content = await self._transport.read(call, limit=MAX_MANIFEST)
        digest = Digest.of(content, reference.algorithm if isinstance(reference, Digest) else CANONICAL)
        if isinstance(reference, Digest):
            require_match(reference, digest, len(content))
        elif is_digest(told := answer.headers.get("docker-content-digest", "")) and told.startswith("sha256:"):
            require_match(Digest.parse(told), digest, len(content))
        return StoredManifest(digest, _manifest_type(answer, content), content)

    async def head_manifest(self, reference: Tag | Digest) -> ManifestHead:
        async with self._transport.open(self._manifest_call("HEAD", reference)) as answer:
            digest = answer.headers.get("docker-content-digest", "")
            length = answer.headers.get("content-length", "")
            kind = media_type(answer.headers.get("content-type", ""))
        if isinstance(reference, Digest):
            digest = reference
        if is_digest(digest) and length.isdigit() and kind:
            return ManifestHead(Digest.parse(digest), kind, int(length))
        found = await self.get_manifest(reference)
        return ManifestHead(found.digest, found.media_type, len(found.content))

    async def put_manifest(
        self,
        reference: Tag | Digest,
        content: bytes,
        media_type: str | None,
        *,
        tags: Sequence[Tag] = (),
        condition: TagCondition | None = None,
    ) -> PushedManifest:
        names = tuple(dict.fromkeys((*tags, reference) if isinstance(reference, Tag) else tags))
        first: Tag | Digest = names[0] if names else reference
        if isinstance(reference, Digest) and names:
            require_match(reference, Digest.of(content, reference.algorithm), len(content))
            first = reference
        subject = await self._put(first, content, media_type, condition)
        for tag in names:
            if tag != first:
                await self._put(tag, content, media_type, condition)
        digest = reference if isinstance(reference, Digest) else Digest.of(content)
        return PushedManifest(digest, subject, names)

    async def delete_manifest(self, reference: Tag | Digest) -> None:
        await self._delete(lambda name: routes.manifest_path(name, reference), ManifestUnknown)

    async def list_tags(self, *, last: str = "", limit: int) -> Page:
        call = self._call("GET", routes.tags_path, absent=RepositoryUnknown, pull=True)
        return await _list_page(self._transport, call, "tags", last, limit)

    async def list_referrers(self, subject: str, artifact_type: str | None, *, last: str = "") -> Page:
        return await self._referrers.page(subject, artifact_type, last)

    async def open_listing(self, call: Call) -> tuple[Answer, Any]:
        """An answer that is JSON. Raises ManifestInvalid when it is not."""
        answer, content = await self._transport.read(call, limit=MAX_LISTING)
        return answer, read_json(content, answer.url)

    def call(self, method: str, path: Any, *, absent: type[NotFound], **more: Any) -> Call:
        """A call to this repository."""
        return self._call(method, path, absent=absent, **more)

    def _call(self, method: str, path: Any, *, absent: type[NotFound], **more: Any) -> Call:
        scopes = frozenset({Scope.pull(self.name)})
        return Call(
            **{"scopes": scopes, **more}, method=method, domain=self.domain, name=self.name, path=path, absent=absent
        )

    def _manifest_call(self, method: str, reference: Tag | Digest) -> Call:
        return self._call(
            method,
            lambda name: routes.manifest_path(name, reference),
            absent=ManifestUnknown,
            headers={"accept": ACCEPT},
            pull=True,
            by_digest=isinstance(reference, Digest),
        )

    async def _put(
        self, reference: Tag | Digest, content: bytes, kind: str | None, condition: TagCondition | None
    ) -> str | None:
        headers = {"content-type": kind or _declared_type(content), **_condition_headers(condition)}
        call = self._call(
            "PUT",
            lambda name: routes.manifest_path(name, reference),
            absent=RepositoryUnknown,
            headers=headers,
            body=Body.of(content),
            scopes=frozenset({Scope.push(self.name)}),
            accept=frozenset({200, 201, 202, 204}),
        )
        async with self._transport.open(call) as answer:
            told = answer.headers.get("docker-content-digest", "")
            subject = answer.headers.get("oci-subject")
        if is_digest(told) and told.startswith("sha256:"):
            require_match(Digest.of(content), Digest.parse(told), len(content))
        if subject is None:
            await self._referrers.note(content, headers["content-type"])
        return subject

    async def _delete(self, path: Any, absent: type[NotFound]) -> None:
        scopes = frozenset({Scope("repository", self.name, frozenset({"delete", "pull"}))})
        call = self._call("DELETE", path, absent=absent, scopes=scopes, accept=frozenset({200, 202, 204}))
        async with self._transport.open(call):
            pass


class RemoteRegistry:
    """The registry at ``domain``, e.g. ``docker.io`` or ``localhost:5000``."""

    def __init__(self, transport: Transport, domain: str, *, pushes: PushMemory | None = None) -> None:
        self.domain = domain
        self.transport = transport
        self._pushes = pushes

    def repository(self, name: RepositoryName) -> RemoteRepository:
        return RemoteRepository(self.transport, self.domain, name, pushes=self._pushes)

    async def list_repositories(self, *, last: str = "", limit: int) -> Page:
        scopes = frozenset({Scope("registry", "catalog", frozenset({"*"}))})
        call = Call(method="GET", domain=self.domain, path=lambda _: "/v2/_catalog", scopes=scopes)
        return await _list_page(self.transport, call, "repositories", last, limit)

    async def search(self, text: str, *, limit: int) -> list[str]:
        return [result["name"] for result in await self.search_results(text, limit=limit)]

    async def search_results(self, text: str, *, limit: int) -> list[dict[str, Any]]:
        """What the registry's search answers: name, description, star_count, is_official of each."""
        call = Call(method="GET", domain=self.domain, path=lambda _: "/v1/search", query={"q": text, "n": str(limit)})
        answer, content = await self.transport.read(call, limit=MAX_LISTING)
        found = read_json(content, answer.url).get("results") or []
        return [result for result in found if isinstance(result, dict) and isinstance(result.get("name"), str)]

    async def ping(self) -> None:
        """Whether there is a registry that lets us in. Raises what it says otherwise."""
        async with self.transport.open(Call(method="GET", domain=self.domain)):
            pass


async def _list_page(transport: Transport, call: Call, field: str, last: str, limit: int) -> Page:
    if last.startswith(_NEXT):
        call = replace(call, url=last.removeprefix(_NEXT))
    else:
        call = replace(call, query={"n": str(limit), **({"last": last} if last else {})})
    answer, content = await transport.read(call, limit=MAX_LISTING)
    items = read_json(content, answer.url).get(field) or []
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ManifestInvalid(f"{call.domain} sent a list of {field} that is none", field=field)
    return Page(items[:limit], _next(answer, items, limit))


def _next(answer: Answer, items: list[str], limit: int) -> str | None:
    if len(items) > limit:  # it does not know pages; cut for those who asked for one
        return items[limit - 1]
    link = parse_link_next(answer.headers.get("link", ""))
    if link is None:
        return None
    query = parse_qs(urlsplit(link).query)
    if set(query) <= {"n", "last"} and "last" in query:
        return query["last"][0]
    return _NEXT + urljoin(answer.url, link)


def read_json(content: bytes, where: str) -> dict[str, Any]:
    """A JSON object that a registry sent. Raises ManifestInvalid."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"expected JSON from {urlsplit(where).netloc}, got {content[:60]!r}") from error
    if not isinstance(document, dict):
        raise ManifestInvalid(f"expected a JSON object from {urlsplit(where).netloc}, got {content[:60]!r}")
    return document


def _length(answer: Answer) -> int:
    length = answer.headers.get("content-length", "")
    if not length.isdigit():
        raise ManifestInvalid("expected the size of the blob in Content-Length, got none", header="Content-Length")
    return int(length)


def _manifest_type(answer: Answer, content: bytes) -> str:
    """What the registry says it is; servers that say only that it is JSON are believed by the document itself."""
    told = media_type(answer.headers.get("content-type", ""))
    if told in MANIFEST_TYPES or told in SCHEMA1_TYPES:
        return told
    return _declared_type(content) or told


def _declared_type(content: bytes) -> str:
    try:
        return parse_manifest(content, None, allow_unknown_types=True).media_type
    except ManifestInvalid:
        return ""


def _condition_headers(condition: TagCondition | None) -> dict[str, str]:
    if condition is None:
        return {}
    if condition.must_be_absent:
        return {"if-none-match": "*"}
    if condition.digests is not None:
        return {"if-match": ", ".join(f'"{digest}"' for digest in sorted(condition.digests))}
    return {"if-match": "*"} if condition.must_exist else {}
