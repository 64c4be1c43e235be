"""Errors as HTTP: the status and OCI code of each class, and the JSON envelope (distribution-spec, "Error Codes").

The specification has fourteen codes for 4xx answers; our finer classes travel in ``detail``. For 5xx, where it
has none, ``UNAVAILABLE`` and ``UNKNOWN`` follow the reference registry.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from entrepot import errors as e

STATUS_AND_CODE: dict[type[e.RegistryError], tuple[int, str]] = {
    e.RepositoryUnknown: (404, "NAME_UNKNOWN"),
    e.BlobUnknown: (404, "BLOB_UNKNOWN"),
    e.ManifestUnknown: (404, "MANIFEST_UNKNOWN"),
    e.UploadUnknown: (404, "BLOB_UPLOAD_UNKNOWN"),
    e.NameInvalid: (400, "NAME_INVALID"),
    e.TagInvalid: (400, "MANIFEST_INVALID"),
    e.DigestInvalid: (400, "DIGEST_INVALID"),
    e.SizeInvalid: (400, "SIZE_INVALID"),
    e.ManifestInvalid: (400, "MANIFEST_INVALID"),
    e.UploadInvalid: (400, "BLOB_UPLOAD_INVALID"),
    e.ParameterInvalid: (400, "UNSUPPORTED"),
    e.ManifestBlobUnknown: (400, "MANIFEST_BLOB_UNKNOWN"),
    e.RangeInvalid: (416, "BLOB_UPLOAD_INVALID"),
    e.UploadRangeInvalid: (416, "BLOB_UPLOAD_INVALID"),
    e.UploadBusy: (416, "BLOB_UPLOAD_INVALID"),
    e.ManifestTooLarge: (413, "MANIFEST_INVALID"),
    e.UploadTooLarge: (413, "BLOB_UPLOAD_INVALID"),
    e.TooManyTags: (414, "UNSUPPORTED"),
    e.PathTooLong: (414, "UNSUPPORTED"),
    e.Denied: (403, "DENIED"),
    e.BlobInUse: (403, "DENIED"),
    e.PreconditionFailed: (412, "DENIED"),
    e.Unauthenticated: (401, "UNAUTHORIZED"),
    e.AccessDenied: (403, "DENIED"),
    e.Unsupported: (405, "UNSUPPORTED"),
    e.RouteUnknown: (404, "UNSUPPORTED"),
    e.MethodNotAllowed: (405, "UNSUPPORTED"),
    e.ReadOnly: (405, "UNSUPPORTED"),
    e.TooManyUploads: (429, "TOOMANYREQUESTS"),
    e.RequestTimeout: (408, "BLOB_UPLOAD_INVALID"),
    e.ClientGone: (499, "BLOB_UPLOAD_INVALID"),  # as nginx logs it; nobody is left to read it
    e.Unavailable: (503, "UNAVAILABLE"),
    e.StorageFull: (507, "UNAVAILABLE"),
    e.DatabaseBusy: (503, "UNAVAILABLE"),
    e.Corrupt: (500, "UNKNOWN"),
}
UNEXPECTED = (500, "UNKNOWN")


def status_and_code(error: e.RegistryError) -> tuple[int, str]:
    """The HTTP status and the code of the envelope."""
    return STATUS_AND_CODE.get(type(error), UNEXPECTED)


def encode(errors: Sequence[e.RegistryError]) -> tuple[int, bytes]:
    """Status and body of an answer that reports ``errors``; the status is that of the first."""
    entries = [_entry(error) for error in errors]
    return status_and_code(errors[0])[0], json.dumps({"errors": entries}).encode()


def _entry(error: e.RegistryError) -> dict[str, object]:
    status, code = status_and_code(error)
    kind = type(error).__name__
    if status == UNEXPECTED[0]:  # what went wrong inside is for the log, not for the peer
        return {"code": code, "message": "the registry failed; its log says why", "detail": {"error": kind}}
    return {"code": code, "message": error.message, "detail": {"error": kind, **error.detail}}
