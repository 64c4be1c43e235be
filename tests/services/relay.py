"""What the proxies of the tests share: a server in an event loop of its own thread, so that any test can steer it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

PIECE = 256 * 1024
T = TypeVar("T")


class Relay(ABC):
    """Listens on a free port of loopback and hands each connection to ``serve``. Any thread may call its methods."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @abstractmethod
    async def serve(self, client: Peer) -> None:
        """Until the connection has ended. OSError and an early end are no failure."""

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it in the loop of the relay, and wait for what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def connect(self) -> Peer:
        """To the server behind."""
        return self._peer(*await asyncio.open_connection("127.0.0.1", self.upstream_port, limit=PIECE))

    async def reset_all(self) -> None:
        """Break every connection there is, in both directions."""
        for writer in list(self._writers):
            reset(writer)

    def __enter__(self) -> Self:
        self._thread.start()
        self.call(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=PIECE)

    async def _end(self) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.reset_all()
        await asyncio.sleep(0)  # the transports are told of their end in the next round of the loop

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, EOFError):
                await self.serve(self._peer(reader, writer))
        except asyncio.CancelledError:  # at the end; the server's callback would complain of it
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    def _peer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Peer:
        self._writers.add(writer)
        return Peer(reader, writer, self._writers)


class Peer:
    """One end of a connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, writers: set[asyncio.StreamWriter]
    ) -> None:
        self.reader = reader
        self.writer = writer
        self._writers = writers

    async def send(self, piece: bytes) -> None:
        self.writer.write(piece)
        await self.writer.drain()

    def end(self) -> None:
        """Tell it that no more will come; it may still send."""
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.write_eof()

    def reset(self) -> None:
        reset(self.writer)

    def close(self) -> None:
        self._writers.discard(self.writer)
        self.writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close at once; what is not sent is thrown away, and the peer is told of a reset."""
    if (sock := writer.get_extra_info("socket")) is not None and sock.fileno() >= 0:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
