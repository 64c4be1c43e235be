"""HTTP/1.1 byte by byte: what is on the connection after each kind of answer, and whether it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from entrepot.digest import Digest
from entrepot.testing.images import OCI_MANIFEST
from entrepot.testing.server import RegistryProcess

from .api import ABSENT, Api, document

NEW = b"pushed on the connection"
BAD_RANGE = "content-range: 5-1\r\n"


@dataclass(frozen=True)
class Case:
    """A request and its status; a body goes with a length, or in chunks."""

    status: int
    method: str
    path: str
    headers: str = ""
    body: bytes = b""
    in_chunks: bool = False


CASES = {
    "ping": Case(200, "GET", "/v2/"),
    "head manifest": Case(200, "HEAD", "manifests/v1"),
    "head blob": Case(200, "HEAD", "blobs/{blob}"),
    "head tags": Case(200, "HEAD", "tags/list"),
    "get manifest": Case(200, "GET", "manifests/v1"),
    "get blob": Case(200, "GET", "blobs/{blob}"),
    "get large blob": Case(200, "GET", "blobs/{large}"),
    "get empty blob": Case(200, "GET", "blobs/{empty}"),
    "get range": Case(206, "GET", "blobs/{large}", "range: bytes=5-\r\n"),
    "get ranges": Case(206, "GET", "blobs/{blob}", "range: bytes=0-1,3-4\r\n"),
    "get with body": Case(200, "GET", "blobs/{blob}", body=b"ignored"),
    "get what the client has": Case(304, "GET", "blobs/{blob}", 'if-none-match: "{blob}"\r\n'),
    "head what the client has": Case(304, "HEAD", "manifests/v1", "if-none-match: *\r\n"),
    "bad range": Case(416, "GET", "blobs/{blob}", "range: bytes=500-0\r\n"),
    "referrers": Case(200, "GET", f"referrers/{ABSENT}"),
    "head absent": Case(404, "HEAD", f"blobs/{ABSENT}"),
    "get absent": Case(404, "GET", "manifests/absent"),
    "wrong method": Case(405, "PUT", "tags/list", body=NEW),
    "wrong address": Case(404, "POST", "/v2/nowhere", body=NEW, in_chunks=True),
    "bad name": Case(400, "POST", "/v2/NAME/blobs/uploads/", body=NEW),
    "begin": Case(202, "POST", "blobs/uploads/"),
    "begin in chunks": Case(202, "POST", "blobs/uploads/", in_chunks=True),
    "mount": Case(201, "POST", "blobs/uploads/?mount={blob}"),
    "failed mount with body": Case(202, "POST", f"blobs/uploads/?mount={ABSENT}", body=NEW),
    "whole blob": Case(201, "POST", "blobs/uploads/?digest={new}", body=NEW),
    "whole blob in chunks": Case(201, "POST", "blobs/uploads/?digest={new}", body=NEW, in_chunks=True),
    "wrong whole blob": Case(400, "POST", f"blobs/uploads/?digest={ABSENT}", body=NEW),
    "append": Case(202, "PATCH", "{upload}", body=NEW),
    "append in chunks": Case(202, "PATCH", "{upload}", body=NEW, in_chunks=True),
    "append nothing": Case(202, "PATCH", "{upload}", in_chunks=True),
    "out of order": Case(416, "PATCH", "{upload}", "content-range: 9-32\r\n", NEW),
    "out of order in chunks": Case(416, "PATCH", "{upload}", "content-range: 9-32\r\n", NEW, True),
    "bad content range": Case(400, "PATCH", "{upload}", BAD_RANGE, NEW),
    "upload status": Case(204, "GET", "{upload}"),
    "cancel": Case(204, "DELETE", "{upload}"),
    "finish": Case(201, "PUT", "{upload}?digest={new}", body=NEW),
    "finish with wrong digest": Case(400, "PUT", f"{{upload}}?digest={ABSENT}", body=NEW, in_chunks=True),
    "finish without digest": Case(400, "PUT", "{upload}", body=NEW, in_chunks=True),
    "unknown upload": Case(404, "PATCH", "blobs/uploads/x", body=NEW, in_chunks=True),
    "put manifest": Case(201, "PUT", "manifests/v2", f"content-type: {OCI_MANIFEST}\r\n", document().data, True),
    "put bad manifest": Case(400, "PUT", "manifests/v2", body=b"{", in_chunks=True),
    "put manifest under bad tag": Case(400, "PUT", "manifests/-v2", body=NEW, in_chunks=True),
    "delete tag": Case(202, "DELETE", "manifests/v1"),
    "delete blob": Case(202, "DELETE", "blobs/{blob}"),
    "delete absent": Case(404, "DELETE", f"blobs/{ABSENT}"),
}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """One socket, and requests written out by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, head: str, body: bytes = b"") -> None:
        self.writer.write(f"{head}host: registry.test\r\n\r\n".encode() + body)
        await self.writer.drain()

    async def receive(self, *, has_body: bool = True) -> Answer:
        """The next answer; of its body exactly what Content-Length says."""
        async with asyncio.timeout(100):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
            length = int(headers.get("content-length", 0)) if has_body else 0
            return Answer(int(lines[0].split()[1]), headers, await self.reader.readexactly(length))

    async def exchange(self, method: str, path: str, headers: str = "", body: bytes = b"") -> Answer:
        await self.send(f"{method} {path} HTTP/1.1\r\n{headers}", body)
        return await self.receive(has_body=method != "HEAD")

    async def ended(self) -> bool:
        async with asyncio.timeout(100):
            return await self.reader.read(1) == b""


@asynccontextmanager
async def connected(server: RegistryProcess) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**20)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


