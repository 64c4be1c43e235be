"""Header values and query parameters that are malformed or contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from entrepot.digest import Digest
from entrepot.manifest import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from entrepot.testing.server import RegistryProcess

from .raw import Wire, ask, assert_refused, chunked, request

INDEX = b'{"schemaVersion":2,"manifests":[]}'
CONTENT = bytes(range(256)) * 4


@pytest.fixture
def upload(port: int, name: str) -> Iterator[str]:
    """The location of an upload that holds ten bytes, and still does after the test."""
    location = ask(port, "POST", f"/v2/{name}/blobs/uploads/").headers["location"]
    assert ask(port, "PATCH", location, body=b"0123456789").status == 202
    yield location
    assert ask(port, "GET", location).headers["range"] == "0-9"
    finished = ask(port, "PUT", f"{location}?digest={Digest.of(b'0123456789')}")
    assert finished.status == 201


BAD_CONTENT_RANGES = [
    "",
    "-",
    "10",
    "10-",
    "-10",
    "a-b",
    "10-a",
    "0x0a-0x0c",
    "+10-12",
    "10-+12",
    "10 - 12",
    "10-12,13-14",
    "10-12-14",
    "10_0-10_2",
    "1e1-12",
    "10.0-12.0",
    "--10-12",
    "12-10",
    "bytes",
    "bytes=10-12",
    "bytes 10-12/",
    "bytes 10-12/x",
    "octets 10-12",
    "bytes */10",
    b"\xd9\xa1-\xd9\xa2",
    b"\xb2-\xb3",
    "１０-１２".encode(),
]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("value", BAD_CONTENT_RANGES)
def test_append_with_malformed_content_range_is_refused(
    port: int, upload: str, method: str, value: str | bytes
) -> None:
    target = upload if method == "PATCH" else f"{upload}?digest={Digest.of(b'0123456789abc')}"
    reply = ask(port, method, target, {"Content-Range": value}, b"abc")
    assert_refused(reply, 400, "BLOB_UPLOAD_INVALID", "invalid Content-Range: expected", "got")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize(
    "value",
    ["0-2", "9-11", "11-13", "12-14", "0-0", "9223372036854775807-9223372036854775809", f"1{'0' * 40}-1{'0' * 40}"],
)
def test_append_out_of_order_is_416_and_tells_where_to_go_on(port: int, upload: str, method: str, value: str) -> None:
    first, last = (min(int(end), 2**63 - 1) for end in value.split("-"))
    target = upload if method == "PATCH" else f"{upload}?digest={Digest.of(b'0123456789abc')}"
    reply = ask(port, method, target, {"Content-Range": value}, b"a" * min(last - first + 1, 3))
    assert_refused(reply, 416, "BLOB_UPLOAD_INVALID", "must start at byte 10", f"starts at {first}")
    assert (reply.headers["location"], reply.headers["range"]) == (upload, "0-9")


@pytest.mark.parametrize("value", ["10-11", "10-13", "10-10", f"10-{10**30}"])
def test_append_with_content_range_against_content_length_is_refused(port: int, upload: str, value: str) -> None:
    reply = ask(port, "PATCH", upload, {"Content-Range": value}, b"abc")
    assert_refused(reply, 400, "SIZE_INVALID", f"Content-Range {value}", "Content-Length says 3")


@pytest.mark.parametrize(
    ("value", "words"), [("10-11", "with 2 bytes and has more than 2"), ("10-13", "with 4 bytes and has 3")]
)
def test_append_chunks_against_content_range_is_refused(port: int, upload: str, value: str, words: str) -> None:
    fields = {"Content-Range": value, "Transfer-Encoding": "chunked"}
    reply = ask(port, "PATCH", upload, fields, chunked(b"a", b"bc"))
    assert_refused(reply, 400, "SIZE_INVALID", words)


@pytest.fixture(scope="module")
def blob(server: RegistryProcess) -> str:
    digest = Digest.of(CONTENT)
    assert ask(server.port, "POST", f"/v2/hostile/ranges/blobs/uploads/?digest={digest}", body=CONTENT).status == 201
    return f"/v2/hostile/ranges/blobs/{digest}"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-x",
        "bytes=x-1",
        "bytes= 1-2 3",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1_0-2_0",
        "bytes=0x1-0x2",
        "items=0-5",
        "0-5",
        "=0-5",
        "bytes:0-5",
        "bytes=0-5;6-7",
        b"bytes=\xd9\xa1-\xd9\xa2",
        b"bytes=\xb2-",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(5000)),
    ],
)
def test_get_blob_by_malformed_range_gives_all_of_it(port: int, blob: str, value: str | bytes) -> None:
    """RFC 9110, 14.2: a Range that makes no sense is no Range."""
    reply = ask(port, "GET", blob, {"Range": value})
    assert (reply.status, reply.body) == (200, CONTENT)


@pytest.mark.parametrize(
    "value", ["1024-", "5000-10000", "500-0", "-0", f"{10**40}-", f"{2**63}-{2**64}", "2000-1,3000-"]
)
def test_get_blob_by_range_beyond_it_is_416_with_the_size(port: int, blob: str, value: str) -> None:
    reply = ask(port, "GET", blob, {"Range": f"bytes={value}"})
    assert_refused(reply, 416, "BLOB_UPLOAD_INVALID", "expected bytes of a blob of 1024", "got")
    assert reply.headers["content-range"] == "bytes */1024"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"-{10**40}", CONTENT),
        (f"1000-{10**40}", CONTENT[1000:]),
        ("0-" + "9" * 4000, CONTENT),
        ("01000-1023", CONTENT[1000:]),
    ],
)
def test_get_blob_by_huge_range_is_clipped(port: int, blob: str, value: str, expected: bytes) -> None:
    reply = ask(port, "GET", blob, {"Range": f"bytes={value}"})
    assert (reply.status, reply.body) == (206, expected)


def test_get_blob_by_a_thousand_overlapping_ranges_sends_each_byte_once(port: int, blob: str) -> None:
    reply = ask(port, "GET", blob, {"Range": "bytes=" + ",".join(["0-1023"] * 1000)})
    assert (reply.status, reply.body) == (206, CONTENT)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "value",
    [
        "-1",
        "+3",
        "3.0",
        "0x3",
        "3 3",
        "3,3",
        "3;",
        "three",
        "",
        "1e3",
        "3_0",
        "9" * 30,
        b"\xd9\xa3",
        "18446744073709551616",
    ],
)
@pytest.mark.parametrize("place", ["/blobs/uploads/", "/manifests/v1"])
def test_send_malformed_content_length_ends_the_connection(port: int, name: str, place: str, value: str) -> None:
    method = "POST" if "uploads" in place else "PUT"
    with Wire(port) as wire:
        wire.send(request(method, f"/v2/{name}{place}", {"Content-Length": value}, b"abc"))
        assert wire.reply().status == 400
        assert wire.rest() == b""


@pytest.mark.usefixtures("unchanged")
def test_send_two_content_lengths_ends_the_connection(port: int, name: str) -> None:
    with Wire(port) as wire:
        fields = [("Content-Length", "3"), ("Content-Length", "4")]
        wire.send(request("PUT", f"/v2/{name}/manifests/v1", fields, b"abcd"))
        assert wire.reply().status == 400
        assert wire.rest() == b""


@pytest.mark.usefixtures("unchanged")
def test_push_manifest_announced_as_endless_is_refused_at_once(port: int, name: str) -> None:
    fields = {"Content-Length": str(2**63 - 1), "Content-Type": OCI_INDEX}
    reply = ask(port, "PUT", f"/v2/{name}/manifests/v1", fields, INDEX)
    assert_refused(reply, 413, "MANIFEST_INVALID", "4194304 bytes")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("content_type", "words"),
    [
        ("text/plain", 'got "text/plain"'),
        ("application/json", 'got "application/json"'),
        ("application/octet-stream", "got"),
        ("manifest", 'got "manifest"'),
        ("*/*", "got"),
        ("/", "got"),
        (";charset=utf-8", "in Content-Type or in the document"),
        ("a" * 5000, "got"),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", "does not take schema 1"),
        ("application/vnd.docker.distribution.manifest.v1+json; charset=utf-8", "does not take schema 1"),
        ("application/vnd.oci.image.layer.v1.tar+gzip", "got"),
        (OCI_INDEX + "x", "got"),
        (OCI_INDEX.replace("+", " "), "got"),
        (b"application/\xff", "got"),
    ],
)
def test_push_manifest_with_bad_content_type_is_refused(
    port: int, name: str, content_type: str | bytes, words: str
) -> None:
    reply = ask(port, "PUT", f"/v2/{name}/manifests/v1", {"Content-Type": content_type}, INDEX)
    assert_refused(reply, 400, "MANIFEST_INVALID", "expected mediaType to be", words)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("declared", [OCI_MANIFEST, DOCKER_MANIFEST, "application/x-other"])
def test_push_manifest_whose_type_is_not_its_content_type_is_refused(port: int, name: str, declared: str) -> None:
    body = b'{"schemaVersion":2,"mediaType":"%b","manifests":[]}' % declared.encode()
    reply = ask(port, "PUT", f"/v2/{name}/manifests/v1", {"Content-Type": OCI_INDEX}, body)
    assert_refused(reply, 400, "MANIFEST_INVALID", "the same as Content-Type", OCI_INDEX, declared)


BAD_COUNTS = [
    "",
    "-1",
    "+5",
    "1.5",
    "1e3",
    "0x10",
    "ten",
    "1_000",
    "%205",
    "5%20",
    "5%00",
    "%D9%A1",
    "%EF%BC%95",
    "NaN",
    "5;",
]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("path", ["/v2/_catalog", "/v2/hostile/ranges/tags/list", "/v1/search"])
@pytest.mark.parametrize("value", BAD_COUNTS)
def test_list_with_bad_n_is_refused(port: int, blob: str, path: str, value: str) -> None:
    reply = ask(port, "GET", f"{path}?n={value}")
    if path == "/v1/search" and not value:  # docker sends n without a value for its default
        assert reply.status == 200
    else:
        assert_refused(reply, 400, "UNSUPPORTED", "invalid n: expected a whole number", "got")


@pytest.mark.parametrize("value", ["0", "1", "9" * 5000, str(2**63), "00000000000000000000000000000001"])
@pytest.mark.parametrize("path", ["/v2/_catalog", "/v2/hostile/ranges/tags/list"])
def test_list_with_extreme_n_is_answered(port: int, blob: str, path: str, value: str) -> None:
    reply = ask(port, "GET", f"{path}?n={value}")
    assert reply.status == 200
    assert ("link" in reply.headers) <= (value != "0")


@pytest.mark.parametrize("last", ["%00", "%FF%FE", "..", "'; DROP TABLE tags;--", "%25", "a" * 60000, "%F4%8F%BF%BF"])
@pytest.mark.parametrize(
    "path", ["/v2/_catalog", "/v2/hostile/ranges/tags/list", f"/v2/hostile/ranges/referrers/{Digest.of(b'')}"]
)
def test_list_after_any_text_is_answered(port: int, blob: str, path: str, last: str) -> None:
    assert ask(port, "GET", f"{path}?last={last.replace(' ', '%20')}").status == 200


@pytest.mark.parametrize("value", ['"', "W/", ",,,", '"a", "b', "*" * 5000, b"\xff", '""', "sha256:"])
@pytest.mark.parametrize("field", ["If-None-Match", "If-Range", "If-Match"])
def test_get_blob_under_strange_condition_is_answered(port: int, blob: str, field: str, value: str | bytes) -> None:
    reply = ask(port, "GET", blob, {field: value, "Range": "bytes=0-9"})
    assert reply.status in (200, 206, 304)
