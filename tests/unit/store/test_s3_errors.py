"""What S3 servers and the way to them answer, in our words."""

from __future__ import annotations

import pytest
from aiohttp import ClientPayloadError
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from entrepot.errors import StorageFull, Unavailable
from entrepot.store.s3_errors import is_denied, is_missing, is_session_gone, is_worth_a_retry, translate

ENDPOINT = "https://s3.example.com"


def answered(status: int, code: str, message: str = "") -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutObject")  # type: ignore[arg-type]  # its stubs want every field


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answered(503, "SlowDown"), True),
        (answered(500, "InternalError"), True),
        (answered(400, "RequestTimeout"), True),
        (answered(504, "504"), True),
        (ReadTimeoutError(endpoint_url=ENDPOINT), True),
        (ConnectTimeoutError(endpoint_url=ENDPOINT), True),
        (EndpointConnectionError(endpoint_url=ENDPOINT), True),
        (ConnectionResetError("reset"), True),
        (ClientPayloadError("not enough data"), True),
        (TimeoutError(), True),
        (SSLError(endpoint_url=ENDPOINT, error=OSError("EOF occurred in violation of protocol")), True),
        (SSLError(endpoint_url=ENDPOINT, error=OSError("CERTIFICATE_VERIFY_FAILED")), False),
        (answered(403, "AccessDenied"), False),
        (answered(404, "NoSuchKey"), False),
        (NoCredentialsError(), False),
    ],
    ids=lambda value: str(value)[:60],
)
def test_is_worth_a_retry_when_the_server_may_recover(error: Exception, expected: bool) -> None:
    assert is_worth_a_retry(error) is expected


@pytest.mark.parametrize(
    ("error", "missing", "gone", "denied"),
    [
        (answered(404, "NoSuchKey"), True, True, False),
        (answered(404, "404"), True, True, False),
        (answered(404, "NoSuchUpload"), True, True, False),
        (answered(403, "AccessDenied"), False, False, True),
        (answered(403, "403"), False, False, True),
        (answered(403, "InvalidAccessKeyId"), False, False, False),
        (answered(400, "InvalidPart"), False, False, False),
        (TimeoutError(), False, False, False),
    ],
    ids=lambda value: str(value)[:60],
)
def test_refusals_are_told_apart(error: Exception, missing: bool, gone: bool, denied: bool) -> None:
    assert (is_missing(error), is_session_gone(error), is_denied(error)) == (missing, gone, denied)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (answered(403, "SignatureDoesNotMatch"), "AWS_SECRET_ACCESS_KEY"),
        (answered(403, "InvalidAccessKeyId"), "AWS_ACCESS_KEY_ID"),
        (answered(403, "RequestTimeTooSkewed"), "clock"),
        (answered(400, "ExpiredToken"), "expired"),
        (answered(400, "AuthorizationHeaderMalformed"), "s3.region"),
        (answered(301, "301"), "s3.region"),
        (answered(418, "Teapot", "short and stout"), "418 Teapot: short and stout"),
        (NoCredentialsError(), "AWS_ACCESS_KEY_ID"),
        (SSLError(endpoint_url=ENDPOINT, error=OSError("self-signed certificate")), "s3.ca_bundle"),
        (EndpointConnectionError(endpoint_url=ENDPOINT, error=OSError("no such host")), "no such host"),
        (TimeoutError(), "did not answer in time"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_translated_error_says_what_to_do(error: Exception, text: str) -> None:
    translated = translate(error, doing="write", endpoint=ENDPOINT)
    assert type(translated) is Unavailable
    assert translated.message.startswith(f"cannot write at the S3 server {ENDPOINT}: ")
    assert text in translated.message


@pytest.mark.parametrize("error", [answered(507, "InsufficientStorage"), answered(403, "QuotaExceeded")], ids=str)
def test_server_without_space_is_full(error: Exception) -> None:
    assert isinstance(translate(error, doing="write", endpoint=ENDPOINT), StorageFull)
