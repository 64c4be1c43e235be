"""What a handler is given: the request, where it goes, and what it may use."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from entrepot.reference import RepositoryName
from entrepot.repositories.base import Blob, Registry, Repository
from entrepot.server.http import Header, Request, Response
from entrepot.wire.routes import Match

API_VERSION: Header = (b"docker-distribution-api-version", b"registry/2.0")
NO_CONTENT: Header = (b"content-length", b"0")
JSON: Header = (b"content-type", b"application/json")


DirectAddress = Callable[[Blob], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Options:
    """Settings the handlers look at; sizes in bytes."""

    manifest_bytes: int = 4 * 1024 * 1024
    page_size: int = 10_000
    tags_per_push: int = 100
    read_only: bool = False
    delete_enabled: bool = True
    absolute_urls: bool = False
    trust_forwarded: bool = False
    idle_seconds: float = 60.0
    direct_address: DirectAddress | None = None  # where clients may fetch a blob themselves, if anywhere


@dataclass(frozen=True, slots=True)
class Call:
    """A request to one route of the registry."""

    request: Request
    match: Match
    registry: Registry
    options: Options

    @property
    def repository(self) -> Repository:
        """The repository the path names. Raises NameInvalid."""
        return self.registry.repository(RepositoryName.parse(self.match.name))

    def location(self, path: str) -> bytes:
        """``path`` as it goes into a Location header: relative, unless whole URLs are asked for."""
        if not self.options.absolute_urls:
            return path.encode()
        scheme, host = self.request.scope["scheme"], self.request.header(b"host")
        if self.options.trust_forwarded:
            scheme = _first(self.request.header(b"x-forwarded-proto")) or scheme
            host = _first(self.request.header(b"x-forwarded-host")) or host
        return f"{scheme}://{host}{path}".encode("latin-1") if host else path.encode()


def json_response(value: Any, *headers: Header, status: int = 200, content_type: Header = JSON) -> Response:
    """An answer with ``value`` as compact JSON."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Response(status, [content_type, content_length(len(body)), API_VERSION, *headers], body)


def content_length(size: int) -> Header:
    return (b"content-length", b"%d" % size)


def _first(header: str | None) -> str | None:
    # each proxy on the way appends its own; the first is what the client asked
    return header.partition(",")[0].strip() if header else None
