"""A docker engine's API, as far as images go in and out by it; the real one is in tests/interop."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from entrepot.errors import ConfigInvalid, ManifestInvalid, ManifestUnknown, RegistryError, Unavailable
from entrepot.reference import ImageReference
from entrepot.repositories.engine import Engine, EngineAddress
from entrepot.store.threads import DiskThreads
from entrepot.testing.scripted import Broken, Outcome, Reply, ScriptedExchange
from entrepot.transport.base import Request
from entrepot.transport.sockets import SocketExchange

APP = ImageReference.parse("team/app:v1")
ADDRESS = EngineAddress("unix:///x.sock", unix_socket="/x.sock")


def engine(*steps: tuple[str, Outcome]) -> tuple[Engine, ScriptedExchange]:
    exchange = ScriptedExchange(*steps)
    return Engine(exchange, ADDRESS, DiskThreads(1)), exchange


@pytest.fixture
def archive() -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as file:
        file.write(b"a tar, or so" * 100_000)
        file.flush()
        yield file


async def test_export_writes_what_the_engine_sends() -> None:
    one, exchange = engine(("GET /images/team/app:v1/get", Reply(200, [b"some ", b"bytes"])))
    file = io.BytesIO()
    await one.export(APP, file)
    assert file.getvalue() == b"some bytes"
    exchange.require_done()


async def test_export_without_tag_asks_for_latest() -> None:
    one, exchange = engine(("GET /images/localhost:5000/app:latest/get", Reply(200, b"")))
    await one.export(ImageReference.parse("localhost:5000/app"), io.BytesIO())
    exchange.require_done()


async def test_load_sends_the_whole_archive(archive: BinaryIO) -> None:
    one, exchange = engine(("POST /images/load", Reply(200, b'{"stream":"Loaded image: team/app:v1\\n"}\n')))
    await one.load(archive)
    [request] = exchange.requests
    assert request.body == b"a tar, or so" * 100_000
    assert request.headers["content-type"] == "application/x-tar"


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (Reply(404, b'{"message":"reference does not exist"}'), ManifestUnknown, "No such image: team/app:v1"),
        (Reply(500, b'{"message":"no space left"}'), Unavailable, "unix:///x.sock: no space left"),
        (Reply(503, b"<html>"), Unavailable, "unix:///x.sock: status 503"),
        (Broken(sent_nothing=True), Unavailable, "cannot reach the docker engine at unix:///x.sock"),
        (Reply(200, b"half of it", breaks_after=4), Unavailable, "cannot reach the docker engine"),
    ],
    ids=["not there", "failed", "no JSON", "not running", "broken off"],
)
async def test_export_that_fails_says_what_the_engine_said(
    answer: Outcome, error: type[RegistryError], text: str
) -> None:
    one, _ = engine(("GET /images/team/app:v1/get", answer))
    with pytest.raises(error, match=text):
        await one.export(APP, io.BytesIO())


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (Reply(500, b'{"message":"invalid tar"}'), Unavailable, "invalid tar"),
        (
            Reply(200, b'{"stream":"x"}\n' + b"{}\n" * 200_000 + b'{"error":"no space left"}\n'),
            ManifestInvalid,
            "could not load the image: no space left",
        ),
    ],
    ids=["refused", "failed at its end"],
)
async def test_load_that_fails_says_what_the_engine_said(
    archive: BinaryIO, answer: Outcome, error: type[RegistryError], text: str
) -> None:
    one, _ = engine(("POST /images/load", answer))
    with pytest.raises(error, match=text):
        await one.load(archive)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Reply(200, b'{"Id":"sha256:12"}'), "sha256:12"),
        (Reply(404, b'{"message":"No such image"}'), None),
        (Reply(200, b'{"Id":7}'), None),
        (Reply(200, b"[]"), None),
    ],
    ids=["there", "not there", "no text", "no object"],
)
async def test_find_gives_the_id_or_nothing(answer: Outcome, found: str | None) -> None:
    one, _ = engine(("GET /images/team/app:v1/json", answer))
    assert await one.find(APP) == found


async def test_find_of_something_that_is_no_json_is_refused() -> None:
    one, _ = engine(("GET /images/team/app:v1/json", Reply(200, b"[" * 100_000)))
    with pytest.raises(ManifestInvalid, match="expected JSON about team/app:v1"):
        await one.find(APP)


@pytest.mark.parametrize(
    ("environment", "url", "socket"),
    [
        ({}, "http://docker", "/var/run/docker.sock"),
        ({"DOCKER_HOST": ""}, "http://docker", "/var/run/docker.sock"),
        ({"DOCKER_HOST": "unix:///run/user/1000/docker.sock"}, "http://docker", "/run/user/1000/docker.sock"),
        ({"DOCKER_HOST": "tcp://127.0.0.1:2375"}, "http://127.0.0.1:2375", None),
    ],
    ids=["default", "empty", "unix", "tcp"],
)
def test_address_is_what_the_environment_says(environment: dict[str, str], url: str, socket: str | None) -> None:
    address = EngineAddress.of(environment)
    assert (address.url, address.unix_socket) == (url, socket)


@pytest.mark.parametrize(
    "environment",
    [
        {"DOCKER_HOST": "ssh://me@example.com"},
        {"DOCKER_HOST": "unix://"},
        {"DOCKER_HOST": "tcp://h:2376", "DOCKER_TLS_VERIFY": "1"},
        {"DOCKER_HOST": "tcp://[::1"},
    ],
    ids=["ssh", "no path", "TLS", "no address"],
)
def test_address_that_cannot_be_reached_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigInvalid, match="expected DOCKER_HOST to be"):
        EngineAddress.of(environment)


async def test_exchange_over_a_unix_socket_reaches_it_whatever_the_host(tmp_path: Path) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = head.partition(b"\r\n")[0]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    path = str(tmp_path / "s")
    exchange = SocketExchange(tls=lambda _: True, proxy=lambda _: None, unix_socket=path)
    async with await asyncio.start_unix_server(handler, path):
        async with exchange.send(Request("GET", "http://docker/images/x/json")) as response:
            came = b"".join([piece async for piece in response.pieces()])
        await exchange.close()
    assert came == b"GET /images/x/json HTTP/1.1"
