"""An Exchange that runs an ASGI application in this process: client and server meet with no sockets between them.

It behaves as a connection does where a test may notice: bodies stream in both directions, the application waits for
a reader, a client that leaves early is a disconnect for the application, and an application that breaks off is a
ConnectionFailed for the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from entrepot.transport.base import Body, ConnectionFailed, Request

Message = MutableMapping[str, Any]
App = Callable[[MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Any]

_PEER = ("127.0.0.1", 1)


class AsgiExchange:
    """Sends requests to ``app``, whatever host they name.

    The application's lifespan is not run: build the application such that it needs none, or enter it around this.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._is_closed = False

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[AsgiResponse]:
        """As in the contract. What the body's source raises is raised here, as over sockets."""
        if self._is_closed:
            raise RuntimeError("this exchange is closed")
        conversation = _Conversation(request)
        served = asyncio.create_task(conversation.serve(self._app))
        try:
            yield await conversation.response()
        finally:
            conversation.leave()
            await served

    async def close(self) -> None:
        self._is_closed = True


class AsgiResponse:
    """The head of an answer, and its body as the application sends it."""

    def __init__(self, status: int, headers: Mapping[str, str], pieces: Callable[[], AsyncIterator[bytes]]) -> None:
        self.status = status
        self.headers = headers
        self.pieces = pieces


class _Conversation:
    """One request and its answer."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._sent = _pieces_of(request.body)
        self._is_sent = False
        self._has_left = asyncio.Event()
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(maxsize=1)
        self._source_failure: Exception | None = None

    async def serve(self, app: App) -> None:
        try:
            await app(_scope(self._request), self._receive, self._send)
        except Exception as error:
            await self._put({"type": "failure", "error": error})
        else:
            await self._put(None)
        finally:
            await self._sent.aclose()

    async def response(self) -> AsgiResponse:
        message = await self._next()
        if message is None or message["type"] != "http.response.start":
            raise self._broken("EOF: the application sent no answer", message)
        headers: dict[str, str] = {}
        for raw_name, raw_value in message["headers"]:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return AsgiResponse(message["status"], headers, lambda: self._pieces(headers))

    def leave(self) -> None:
        """The client has gone, or has all it wanted."""
        self._has_left.set()
        while not self._messages.empty():  # an application that waits for a reader goes on
            self._messages.get_nowait()

    async def _pieces(self, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
        missing = 0 if self._request.method == "HEAD" else int(headers.get("content-length", "0"))
        more = True
        while more:
            message = await self._next()
            if message is None or message["type"] != "http.response.body":
                raise self._broken("unexpected EOF: the body ended before its announced length", message)
            more = message.get("more_body", False)
            if piece := message.get("body", b""):
                missing -= len(piece)
                yield piece
        if missing > 0:
            raise self._broken("unexpected EOF: the body ended before its announced length", None)

    def _broken(self, reason: str, message: Message | None) -> Exception:
        if self._source_failure is not None:
            return self._source_failure
        error = ConnectionFailed(f'{self._request.method.capitalize()} "{self._request.url}": {reason}')
        error.__cause__ = message.get("error") if message is not None else None
        return error

    async def _next(self) -> Message | None:
        return await self._messages.get()

    async def _receive(self) -> Message:
        if self._is_sent or self._has_left.is_set():
            await self._has_left.wait()
            return {"type": "http.disconnect"}
        try:
            piece = await self._next_piece()
        except StopAsyncIteration:
            self._is_sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        except Exception as error:
            self._source_failure = error
            self._is_sent = True
            self._has_left.set()
            return {"type": "http.disconnect"}
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": True}

    async def _next_piece(self) -> bytes | None:
        """The next piece of the body, None when the client leaves before there is one."""
        piece = asyncio.ensure_future(anext(self._sent))
        leaving = asyncio.ensure_future(self._has_left.wait())
        try:
            await asyncio.wait({piece, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return piece.result() if piece.done() else None
        finally:
            for task in (piece, leaving):
                task.cancel()
            await asyncio.wait({piece, leaving})

    async def _send(self, message: Message) -> None:
        if self._has_left.is_set() and self._source_failure is None:
            raise OSError("the client has gone")
        await self._put(message)

    async def _put(self, message: Message | None) -> None:
        if self._has_left.is_set() and self._messages.full():
            self._messages.get_nowait()
        await self._messages.put(message)


async def _pieces_of(body: Body | None) -> Any:
    if body is not None:
        async for piece in body.open():
            yield piece


def _scope(request: Request) -> MutableMapping[str, Any]:
    parts = urlsplit(request.url)
    path = parts.path or "/"
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": parts.scheme,
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": parts.query.encode("ascii"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in _headers(request).items()],
        "client": _PEER,
        "server": (parts.hostname, parts.port),
    }


def _headers(request: Request) -> dict[str, str]:
    headers = {"host": urlsplit(request.url).netloc, **request.headers}
    if request.body is not None and request.body.size is None:
        headers["transfer-encoding"] = "chunked"
    elif request.body is not None:
        headers["content-length"] = str(request.body.size)
    elif request.method not in ("GET", "HEAD"):
        headers["content-length"] = "0"
    return headers
