from __future__ import annotations

import json
from typing import Any

import pytest

from entrepot import errors as e
from entrepot.wire.errors import STATUS_AND_CODE, UNEXPECTED, decode, encode

FIELDS: dict[type[e.RegistryError], dict[str, Any]] = {
    e.RangeInvalid: {"size": 5},
    e.UploadRangeInvalid: {"offset": 7},
    e.UploadBusy: {"offset": 7},
    e.MethodNotAllowed: {"allow": ("GET", "HEAD")},
    e.ReadOnly: {"allow": ("GET", "HEAD")},
    e.TooManyUploads: {"retry_after_seconds": 3},
    e.UpstreamFailed: {"status": 503},
}


def make(kind: type[e.RegistryError], message: str = "expected this, got that") -> e.RegistryError:
    return kind(message, **FIELDS.get(kind, {}), name="team/app")


def answer(code: object, message: object = "words", **rest: object) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message, **rest}]}).encode()


def decode_one(status: int, content: bytes, **options: Any) -> e.RegistryError:
    error = decode(status, content, **options)
    assert isinstance(error, e.RegistryError)
    return error


KINDS = [pytest.param(kind, id=kind.__name__) for kind in STATUS_AND_CODE]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if STATUS_AND_CODE[kind.values[0]] != UNEXPECTED])  # type: ignore[index]
def test_decode_encoded_error_gives_same_class_message_and_fields(kind: type[e.RegistryError]) -> None:
    error = make(kind)

    found = decode(*encode([error]))

    assert type(found) is kind
    assert isinstance(found, e.RegistryError)
    assert (found.message, found.detail) == (error.message, error.detail)
    assert vars(found) == vars(error)


def test_decode_encoded_corruption_gives_its_class_and_no_inside_words() -> None:
    found = decode_one(*encode([e.Corrupt("bad bytes in /srv/blobs")]))

    assert type(found) is e.Corrupt
    assert "/srv" not in found.message


def test_decode_several_encoded_errors_gives_all_in_order() -> None:
    found = decode(*encode([make(e.ManifestBlobUnknown, "one"), make(e.ManifestBlobUnknown, "two")]))

    assert isinstance(found, e.RegistryErrors)
    assert [(type(error), error.message) for error in found.errors] == [
        (e.ManifestBlobUnknown, "one"),
        (e.ManifestBlobUnknown, "two"),
    ]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        pytest.param(404, "BLOB_UNKNOWN", e.BlobUnknown, id="blob unknown"),
        pytest.param(404, "MANIFEST_UNKNOWN", e.ManifestUnknown, id="manifest unknown"),
        pytest.param(404, "NAME_UNKNOWN", e.RepositoryUnknown, id="name unknown"),
        pytest.param(404, "BLOB_UPLOAD_UNKNOWN", e.UploadUnknown, id="upload unknown"),
        pytest.param(404, "NOT_FOUND", e.ManifestUnknown, id="harbor's own"),
        pytest.param(400, "DIGEST_INVALID", e.DigestInvalid, id="digest"),
        pytest.param(400, "TAG_INVALID", e.TagInvalid, id="tag, as distribution says it"),
        pytest.param(400, "MANIFEST_BLOB_UNKNOWN", e.ManifestBlobUnknown, id="absent child"),
        pytest.param(400, "SOMETHING", e.Invalid, id="unknown code"),
        pytest.param(401, "UNAUTHORIZED", e.Unauthenticated, id="no login"),
        pytest.param(401, "DENIED", e.Unauthenticated, id="401 counts more than its code"),
        pytest.param(403, "DENIED", e.AccessDenied, id="denied"),
        pytest.param(403, "UNAUTHORIZED", e.AccessDenied, id="403 counts more than its code"),
        pytest.param(429, "TOOMANYREQUESTS", e.RateLimited, id="rate limit"),
        pytest.param(429, "DENIED", e.RateLimited, id="429 counts more than its code"),
        pytest.param(403, "TOOMANYREQUESTS", e.RateLimited, id="rate limit under another status"),
        pytest.param(500, "UNKNOWN", e.UpstreamFailed, id="failure"),
        pytest.param(503, "BLOB_UNKNOWN", e.UpstreamFailed, id="failure counts more than its code"),
        pytest.param(416, "RANGE_INVALID", e.RangeInvalid, id="range"),
        pytest.param(405, "UNSUPPORTED", e.Unsupported, id="unsupported"),
    ],
)
def test_decode_foreign_code_gives_class(status: int, code: str, kind: type[e.RegistryError]) -> None:
    assert type(decode_one(status, answer(code), absent=e.ManifestUnknown)) is kind


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        pytest.param(404, e.BlobUnknown, "blob unknown", id="404"),
        pytest.param(401, e.Unauthenticated, "unauthorized: authentication required", id="401"),
        pytest.param(403, e.AccessDenied, "denied: requested access to the resource is denied", id="403"),
        pytest.param(429, e.RateLimited, "toomanyrequests: too many requests", id="429"),
        pytest.param(502, e.UpstreamFailed, "received unexpected HTTP status: 502 Bad Gateway", id="502"),
        pytest.param(599, e.UpstreamFailed, "received unexpected HTTP status: 599", id="no known status"),
        pytest.param(418, e.Denied, "received unexpected HTTP status: 418 I'm a Teapot", id="418"),
        pytest.param(302, e.Unsupported, "received unexpected HTTP status: 302 Found", id="302"),
        pytest.param(413, e.TooLarge, "received unexpected HTTP status: 413 Request Entity Too Large", id="413"),
        pytest.param(408, e.RequestTimeout, "received unexpected HTTP status: 408 Request Timeout", id="408"),
    ],
)
def test_decode_empty_body_goes_by_status(status: int, kind: type[e.RegistryError], message: str) -> None:
    found = decode_one(status, b"", absent=e.BlobUnknown)

    assert type(found) is kind
    assert found.message == message
    assert found.detail["status"] == status


