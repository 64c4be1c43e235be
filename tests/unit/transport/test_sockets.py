from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from entrepot.errors import ParameterInvalid, SizeInvalid
from entrepot.transport.base import Body, ConnectionFailed, Request
from tests.unit.transport.servers import HOST, answering, exchange, fetch, ok, read_head, serving

MIB = 1024 * 1024


def body_of(*pieces: bytes, size: int | None) -> Body:
    async def opened() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return Body(size, opened)


async def read_into(came: bytearray, url: str) -> None:
    over = exchange()
    try:
        async with over.send(Request("GET", url)) as response:
            async for piece in response.pieces():
                came += piece
    finally:
        await over.close()


async def test_send_request_sends_address_and_headers_as_given() -> None:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(ok())

    async with serving(handler) as port:
        url = f"http://{HOST}:{port}/v2/a%2Fb/%7E/?state=a%2Bb+c&x=%zz&from=b/c"
        await fetch(exchange(), Request("GET", url, {"accept": "a/b", "authorization": "Basic x"}))

    lines = heads[0].decode().splitlines()
    assert lines[0] == "GET /v2/a%2Fb/%7E/?state=a%2Bb+c&x=%zz&from=b/c HTTP/1.1"
    assert {line.partition(":")[0].lower() for line in lines[1:] if line} == {
        "host", "accept", "authorization", "accept-encoding", "user-agent",
    }  # fmt: skip
    assert "accept-encoding: identity" in lines


async def test_send_address_with_line_breaks_encodes_them() -> None:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(ok())

    async with serving(handler) as port:
        await fetch(exchange(), Request("GET", f"http://{HOST}:{port}/a b\r\nX: y/é"))

    assert heads[0].startswith(b"GET /a%20b%0D%0AX:%20y/%C3%A9 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("ftp://registry.example/v2/", id="another scheme"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("http:///v2/", id="no host"),
        pytest.param("http://registry.example:99999/", id="no such port"),
        pytest.param("v2", id="no address"),
        pytest.param("http://[::1/", id="half an address"),
        pytest.param("http://me:secret@registry.example/", id="login"),
    ],
)
async def test_send_to_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ParameterInvalid, match="expected an http or https address"):
        await fetch(exchange(), Request("GET", url))


async def test_send_gives_headers_in_lower_case_and_repeated_ones_joined() -> None:
    answer = ok(b"", b"WWW-Authenticate: Basic realm=a", b"www-authenticate: Bearer realm=b", b"X-Odd: \xe9")
    over = exchange()
    async with serving(answering(answer)) as port, over.send(Request("GET", f"http://{HOST}:{port}/")) as response:
        headers = response.headers
    await over.close()

    assert headers["www-authenticate"] == "Basic realm=a, Bearer realm=b"
    assert headers["content-length"] == "0"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_send_redirect_is_an_answer_like_any_other(status: int) -> None:
    answer = b"HTTP/1.1 %d Go\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n" % status
    async with serving(answering(answer)) as port:
        assert await fetch(exchange(), Request("GET", f"http://{HOST}:{port}/")) == (status, b"")


async def test_send_encoded_body_is_given_as_it_came() -> None:
    async with serving(answering(ok(b"\x1f\x8bnot really gzip", b"Content-Encoding: gzip"))) as port:
        assert (await fetch(exchange(), Request("GET", f"http://{HOST}:{port}/")))[1] == b"\x1f\x8bnot really gzip"


async def test_send_forgets_cookies() -> None:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await read_head(reader))
            writer.write(ok(b"", b"Set-Cookie: a=b"))

    over = exchange()
    async with serving(handler) as port:
        for _ in range(2):
            async with over.send(Request("GET", f"http://{HOST}:{port}/")):
                pass
        await over.close()

    assert len(heads) == 2
    assert b"ookie" not in heads[1]


async def test_send_uses_connection_again() -> None:
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_head(reader)
            writer.write(ok(b"hello"))

    over = exchange()
    async with serving(handler) as port:
        for _ in range(3):
            async with over.send(Request("GET", f"http://{HOST}:{port}/")) as response:
                assert [piece async for piece in response.pieces()] == [b"hello"]
        await over.close()

    assert connections == 1


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH"])
async def test_send_body_of_known_size_announces_it(method: str) -> None:
    received = bytearray()
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        received.extend(await reader.readexactly(3 * MIB + 5))
        writer.write(ok())

    content = [bytes([number]) * MIB for number in range(3)]
    async with serving(handler) as port:
        body = body_of(*content, b"", b"after", size=3 * MIB + 5)
        assert await fetch(exchange(), Request(method, f"http://{HOST}:{port}/", body=body)) == (200, b"")

    assert bytes(received) == b"".join(content) + b"after"
    assert b"content-length: 3145733\r\n" in heads[0].lower()
    assert b"chunked" not in heads[0].lower()


