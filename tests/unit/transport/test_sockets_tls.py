from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from entrepot.transport.base import ConnectionFailed, Request, TlsFailed
from entrepot.transport.sockets import SocketExchange
from entrepot.transport.tls import ClientCertificate, TlsContexts, TlsSettings
from tests.unit.transport.servers import HOST, answering, exchange, fetch, ok, serving


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("localhost", HOST))).configure_cert(context)
    return context


def ca_file(folder: Path, authority: trustme.CA) -> Path:
    file = folder / "ca.crt"
    authority.cert_pem.write_to_path(file)
    return file


def trusting(folder: Path, authority: trustme.CA) -> ssl.SSLContext:
    return TlsContexts().get(TlsSettings(ca_files=(ca_file(folder, authority),)))


async def test_send_to_trusted_server_gives_answer(tmp_path: Path, authority: trustme.CA) -> None:
    over = exchange(tls=trusting(tmp_path, authority))
    async with serving(answering(ok(b"hello")), tls=server_context(authority)) as port:
        assert await fetch(over, Request("GET", f"https://{HOST}:{port}/")) == (200, b"hello")


async def test_send_asks_for_context_of_host_and_port(tmp_path: Path, authority: trustme.CA) -> None:
    asked: list[str] = []
    context = trusting(tmp_path, authority)

    def find(authority: str) -> ssl.SSLContext:
        asked.append(authority)
        return context

    over = SocketExchange(tls=find, proxy=lambda _: None)
    async with serving(answering(ok()), tls=server_context(authority)) as port:
        await fetch(over, Request("GET", f"https://localhost:{port}/"))

    assert asked == [f"localhost:{port}"]


async def test_send_to_server_of_unknown_authority_raises_tls_failed(authority: trustme.CA) -> None:
    over = exchange(tls=TlsContexts().get(TlsSettings()))
    async with serving(answering(ok()), tls=server_context(authority)) as port:
        with pytest.raises(TlsFailed) as caught:
            await fetch(over, Request("GET", f"https://{HOST}:{port}/v2/"))

    assert caught.value.message == (
        f'Get "https://{HOST}:{port}/v2/": tls: failed to verify certificate: '
        "x509: certificate signed by unknown authority"
    )
    assert caught.value.sent_nothing
    assert caught.value.detail["cause"] == "certificate"


async def test_send_to_server_of_another_name_raises_tls_failed(tmp_path: Path, authority: trustme.CA) -> None:
    over = exchange(tls=trusting(tmp_path, authority))
    async with serving(answering(ok()), tls=server_context(authority, "registry.example")) as port:
        with pytest.raises(TlsFailed, match="x509: certificate is not valid for localhost"):
            await fetch(over, Request("GET", f"https://localhost:{port}/"))


async def test_send_to_server_with_expired_certificate_raises_tls_failed(tmp_path: Path, authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC)).configure_cert(context)
    over = exchange(tls=trusting(tmp_path, authority))
    async with serving(answering(ok()), tls=context) as port:
        with pytest.raises(TlsFailed, match="x509: certificate has expired or is not yet valid"):
            await fetch(over, Request("GET", f"https://localhost:{port}/"))


async def test_send_to_any_server_unverified_gives_answer(authority: trustme.CA) -> None:
    over = exchange(tls=TlsContexts().get(TlsSettings(verify=False)))
    async with serving(answering(ok(b"hello")), tls=server_context(authority, "other.example")) as port:
        assert await fetch(over, Request("GET", f"https://{HOST}:{port}/")) == (200, b"hello")


async def test_send_https_to_plain_server_raises_tls_failed(tmp_path: Path, authority: trustme.CA) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await reader.read()

    over = exchange(tls=trusting(tmp_path, authority))
    async with serving(plain) as port:
        with pytest.raises(TlsFailed, match="http: server gave HTTP response to HTTPS client") as caught:
            await fetch(over, Request("GET", f"https://{HOST}:{port}/"))

    assert caught.value.detail["cause"] == "plain_http"
    assert caught.value.sent_nothing


async def test_send_https_to_server_that_hangs_up_raises_tls_failed(tmp_path: Path, authority: trustme.CA) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    over = exchange(tls=trusting(tmp_path, authority))
    async with serving(rude) as port:
        with pytest.raises(TlsFailed, match="tls: ") as caught:
            await fetch(over, Request("GET", f"https://{HOST}:{port}/"))

    assert caught.value.detail["cause"] == "handshake"


async def test_send_http_to_tls_server_raises_connection_failed(authority: trustme.CA) -> None:
    async with serving(answering(ok()), tls=server_context(authority)) as port:
        with pytest.raises(ConnectionFailed):
            await fetch(exchange(), Request("GET", f"http://{HOST}:{port}/"))


def mutual(authority: trustme.CA) -> ssl.SSLContext:
    context = server_context(authority)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_certificate(folder: Path, authority: trustme.CA) -> ClientCertificate:
    leaf = authority.issue_cert("me@client.example")
    certificate, key = folder / "client.cert", folder / "client.key"
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(key)
    return ClientCertificate(certificate, key)


async def test_send_with_client_certificate_gives_answer(tmp_path: Path, authority: trustme.CA) -> None:
    settings = TlsSettings(
        ca_files=(ca_file(tmp_path, authority),), client_certificates=(client_certificate(tmp_path, authority),)
    )
    over = exchange(tls=TlsContexts().get(settings))
    async with serving(answering(ok(b"hello")), tls=mutual(authority)) as port:
        assert await fetch(over, Request("GET", f"https://{HOST}:{port}/")) == (200, b"hello")


def refuse_one(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Do the handshake in blocking mode, in which OpenSSL tells the client why it fails."""
    connection, _ = listener.accept()
    with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as wrapped:
        with pytest.raises(ssl.SSLError):
            wrapped.do_handshake()
        wrapped.shutdown(socket.SHUT_WR)
        while wrapped.recv(1024):  # a socket that is closed with bytes in it would be reset
            pass


@pytest.mark.parametrize(
    ("version", "message"),
    [
        pytest.param(ssl.TLSVersion.TLSv1_2, "alert handshake failure", id="TLS 1.2"),
        pytest.param(ssl.TLSVersion.TLSv1_3, "the server wants another client certificate", id="TLS 1.3"),
    ],
)
async def test_send_without_client_certificate_raises_tls_failed(
    tmp_path: Path, authority: trustme.CA, version: ssl.TLSVersion, message: str
) -> None:
    context = trusting(tmp_path, authority)
    context.minimum_version = context.maximum_version = version
    with socket.create_server((HOST, 0)) as listener:
        refusal = asyncio.create_task(asyncio.to_thread(refuse_one, listener, mutual(authority)))
        url = f"https://{HOST}:{listener.getsockname()[1]}/"
        with pytest.raises(TlsFailed, match=message) as caught:
            await fetch(exchange(tls=context), Request("GET", url))
        await refusal

    assert caught.value.detail["cause"] == "alert"
