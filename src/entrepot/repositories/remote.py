"""Repositories of a registry elsewhere: the Repository contract, spoken over HTTP (distribution-spec).

Uploads are in ``remote_uploads.py``, blobs in ``remote_blobs.py``, the fallback for registries without a referrers API
in ``remote_referrers.py``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from entrepot.auth.scope import Scope
from entrepot.digest import CANONICAL, Digest, require_match
from entrepot.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestInvalid,
    ManifestUnknown,
    NotFound,
    RepositoryUnknown,
    Unsupported,
)
from entrepot.manifest import MANIFEST_TYPES, SCHEMA1_TYPES, ManifestHead, StoredManifest, TagCondition, parse_manifest
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.base import Blob, Chunk, Page, PushedManifest, Sent
from entrepot.repositories.remote_blobs import RemoteBlob, Source
from entrepot.repositories.remote_push import PushMemory, push_blob
from entrepot.repositories.remote_referrers import RemoteReferrers
from entrepot.repositories.remote_uploads import RemoteUploads
from entrepot.transport.base import Body
from entrepot.transport.client import Answer, Call, Transport
from entrepot.transport.redirects import beside, require_path
from entrepot.wire import routes
from entrepot.wire.headers import media_type
from entrepot.wire.responses import parse_link_next

MAX_MANIFEST = 8 * 1024 * 1024  # twice what registries must take
MAX_LISTING = 32 * 1024 * 1024
ACCEPT = ", ".join([*sorted(MANIFEST_TYPES), "*/*;q=0.5"])
_NEXT = "next:"  # before path and query of a next page that cannot be said by ``last`` alone


class RemoteRepository:
    """One repository of the registry ``domain``, read from its mirrors if there are any and ``mirrors`` says so."""

    def __init__(
        self,
        transport: Transport,
        domain: str,
        name: RepositoryName,
        *,
        pushes: PushMemory | None = None,
        mirrors: bool = True,
    ) -> None:
        self.name = name
        self.domain = domain
        self._transport = transport
        self._pushes = pushes
        self._mirrors = mirrors
        self._uploads = RemoteUploads(transport, domain, name)
        self._referrers = RemoteReferrers(self)

    def past_mirrors(self) -> RemoteRepository:
        """The same repository for those who write to it: what a mirror has says nothing of what the registry has."""
        return RemoteRepository(self._transport, self.domain, self.name, pushes=self._pushes, mirrors=False)

    def blob(self, digest: Digest, size: int) -> RemoteBlob:
        """The blob that a manifest of this repository names; nothing is asked yet."""
        return RemoteBlob(self._transport, self.domain, self.name, digest, size, Source(mirrors=self._mirrors))

    async def find_blob(self, digest: Digest) -> RemoteBlob:
        call = self.call(
            "HEAD", lambda name: routes.blob_path(name, digest), absent=BlobUnknown, pull=True, by_digest=True
        )
        async with self._transport.open(call) as answer:
            return self.blob(digest, _length(answer))

    async def put_blob(self, digest: Digest, chunk: Chunk) -> Blob:
        return self.blob(digest, await self._uploads.put(digest, chunk))

    async def push_blob(self, blob: Blob, *, sent: Sent) -> None:
        await push_blob(self._uploads, self._pushes, blob, sent)

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
        try:
            return _checked(reference, answer, content)
        except DigestInvalid:
            if not answer.is_mirror:
                raise
        answer, content = await self._transport.read(replace(call, pull=False), limit=MAX_MANIFEST)
        return _checked(reference, answer, content)

    async def head_manifest(self, reference: Tag | Digest) -> ManifestHead:
        try:
            async with self._transport.open(self._manifest_call("HEAD", reference)) as answer:
                digest = reference if isinstance(reference, Digest) else _told_digest(answer)
                length, kind = answer.length, _told_type(answer)
        except Unsupported:  # registries that know no HEAD
            digest = length = kind = None
        if digest is not None and length is not None and kind is not None:
            return ManifestHead(digest, kind, length)
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
        digest = Digest.of(content, reference.algorithm if isinstance(reference, Digest) else CANONICAL)
        if isinstance(reference, Digest):
            require_match(reference, digest, len(content))
        push = _ManifestPush(content, media_type or _declared_type(content), condition)
        if digest.algorithm == CANONICAL and names:
            subjects = [await self._put(push, tag) for tag in names]
        else:
            subjects = [await self._put_by_digest(push, digest, names)]
        return PushedManifest(digest, subjects[0], names)

    async def delete_manifest(self, reference: Tag | Digest) -> None:
        await self._delete(lambda name: routes.manifest_path(name, reference), ManifestUnknown)

    async def list_tags(self, *, last: str = "", limit: int) -> Page:
        call = self.call("GET", routes.tags_path, absent=RepositoryUnknown, pull=True)
        return await _list_page(self._transport, call, "tags", last, limit)

    async def list_referrers(self, subject: str, artifact_type: str | None, *, last: str = "") -> Page:
        return await self._referrers.page(subject, artifact_type, last)

    async def open_listing(self, call: Call) -> tuple[Answer, Any]:
        """An answer that is JSON. Raises ManifestInvalid when it is not."""
        answer, content = await self._transport.read(call, limit=MAX_LISTING)
        return answer, read_json(content, answer.url)

    def call(self, method: str, path: Any, *, absent: type[NotFound], pull: bool = False, **more: Any) -> Call:
        """A call to this repository."""
        scope = Scope.pull(self.name) if self._mirrors else Scope.push(self.name)
        options = {"scopes": frozenset({scope}), "pull": pull and self._mirrors, **more}
        return Call(method=method, domain=self.domain, name=self.name, path=path, absent=absent, **options)

    def _manifest_call(self, method: str, reference: Tag | Digest) -> Call:
        return self.call(
            method,
            lambda name: routes.manifest_path(name, reference),
            absent=ManifestUnknown,
            headers={"accept": ACCEPT},
            pull=True,
            by_digest=isinstance(reference, Digest),
        )

    async def _put_by_digest(self, push: _ManifestPush, digest: Digest, tags: Sequence[Tag]) -> str | None:
        """With its tags (distribution-spec, end-7b): named by tag it would go by its sha256. Older ones ignore them."""
        query = {"tag": list(tags)} if tags else {}
        async with self._transport.open(self._put_call(push, digest, query)) as answer:
            tagged = {tag.strip() for tag in answer.headers.get("oci-tag", "").split(",")}
        subject = await self._subject(push, answer)
        for tag in tags:
            if tag not in tagged:
                await self._put(push, tag)
        return subject

    async def _put(self, push: _ManifestPush, tag: Tag) -> str | None:
        async with self._transport.open(self._put_call(push, tag, {})) as answer:
            told = _told_digest(answer)
        if told is not None:
            require_match(Digest.of(push.content, told.algorithm), told, len(push.content))
        return await self._subject(push, answer)

    def _put_call(self, push: _ManifestPush, reference: Tag | Digest, query: dict[str, list[Tag]]) -> Call:
        return self.call(
            "PUT",
            lambda name: routes.manifest_path(name, reference),
            absent=RepositoryUnknown,
            headers={"content-type": push.media_type, **_condition_headers(push.condition)},
            query=query,
            body=Body.of(push.content),
            scopes=frozenset({Scope.push(self.name)}),
            accept=frozenset({200, 201, 202, 204}),
        )

    async def _subject(self, push: _ManifestPush, answer: Answer) -> str | None:
        subject = answer.headers.get("oci-subject")
        if subject is None:
            await self._referrers.note(push.content, push.media_type)
        return subject

    async def _delete(self, path: Any, absent: type[NotFound]) -> None:
        scopes = frozenset({Scope("repository", self.name, frozenset({"delete", "pull"}))})
        call = self.call(
            "DELETE",
            path,
            absent=absent,
            scopes=scopes,
            accept=frozenset({200, 202, 204}),
            accept_when_repeated=frozenset({404}),
        )
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
        return [result["name"] for result in await self.search_results(text, limit=limit)][:limit]

    async def search_results(self, text: str, *, limit: int) -> list[dict[str, Any]]:
        """What the registry's search answers: name, description, star_count, is_official of each."""
        call = Call(method="GET", domain=self.domain, path=lambda _: "/v1/search", query={"q": text, "n": str(limit)})
        answer, content = await self.transport.read(call, limit=MAX_LISTING)
        found = read_json(content, answer.url).get("results") or []
        return [result for result in found if isinstance(result, dict) and _is_name(result.get("name"))]

    async def ping(self) -> None:
        """Whether there is a registry that lets us in. Raises what it says otherwise."""
        async with self.transport.open(Call(method="GET", domain=self.domain)):
            pass


