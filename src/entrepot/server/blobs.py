"""Pull and delete of blobs (distribution-spec end-2, end-10)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from entrepot.digest import Digest
from entrepot.repositories.base import Blob
from entrepot.server.call import API_VERSION, NO_CONTENT, Call, content_length
from entrepot.server.http import Header, Response
from entrepot.wire.headers import etag_matches, multipart_footer, multipart_header, parse_range

_TYPE = "application/octet-stream"
_CONTENT_TYPE: Header = (b"content-type", _TYPE.encode())
_ACCEPT_RANGES: Header = (b"accept-ranges", b"bytes")
_FOR_EVER: Header = (b"cache-control", b"max-age=31536000, immutable")

_IN_ONE_PIECE = 1024 * 1024  # up to this a blob goes out as one body, which costs less than a stream

Span = tuple[int, int]


async def get_blob(call: Call) -> Response:
    blob = await call.repository.find_blob(Digest.parse(call.match.last))
    request = call.request
    if (header := request.header(b"if-none-match")) is not None and etag_matches(header, blob.digest):
        return Response(304, _validators(blob))
    if call.options.direct_address is not None and request.method == "GET":
        address = await call.options.direct_address(blob)
        if address is not None:
            return _elsewhere(blob, address)
    ranges = request.header(b"range")
    if ranges is not None and request.method == "GET" and _range_applies(call, blob):
        spans = parse_range(ranges, blob.size)
        if spans is not None:
            return await _one_range(blob, spans[0]) if len(spans) == 1 else _several_ranges(blob, spans)
    headers = [_CONTENT_TYPE, content_length(blob.size), *_validators(blob)]
    if request.method == "HEAD":
        return Response(200, headers)
    return await _with_content(Response(200, headers), blob, (0, blob.size))


def _elsewhere(blob: Blob, address: str) -> Response:
    # the address is good for a while only, so nobody may remember it; ranges are asked for again there
    headers = [
        (b"location", address.encode()),
        (b"docker-content-digest", blob.digest.encode()),
        (b"cache-control", b"no-store"),
        NO_CONTENT,
        API_VERSION,
    ]
    return Response(307, headers)


async def _with_content(response: Response, blob: Blob, span: Span) -> Response:
    start, end = span
    if end - start > _IN_ONE_PIECE:
        response.stream = blob.open(start=start, end=end)
    else:
        async with blob.open(start=start, end=end) as pieces:
            response.body = b"".join([piece async for piece in pieces])
    return response


def _validators(blob: Blob) -> list[Header]:
    text = blob.digest.encode()
    return [(b"docker-content-digest", text), (b"etag", b'"%b"' % text), _ACCEPT_RANGES, _FOR_EVER, API_VERSION]


def _range_applies(call: Call, blob: Blob) -> bool:
    # If-Range: the range only if the blob is still the same; a blob always is, unless another one is meant
    if_range = call.request.header(b"if-range")
    return if_range is None or if_range.strip() == f'"{blob.digest}"'


async def _one_range(blob: Blob, span: Span) -> Response:
    start, end = span
    headers = [
        _CONTENT_TYPE,
        content_length(end - start),
        (b"content-range", b"bytes %d-%d/%d" % (start, end - 1, blob.size)),
        *_validators(blob),
    ]
    return await _with_content(Response(206, headers), blob, span)


def _several_ranges(blob: Blob, spans: list[Span]) -> Response:
    boundary = secrets.token_hex(16)
    parts = [(multipart_header(boundary, _TYPE, *span, blob.size), span) for span in spans]
    footer = multipart_footer(boundary)
    size = sum(len(head) + end - start for head, (start, end) in parts) + len(footer)
    headers = [
        (b"content-type", b"multipart/byteranges; boundary=" + boundary.encode()),
        content_length(size),
        *_validators(blob),
    ]
    return Response(206, headers, stream=_multipart(blob, parts, footer))


@asynccontextmanager
async def _multipart(blob: Blob, parts: list[tuple[bytes, Span]], footer: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
    async def pieces() -> AsyncIterator[bytes]:
        for head, (start, end) in parts:
            yield head
            async with blob.open(start=start, end=end) as content:
                async for piece in content:
                    yield piece
        yield footer

    yield pieces()


async def delete_blob(call: Call) -> Response:
    await call.repository.delete_blob(Digest.parse(call.match.last))
    return Response(202, [NO_CONTENT, API_VERSION])