def test_decode_404_without_word_of_what_is_absent_gives_not_found() -> None:
    found = decode_one(404, b"")

    assert (type(found), found.message) == (e.NotFound, "not found")


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        pytest.param(
            429,
            answer("TOOMANYREQUESTS", "You have reached your pull rate limit."),
            "toomanyrequests: You have reached your pull rate limit.",
            id="rate limit",
        ),
        pytest.param(404, answer("MANIFEST_UNKNOWN", "manifest unknown"), "manifest unknown", id="says it itself"),
        pytest.param(404, answer("MANIFEST_UNKNOWN", ""), "manifest unknown", id="no message"),
        pytest.param(404, answer("MANIFEST_UNKNOWN", None), "manifest unknown", id="null message"),
        pytest.param(403, answer("DENIED", "no"), "denied: no", id="denied"),
        pytest.param(429, b"slow down", "toomanyrequests: slow down", id="plain text"),
        pytest.param(401, b'{"details": "wrong password"}', "unauthorized: wrong password", id="another JSON"),
        pytest.param(403, b'"because"', "denied: because", id="JSON string"),
        pytest.param(
            502,
            b"<html><style>a {b: c}</style><title>502</title>\r\n<body><h1>Bad\tGateway</h1></body></html>",
            "received unexpected HTTP status: 502 Bad Gateway: 502 Bad Gateway",
            id="page of a proxy",
        ),
        pytest.param(
            413,
            b"<html><head><title>413 Too Large</title></head><body><h1>413 Too Large</h1><hr>nginx</body></html>",
            "received unexpected HTTP status: 413 Request Entity Too Large: 413 Too Large nginx",
            id="page that says it twice",
        ),
        pytest.param(400, b"\xff\xfe", "received unexpected HTTP status: 400 Bad Request: \ufffd\ufffd", id="no UTF-8"),
        pytest.param(403, answer("DENIED", "a\x1b[31mb\nc"), "denied: a [31mb c", id="terminal codes"),
    ],
)
def test_decode_body_gives_message(status: int, content: bytes, message: str) -> None:
    assert decode_one(status, content).message == message


def test_decode_long_page_gives_its_beginning() -> None:
    message = decode_one(503, b"<p>" + b"word " * 10_000).message

    assert message.startswith("received unexpected HTTP status: 503 Service Unavailable: word word")
    assert message.endswith("…")
    assert len(message) < 300


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"[" * 60_000, id="deep"),
        pytest.param(b'{"errors": ' + b"[" * 60_000, id="deep inside"),
        pytest.param(b'{"errors": []}', id="no errors"),
        pytest.param(b'{"errors": null}', id="null"),
        pytest.param(b'{"errors": ["x"]}', id="strings"),
        pytest.param(b'{"errors": {"code": "DENIED"}}', id="object"),
        pytest.param(b'{"errors": [{}]}', id="empty error"),
        pytest.param(b'{"errors": [{"code": 5, "message": {}}]}', id="other types"),
        pytest.param(b"9" * 60_000, id="long number"),
        pytest.param(b"null", id="null alone"),
        pytest.param(b"<" * 60_000, id="brackets"),
        pytest.param(b"<a " * 20_000, id="tags without end"),
    ],
)
def test_decode_odd_body_goes_by_status(content: bytes) -> None:
    found = decode_one(404, content, absent=e.ManifestUnknown)

    assert type(found) is e.ManifestUnknown
    assert len(found.message) < 300


@pytest.mark.parametrize(
    "detail",
    [
        pytest.param({"error": "Exception"}, id="no class of ours"),
        pytest.param({"error": ["BlobUnknown"]}, id="no name"),
        pytest.param({"error": "BlobUnknown"}, id="class of another status"),
        pytest.param({"error": "RangeInvalid"}, id="field left out"),
        pytest.param({"error": "RangeInvalid", "size": "5"}, id="field of another type"),
        pytest.param({"error": "RangeInvalid", "size": 5, "message": "x"}, id="name of an argument"),
        pytest.param({"error": "RangeInvalid", "size": 5, "self": "x"}, id="name of the first argument"),
        pytest.param("RangeInvalid", id="string"),
        pytest.param(None, id="null"),
    ],
)
def test_decode_wrong_detail_goes_by_code(detail: object) -> None:
    assert type(decode_one(416, answer("BLOB_UPLOAD_INVALID", detail=detail))) is e.UploadInvalid


def test_decode_rate_limit_keeps_time_to_wait() -> None:
    found = decode_one(429, b"", retry_after_seconds=12.0)

    assert isinstance(found, e.RateLimited)
    assert found.retry_after_seconds == 12


def test_decode_many_errors_is_bounded() -> None:
    found = decode(400, json.dumps({"errors": [{"code": "DIGEST_INVALID"}] * 5000}).encode())

    assert isinstance(found, e.RegistryErrors)
    assert len(found.errors) == 128