async def test_send_body_of_unknown_size_is_chunked() -> None:
    received = asyncio.get_running_loop().create_future()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result((await read_head(reader), await reader.readuntil(b"0\r\n\r\n")))
        writer.write(ok())

    async with serving(handler) as port:
        await fetch(exchange(), Request("PATCH", f"http://{HOST}:{port}/", body=body_of(b"ab", b"c", size=None)))

    head, rest = received.result()
    assert b"transfer-encoding: chunked" in head.lower()
    assert b"content-length" not in head.lower()
    assert rest == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


@pytest.mark.parametrize("body", [pytest.param(None, id="no body"), pytest.param(Body.of(b""), id="body of no bytes")])
async def test_send_post_of_nothing_announces_no_bytes(body: Body | None) -> None:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(ok())

    async with serving(handler) as port:
        assert (await fetch(exchange(), Request("POST", f"http://{HOST}:{port}/", body=body)))[0] == 200

    assert b"content-length: 0\r\n" in heads[0].lower()


@pytest.mark.parametrize("pieces", [(b"ab",), (b"abcd",), (b"a", b"bcd"), ()])
async def test_send_body_of_other_size_than_announced_is_refused(pieces: tuple[bytes, ...]) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(handler) as port:
        request = Request("PUT", f"http://{HOST}:{port}/", body=body_of(*pieces, size=3))
        with pytest.raises(SizeInvalid, match="expected a body of 3 bytes"):
            await fetch(exchange(), request)


async def test_send_body_whose_source_fails_raises_its_error_and_closes_it() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"ab"
            raise LookupError("the source is gone")
        finally:
            closed.set()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(handler) as port:
        with pytest.raises(LookupError, match="the source is gone"):
            await fetch(exchange(), Request("PUT", f"http://{HOST}:{port}/", body=Body(5, source)))

    assert closed.is_set()


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(MIB)


_REFUSALS = 20


def refuse(listener: socket.socket, answer: bytes) -> None:
    """Answer and hang up at once, with the body still on its way: the rest of it meets a reset."""
    listener.settimeout(60)
    for _ in range(_REFUSALS):
        connection, _ = listener.accept()
        with connection:
            connection.recv(64 * 1024)
            connection.sendall(answer)


async def answer_to_endless(url: str) -> tuple[int, bytes] | None:
    try:
        return await fetch(exchange(), Request("PUT", url, body=Body(2**40, endless)))
    except ConnectionFailed:
        return None


@pytest.mark.parametrize("size", [5, 60_000])
async def test_send_body_that_is_refused_on_the_way_gives_the_answer(size: int) -> None:
    content = b"x" * size
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n\r\n" % size + content
    with socket.create_server((HOST, 0)) as listener:
        refusing = asyncio.create_task(asyncio.to_thread(refuse, listener, answer))
        url = f"http://{HOST}:{listener.getsockname()[1]}/"
        answers = [await answer_to_endless(url) for _ in range(_REFUSALS)]
        await refusing

    # A reset between our look at the connection and our write loses the answer: once in a thousand times.
    assert answers.count((413, content)) >= _REFUSALS - 2
    assert set(answers) <= {(413, content), None}


async def test_send_body_that_is_refused_on_the_way_closes_its_source() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            async for piece in endless():
                yield piece
        finally:
            closed.set()

    over = exchange()
    async with serving(answering(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")) as port:
        async with over.send(Request("PUT", f"http://{HOST}:{port}/", body=Body(2**40, source))) as response:
            assert response.status == 401
        assert closed.is_set()
        await over.close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(b"", "EOF: the server closed the connection and sent no answer", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-", "EOF: the server closed the connection", id="half a head"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", "malformed HTTP response", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "malformed HTTP", id="long header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n", "malformed HTTP", id="many headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", "malformed HTTP", id="two lengths"),
    ],
)
async def test_send_without_answer_to_read_raises_connection_failed(answer: bytes, message: str) -> None:
    async with serving(answering(answer)) as port:
        with pytest.raises(ConnectionFailed, match=message) as caught:
            await fetch(exchange(), Request("GET", f"http://{HOST}:{port}/v2/"))

    assert caught.value.message.startswith(f'Get "http://{HOST}:{port}/v2/": ')
    assert not caught.value.sent_nothing


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", id="short"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", id="chunks without end"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n", id="no chunk"),
    ],
)
async def test_read_body_that_breaks_off_gives_what_came_then_raises_connection_failed(answer: bytes) -> None:
    came = bytearray()
    async with serving(answering(answer)) as port:
        with pytest.raises(ConnectionFailed):
            await read_into(came, f"http://{HOST}:{port}/")

    assert b"abc".startswith(came)


