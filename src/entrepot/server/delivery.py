"""Sends a response, and watches meanwhile whether anybody takes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from entrepot.errors import ClientGone, RegistryError, RequestTimeout
from entrepot.server.http import Header, Request, Response, Send

Progress = Callable[[], int]
# Neither reading what is in memory nor sending to a peer that has gone lets anybody else have a turn.
_BYTES_BETWEEN_YIELDS = 4 * 1024 * 1024
_CLOSE: Header = (b"connection", b"close")
_LOOKS = 4  # at a peer's progress, in the time it may make none


class Delivery:
    """A response on its way out; ``sent`` counts the bytes of its body.

    A peer that takes nothing for ``idle_seconds`` is given up. ``progress`` says how much it has taken, for peers
    so slow that a whole piece takes longer than that. ``is_leaving`` says whether an answer that begins now is to be
    the last on its connection.
    """

    __slots__ = ("_idle_seconds", "_is_leaving", "_progress", "_request", "_send", "_verdict", "has_begun", "sent")

    def __init__(
        self,
        request: Request,
        send: Send,
        *,
        idle_seconds: float,
        progress: Progress | None = None,
        is_leaving: Callable[[], bool] | None = None,
    ) -> None:
        self._request = request
        self._send = send
        self._idle_seconds = idle_seconds
        self._progress = progress
        self._is_leaving = is_leaving
        self._verdict: RegistryError | None = None
        self.has_begun = False
        self.sent = 0

    async def run(self, response: Response) -> None:
        """Send all of it; to HEAD the headers alone.

        Raises ClientGone when the peer hangs up on the way, RequestTimeout when it stops reading. Whatever is
        raised before ``has_begun`` leaves room for another response; after that the connection has to end,
        before the promised length, so that the peer notices.
        """
        if self._request.method == "HEAD" or response.stream is None:
            await self._begin(response)
            await self._finish(b"" if self._request.method == "HEAD" else response.body)
        else:
            async with response.stream as pieces:
                await self._pour(response, pieces)

    async def _begin(self, response: Response) -> None:
        self.has_begun = True
        headers = [*response.headers, _CLOSE] if self._is_last() else response.headers
        await self._send({"type": "http.response.start", "status": response.status, "headers": headers})

    def _is_last(self) -> bool:
        if self._is_leaving is None or not self._is_leaving():
            return False
        return str(self._request.scope["http_version"]).startswith("1")  # later ones have no such header

    async def _finish(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body})
        self.sent += len(body)

    async def _pour(self, response: Response, pieces: AsyncIterator[bytes]) -> None:
        watch: asyncio.Task[None] | None = None
        unseen = 0
        try:
            async with asyncio.timeout(None) as limit:
                async for piece in pieces:
                    if not self.has_begun:
                        await self._begin(response)
                    elif watch is None:  # what fits in one piece waits for nobody
                        watch = asyncio.create_task(self._watch(limit))
                    await self._send({"type": "http.response.body", "body": piece, "more_body": True})
                    self.sent += len(piece)
                    unseen += len(piece)
                    if unseen >= _BYTES_BETWEEN_YIELDS:
                        unseen = 0
                        await asyncio.sleep(0)
                if not self.has_begun:
                    await self._begin(response)
                await self._finish(b"")
        except TimeoutError:
            if self._verdict is None:
                raise
            raise self._verdict from None
        finally:
            if watch is not None:
                watch.cancel()

    async def _watch(self, limit: asyncio.Timeout) -> None:
        gone = asyncio.create_task(self._request.hung_up())
        try:
            self._verdict = await self._wait_for_verdict(gone)
        finally:
            gone.cancel()
        limit.reschedule(0)

    async def _wait_for_verdict(self, gone: asyncio.Task[None]) -> RegistryError:
        sent, taken, idle_looks = -1, -1, 0
        while idle_looks < _LOOKS:
            await asyncio.wait({gone}, timeout=self._idle_seconds / _LOOKS)
            if gone.done():
                return ClientGone(f"the peer hung up after {self.sent} bytes", after_bytes=self.sent)
            before, sent = (sent, taken), self.sent
            if self._progress is not None and sent == before[0]:  # only then, because the answer costs something
                taken = self._progress()
            idle_looks = idle_looks + 1 if (sent, taken) == before else 0
        return RequestTimeout(f"the peer took nothing for {self._idle_seconds:g} seconds", after_bytes=self.sent)
