"""An Exchange around another one, whose connections break where a test says."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from entrepot.transport.base import Body, ConnectionFailed, Exchange, Request, Response


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the connection of one request breaks: after so many bytes of its body, or of the answer's.

    ``answer_is_lost``: the server has done what was asked, and nobody is told.
    """

    request_after: int | None = None
    response_after: int | None = None
    answer_is_lost: bool = False


class CuttingExchange:
    """The first request of a method breaks as the first of its ``cuts`` says, and so on; then all goes well."""

    def __init__(self, inner: Exchange, cuts: Mapping[str, Iterable[Cut]]) -> None:
        self._inner = inner
        self._cuts = {method: deque(each) for method, each in cuts.items()}
        self.requests: list[Request] = []

    @property
    def methods(self) -> list[str]:
        """The method of every request so far."""
        return [request.method for request in self.requests]

    def are_made(self) -> bool:
        """Whether every cut has happened."""
        return not any(self._cuts.values())

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[Response]:
        self.requests.append(request)
        waiting = self._cuts.get(request.method)
        cut = waiting.popleft() if waiting else Cut()
        if cut.request_after is not None and request.body is not None:
            request = replace(request, body=_cut_body(request.body, cut.request_after))
        async with self._inner.send(request) as response:
            if cut.answer_is_lost:
                raise ConnectionFailed("EOF: the server closed the connection and sent no answer")
            yield response if cut.response_after is None else _CutResponse(response, cut.response_after)

    async def close(self) -> None:
        await self._inner.close()


class _CutResponse:
    def __init__(self, response: Response, after: int) -> None:
        self._response = response
        self._after = after

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    async def pieces(self) -> AsyncIterator[bytes]:
        async for piece in _until(self._response.pieces(), self._after):
            yield piece


def _cut_body(body: Body, after: int) -> Body:
    return replace(body, open=lambda: _until(aiter(body.open()), after))


async def _until(pieces: AsyncIterator[bytes], after: int) -> AsyncIterator[bytes]:
    left = after
    async for piece in pieces:
        if len(piece) > left:
            if left:
                yield piece[:left]
            raise ConnectionFailed("connection reset by peer")
        left -= len(piece)
        yield piece
    raise ConnectionFailed("connection reset by peer")
