"""An Exchange over sockets: HTTP/1.1 by aiohttp, with everything switched off that it would do by itself."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import cached_property
from types import SimpleNamespace
from urllib.parse import quote

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from entrepot.errors import ParameterInvalid, SizeInvalid
from entrepot.transport.base import Body, Request
from entrepot.transport.connection_errors import shown, translated
from entrepot.version import __version__

Tls = Callable[[str], ssl.SSLContext | bool]
Proxy = Callable[[str], str | None]

_READ_BUFFER = 1024 * 1024
_WRITE_SLICE = 256 * 1024  # asyncio keeps what the socket does not take, and moves it at each send
_MOST_HEADER_BYTES = 64 * 1024  # of one line: signed addresses of object stores have some thousands
_MOST_HEADERS = 256
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_DEFAULT_HEADERS = {
    "accept-encoding": "identity",  # a digest is of the bytes as they are stored
    "user-agent": f"entrepot/{__version__}",
}
# What may stand in an address as it is: all of ASCII that one can see. Anything else is percent-encoded.
_VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F))


class SocketResponse:
    """The head of an answer, and its body as it arrives."""

    def __init__(self, response: aiohttp.ClientResponse, request: Request, idle_seconds: float) -> None:
        self._response = response
        self._request = request
        self._idle_seconds = idle_seconds

    @property
    def status(self) -> int:
        return self._response.status

    @cached_property
    def headers(self) -> Mapping[str, str]:
        joined: dict[str, str] = {}
        for name, value in self._response.headers.items():
            name = name.lower()
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return joined

    @property
    def _is_chunked(self) -> bool:
        return "transfer-encoding" in self.headers

    async def pieces(self) -> AsyncIterator[bytes]:
        content = self._response.content
        with translated(self._request.method, self._request.url):
            try:
                async for piece in _pieces(content, self._idle_seconds, is_chunked=self._is_chunked):
                    yield piece
            except aiohttp.ClientError:
                if left := _left(content):
                    yield left
                raise


class SocketExchange:
    """Sends requests over pooled connections.

    ``tls`` is asked for each ``host:port`` (the same context each time, or connections are not used again), and
    ``proxy`` for each address. ``idle_seconds`` bounds the time in which nothing moves, in either direction; there
    is no bound to the whole. ``per_host`` is the number of connections to one host, 0 for no limit; a copy within
    one registry holds two for each blob, so it needs twice as many as there are blobs at a time. With ``unix_socket``
    all of them go to that socket, whatever host an address names.
    """

    def __init__(
        self,
        *,
        tls: Tls,
        proxy: Proxy,
        connect_seconds: float = 30.0,
        idle_seconds: float = 60.0,
        per_host: int = 0,
        unix_socket: str | None = None,
    ) -> None:
        self._tls = tls
        self._proxy = proxy
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=idle_seconds)
        self._idle_seconds = idle_seconds
        self._per_host = per_host
        self._unix_socket = unix_socket
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[SocketResponse]:
        """As in the contract. An answer that comes while the body is still on its way ends the sending.

        Raises RuntimeError after ``close``, and whatever the body's source raises.
        """
        body = None if request.body is None else _SentBody(request.body, self._idle_seconds)
        try:
            response = await self._request(request, body)
            try:
                yield SocketResponse(response, request, self._idle_seconds)
            finally:
                response.release()
        finally:
            if body is not None:
                await body.stopped()

    async def close(self) -> None:
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    async def _request(self, request: Request, body: _SentBody | None) -> aiohttp.ClientResponse:
        session = self._open_session()
        url = _parse(request.url)
        try:
            with translated(request.method, request.url):
                async with asyncio.timeout(None) as bound:

                    def all_is_sent() -> None:  # "100 Continue" again and again is no answer
                        bound.reschedule(asyncio.get_running_loop().time() + self._idle_seconds)

                    if body is not None:
                        body.when_sent = all_is_sent
                    return await session.request(
                        request.method,
                        url,
                        headers=_DEFAULT_HEADERS | dict(request.headers),
                        data=body,
                        allow_redirects=False,
                        ssl=self._tls(f"{url.host_subcomponent}:{url.port}") if url.scheme == "https" else True,
                        proxy=self._proxy(request.url),
                        trace_request_ctx=all_is_sent if body is None else None,
                    )
        except Exception:
            if body is not None and body.failure is not None:  # not the connection has failed, but what we send
                raise body.failure from None
            raise

    def _open_session(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise RuntimeError("this exchange is closed")
        if self._session is None:  # here, because it belongs to the loop that runs now
            self._session = aiohttp.ClientSession(
                connector=self._connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_AUTOMATIC,
                auto_decompress=False,
                trust_env=False,
                timeout=self._timeout,
                read_bufsize=_READ_BUFFER,
                max_line_size=_MOST_HEADER_BYTES,
                max_field_size=_MOST_HEADER_BYTES,
                trace_configs=[_telling_when_heads_are_sent()],
            )
            # by itself it sends a request again when the connection breaks; that is for client.py to decide
            self._session._retry_connection = False
        return self._session

    def _connector(self) -> aiohttp.BaseConnector:
        if self._unix_socket is not None:
            return aiohttp.UnixConnector(self._unix_socket, limit=0, limit_per_host=self._per_host)
        return aiohttp.TCPConnector(limit=0, limit_per_host=self._per_host)


class _SentBody(aiohttp.payload.Payload):
    """A request body on its way out."""

    def __init__(self, body: Body, idle_seconds: float) -> None:
        super().__init__(body)
        self._body = body
        self._size = body.size
        self._idle_seconds = idle_seconds
        self._is_stopped = asyncio.Event()
        self._is_stopped.set()
        self.failure: Exception | None = None  # of the source
        self.when_sent: Callable[[], None] = lambda: None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002
        raise TypeError("a streamed body is not read at once")

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._is_stopped.clear()
        try:
            async with aclosing(self._pieces()) as pieces:
                async for piece in pieces:
                    await self._send(writer, piece)
            self.when_sent()
        finally:
            self._is_stopped.set()

    async def stopped(self) -> None:
        """Return when the source is closed."""
        await self._is_stopped.wait()

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        sent, expected = 0, self._body.size
        source = self._body.open()
        try:
            async for piece in source:
                sent += len(piece)
                if expected is not None and sent > expected:
                    break
                yield piece
            if expected not in (None, sent):
                raise SizeInvalid(
                    f"expected a body of {expected} bytes, its source gave {sent}", expected=expected, actual=sent
                )
        except Exception as error:
            self.failure = error
            raise
        finally:
            if hasattr(source, "aclose"):
                await source.aclose()

    async def _send(self, writer: AbstractStreamWriter, piece: bytes) -> None:
        view = memoryview(piece)
        for start in range(0, len(view), _WRITE_SLICE):
            await _let_answer_in(writer)
            async with asyncio.timeout(self._idle_seconds):
                await writer.write(view[start : start + _WRITE_SLICE])


async def _let_answer_in(writer: AbstractStreamWriter) -> None:
    """Give the reader a turn when something has come.

    A server that refuses a body answers and hangs up. The first write after that fails and closes the connection
    with the answer in it, unless it has been read before.
    """
    transport = getattr(writer, "transport", None)
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is not None and _has_input(connection):
        await asyncio.sleep(0)  # the reader is behind us in this round of the loop
        await asyncio.sleep(0)


def _telling_when_heads_are_sent() -> aiohttp.TraceConfig:
    async def tell(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx()

    tracing = aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(tell)
    return tracing


def _has_input(connection: socket.socket) -> bool:
    if not hasattr(select, "poll") or connection.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


async def _pieces(content: aiohttp.StreamReader, idle_seconds: float, *, is_chunked: bool) -> AsyncIterator[bytes]:
    """As they come, which is large; HTTP's chunks, which may be tiny, joined.

    What comes between them, such as the extensions of chunks, is nobody's progress.
    """
    while True:
        async with asyncio.timeout(idle_seconds):
            piece = await content.readany() if is_chunked else (await content.readchunk())[0]
        if not piece:
            return
        yield piece


def _left(content: aiohttp.StreamReader) -> bytes:
    """What had come when the connection broke; aiohttp does not give it to those who are behind."""
    content._exception = None
    return content.read_nowait()


def _parse(address: str) -> URL:
    """Raises ParameterInvalid for what is no http or https address, or one with a login in it."""
    try:
        url = URL(quote(address, safe=_VISIBLE), encoded=True)
        if url.scheme in ("http", "https") and url.raw_host and url.port and url.raw_user is None:
            return url
    except ValueError:
        pass
    raise ParameterInvalid(f"expected an http or https address, got {shown(address)!r}", url=shown(address))
