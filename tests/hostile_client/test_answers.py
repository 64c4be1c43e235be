"""Answers that are no HTTP, or far too much of it: each ends in an error, soon, and leaves the store as it was."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from entrepot.errors import (
    AccessDenied,
    DigestInvalid,
    ManifestInvalid,
    ManifestTooLarge,
    RegistryError,
    Unsupported,
)
from entrepot.testing.images import OCI_INDEX, OCI_MANIFEST, build_image
from entrepot.transport.base import ConnectionFailed
from tests.hostile_client.server import (
    HOST,
    Answer,
    HostileRegistry,
    chunk,
    endless,
    manifest_line,
    ok,
    pull,
    stalling,
)

pytestmark = pytest.mark.usefixtures("unchanged")

MOST_SECONDS = 100
IDLE_SECONDS = 0.4  # for those who send nothing, or nothing of use
IMAGE = build_image(1, seed=1)
BODY = IMAGE.manifest.data
TYPED = f"Content-Type: {OCI_MANIFEST}"
HEAD = f"HTTP/1.1 200 OK\r\n{TYPED}\r\n".encode()
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


async def refused(
    root: Path, registry: HostileRegistry, answer: Answer, *, idle_seconds: float = 2 * MOST_SECONDS
) -> RegistryError:
    """The error that a pull ends with when the manifest is answered like that."""
    registry.answers[manifest_line("v1")] = answer
    with pytest.raises(RegistryError) as caught:
        async with asyncio.timeout(MOST_SECONDS):
            await pull(root, registry, idle_seconds=idle_seconds)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()
    return caught.value


NO_HTTP = {
    "nothing": b"",
    "garbage": bytes(range(256)) * 10,
    "half_a_line": b"HTTP/1.1 20",
    "half_a_head": HEAD,
    "no_status": b"HTTP/1.1\r\n\r\n",
    "no_number": b"HTTP/1.1 abc OK\r\n\r\n",
    "large_number": b"HTTP/1.1 99999999999999999999 OK\r\n\r\n",
    "other_version": b"HTTP/9.9 200 OK\r\n\r\n",
    "other_protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "negative_length": ok(BODY, TYPED, length="-1"),
    "length_of_words": ok(BODY, TYPED, length="many"),
    "length_of_digits": ok(BODY, TYPED, length="9" * 5000),
    "two_lengths": ok(BODY, TYPED, "Content-Length: 5"),
    "length_and_chunks": ok(BODY, TYPED, "Transfer-Encoding: chunked"),
    "short": ok(BODY[:-1], TYPED, length=str(len(BODY))),
    "chunk_of_no_size": CHUNKED + b"zz\r\n" + BODY,
    "chunk_of_negative_size": CHUNKED + b"-5\r\n" + BODY,
    "chunk_too_short": CHUNKED + b"ffff\r\n" + BODY,
    "chunk_without_end": CHUNKED + chunk(BODY),
    "chunk_of_huge_size": CHUNKED + b"f" * 40 + b"\r\n" + BODY,
    "header_without_colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "header_with_null": b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\n\r\n",
}


@pytest.mark.parametrize("answer", NO_HTTP.values(), ids=NO_HTTP.keys())
async def test_answer_that_is_no_http_is_a_broken_connection(
    root: Path, registry: HostileRegistry, answer: bytes
) -> None:
    assert isinstance(await refused(root, registry, answer), ConnectionFailed)


TOO_MUCH = {
    "headers": endless(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    "header": endless(b"HTTP/1.1 200 OK\r\nX-A: ", b"b" * 10_000),
    "header_name": endless(b"HTTP/1.1 200 OK\r\n", b"b" * 10_000),
    "status": endless(b"HTTP/1.1 200 ", b"OK" * 1000),
    "informational": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early_hints": endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"),
    "chunk_extension": endless(CHUNKED + b"5;", b"x" * 10_000),
    "chunk_size": endless(CHUNKED, b"0" * 10_000),
    "trailers": endless(CHUNKED + chunk(BODY) + b"0\r\n", b"X-A: b\r\n"),
}


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("answer", TOO_MUCH.values(), ids=TOO_MUCH.keys())
async def test_answer_whose_head_has_no_end_is_a_broken_connection(
    root: Path, registry: HostileRegistry, answer: Answer
) -> None:
    """At the latest when nothing of use has come for as long as a server may be silent."""
    assert isinstance(await refused(root, registry, answer, idle_seconds=IDLE_SECONDS), ConnectionFailed)


LARGE = {
    "announced": endless(HEAD + b"Content-Length: 104857600\r\n\r\n", bytes(65536)),
    "in_chunks": endless(CHUNKED, chunk(bytes(65536))),
    "tiny_chunks": endless(CHUNKED, chunk(b" " * 64) * 1000),
    "until_closed": endless(HEAD + b"Connection: close\r\n\r\n", bytes(65536)),
}


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("answer", LARGE.values(), ids=LARGE.keys())
async def test_manifest_of_a_hundred_megabytes_is_too_large(
    root: Path, registry: HostileRegistry, answer: Answer
) -> None:
    assert isinstance(await refused(root, registry, answer), ManifestTooLarge)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_error_without_end_is_read_for_a_while(root: Path, registry: HostileRegistry, status: int) -> None:
    head = f"HTTP/1.1 {status} No\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    error = await refused(root, registry, endless(head, chunk(b"no " * 10_000)))
    assert not isinstance(error, ConnectionFailed)


STALLS = {
    "at_once": b"",
    "in_the_head": HEAD,
    "after_the_head": HEAD + b"Content-Length: 100\r\n\r\n",
    "in_the_body": HEAD + b"Content-Length: 100\r\n\r\n{",
    "in_a_chunk": CHUNKED + b"ff\r\n{",
}


@pytest.mark.parametrize("sent", STALLS.values(), ids=STALLS.keys())
async def test_server_that_falls_silent_is_given_up(root: Path, registry: HostileRegistry, sent: bytes) -> None:
    error = await refused(root, registry, stalling(sent), idle_seconds=IDLE_SECONDS)
    assert isinstance(error, ConnectionFailed)
    assert "timeout" in error.message


NO_MANIFEST = {
    "empty": b"",
    "text": b"<html>hello</html>",
    "deep_arrays": b"[" * 1_000_000,
    "deep_objects": b'{"a":' * 500_000,
    "deep_below_a_manifest": b'{"schemaVersion":2,"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "huge_number": b'{"schemaVersion":' + b"9" * 100_000 + b"}",
    "huge_exponent": b'{"schemaVersion":1e999999}',
    "twice": b'{"schemaVersion":2,"schemaVersion":2}',
    "no_utf8": b"\xff\xfe{}",
    "null": b"null",
    "layers_of_words": b'{"schemaVersion":2,"config":{},"layers":"many"}',
    "negative_size": BODY.replace(b'"size":', b'"size":-'),
    "huge_size": BODY.replace(b'"size":', b'"size":99999999999999999999'),
    "no_digest": BODY.replace(b"sha256:", b"sha256:zz"),
    "path_for_a_digest": BODY.replace(b"sha256:", b"sha256:../../"),
}


@pytest.mark.parametrize("body", NO_MANIFEST.values(), ids=NO_MANIFEST.keys())
async def test_manifest_that_is_none_is_invalid(root: Path, registry: HostileRegistry, body: bytes) -> None:
    assert isinstance(await refused(root, registry, ok(body, TYPED)), ManifestInvalid)


async def test_manifest_that_is_not_what_it_is_announced_as_is_refused(root: Path, registry: HostileRegistry) -> None:
    other = f"Docker-Content-Digest: {build_image(1, seed=2).digest}"
    assert isinstance(await refused(root, registry, ok(BODY, TYPED, other)), DigestInvalid)


async def test_manifest_by_digest_that_is_another_one_is_refused(root: Path, registry: HostileRegistry) -> None:
    child = build_image(1, seed=2)
    index = b'{"schemaVersion":2,"mediaType":"%b","manifests":[{"mediaType":"%b","digest":"%b","size":%d}]}' % (
        OCI_INDEX.encode(),
        OCI_MANIFEST.encode(),
        child.digest.encode(),
        child.manifest.size,
    )
    registry.answers[manifest_line(child.digest)] = ok(BODY, TYPED)
    assert isinstance(await refused(root, registry, ok(index, f"Content-Type: {OCI_INDEX}")), DigestInvalid)


# redirects and logins


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("/v2/team/app/manifests/v1", AccessDenied),
        ("file:///etc/passwd", AccessDenied),
        ("gopher://127.0.0.1/x", AccessDenied),
        ("http://[::1", AccessDenied),
        ("http://127.0.0.1:999999/", AccessDenied),
        ("http://me:secret@127.0.0.1/", AccessDenied),
        ("http://127.0.0.1:1/", ConnectionFailed),
        ("x" * 60_000, RegistryError),
        ("", Unsupported),
    ],
    ids=["circle", "file", "gopher", "no_address", "no_port", "login", "closed", "long", "empty"],
)
async def test_redirect_that_leads_nowhere_is_an_error(
    root: Path, registry: HostileRegistry, location: str, error: type[RegistryError]
) -> None:
    answer = ok(b"", f"Location: {location}", status="307 Temporary Redirect")
    assert isinstance(await refused(root, registry, answer), error)
    assert len(registry.asked) <= 10


async def test_redirect_to_another_port_takes_no_password_along(root: Path, registry: HostileRegistry) -> None:
    line = manifest_line("v1")
    async with HostileRegistry().running() as other:
        registry.answers[line] = ok(b"", f"Location: http://{HOST}:{other.port}/x", status="307 Temporary Redirect")
        other.answers["GET /x"] = ok(b"", 'WWW-Authenticate: Basic realm="x"', status="401 Unauthorized")
        with pytest.raises(RegistryError):
            await pull(root, registry, DOCKER_AUTH_CONFIG=login_for(registry))
        assert [asked.headers.get("authorization") for asked in other.asked] == [None]


async def test_password_goes_where_the_registry_is(root: Path, registry: HostileRegistry) -> None:
    registry.answers[manifest_line("v1")] = ok(b"", 'WWW-Authenticate: Basic realm="x"', status="401 Unauthorized")
    with pytest.raises(RegistryError) as caught:
        await pull(root, registry, DOCKER_AUTH_CONFIG=login_for(registry))
    assert [asked.headers.get("authorization") for asked in registry.asked] == [None, "basic bwu6c2vjcmv0"]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "realm",
    ["http://192.0.2.1/token", "http://login.invalid/token", "file:///token", "http://[::1/token", "x" * 10_000],
    ids=["address", "name", "file", "no_address", "long"],
)
async def test_realm_on_another_host_gets_no_password(root: Path, registry: HostileRegistry, realm: str) -> None:
    challenge = f'WWW-Authenticate: Bearer realm="{realm}",service="x"'
    registry.answers[manifest_line("v1")] = ok(b"", challenge, status="401 Unauthorized")
    with pytest.raises(AccessDenied) as caught:
        await pull(root, registry, DOCKER_AUTH_CONFIG=login_for(registry))
    assert "secret" not in str(caught.value)
    assert len(registry.asked) == 1


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("answer", "idle_seconds"),
    [
        (endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(b" " * 65536)), 2 * MOST_SECONDS),
        (ok(b"[" * 1_000_000), 2 * MOST_SECONDS),
        (ok(b'{"token": "' + b"x" * 900_000 + b'"}'), 2 * MOST_SECONDS),
        (stalling(b""), IDLE_SECONDS),
    ],
    ids=["endless", "deep", "long", "silent"],
)
async def test_token_service_that_is_hostile_ends_in_an_error(
    root: Path, registry: HostileRegistry, answer: Answer, idle_seconds: float
) -> None:
    registry.answers["GET /token"] = answer
    challenge = f'WWW-Authenticate: Bearer realm="http://{HOST}:{registry.port}/token",service="x"'
    unauthorized = ok(b"", challenge, status="401 Unauthorized")
    error = await refused(root, registry, unauthorized, idle_seconds=idle_seconds)
    assert "x" * 1000 not in str(error)


def login_for(registry: HostileRegistry) -> str:
    return json.dumps({"auths": {f"{HOST}:{registry.port}": {"auth": "bWU6c2VjcmV0"}}})
