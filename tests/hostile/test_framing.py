"""Requests that stretch HTTP itself: several at once, old versions, two lengths, heads without end."""

from __future__ import annotations

from contextlib import suppress

import pytest

from entrepot.digest import Digest
from entrepot.manifest import OCI_INDEX
from entrepot.testing.server import RegistryProcess

from .raw import Wire, ask, assert_refused, chunked, request
from .stored import look

INDEX = b'{"schemaVersion":2,"manifests":[]}'


@pytest.fixture
def tagged(port: int, name: str) -> str:
    """The address of a tag that must be there after the test, too."""
    target = f"/v2/{name}/manifests/kept"
    assert ask(port, "PUT", target, {"Content-Type": OCI_INDEX}, INDEX).status == 201
    return target


def test_send_requests_without_waiting_gives_answers_in_order(port: int, name: str) -> None:
    fields = {"Content-Type": OCI_INDEX}
    tags = f"/v2/{name}/tags/list"
    with Wire(port) as wire:
        wire.send(
            request("GET", tags)
            + request("PUT", f"/v2/{name}/manifests/one", fields, INDEX)
            + request("GET", tags)
            + request("PUT", f"/v2/{name}/manifests/two", {**fields, "Transfer-Encoding": "chunked"}, chunked(INDEX))
            + request("HEAD", f"/v2/{name}/manifests/two")
            + request("GET", tags)
        )
        statuses = [wire.reply().status for _ in range(2)]
        first = wire.reply().body
        statuses += [wire.reply().status, wire.reply(head=True).status]
        assert statuses == [404, 201, 201, 200]
        assert (b'["one"]' in first, b'["one","two"]' in wire.reply().body) == (True, True)


def test_send_two_hundred_requests_without_waiting_gives_two_hundred_answers(port: int) -> None:
    with Wire(port) as wire:
        wire.send(request("GET", "/v2/") * 200)
        assert [wire.reply().status for _ in range(200)] == [200] * 200


def test_refused_body_is_not_taken_for_the_next_request(port: int, tagged: str) -> None:
    hidden = request("DELETE", tagged)
    with Wire(port) as wire:
        wire.send(request("POST", "/v2/_catalog", body=hidden) + request("GET", "/v2/"))
        assert_refused(wire.reply(), 405, "UNSUPPORTED")
        assert wire.reply().status == 200
    assert ask(port, "GET", tagged).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_body_of_a_read_is_not_taken_for_the_next_request(port: int, tagged: str, method: str) -> None:
    with Wire(port) as wire:
        wire.send(request(method, tagged, body=request("DELETE", tagged)))
        assert wire.reply(head=method == "HEAD").status == 200
        wire.stop_sending()
        wire.rest()
    assert ask(port, "GET", tagged).status == 200


def both_lengths(*encodings: str) -> list[tuple[str, str]]:
    return [("Content-Length", "5"), *(("Transfer-Encoding", encoding) for encoding in encodings)]


def test_send_length_and_chunks_counts_chunks_and_ends_the_connection(port: int, tagged: str) -> None:
    """RFC 9112, 6.1: Transfer-Encoding counts, and nothing after such a request is trusted."""
    with Wire(port) as wire:
        wire.send(request("POST", "/v2/_catalog", both_lengths("chunked"), chunked()) + request("DELETE", tagged))
        assert wire.reply().status == 405
        assert wire.rest() == b""
    assert ask(port, "GET", tagged).status == 200


ENCODINGS = {
    "unknown": ["gzip"],
    "no_chunks_at_the_end": ["chunked, gzip"],
    "identity": ["identity"],
    "misspelt": ["xchunked"],
    "quoted": ['"chunked"'],
    "twice": ["chunked", "identity"],
    "with_vertical_tab": ["\x0bchunked"],
    "with_nul": ["chunked\0"],
}


@pytest.mark.parametrize("with_length", [False, True])
@pytest.mark.parametrize("encodings", [pytest.param(value, id=key) for key, value in ENCODINGS.items()])
def test_send_strange_transfer_encoding_is_refused_and_ends_the_connection(
    port: int, tagged: str, encodings: list[str], with_length: bool
) -> None:
    fields = [pair for pair in both_lengths(*encodings) if with_length or pair[0] != "Content-Length"]
    with Wire(port) as wire:
        wire.send(request("POST", "/v2/_catalog", fields, chunked()) + request("DELETE", tagged))
        assert wire.reply().status == 400
        assert wire.rest() == b""
    assert ask(port, "GET", tagged).status == 200