async def test_send_http_answered_by_tls_alert_says_so() -> None:
    async with serving(answering(b"\x15\x03\x01\x00\x02\x02\x46")) as port:
        with pytest.raises(ConnectionFailed, match="the server sent a TLS alert, it speaks HTTPS") as caught:
            await fetch(exchange(), Request("GET", f"http://{HOST}:{port}/v2/"))

    assert caught.value.detail["cause"] == "wants_tls"


async def test_read_body_that_is_cut_after_long_gives_all_that_came() -> None:
    content = bytes(range(256)) * 40_000

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + content)
        await writer.drain()

    came = bytearray()
    async with serving(handler) as port:
        with pytest.raises(ConnectionFailed, match="unexpected EOF: the body ended before its announced length"):
            await read_into(came, f"http://{HOST}:{port}/")

    assert bytes(came) == content


async def test_read_body_that_is_left_unread_closes_the_connection() -> None:
    gone = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n")
            while True:
                writer.write(bytes(MIB))
                await writer.drain()
        finally:
            gone.set()

    over = exchange()
    async with serving(handler) as port:
        async with over.send(Request("GET", f"http://{HOST}:{port}/")) as response:
            async for piece in response.pieces():
                assert piece
                break
        await asyncio.wait_for(gone.wait(), 60)
        await over.close()


async def test_send_to_silent_server_raises_connection_failed_after_idle_time() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(handler) as port:
        with pytest.raises(ConnectionFailed, match="i/o timeout") as caught:
            await fetch(exchange(idle_seconds=0.2), Request("GET", f"http://{HOST}:{port}/"))

    assert not caught.value.sent_nothing


async def test_read_body_that_stalls_raises_connection_failed_after_idle_time() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await reader.read()

    async with serving(handler) as port:
        with pytest.raises(ConnectionFailed, match="i/o timeout"):
            await fetch(exchange(idle_seconds=0.2), Request("GET", f"http://{HOST}:{port}/"))


async def test_send_body_that_nobody_takes_raises_connection_failed_after_idle_time() -> None:
    stop = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stop.wait()

    async with serving(handler) as port:
        with pytest.raises(ConnectionFailed, match="i/o timeout"):
            await fetch(exchange(idle_seconds=0.3), Request("PUT", f"http://{HOST}:{port}/", body=Body(2**40, endless)))
        stop.set()


async def test_send_to_closed_port_raises_connection_failed_with_nothing_sent() -> None:
    async with serving(answering(b"")) as port:
        pass

    with pytest.raises(ConnectionFailed) as caught:
        await fetch(exchange(), Request("HEAD", f"http://{HOST}:{port}/v2/?token=secret"))

    assert caught.value.sent_nothing
    assert caught.value.message == (
        f'Head "http://{HOST}:{port}/v2/": dial tcp {HOST}:{port}: connect: connection refused'
    )


async def test_send_to_unknown_host_raises_connection_failed_with_nothing_sent() -> None:
    with pytest.raises(ConnectionFailed, match=r"dial tcp: lookup nowhere\.invalid: no such host") as caught:
        await fetch(exchange(), Request("GET", "http://nowhere.invalid/"))

    assert caught.value.sent_nothing


async def test_send_breaks_once_and_is_not_tried_again() -> None:
    requests = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await read_head(reader)
        requests += 1

    async with serving(handler) as port:
        with pytest.raises(ConnectionFailed):
            await fetch(exchange(), Request("GET", f"http://{HOST}:{port}/"))

    assert requests == 1


async def test_send_more_than_per_host_waits_for_a_connection() -> None:
    now, most = 0, 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        while True:
            await read_head(reader)
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1
            writer.write(ok())

    over = exchange(per_host=2)

    async def ask(port: int) -> None:
        async with over.send(Request("GET", f"http://{HOST}:{port}/")):
            pass

    async with serving(handler) as port:
        await asyncio.gather(*(ask(port) for _ in range(20)))
        await over.close()

    assert 1 <= most <= 2


async def test_send_after_close_is_a_runtime_error() -> None:
    over = exchange()
    await over.close()
    await over.close()

    with pytest.raises(RuntimeError, match="closed"):
        async with over.send(Request("GET", "http://registry.example/")):
            pass


@pytest.mark.parametrize("address", ["127.1", "2130706433", "0177.0.0.1"])
async def test_send_to_address_with_two_readings_is_refused(address: str) -> None:
    with pytest.raises(ParameterInvalid):
        await fetch(exchange(), Request("GET", f"http://{address}/"))


async def test_send_head_reads_no_body() -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")) as port:
        assert await fetch(exchange(), Request("HEAD", f"http://{HOST}:{port}/")) == (200, b"")