def framed(body: bytes, *, in_chunks: bool) -> tuple[str, bytes]:
    if not in_chunks:
        return f"content-length: {len(body)}\r\n" if body else "", body
    parts = [body[start : start + 10] for start in range(0, len(body), 10)]
    framed_parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return "transfer-encoding: chunked\r\n", framed_parts + b"0\r\n\r\n"


async def prepared(repo: Api) -> dict[str, str]:
    """Something of everything in the repository; the names that paths of the cases use."""
    await repo.push_document(reference="v1")
    return {
        "blob": await repo.push_blob(b"0123456789"),
        "large": await repo.push_blob(bytes(3_000_000)),
        "empty": await repo.push_blob(b""),
        "new": Digest.of(NEW),
        "upload": await repo.begin(),
    }


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_send_next_request_on_same_connection_after_any_answer_is_answered(
    wire: Api, server: RegistryProcess, case: Case
) -> None:
    names = await prepared(wire)
    framing, body = framed(case.body, in_chunks=case.in_chunks)
    async with connected(server) as connection:
        path = wire.path(case.path.format(**names))
        answer = await connection.exchange(case.method, path, case.headers.format(**names) + framing, body)
        assert answer.status == case.status
        assert "transfer-encoding" not in answer.headers
        assert ("content-length" in answer.headers) is (case.status not in (204, 304))
        follow = await connection.exchange("GET", "/v2/")
        assert (follow.status, follow.body) == (200, b"{}")


@pytest.mark.parametrize("path", ["manifests/v1", "blobs/{blob}", "blobs/{large}", "blobs/{empty}"])
async def test_head_content_over_the_wire_has_length_and_type_of_get_and_no_body(
    wire: Api, server: RegistryProcess, path: str
) -> None:
    target = wire.path(path.format(**await prepared(wire)))
    async with connected(server) as connection:
        head = await connection.exchange("HEAD", target)
        got = await connection.exchange("GET", target)
    for name in ("content-length", "content-type", "docker-content-digest", "etag"):
        assert head.headers[name] == got.headers[name]
    assert head.headers["content-length"] == str(len(got.body))


@pytest.mark.parametrize("count", [1, 50])
async def test_send_requests_ahead_of_answers_are_answered_in_order(
    wire: Api, server: RegistryProcess, count: int
) -> None:
    await prepared(wire)
    async with connected(server) as connection:
        for number in range(count):
            await connection.send(f"GET {wire.path(f'manifests/absent{number}')} HTTP/1.1\r\n")
        for number in range(count):
            assert f"absent{number}".encode() in (await connection.receive()).body


async def test_push_blob_with_expect_header_gets_100_before_the_body(wire: Api, server: RegistryProcess) -> None:
    path = f"{await wire.begin()}?digest={Digest.of(NEW)}"
    async with connected(server) as connection:
        await connection.send(f"PUT {path} HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {len(NEW)}\r\n")
        assert (await connection.receive()).status == 100
        connection.writer.write(NEW)
        assert (await connection.receive()).status == 201


async def test_get_with_connection_close_is_answered_and_ended(wire: Api, server: RegistryProcess) -> None:
    await prepared(wire)
    async with connected(server) as connection:
        answer = await connection.exchange("GET", wire.path("manifests/v1"), "connection: close\r\n")
        assert (answer.status, answer.body) == (200, document().data)
        assert await connection.ended()


@pytest.mark.parametrize("path", ["manifests/v1", "blobs/{large}"])
async def test_get_by_http_1_0_is_answered_with_a_length_and_ended(
    wire: Api, server: RegistryProcess, path: str
) -> None:
    target = wire.path(path.format(**await prepared(wire)))
    async with connected(server) as connection:
        await connection.send(f"GET {target} HTTP/1.0\r\n")
        answer = await connection.receive()
        assert (answer.status, "transfer-encoding" in answer.headers) == (200, False)
        assert len(answer.body) == int(answer.headers["content-length"])
        assert await connection.ended()


async def test_push_manifest_far_over_the_limit_is_413_that_the_client_gets_to_read(
    wire: Api, server: RegistryProcess
) -> None:
    size = 16 * 1024 * 1024
    async with connected(server) as connection:
        head = f"PUT {wire.path('manifests/v1')} HTTP/1.1\r\ncontent-length: {size}\r\n"
        sending = asyncio.create_task(connection.send(head, bytes(size)))
        answer = await connection.receive()
        assert (answer.status, b"MANIFEST_INVALID" in answer.body) == (413, True)
        await asyncio.gather(sending, return_exceptions=True)  # the server may have hung up on the rest


async def test_push_blob_and_break_off_keeps_what_came_and_tells_so(wire: Api, server: RegistryProcess) -> None:
    location = await wire.begin()
    async with connected(server) as connection:
        await connection.send(f"PATCH {location} HTTP/1.1\r\ncontent-length: 100000\r\n", b"x" * 60_000)
    async with asyncio.timeout(100):
        while (held := (await wire.get(location)).headers["range"]) == "0-0":
            await asyncio.sleep(0.01)
    end = int(held.removeprefix("0-"))
    assert 0 < end < 60_000
    rest = b"x" * (100_000 - end - 1)
    answer = await wire.patch(location, rest, content_range=f"{end + 1}-99999")
    assert (answer.status_code, answer.headers["range"]) == (202, "0-99999")
    assert (await wire.put(f"{location}?digest={Digest.of(b'x' * 100_000)}")).status_code == 201


async def test_speak_http_2_from_the_first_byte_is_answered_in_it(over_http2: httpx.AsyncClient) -> None:
    answer = await over_http2.get("/v2/")
    assert (answer.http_version, answer.status_code, answer.content) == ("HTTP/2", 200, b"{}")
