"""Pull, push and delete of manifests (distribution-spec end-3, end-7, end-9)."""

from __future__ import annotations

from entrepot.digest import Digest
from entrepot.errors import TooManyTags
from entrepot.manifest import TagCondition
from entrepot.reference import Tag, parse_reference
from entrepot.repositories.base import PushedManifest
from entrepot.server.call import API_VERSION, NO_CONTENT, Call, content_length
from entrepot.server.http import Header, Response
from entrepot.wire import routes
from entrepot.wire.headers import etag_digests, etag_matches


async def get_manifest(call: Call) -> Response:
    found = await call.repository.get_manifest(parse_reference(call.match.last))
    headers = _headers(found.digest, found.media_type, len(found.content))
    return _not_modified(call, found.digest) or Response(200, headers, found.content)


async def head_manifest(call: Call) -> Response:
    found = await call.repository.head_manifest(parse_reference(call.match.last))
    return _not_modified(call, found.digest) or Response(200, _headers(found.digest, found.media_type, found.size))


def _headers(digest: Digest, media_type: str, size: int) -> list[Header]:
    text = digest.encode()
    return [
        (b"content-type", media_type.encode()),
        content_length(size),
        (b"docker-content-digest", text),
        (b"etag", b'"%b"' % text),
        API_VERSION,
    ]


def _not_modified(call: Call, digest: Digest) -> Response | None:
    header = call.request.header(b"if-none-match")
    if header is None or not etag_matches(header, digest):
        return None
    text = digest.encode()
    return Response(304, [(b"docker-content-digest", text), (b"etag", b'"%b"' % text), API_VERSION])


async def put_manifest(call: Call) -> Response:
    reference = parse_reference(call.match.last)
    repository = call.repository
    tags = _tags(call)
    condition = _condition(call)
    content = await call.request.body(call.options.manifest_bytes)
    content_type = call.request.header(b"content-type")
    pushed = await repository.put_manifest(reference, content, content_type, tags=tags, condition=condition)
    return _created(call, pushed, tags)


def _created(call: Call, pushed: PushedManifest, tags: list[Tag]) -> Response:
    location = call.location(routes.manifest_path(call.match.name, pushed.digest))
    headers = [
        (b"location", location),
        (b"docker-content-digest", pushed.digest.encode()),
        NO_CONTENT,
        API_VERSION,
        *((b"oci-tag", tag.encode()) for tag in tags),
    ]
    if pushed.subject is not None:
        headers.append((b"oci-subject", pushed.subject.encode()))
    return Response(201, headers)


def _tags(call: Call) -> list[Tag]:
    texts = call.request.query.get("tag", [])
    if len(texts) > call.options.tags_per_push:
        raise TooManyTags(
            f"a push may carry {call.options.tags_per_push} tags, this one has {len(texts)}",
            limit=call.options.tags_per_push,
            actual=len(texts),
        )
    return [Tag.parse(text) for text in texts]


def _condition(call: Call) -> TagCondition | None:
    if_none_match = call.request.header(b"if-none-match")
    if_match = call.request.header(b"if-match")
    if if_none_match is None and if_match is None:
        return None
    return TagCondition(
        must_be_absent=if_none_match is not None and if_none_match.strip() == "*",
        must_exist=if_match is not None,
        digests=etag_digests(if_match) if if_match is not None else None,
    )


async def delete_manifest(call: Call) -> Response:
    await call.repository.delete_manifest(parse_reference(call.match.last))
    return Response(202, [NO_CONTENT, API_VERSION])
