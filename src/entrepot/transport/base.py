"""The contract of a single HTTP exchange: no logins, no retries, no redirects. ``client.py`` adds those."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from entrepot.errors import Unavailable


class ConnectionFailed(Unavailable):
    """No connection, or it broke. ``sent_nothing``: the request certainly did not reach the server."""

    def __init__(self, message: str, *, sent_nothing: bool = False, **detail: Any) -> None:
        super().__init__(message, **detail)
        self.sent_nothing = sent_nothing


class TlsFailed(ConnectionFailed):
    """The server's certificate is not trusted, or it does not speak TLS at all."""


@dataclass(frozen=True, slots=True)
class Body:
    """A request body: ``open`` gives its pieces, from the beginning each time, unless it can be sent once only.

    Without a size it is sent in HTTP's chunks.
    """

    size: int | None
    open: Callable[[], AsyncIterable[bytes]]
    is_repeatable: bool = True

    @classmethod
    def of(cls, content: bytes) -> Body:
        async def pieces() -> AsyncIterator[bytes]:
            yield content

        return cls(len(content), pieces)


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``url`` is complete; header names are lower case."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None


class Response(Protocol):
    """The head of an answer, and its body as a stream."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name; of a repeated header the values joined by ``, ``."""

    def pieces(self) -> AsyncIterator[bytes]:
        """The body. Raises ConnectionFailed when it ends before its length."""


class Exchange(Protocol):
    """Sends requests. Implementations: ``sockets.py`` over sockets, ``entrepot.testing.asgi`` in process."""

    def send(self, request: Request) -> AbstractAsyncContextManager[Response]:
        """Redirects are answers like any other. Raises ConnectionFailed or TlsFailed."""

    async def close(self) -> None: ...
