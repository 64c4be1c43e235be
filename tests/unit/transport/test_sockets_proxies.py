from __future__ import annotations

import asyncio
import base64
import ssl

import pytest
import trustme

from entrepot.transport.base import Body, ConnectionFailed, Request
from tests.unit.transport.servers import HOST, Handler, answering, exchange, fetch, ok, read_head, serving


class Proxy:
    """An HTTP proxy that opens tunnels to ``port``, whatever host they are for, and notes what it was told."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.heads: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await read_head(reader)).decode())
        below_reader, below_writer = await asyncio.open_connection(HOST, self._port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pour(reader, below_writer), _pour(below_reader, writer))


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(64 * 1024):
            writer.write(piece)
            await writer.drain()
    finally:
        writer.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of the server and of the client."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("registry.example").configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def test_send_https_through_proxy_opens_a_tunnel(authority: trustme.CA) -> None:
    server, client = contexts(authority)
    async with serving(answering(ok(b"hello")), tls=server) as port:
        proxy = Proxy(port)
        async with serving(proxy) as proxy_port:
            over = exchange(tls=client, proxy=f"http://me:pa%3Aword@{HOST}:{proxy_port}")
            request = Request("GET", "https://registry.example/v2/?secret", {"authorization": "Bearer secret"})
            assert await fetch(over, request) == (200, b"hello")

    lines = proxy.heads[0].splitlines()
    assert lines[0] == "CONNECT registry.example:443 HTTP/1.1"
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'me:pa:word').decode()}" in lines
    assert "secret" not in proxy.heads[0]


async def test_send_body_through_tunnel_arrives(authority: trustme.CA) -> None:
    received = bytearray()

    async def taking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        received.extend(await reader.readexactly(3_000_000))
        writer.write(ok())
        await writer.drain()

    server, client = contexts(authority)
    content = bytes(range(250)) * 12_000
    async with serving(taking, tls=server) as port, serving(Proxy(port)) as proxy_port:
        over = exchange(tls=client, proxy=f"http://{HOST}:{proxy_port}")
        assert (await fetch(over, Request("PUT", "https://registry.example/", body=Body.of(content))))[0] == 200

    assert bytes(received) == content


async def test_send_http_through_proxy_names_the_whole_address() -> None:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(ok(b"hello"))

    async with serving(handler) as port:
        over = exchange(proxy=f"http://{HOST}:{port}")
        assert await fetch(over, Request("GET", "http://registry.example:5000/v2/%2F?x")) == (200, b"hello")

    assert heads[0].startswith(b"GET http://registry.example:5000/v2/%2F?x HTTP/1.1\r\n")
    assert b"Host: registry.example:5000\r\n" in heads[0]


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        pytest.param(
            answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"),
            "the proxy refused the tunnel: 407 Proxy Authentication Required",
            id="wants a login",
        ),
        pytest.param(
            answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
            "the proxy refused the tunnel: 502 Bad Gateway",
            id="finds nobody",
        ),
        pytest.param(answering(b""), "EOF", id="hangs up"),
        pytest.param(answering(b"what?\r\n\r\n"), "malformed HTTP response", id="is none"),
    ],
)
async def test_send_through_proxy_that_refuses_raises_connection_failed(
    handler: Handler, message: str, authority: trustme.CA
) -> None:
    async with serving(handler) as port:
        over = exchange(tls=contexts(authority)[1], proxy=f"http://{HOST}:{port}")
        with pytest.raises(ConnectionFailed, match=message):
            await fetch(over, Request("GET", "https://registry.example/"))


async def test_send_through_proxy_that_is_away_raises_connection_failed_with_nothing_sent() -> None:
    async with serving(answering(b"")) as port:
        pass

    with pytest.raises(
        ConnectionFailed, match=f"proxyconnect tcp: dial tcp {HOST}:{port}: connect: connection refused"
    ) as e:
        await fetch(exchange(proxy=f"http://{HOST}:{port}"), Request("GET", "https://registry.example/"))

    assert e.value.sent_nothing
