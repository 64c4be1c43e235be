"""What an S3 server and the way to it can answer, in our words; secrets are never among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    ResponseStreamingError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from botocore.retryhandler import EXCEPTION_MAP

from entrepot.errors import StorageFull, Unavailable

_BUSY = {
    *("InternalError", "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException", "RequestTimeout"),
    *("OperationAborted", "RequestLimitExceeded", "BandwidthLimitExceeded", "ConditionalRequestConflict"),
}
_BUSY_STATUS = {429, 500, 502, 503, 504}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "EntityTooLarge"}
_MESSAGES = {
    "InvalidAccessKeyId": "the server does not know the access key; check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the server finds the signature wrong; check AWS_SECRET_ACCESS_KEY, and the region",
    "RequestTimeTooSkewed": "this computer's clock differs too much from the server's; set it, e.g. by NTP",
    "ExpiredToken": "the session token has expired; get new credentials",
    "InvalidToken": "the server finds the session token wrong; check AWS_SESSION_TOKEN",
    "AuthorizationHeaderMalformed": "the server wants another region; set `s3.region` or AWS_REGION",
    "301": "the bucket is in another region or at another endpoint; set `s3.region` or `s3.endpoint`",
    "PermanentRedirect": "the bucket is in another region or at another endpoint; set `s3.region` or `s3.endpoint`",
    "IllegalLocationConstraintException": "the bucket is in another region; set `s3.region` or AWS_REGION",
    "InvalidStorageClass": "the server does not know that storage class; check `s3.storage_class`",
}

# what the HTTP client below raises in the middle of a body is not always wrapped; botocore's own list has it only when
# aiobotocore has been imported before
_BROKEN: tuple[type[BaseException], ...] = (*EXCEPTION_MAP["GENERAL_CONNECTION_ERROR"], aiohttp.ClientError)
S3Error: tuple[type[BaseException], ...] = (
    BotoCoreError,
    ClientError,
    ResponseParserError,
    OSError,
    TimeoutError,
    *_BROKEN,
)


def code_of(error: BaseException) -> str:
    """The server's word for an error; its status when there was no body, as with HEAD; empty for other failures."""
    if not isinstance(error, ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: BaseException) -> int:
    """The status of the answer; 0 when there was none."""
    if not isinstance(error, ClientError):
        return 0
    metadata: Mapping[str, Any] = error.response.get("ResponseMetadata", {})
    return int(metadata.get("HTTPStatusCode", 0))


def is_missing(error: BaseException) -> bool:
    """Whether the object, or the bucket, is not there."""
    return code_of(error) in {"NoSuchKey", "404", "NotFound", "NoSuchBucket"} or status_of(error) == 404


def is_session_gone(error: BaseException) -> bool:
    """Whether the multipart upload is not there: ended, aborted, or never begun."""
    return code_of(error) == "NoSuchUpload" or status_of(error) == 404


def is_denied(error: BaseException) -> bool:
    """Whether the server knows who asks, and refuses."""
    return code_of(error) in {"AccessDenied", "403", "Forbidden"} or (status_of(error) == 403 and not _known(error))


def is_worth_a_retry(error: BaseException) -> bool:
    """Whether the same request may succeed in a moment: busy servers, broken connections, answers cut off."""
    if isinstance(error, SSLError):
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)
    if isinstance(error, ClientError):
        return code_of(error) in _BUSY or status_of(error) in _BUSY_STATUS
    kinds = (
        ConnectionError,
        HTTPClientError,
        ResponseStreamingError,
        ResponseParserError,
        OSError,
        TimeoutError,
        *_BROKEN,
    )
    return isinstance(error, kinds) and not isinstance(error, ProxyConnectionError)


def translate(error: BaseException, *, doing: str, endpoint: str) -> Unavailable:
    """The error to raise for one that no retry has helped against."""
    if code_of(error) in _FULL or status_of(error) == 507:
        return StorageFull(f"the S3 server has no space left: {_reason(error)}", code=code_of(error))
    code = code_of(error) or type(error).__name__
    return Unavailable(
        f"cannot {doing} at the S3 server {endpoint}: {_reason(error)}", code=code, status=status_of(error)
    )


def _known(error: BaseException) -> bool:
    return code_of(error) in _MESSAGES


def _reason(error: BaseException) -> str:
    if isinstance(error, ClientError):
        code = code_of(error)
        said = str(error.response.get("Error", {}).get("Message") or "")[:300]
        return _MESSAGES.get(code) or f"it answered {status_of(error)} {code}{': ' if said else ''}{said}"
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
    if isinstance(error, SSLError):
        return f"TLS failed: {_cause(error)}; `s3.ca_bundle` names the authorities to trust"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return _cause(error)


def _cause(error: BaseException) -> str:
    inner = getattr(error, "kwargs", {}).get("error")
    return str(inner or error)[:300] or type(error).__name__
