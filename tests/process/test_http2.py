"""HTTP/2, over TLS and in plain text by prior knowledge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import h2.config
import h2.connection
import h2.events
import httpx
import pytest

from entrepot.digest import Digest
from entrepot.manifest import OCI_INDEX
from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import Wire, ask

from .certificates import Certificates, make_certificates
from .conftest import Starter
from .pushing import INDEX

LARGE = bytes(range(256)) * 4096 * 24


@pytest.fixture(scope="module")
def plain(start_for_all: Starter) -> RegistryProcess:
    return start_for_all(workers=2)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(start_for_all: Starter, certificates: Certificates) -> RegistryProcess:
    return start_for_all(*certificates.flags, workers=2)


@pytest.fixture(params=["h2", "h2c"])
async def client(
    request: pytest.FixtureRequest, plain: RegistryProcess, secure: RegistryProcess, certificates: Certificates
) -> AsyncIterator[httpx.AsyncClient]:
    if request.param == "h2c":
        opened = httpx.AsyncClient(base_url=plain.url, http1=False, http2=True, timeout=100)
    else:
        opened = httpx.AsyncClient(base_url=secure.url, verify=certificates.client(), http2=True, timeout=100)
    async with opened as client:
        yield client


async def in_pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def test_push_and_pull_large_blob(client: httpx.AsyncClient) -> None:
    digest = Digest.of(LARGE)
    begun = await client.post("/v2/http2/blobs/uploads/")
    assert begun.http_version == "HTTP/2"
    location = begun.headers["location"]
    half = len(LARGE) // 2
    appended = await client.patch(location, content=in_pieces(LARGE[:half]))
    assert (appended.status_code, appended.headers["range"]) == (202, f"0-{half - 1}")
    finished = await client.put(location, params={"digest": digest}, content=LARGE[half:])
    assert finished.status_code == 201
    pulled = await client.get(finished.headers["location"])
    assert (pulled.http_version, pulled.content == LARGE) == ("HTTP/2", True)
    part = await client.get(finished.headers["location"], headers={"Range": "bytes=-10"})
    assert (part.status_code, part.content) == (206, LARGE[-10:])


async def test_push_and_pull_manifest(client: httpx.AsyncClient) -> None:
    path = "/v2/http2/manifests/v1"
    pushed = await client.put(path, content=in_pieces(INDEX), headers={"Content-Type": OCI_INDEX})
    assert pushed.status_code == 201
    pulled = await client.get(path)
    assert (pulled.content, pulled.headers["content-type"]) == (INDEX, OCI_INDEX)
    asked = await client.head(path)
    assert (asked.status_code, asked.headers["content-length"]) == (200, str(len(INDEX)))
    assert (await client.delete(path)).status_code == 202
    assert (await client.get(path)).status_code == 404


async def test_many_requests_share_a_connection(client: httpx.AsyncClient) -> None:
    async def push_and_pull(number: int) -> bytes:
        content = b"%d" % number * 20_000
        pushed = await client.post(f"/v2/http2/blobs/uploads/?digest={Digest.of(content)}", content=content)
        assert pushed.status_code == 201
        return (await client.get(f"/v2/http2/blobs/{Digest.of(content)}")).content

    pulled = await asyncio.gather(*(push_and_pull(number) for number in range(60)))
    assert pulled == [b"%d" % number * 20_000 for number in range(60)]


class Speaker:
    """HTTP/2 by hand."""

    def __init__(self, port: int) -> None:
        self.wire = Wire(port)
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
        self.connection.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.wire.send(self.connection.data_to_send())

    def ask(self, method: str, path: str, *fields: tuple[str, str], ends: bool = True) -> int:
        stream: int = self.connection.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "a")]
        self.connection.send_headers(stream, [*pseudo, *fields], end_stream=ends)
        return stream

    def events(self) -> list[h2.events.Event]:
        """What the server says next; empty when it has hung up."""
        data = self.wire.socket.recv(1 << 16)
        return list(self.connection.receive_data(data)) if data else []


def test_thousands_of_streams_that_are_reset_at_once_do_no_harm(plain: RegistryProcess) -> None:
    """The rapid reset of 2023: requests that cost the sender nothing."""
    speaker = Speaker(plain.port)
    with speaker.wire:
        try:
            for _ in range(5000):
                speaker.connection.reset_stream(speaker.ask("GET", "/v2/_catalog"))
                speaker.flush()
        except OSError:
            pass  # it has had enough
    assert ask(plain.port, "GET", "/v2/").status == 200


def test_head_of_half_a_megabyte_is_refused(plain: RegistryProcess) -> None:
    speaker = Speaker(plain.port)
    with speaker.wire:
        fields = [(f"x-{number}", f"{number}" + "a" * 8000) for number in range(60)]
        stream = speaker.ask("GET", "/v2/", *fields)
        try:
            speaker.flush()
            statuses = status_of(speaker, stream)
        except ConnectionError:
            statuses = []
    assert statuses in ([], [b"431"])
    assert ask(plain.port, "GET", "/v2/").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "/v2/http2/manifests/v1", b"413"), ("PATCH", "/v2/http2/blobs/uploads/some-id", b"404")],
)
def test_refused_body_is_answered_at_once_and_the_connection_lives_on(
    plain: RegistryProcess, method: str, path: str, status: bytes
) -> None:
    speaker = Speaker(plain.port)
    with speaker.wire:
        stream = speaker.ask(method, path, ("content-length", "100000000"), ends=False)
        speaker.connection.send_data(stream, bytes(16_000))
        speaker.flush()
        assert status_of(speaker, stream) == [status]
        another = speaker.ask("GET", "/v2/")
        speaker.flush()
        assert status_of(speaker, another) == [b"200"]


def status_of(speaker: Speaker, stream: int) -> list[bytes]:
    """The status of the answer on ``stream``; empty when the stream or the connection is ended instead."""
    while events := speaker.events():
        for event in events:
            if isinstance(event, h2.events.ResponseReceived) and event.stream_id == stream:
                return [dict(event.headers or [])[b":status"]]
            if isinstance(event, h2.events.StreamReset) and event.stream_id == stream:
                return []
            if isinstance(event, h2.events.ConnectionTerminated):
                return []
    return []


def test_body_shorter_than_its_length_keeps_nothing(plain: RegistryProcess) -> None:
    speaker = Speaker(plain.port)
    with speaker.wire:
        fields = (("content-length", "100"), ("content-type", OCI_INDEX))
        stream = speaker.ask("PUT", "/v2/http2/manifests/torn", *fields, ends=False)
        speaker.connection.send_data(stream, INDEX, end_stream=True)
        speaker.flush()
        assert status_of(speaker, stream) in ([], [b"400"], [b"499"])
    assert ask(plain.port, "GET", "/v2/http2/manifests/torn").status == 404
