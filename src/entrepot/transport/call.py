"""What is wanted of a registry, where registries are reached, and what comes back: the words of ``client.py``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from entrepot.auth.scope import Scope
from entrepot.errors import ManifestTooLarge, NotFound, RegistryError, RegistryErrors
from entrepot.transport.base import Body, ConnectionFailed, Response
from entrepot.wire.errors import decode
from entrepot.wire.responses import parse_retry_after, parse_size

MAX_ERROR_BODY = 64 * 1024


class Endpoint(Protocol):
    """Where a registry, or a mirror of it, is reached."""

    @property
    def base_url(self) -> str:
        """Scheme, host and port, and a path where the API is below one."""

    @property
    def domain(self) -> str:
        """The registry whose login counts here."""

    @property
    def query(self) -> Mapping[str, str]: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def repository(self, name: str) -> str:
        """What the repository is called there."""


class Endpoints(Protocol):
    """Knows where registries are."""

    def for_pull(self, domain: str, name: str, *, by_digest: bool = False) -> Sequence[Endpoint]:
        """Where to read from, in this order; the registry itself comes last."""

    def for_push(self, domain: str, name: str = "") -> Endpoint:
        """The registry itself."""

    def other(self, endpoint: Any, error: RegistryError) -> Endpoint | None:
        """Where to try instead, when ``error`` says that this was the wrong one of HTTP and HTTPS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is wanted of a registry.

    ``path`` makes the path of a repository's name, which mirrors may spell differently. ``url`` is there instead when
    the registry itself has told where to go on: a whole address, or, from its ``/`` on, one of the registry's own.
    """

    method: str
    domain: str
    name: str = ""
    path: Callable[[str], str] = lambda _: "/v2/"
    url: str | None = None
    query: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    scopes: frozenset[Scope] = frozenset()
    accept: frozenset[int] = frozenset({200})
    accept_when_repeated: frozenset[int] = frozenset()  # e.g. 404 for what is to go, when the first answer was lost
    absent: type[NotFound] = NotFound  # what 404 means where the answer does not say
    pull: bool = False  # mirrors may answer
    by_digest: bool = False  # what is wanted has one content for ever; some mirrors are for that alone
    retry: bool = True
    login: bool = True  # False: without, or with the login in ``headers``


class Answer:
    """The answer to a call; ``url`` is where the registry gave it, before any redirect to where it keeps its bytes."""

    def __init__(self, response: Response, url: str, *, is_mirror: bool = False) -> None:
        self._response = response
        self.url = url
        self.is_mirror = is_mirror

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    @property
    def length(self) -> int | None:
        """Content-Length in bytes, if there is a sensible one."""
        return parse_size(self.headers.get("content-length", ""))

    def pieces(self) -> AsyncIterator[bytes]:
        return self._response.pieces()

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises ManifestTooLarge when it has more than ``limit`` bytes."""
        if (self.length or 0) > limit:
            raise _too_large(limit)
        return await read_bounded(self._response, limit)

    async def read_beginning(self) -> bytes:
        """The first ``MAX_ERROR_BODY`` bytes at most, for what an error says."""
        return await _read_some(self._response)


async def read_bounded(response: Response, limit: int) -> bytes:
    """The body, if it has at most ``limit`` bytes; raises ManifestTooLarge otherwise."""
    content = bytearray()
    async for piece in response.pieces():
        content += piece
        if len(content) > limit:
            raise _too_large(limit)
    return bytes(content)


async def read_refusal(call: Call, response: Response, now: float) -> RegistryError | RegistryErrors:
    """The error that an answer reports. Reads no more than the first ``MAX_ERROR_BODY`` bytes of its body."""
    content = b"" if call.method == "HEAD" else await _read_some(response)
    wish = retry_after(response, now)
    return decode(response.status, content, absent=call.absent, retry_after_seconds=wish)


def retry_after(response: Response, now: float) -> float | None:
    """How many seconds the server wants us to wait, if it says."""
    return parse_retry_after(response.headers.get("retry-after", ""), now)


async def _read_some(response: Response) -> bytes:
    """The beginning of an error's body; if it breaks off, what came of it."""
    content = bytearray()
    try:
        async for piece in response.pieces():
            content += piece
            if len(content) >= MAX_ERROR_BODY:
                break
    except ConnectionFailed:
        pass
    return bytes(content[:MAX_ERROR_BODY])


def _too_large(limit: int) -> ManifestTooLarge:
    return ManifestTooLarge(f"the registry's answer has more than {limit} bytes", limit=limit)
