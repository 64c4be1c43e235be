"""Push of blobs: uploads and mounts (distribution-spec end-4 to end-6, end-11, end-13, end-14).

An upload's address carries no state, so any of the addresses we gave out for it stays good.
"""

from __future__ import annotations

from entrepot.digest import CANONICAL, Digest, require_algorithm
from entrepot.errors import DigestInvalid, NameInvalid, SizeInvalid
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Blob, Chunk, Repository
from entrepot.server.call import API_VERSION, NO_CONTENT, Call
from entrepot.server.http import Header, Response
from entrepot.wire import routes
from entrepot.wire.headers import parse_content_range, parse_query, upload_range


async def begin_upload(call: Call) -> Response:
    """POST: a mount, a whole blob in one request, or a new upload."""
    repository = call.repository
    request = call.request
    algorithm = require_algorithm(request.parameter("digest-algorithm") or CANONICAL)
    if (text := request.parameter("mount")) is not None:
        mounted = await _mount(repository, text, request.parameter("from"))
        if mounted is not None:
            return _created(call, mounted)
    elif (text := request.parameter("digest")) is not None:
        digest = Digest.parse(text)
        return _created(call, await repository.put_blob(digest, _chunk(call)))
    upload_id = await repository.begin_upload(algorithm)
    return Response(202, _progress(call, upload_id, 0))


async def _mount(repository: Repository, text: str, source: str | None) -> Blob | None:
    digest = Digest.parse(text)
    try:
        return await repository.mount_blob(digest, RepositoryName.parse(source) if source else None)
    except NameInvalid:  # no repository of ours, so there is nothing to mount: an upload will do
        return None


async def get_upload(call: Call) -> Response:
    offset = await call.repository.upload_offset(call.match.last)
    return Response(204, _progress(call, call.match.last, offset, with_length=False))


async def append_upload(call: Call) -> Response:
    offset = await call.repository.append(call.match.last, _chunk(call))
    return Response(202, _progress(call, call.match.last, offset))


async def finish_upload(call: Call) -> Response:
    text = call.request.parameter("digest") or _appended_digest(call)
    repository = call.repository
    if text is None:
        raise DigestInvalid("expected ?digest=... with the digest of the whole blob, got none", expected="digest")
    return _created(call, await repository.finish_upload(call.match.last, Digest.parse(text), _chunk(call)))


async def cancel_upload(call: Call) -> Response:
    await call.repository.cancel_upload(call.match.last)
    return Response(204, [API_VERSION])


def _appended_digest(call: Call) -> str | None:
    values = parse_query(call.match.query.encode()).get("digest")
    return values[-1] if values else None


def _chunk(call: Call) -> Chunk:
    request = call.request
    length = request.content_length
    header = request.header(b"content-range")
    if header is None:
        return Chunk(request.pieces(), length=length)
    start, end = parse_content_range(header)
    if length is not None and length != end - start + 1:
        raise SizeInvalid(
            f"Content-Range {header} spans {end - start + 1} bytes, Content-Length says {length}",
            expected=end - start + 1,
            actual=length,
        )
    return Chunk(request.pieces(), start=start, length=end - start + 1)


def _progress(call: Call, upload_id: str, offset: int, *, with_length: bool = True) -> list[Header]:
    headers = [
        (b"location", call.location(routes.upload_path(call.match.name, upload_id))),
        (b"range", upload_range(offset).encode()),
        (b"docker-upload-uuid", upload_id.encode()),
        API_VERSION,
    ]
    return [*headers, NO_CONTENT] if with_length else headers


def _created(call: Call, blob: Blob) -> Response:
    headers = [
        (b"location", call.location(routes.blob_path(call.match.name, blob.digest))),
        (b"docker-content-digest", blob.digest.encode()),
        NO_CONTENT,
        API_VERSION,
    ]
    return Response(201, headers)
