"""Every error entrepot raises, and nothing about HTTP.

``wire/errors.py`` gives each class its status and its code of the OCI list; everybody below it only
raises and catches these::

    RegistryError
    ├─ NotFound            RepositoryUnknown  BlobUnknown  ManifestUnknown  UploadUnknown
    │                      PlatformUnknown
    ├─ Invalid             NameInvalid  TagInvalid  DigestInvalid  SizeInvalid  ManifestInvalid
    │                      UploadInvalid  ParameterInvalid  LayerInvalid  ArchiveInvalid
    ├─ ManifestBlobUnknown one for each absent child of a manifest
    ├─ RangeInvalid        UploadRangeInvalid  UploadBusy
    ├─ TooLarge            ManifestTooLarge  UploadTooLarge  TooManyTags  PathTooLong
    │                      LayerTooLarge
    ├─ Denied              BlobInUse  PreconditionFailed
    ├─ Unauthenticated     no login, or a wrong one
    ├─ AccessDenied        who is logged in may not do that
    ├─ Unsupported         RouteUnknown  MethodNotAllowed  ReadOnly
    ├─ TooManyUploads      retry_after_seconds
    ├─ RequestTimeout      the peer stopped sending
    ├─ ClientGone          the peer hung up in the middle of a body
    ├─ Unavailable         StorageFull  DatabaseBusy  RateLimited  UpstreamFailed    worth a retry
    ├─ Corrupt             the stored bytes are not what their digest says
    └─ ConfigInvalid       a wrong key or value in the configuration
    RegistryErrors         several of the above in one answer

A message says what was expected and what came; ``detail`` carries the same as data and is never empty,
because docker retries a denied push five times when it finds no detail.
"""

from __future__ import annotations

from typing import Any


class RegistryError(Exception):
    """Base of everything a caller may want to catch. ``message`` is for people, ``detail`` for programs."""

    def __init__(self, message: str, **detail: Any) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class RegistryErrors(Exception):
    """Several errors of one request, e.g. one ManifestBlobUnknown for each absent layer."""

    def __init__(self, errors: list[RegistryError]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors


class NotFound(RegistryError):
    """The thing asked for is not in this repository."""


class RepositoryUnknown(NotFound):
    """No such repository: nothing was ever pushed there, or everything was deleted."""


class BlobUnknown(NotFound):
    """No such blob in this repository."""


class ManifestUnknown(NotFound):
    """No such manifest or tag in this repository."""


class PlatformUnknown(NotFound):
    """An image that is not there for the platform asked for; ``platforms`` in the detail are those there are."""


class UploadUnknown(NotFound):
    """No such upload in this repository: finished, cancelled, expired, or never begun."""


class Invalid(RegistryError):
    """The request says something that cannot be."""


class NameInvalid(Invalid):
    """A repository name outside the grammar."""


class TagInvalid(Invalid):
    """A tag outside the grammar."""


class DigestInvalid(Invalid):
    """A malformed or unsupported digest, or one that is not the digest of the content."""


class SizeInvalid(Invalid):
    """Fewer or more bytes came than were announced."""


class ManifestInvalid(Invalid):
    """A manifest that is not JSON, not of its media type, or contradicts itself."""


class UploadInvalid(Invalid):
    """A request to an upload that contradicts itself, e.g. a malformed Content-Range."""


class ParameterInvalid(Invalid):
    """A query parameter or header outside its grammar."""


class LayerInvalid(Invalid):
    """A layer that cannot be unpacked: damaged, cut off, or no tar of files below one folder."""


class ArchiveInvalid(Invalid):
    """An archive or image layout that cannot be read: damaged, hostile, or none at all."""


class ManifestBlobUnknown(Invalid):
    """A manifest names a blob or manifest that is not in its repository."""


class RangeInvalid(RegistryError):
    """A byte range that the blob does not have; ``size`` is the blob's."""

    def __init__(self, message: str, *, size: int, **detail: Any) -> None:
        super().__init__(message, size=size, **detail)
        self.size = size


class UploadRangeInvalid(RegistryError):
    """A chunk that does not start where the upload ends; the upload lives on at ``offset``."""

    def __init__(self, message: str, *, offset: int, **detail: Any) -> None:
        super().__init__(message, offset=offset, **detail)
        self.offset = offset


class UploadBusy(UploadRangeInvalid):
    """Another request is writing to this upload right now; ``offset`` is the last one known."""


class TooLarge(RegistryError):
    """More bytes or items than this registry takes."""


class ManifestTooLarge(TooLarge):
    """A manifest over the size limit."""


class UploadTooLarge(TooLarge):
    """A blob over the size limit."""


class TooManyTags(TooLarge):
    """More ``tag`` parameters than one push may carry."""


class PathTooLong(TooLarge):
    """An address longer than any that the registry has."""


class LayerTooLarge(TooLarge):
    """A layer that unpacks to more bytes than it may."""


class Denied(RegistryError):
    """Allowed to nobody by a rule of this registry; another login would not help."""


class BlobInUse(Denied):
    """The blob is still named by a manifest of its repository, and the registry protects such blobs."""


class PreconditionFailed(Denied):
    """``If-Match`` or ``If-None-Match`` did not hold for the tag."""


class Unauthenticated(RegistryError):
    """The registry wants a login, and got none or a wrong one."""


class AccessDenied(RegistryError):
    """The registry knows who asks and refuses; another login may help."""


class Unsupported(RegistryError):
    """This registry does not do that."""


class RouteUnknown(Unsupported):
    """No such address."""


class MethodNotAllowed(Unsupported):
    """The address exists, the method does not; ``allow`` lists those that do."""

    def __init__(self, message: str, *, allow: tuple[str, ...], **detail: Any) -> None:
        super().__init__(message, allow=list(allow), **detail)
        self.allow = allow


class ReadOnly(MethodNotAllowed):
    """The registry is in read-only mode."""


class TooManyUploads(RegistryError):
    """The repository has as many open uploads as it may have."""

    def __init__(self, message: str, *, retry_after_seconds: int, **detail: Any) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds, **detail)
        self.retry_after_seconds = retry_after_seconds


class RequestTimeout(RegistryError):
    """The peer sent nothing for longer than the idle limit."""


class ClientGone(RegistryError):
    """The connection ended in the middle of a request body; nobody is left to read an answer."""


class Unavailable(RegistryError):
    """The registry cannot do it now; a later try may succeed."""

    def __init__(self, message: str, *, retry_after_seconds: int = 5, **detail: Any) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds, **detail)
        self.retry_after_seconds = retry_after_seconds


class RateLimited(Unavailable):
    """Too many requests for this registry; ``retry_after_seconds`` is 0 when it did not say how long to wait."""

    def __init__(self, message: str, *, retry_after_seconds: int = 0, **detail: Any) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds, **detail)


class UpstreamFailed(Unavailable):
    """Another registry answered with ``status``, of its own failing."""

    def __init__(self, message: str, *, status: int, **detail: Any) -> None:
        super().__init__(message, status=status, **detail)
        self.status = status


class StorageFull(Unavailable):
    """No space left for bytes or rows."""


class DatabaseBusy(Unavailable):
    """The database could not be written in time."""


class Corrupt(RegistryError):
    """Stored bytes are gone or are not what their digest says."""


class ConfigInvalid(RegistryError):
    """A wrong key or value in the configuration."""