STRANGE_HEADS = {
    "blank_before_colon": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
    "folded_line": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
    "first_header_folded": b"GET /v2/ HTTP/1.1\r\n Host: a\r\n\r\n",
    "no_colon": b"GET /v2/ HTTP/1.1\r\nHost\r\n\r\n",
    "empty_name": b"GET /v2/ HTTP/1.1\r\n: a\r\n\r\n",
    "nul_in_value": b"GET /v2/ HTTP/1.1\r\nHost: a\0b\r\n\r\n",
    "nul_in_path": b"GET /v2/\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "return_in_value": b"GET /v2/ HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "escape_in_value": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n",
    "blank_in_path": b"GET /v2/ a HTTP/1.1\r\nHost: a\r\n\r\n",
    "no_version": b"GET /v2/\r\n\r\n",
    "version_2_by_name": b"GET /v2/ HTTP/2.0\r\nHost: a\r\n\r\n",
    "version_9": b"GET /v2/ HTTP/9.9\r\nHost: a\r\n\r\n",
    "no_http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "zeros": bytes(5000),
    "101_headers": b"GET /v2/ HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(101)) + b"\r\n",
    "20000_headers": b"GET /v2/ HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(20_000)) + b"\r\n",
    "header_of_2_mib": b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: " + b"a" * (2 << 20) + b"\r\n\r\n",
    "name_of_2_mib": b"GET /v2/ HTTP/1.1\r\nHost: a\r\n" + b"a" * (2 << 20) + b": x\r\n\r\n",
    "path_of_2_mib": b"GET /" + b"a" * (2 << 20) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "query_of_2_mib": b"GET /v2/_catalog?n=" + b"1" * (2 << 20) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "method_of_2_mib": b"G" * (2 << 20) + b" / HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("head", [pytest.param(value, id=key) for key, value in STRANGE_HEADS.items()])
def test_send_head_that_is_no_request_ends_the_connection(port: int, head: bytes) -> None:
    with Wire(port) as wire:
        with suppress(ConnectionError):  # it does not want to hear the end of it
            wire.send(head)
        answer = wire.rest()
    assert answer == b"" or answer.split()[1] in (b"400", b"414", b"431")
    assert answer.count(b"HTTP/1.") <= 1


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "*", 404),
        ("OPTIONS", "*", 404),
        ("OPTIONS", "/v2/", 405),
        ("TRACE", "/v2/", 405),
        ("BREW", "/v2/hostile/manifests/v1", 405),
        ("get", "/v2/", 405),
        ("G" * 5000, "/v2/", 405),
        ("GET", "//v2/", 404),
        ("GET", "/v2//", 404),
        ("GET", "/V2/", 404),
        ("GET", "/v2/%2e%2e/", 404),
        ("GET", "/v2/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/metrics/../v2/", 404),
        ("POST", "/healthz/x", 404),
    ],
)
def test_call_strange_address_is_refused(port: int, method: str, target: str, status: int) -> None:
    reply = ask(port, method, target)
    assert_refused(reply, status, "UNSUPPORTED")
    assert len(reply.body) < 1000


def test_connect_is_refused(port: int) -> None:
    assert ask(port, "CONNECT", "registry.test:443").status == 404


def test_call_by_absolute_address_is_answered(port: int) -> None:
    assert ask(port, "GET", "http://elsewhere.test:81/v2/").status == 200


@pytest.mark.parametrize(("fields", "is_kept"), [({}, False), ({"Connection": "keep-alive"}, True)])
def test_send_http_1_0_is_answered_with_a_length(
    port: int, name: str, tagged: str, fields: dict[str, str], is_kept: bool
) -> None:
    with Wire(port) as wire:
        wire.send(request("GET", f"/v2/{name}/manifests/kept", fields, version="1.0"))
        assert wire.reply().body == INDEX
        if is_kept:
            wire.send(request("GET", "/v2/", version="1.0"))
            assert wire.reply().status == 200
        assert wire.rest() == b""


def test_push_blob_by_http_1_0_is_stored(port: int, name: str) -> None:
    digest = Digest.of(b"old")
    with Wire(port) as wire:
        wire.send(request("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", body=b"old", version="1.0"))
        assert wire.reply().status == 201
    assert ask(port, "GET", f"/v2/{name}/blobs/{digest}").body == b"old"


def test_expect_100_continue_is_asked_to_go_on_and_stored(port: int, name: str) -> None:
    digest = Digest.of(b"awaited")
    fields = {"Expect": "100-continue", "Content-Length": "7"}
    with Wire(port) as wire:
        wire.send(request("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", fields))
        assert wire.reply().status == 100
        wire.send(b"awaited")
        assert wire.reply().status == 201


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("method", "rest", "length", "status"),
    [
        ("PUT", "manifests/.bad", 10, 400),
        ("PUT", "manifests/v1", 5_000_000, 413),
        ("PATCH", "blobs/uploads/some-id", 10, 404),
        ("POST", "tags/list", 10, 405),
    ],
)
def test_expect_100_continue_of_what_is_refused_is_told_at_once(
    port: int, name: str, method: str, rest: str, length: int, status: int
) -> None:
    fields = {"Expect": "100-continue", "Content-Length": str(length)}
    with Wire(port) as wire:
        wire.send(request(method, f"/v2/{name}/{rest}", fields))
        assert wire.reply().status == status
        assert wire.rest() == b""


def test_head_just_below_the_limits_is_read(port: int) -> None:
    fields = {f"X-{number}": "a" * 600 for number in range(90)}
    assert ask(port, "GET", "/v2/", fields).status == 200


def test_push_with_hundreds_of_tags_in_a_long_query_is_refused(port: int, server: RegistryProcess, name: str) -> None:
    before = look(server.root)
    query = "&".join(f"tag={'t' * 100}{number}" for number in range(500))
    reply = ask(port, "PUT", f"/v2/{name}/manifests/{Digest.of(INDEX)}?{query}", {"Content-Type": OCI_INDEX}, INDEX)
    assert_refused(reply, 414, "UNSUPPORTED", "100 tags", "500")
    assert look(server.root) == before