@dataclass(frozen=True, slots=True)
class _ManifestPush:
    content: bytes
    media_type: str
    condition: TagCondition | None


async def _list_page(transport: Transport, call: Call, field: str, last: str, limit: int) -> Page:
    if last.startswith(_NEXT):
        call = replace(call, url=require_path(last.removeprefix(_NEXT)))
    else:
        call = replace(call, query={"n": str(limit), **({"last": last} if last else {})})
    answer, content = await transport.read(call, limit=MAX_LISTING)
    items = read_json(content, answer.url).get(field) or []
    if not isinstance(items, list) or not all(map(_is_name, items)):
        raise ManifestInvalid(f"{call.domain} sent a list of {field} that is none", field=field)
    if last in items:  # it does not know pages, and sends everything each time
        items = items[items.index(last) + 1 :]
    return Page(items[:limit], _next(answer, items, last, limit))


def _next(answer: Answer, items: list[str], last: str, limit: int) -> str | None:
    if len(items) > limit:  # cut for those who asked for a page
        return items[limit - 1]
    link = parse_link_next(answer.headers.get("link", ""))
    if link is None:
        return None
    address = beside(answer.url, link)
    query = parse_qs(urlsplit(address).query)
    following = query["last"][0] if set(query) <= {"n", "last"} and "last" in query else _NEXT + address
    if following == last:
        raise ManifestInvalid(f"{urlsplit(answer.url).netloc} lists the same page again and again", last=last[:200])
    return following


