"""A TCP proxy that ends connections when so many bytes have passed, and counts what passes."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

Direction = Literal["down", "up"]  # towards the client, towards the registry
Ending = Literal["closed", "reset"]  # a reset makes the system drop what the receiver has not read yet
_PIECE = 16 * 1024
_SMALL = 64 * 1024  # connections that have carried less are never held back: manifests, tokens
_SEND_BUFFER = 64 * 1024  # so that little is lost of what has passed when its receiver gives up
_SECONDS = 100
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class CuttingProxy:
    """In front of ``upstream``; ends the connection on which the n-th byte passes, for each n of ``cuts``.

    Bytes are counted over all connections, in one ``direction``. After the last cut it lets everything through.
    """

    def __init__(
        self, upstream: str, cuts: Sequence[int] = (), direction: Direction = "down", ending: Ending = "closed"
    ) -> None:
        self._upstream = upstream.rsplit(":", 1)
        self._cuts = sorted(cuts)
        self._direction = direction
        self._ending = ending
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._held: dict[str, int] = {}  # bytes after which nothing passes, by direction
        self._reached = threading.Event()
        self._go_on = asyncio.Event()
        self._is_dropped = False  # what is held back never gets there
        self.passed = {"down": 0, "up": 0}
        self.pieces: dict[Direction, list[int]] = {"down": [], "up": []}  # the sizes in which they came
        self.host = ""

    @property
    def cuts_left(self) -> int:
        return len(self._cuts)

    def hold(self, direction: Direction, count: int) -> None:
        """Let no more than so many bytes pass until ``let_through``, but for small answers."""
        self._held[direction] = count

    def wait_until_held(self) -> None:
        """Raises TimeoutError when so many never come."""
        if not self._reached.wait(_SECONDS):
            raise TimeoutError(f"only {self.passed} of {self._held} bytes have come")

    def let_through(self) -> None:
        """Hold nothing back any more."""
        self._held.clear()
        self._loop.call_soon_threadsafe(self._go_on.set)

    def drop_what_is_held(self) -> None:
        """End the connections that are held back, and hold no others back."""
        self._held.clear()
        self._is_dropped = True
        self._loop.call_soon_threadsafe(self._go_on.set)

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])

    def __enter__(self) -> Self:
        self._thread.start()
        self.host = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._upstream
        try:
            up_reader, up_writer = await asyncio.open_connection(host, int(port))
        except OSError:  # the registry is down
            writer.close()
            return
        sockets = [each.get_extra_info("socket") for each in (writer, up_writer)]
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        ways = [
            asyncio.create_task(self._carry(reader, up_writer, "up")),
            asyncio.create_task(self._carry(up_reader, writer, "down")),
        ]
        for stream in (writer, up_writer):
            stream.transport.set_write_buffer_limits(0)  # what was drained is on its way
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if not any(task.result() for task in done):
                await asyncio.wait(ways)
            elif self._ending == "reset":
                _reset(sockets)
        except asyncio.CancelledError:  # the proxy stops; asyncio's server would make an error of it
            pass
        finally:
            for task in ways:
                task.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for stream in (writer, up_writer):
                stream.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Direction) -> bool:
        """Whether the connection is to end now, in both directions."""
        carried = 0
        try:
            while piece := await reader.read(_PIECE):
                carried += len(piece)
                if carried > _SMALL and not await self._may_pass(way):
                    return True
                room = self._room(way, len(piece))
                writer.write(piece[:room])
                await writer.drain()
                if room < len(piece):
                    return True
            writer.write_eof()
        except OSError:
            return True
        return False

    async def _may_pass(self, way: Direction) -> bool:
        if self.passed[way] < self._held.get(way, self.passed[way] + 1):
            return True
        self._reached.set()
        await self._go_on.wait()
        return not self._is_dropped

    def _room(self, way: Direction, wanted: int) -> int:
        """How many of these bytes may pass."""
        before = self.passed[way]
        if way == self._direction and self._cuts and before + wanted > self._cuts[0]:
            wanted = max(0, self._cuts.pop(0) - before)
        self.passed[way] = before + wanted
        self.pieces[way].append(wanted)
        return wanted


def _reset(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        with suppress(OSError):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
