"""Errors as HTTP: the status and OCI code of each class, and the JSON envelope (distribution-spec, "Error Codes").

The specification has fourteen codes for 4xx answers; our finer classes travel in ``detail``. For 5xx, where it
has none, ``UNAVAILABLE`` and ``UNKNOWN`` follow the reference registry.

``decode`` goes the other way, and is given whatever a registry, or a proxy in front of it, may send.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

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
    e.RateLimited: (429, "TOOMANYREQUESTS"),
    e.UpstreamFailed: (502, "UNAVAILABLE"),
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


_BY_NAME = {kind.__name__: kind for kind in STATUS_AND_CODE}
# What other registries mean by a code; the last four are distribution's own.
_BY_CODE: dict[str, type[e.RegistryError]] = {
    "BLOB_UNKNOWN": e.BlobUnknown,
    "BLOB_UPLOAD_INVALID": e.UploadInvalid,
    "BLOB_UPLOAD_UNKNOWN": e.UploadUnknown,
    "DIGEST_INVALID": e.DigestInvalid,
    "MANIFEST_BLOB_UNKNOWN": e.ManifestBlobUnknown,
    "MANIFEST_INVALID": e.ManifestInvalid,
    "MANIFEST_UNKNOWN": e.ManifestUnknown,
    "NAME_INVALID": e.NameInvalid,
    "NAME_UNKNOWN": e.RepositoryUnknown,
    "SIZE_INVALID": e.SizeInvalid,
    "UNAUTHORIZED": e.Unauthenticated,
    "DENIED": e.AccessDenied,
    "TOOMANYREQUESTS": e.RateLimited,
    "MANIFEST_UNVERIFIED": e.ManifestInvalid,
    "PAGINATION_NUMBER_INVALID": e.ParameterInvalid,
    "RANGE_INVALID": e.RangeInvalid,
    "TAG_INVALID": e.TagInvalid,
}
_BY_STATUS: dict[int, type[e.RegistryError]] = {
    400: e.Invalid,
    401: e.Unauthenticated,
    403: e.AccessDenied,
    405: e.Unsupported,
    408: e.RequestTimeout,
    412: e.PreconditionFailed,
    413: e.TooLarge,
    414: e.PathTooLong,
    416: e.RangeInvalid,
    429: e.RateLimited,
    501: e.Unsupported,
}
_NEEDED: dict[type[e.RegistryError], str] = {  # what a class cannot be made without
    e.RangeInvalid: "size",
    e.TooManyUploads: "retry_after_seconds",
    e.UploadBusy: "offset",
    e.UploadRangeInvalid: "offset",
    e.UpstreamFailed: "status",
}
_STATUS_DECIDES = {401, 403, 429}  # proxies and registries write all kinds of codes into these
_STOCK_MESSAGES = {
    401: "unauthorized: authentication required",
    403: "denied: requested access to the resource is denied",
    429: "toomanyrequests: too many requests",
}
_PLACES_OF_A_MESSAGE = ("message", "error_description", "details", "detail", "error")
_MOST_ERRORS = 128  # a manifest may name that many absent layers
_MOST_MESSAGE = 2000  # characters
_MOST_PAGE = 200  # characters of a page that is no JSON
_TITLE = re.compile(r"<title>([^<>]{1,200})</title>", re.IGNORECASE)
_NO_TEXT = re.compile(r"<(script|style)\b[^>]{0,200}>[^<]{0,4000}|<[^<>]{0,4000}>", re.IGNORECASE)


def decode(
    status: int, content: bytes, *, absent: type[e.NotFound] = e.NotFound, retry_after_seconds: float | None = None
) -> e.RegistryError | e.RegistryErrors:
    """The error that an answer reports: the inverse of ``encode``.

    ``content`` is the beginning of the body, nothing for HEAD. Our own class in ``detail`` counts first, then the
    code, then the status; ``absent`` is what 404 means where nothing says more. ``retry_after_seconds`` is the
    header's. Messages come out printable and bounded; what is not of our own begins with the code, as docker shows it.
    """
    decoder = _Decoder(status, absent, retry_after_seconds)
    document = _json(content)
    entries = document.get("errors") if isinstance(document, dict) else None
    if isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries):
        errors = [decoder.entry(entry) for entry in entries[:_MOST_ERRORS]]
        return errors[0] if len(errors) == 1 else e.RegistryErrors(errors)
    return decoder.plain(_text(content) if document is None else _message(document))


class _Decoder:
    def __init__(self, status: int, absent: type[e.NotFound], retry_after_seconds: float | None) -> None:
        self._status = status
        self._absent = absent
        self._retry_after_seconds = retry_after_seconds

    def entry(self, entry: dict[str, Any]) -> e.RegistryError:
        return self._ours(entry) or self._foreign(entry)

    def plain(self, text: str) -> e.RegistryError:
        kind = self._by_status()
        stock = self._stock(kind)
        if not text or text.lower() == stock.lower():
            return self._build(kind, stock)
        return self._build(kind, f"{stock.partition(':')[0] if self._status in _STOCK_MESSAGES else stock}: {text}")

    def _ours(self, entry: dict[str, Any]) -> e.RegistryError | None:
        detail, message = entry.get("detail"), entry.get("message")
        if not isinstance(detail, dict) or not isinstance(message, str):
            return None
        kind = _BY_NAME.get(str(detail.get("error")))
        fields = {name: value for name, value in detail.items() if name != "error"}
        if kind is None or status_of(kind) != self._status or not _fits(kind, fields):
            return None
        if "allow" in fields and issubclass(kind, e.MethodNotAllowed):
            fields["allow"] = tuple(fields["allow"])
        return kind(_printable(message), **fields)

    def _foreign(self, entry: dict[str, Any]) -> e.RegistryError:
        code, message = str(entry.get("code", "")), _printable(_message(entry))
        kind = self._by_status()
        if code == "TOOMANYREQUESTS" or (self._status < 500 and self._status not in _STATUS_DECIDES):
            kind = _BY_CODE.get(code, kind)
        return self._build(kind, _prefixed(code, message) or self._stock(kind), code=code, detail=entry.get("detail"))

    def _by_status(self) -> type[e.RegistryError]:
        if self._status == 404:
            return self._absent
        default = e.UpstreamFailed if self._status >= 500 else e.Denied if self._status >= 400 else e.Unsupported
        return _BY_STATUS.get(self._status, default)

    def _stock(self, kind: type[e.RegistryError]) -> str:
        if self._status == 404:
            return _words(STATUS_AND_CODE[kind][1]) if kind in STATUS_AND_CODE else "not found"
        return _STOCK_MESSAGES.get(self._status, f"received unexpected HTTP status: {_phrase(self._status)}")

    def _build(self, kind: type[e.RegistryError], message: str, **detail: Any) -> e.RegistryError:
        fields: dict[str, Any] = {"status": self._status, **detail}
        if kind is e.RangeInvalid:
            fields["size"] = 0
        if issubclass(kind, e.Unavailable) and self._retry_after_seconds is not None:
            fields["retry_after_seconds"] = int(self._retry_after_seconds)
        return kind(message[:_MOST_MESSAGE], **fields)


def status_of(kind: type[e.RegistryError]) -> int:
    """The HTTP status of a class."""
    return STATUS_AND_CODE.get(kind, UNEXPECTED)[0]


def _fits(kind: type[e.RegistryError], fields: dict[str, Any]) -> bool:
    """Whether ``fields`` are what the class is made from; those of our own are numbers, and one list of strings."""
    if not all(isinstance(fields.get(name, 0), int) for name in ("size", "offset", "retry_after_seconds", "status")):
        return False
    if issubclass(kind, e.MethodNotAllowed):
        allow = fields.get("allow")
        return isinstance(allow, list) and all(isinstance(method, str) for method in allow)
    return _NEEDED.get(kind, "") in {"", *fields} and not fields.keys() & {"self", "message"}


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _message(document: Any) -> str:
    if isinstance(document, dict):
        texts = [document.get(place) for place in _PLACES_OF_A_MESSAGE]
        return next((_printable(text) for text in texts if isinstance(text, str) and text), "")
    return _printable(document)[:_MOST_PAGE] if isinstance(document, str) else ""


def _text(content: bytes) -> str:
    """What a reader would see first of a page."""
    page = content.decode("utf-8", "replace")
    title = _TITLE.search(page)
    if title is not None and page.count(title[1]) > 1:  # nginx says everything twice
        page = page.replace(title[0], " ", 1)
    text = _printable(_NO_TEXT.sub(" ", page))
    return text if len(text) <= _MOST_PAGE else text[: _MOST_PAGE - 1] + "…"


def _printable(text: str) -> str:
    """On one line, and without the control characters by which a terminal takes orders."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _MOST_MESSAGE]).split())[:_MOST_MESSAGE]


def _prefixed(code: str, message: str) -> str:
    words = _words(_printable(code))[:80]
    if not message or not words or message.lower().startswith(words):
        return message or words
    return f"{words}: {message}"


def _words(code: str) -> str:
    return code.replace("_", " ").lower()


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