def read_json(content: bytes, where: str) -> dict[str, Any]:
    """A JSON object that a registry sent. Raises ManifestInvalid."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"expected JSON from {urlsplit(where).netloc}, got {content[:60]!r}") from error
    if not isinstance(document, dict):
        raise ManifestInvalid(f"expected a JSON object from {urlsplit(where).netloc}, got {content[:60]!r}")
    return document


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _length(answer: Answer) -> int:
    if answer.length is None:
        raise ManifestInvalid("expected the size of the blob in Content-Length, got none", header="Content-Length")
    return answer.length


def _checked(reference: Tag | Digest, answer: Answer, content: bytes) -> StoredManifest:
    """The manifest that came. Raises DigestInvalid when it is not the one that was asked for, or announced."""
    expected = reference if isinstance(reference, Digest) else _told_digest(answer)
    digest = Digest.of(content, expected.algorithm if expected else CANONICAL)
    require_match(expected or digest, digest, len(content))
    return StoredManifest(digest, _told_type(answer) or _declared_type(content) or _content_type(answer), content)


def _told_digest(answer: Answer) -> Digest | None:
    """What the registry says the digest is, if it is of an algorithm that we know."""
    try:
        return Digest.parse(answer.headers.get("docker-content-digest", ""))
    except DigestInvalid:
        return None


def _told_type(answer: Answer) -> str | None:
    """What the registry says it is; servers that say only that it is JSON are not believed, but the document."""
    told = _content_type(answer)
    return told if told in MANIFEST_TYPES or told in SCHEMA1_TYPES else None


def _content_type(answer: Answer) -> str:
    return media_type(answer.headers.get("content-type", ""))


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
