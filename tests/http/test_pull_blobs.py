"""GET and HEAD of blobs, whole and in ranges (distribution-spec, "Pulling blobs"; RFC 9110, 14)."""

from __future__ import annotations

import random
from email import message_from_bytes
from email.message import Message

import httpx
import pytest

from entrepot.digest import Digest

from .api import ABSENT, Api, only, refused

METHODS = pytest.mark.parametrize("method", ["GET", "HEAD"])
ALGORITHMS = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
DATA = random.Random(2048).randbytes(2048)
TEXT = b"0123456789abcdef" * 128  # for the parser of e-mails, which knows parts of text only
BIG = random.Random(1).randbytes(3 * 1024 * 1024 + 17)  # over what the cache in memory takes


@METHODS
@ALGORITHMS
@pytest.mark.parametrize("data", [DATA, b"", b"{}", BIG], ids=["2 KiB", "empty", "two bytes", "3 MiB"])
async def test_get_blob_returns_its_bytes(repo: Api, data: bytes, algorithm: str, method: str) -> None:
    digest = await repo.push_blob(data, algorithm)
    answer = await repo.request(method, f"blobs/{digest}")
    assert (answer.status_code, answer.content) == (200, data if method == "GET" else b"")
    assert only(answer.headers, "content-length", "docker-content-digest", "content-type", "accept-ranges", "etag") == {
        "content-length": str(len(data)),
        "docker-content-digest": digest,
        "content-type": "application/octet-stream",
        "accept-ranges": "bytes",
        "etag": f'"{digest}"',
    }


async def test_get_blob_may_be_kept_by_caches_for_ever(repo: Api) -> None:
    digest = await repo.push_blob(DATA)
    assert (await repo.get(f"blobs/{digest}")).headers["cache-control"] == "max-age=31536000, immutable"


async def test_get_blob_offered_compression_is_sent_as_it_is(repo: Api) -> None:
    digest = await repo.push_blob(b"a" * 5000)
    answer = await repo.get(f"blobs/{digest}", accept_encoding="zstd, gzip, deflate")
    assert "content-encoding" not in answer.headers
    assert answer.headers["content-length"] == "5000"


@METHODS
@pytest.mark.parametrize("digest", [ABSENT, Digest.of(b"", "sha512")], ids=["sha256", "sha512"])
async def test_get_blob_that_is_absent_is_404(repo: Api, method: str, digest: str) -> None:
    await repo.push_blob(b"so that the repository exists")
    answer = await repo.request(method, f"blobs/{digest}")
    assert answer.status_code == 404
    if method == "GET":
        refused(answer, 404, "BLOB_UNKNOWN")


async def test_get_blob_of_another_repository_is_refused(repo: Api) -> None:
    digest = await repo.push_blob(DATA)
    other = repo.beside("other")
    await other.push_blob(b"so that the repository exists")
    refused(await other.get(f"blobs/{digest}"), 404, "BLOB_UNKNOWN")


async def test_get_blob_under_another_algorithm_than_it_was_pushed_with_is_refused(repo: Api) -> None:
    await repo.push_blob(DATA, "sha256")
    refused(await repo.get(f"blobs/{Digest.of(DATA, 'sha512')}"), 404, "BLOB_UNKNOWN")


async def test_get_blob_of_unknown_repository_is_refused(repo: Api) -> None:
    refused(await repo.get(f"blobs/{ABSENT}"), 404, "NAME_UNKNOWN")


@pytest.mark.parametrize("digest", ["sha256:baddigeststring", "notadigest", f"sha1:{'a' * 40}"])
async def test_get_blob_by_digest_we_cannot_have_is_refused(repo: Api, digest: str) -> None:
    refused(await repo.get(f"blobs/{digest}"), 400, "DIGEST_INVALID")


@METHODS
async def test_get_blob_the_client_has_is_304(repo: Api, method: str) -> None:
    digest = await repo.push_blob(DATA)
    answer = await repo.request(method, f"blobs/{digest}", if_none_match=f'"{digest}"')
    assert (answer.status_code, answer.content) == (304, b"")


