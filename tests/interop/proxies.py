"""A TCP proxy in front of a registry that counts what clients send, cuts a connection, or holds one."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class TcpProxy:
    """Listens on loopback as ``host`` and forwards every connection to ``upstream``.

    ``cut_after``: reset the first connection that carries more than that many bytes towards the server.
    ``hold_after``: stop forwarding the first connection that does and set ``held``; once the client has hung up,
    set ``gone`` and hang up too.
    ``sent`` and ``received`` count what clients sent and got, in bytes, over all connections.
    """

    def __init__(self, upstream: str, *, cut_after: int | None = None, hold_after: int | None = None) -> None:
        address, _, port = upstream.rpartition(":")
        self._upstream = (address, int(port))
        self._cut_after = cut_after
        self._hold_after = hold_after
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.held = threading.Event()
        self.gone = threading.Event()
        self.cut = threading.Event()
        self.sent = 0
        self.received = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._upstream) as server:
            back = threading.Thread(target=self._return, args=(server, client), daemon=True)
            back.start()
            self._forward(client, server)
            back.join()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        carried = 0
        with suppress(OSError):
            while chunk := client.recv(_CHUNK):
                carried += len(chunk)
                if self._is_due(self._cut_after, self.cut, carried):
                    _reset(client, server)
                    return
                if self._is_due(self._hold_after, self.held, carried):
                    _await_hang_up(client)
                    self.gone.set()
                    break
                server.sendall(chunk)
                with self._lock:
                    self.sent += len(chunk)
        _end(server)

    def _is_due(self, after: int | None, happened: threading.Event, carried: int) -> bool:
        """Whether it is time for what happens to one connection only."""
        with self._lock:
            if after is None or carried <= after or happened.is_set():
                return False
            happened.set()
            return True

    def _return(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while chunk := server.recv(_CHUNK):
                client.sendall(chunk)
                with self._lock:
                    self.received += len(chunk)
        _end(client)


def _await_hang_up(client: socket.socket) -> None:
    """Swallow what the peer still sends; its end comes only after that."""
    with suppress(OSError):
        while client.recv(_CHUNK):
            pass


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


def _reset(*connections: socket.socket) -> None:
    for connection in connections:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