# The first six are those of the official suite.
@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=500-1499", 500, 1500),
        ("bytes=500-", 500, 2048),
        ("bytes=-500", 1548, 2048),
        ("bytes=2000-5000", 2000, 2048),
        ("bytes=0-0", 0, 1),
        ("bytes=2047-2047", 2047, 2048),
        ("bytes=0-", 0, 2048),
        ("bytes=-5000", 0, 2048),
        ("bytes=500-2048", 500, 2048),  # regctl: one past the last byte
        ("BYTES=1-2", 1, 3),
        ("bytes=5000-,1-2", 1, 3),
    ],
)
async def test_get_range_of_blob_is_206_with_those_bytes(repo: Api, header: str, start: int, end: int) -> None:
    digest = await repo.push_blob(DATA)
    answer = await repo.get(f"blobs/{digest}", range=header)
    assert (answer.status_code, answer.content) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/2048"
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["docker-content-digest"] == digest


@pytest.mark.parametrize(
    "header", ["bytes=500-0", "bytes=5000-10000", "bytes=2048-", "bytes=-0", f"bytes={9 * 10**30}-"]
)
async def test_get_range_outside_of_blob_is_416_with_its_size(repo: Api, header: str) -> None:
    digest = await repo.push_blob(DATA)
    answer = await repo.get(f"blobs/{digest}", range=header)
    refused(answer, 416, "BLOB_UPLOAD_INVALID")
    assert answer.headers["content-range"] == "bytes */2048"


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1"])
async def test_get_range_of_empty_blob_is_416(repo: Api, header: str) -> None:
    digest = await repo.push_blob(b"")
    answer = await repo.get(f"blobs/{digest}", range=header)
    refused(answer, 416, "BLOB_UPLOAD_INVALID")
    assert answer.headers["content-range"] == "bytes */0"


@pytest.mark.parametrize("header", ["lines=1-2", "bytes=a-b", "bytes", "bytes=1-2-3", "bytes=+1-2", "bytes=", "1-2"])
async def test_get_range_that_is_none_is_200_with_everything(repo: Api, header: str) -> None:
    digest = await repo.push_blob(DATA)
    answer = await repo.get(f"blobs/{digest}", range=header)
    assert (answer.status_code, answer.content) == (200, DATA)


async def test_head_blob_with_range_is_200_with_the_whole_size(repo: Api) -> None:
    digest = await repo.push_blob(DATA)
    answer = await repo.head(f"blobs/{digest}", range="bytes=0-9")
    assert (answer.status_code, answer.headers["content-length"]) == (200, "2048")


async def test_get_several_ranges_of_blob_is_206_in_parts(repo: Api) -> None:
    digest = await repo.push_blob(TEXT)
    answer = await repo.get(f"blobs/{digest}", range="bytes=100-199,0-9, -8")
    assert answer.status_code == 206
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert [(part["content-range"], part.get_payload(decode=True)) for part in _parts(answer)] == [
        ("bytes 100-199/2048", TEXT[100:200]),
        ("bytes 0-9/2048", TEXT[:10]),
        ("bytes 2040-2047/2048", TEXT[-8:]),
    ]


@pytest.mark.parametrize(
    ("if_range", "status"),
    [('"{}"', 206), ('"other"', 200), ("{}", 200), ('W/"{}"', 200), ("Wed, 21 Oct 2015 07:28:00 GMT", 200)],
    ids=["the digest", "another digest", "no quotes", "weak", "a date"],
)
async def test_get_range_of_blob_if_it_is_the_same_needs_its_strong_etag(repo: Api, if_range: str, status: int) -> None:
    digest = await repo.push_blob(DATA)
    answer = await repo.get(f"blobs/{digest}", range="bytes=0-9", if_range=if_range.format(digest))
    assert answer.status_code == status


async def test_get_range_of_large_blob_crosses_the_pieces_it_is_read_in(repo: Api) -> None:
    digest = await repo.push_blob(BIG)
    answer = await repo.get(f"blobs/{digest}", range=f"bytes=1000000-{len(BIG) - 2}")
    assert answer.content == BIG[1000000:-1]


def _parts(answer: httpx.Response) -> list[Message]:
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + answer.content).get_payload()
    assert isinstance(parts, list)
    return [part for part in parts if isinstance(part, Message)]
