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
    ``hold_after``: stop forwarding the first connection that does, set ``held``, and go on after ``release()``.
    ``sent`` and ``received`` count what clients sent and got, in bytes, over all connections.
    """

    def __init__(self, upstream: str, *, cut_after: int | None = None, hold_after: int | None = None) -> None:
        address, _, port = upstream.rpartition(":")
        self._upstream = (address, int(port))
        self._cut_after = cut_after
        self._hold_after = hold_after
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.held = threading.Event()
        self.cut = threading.Event()
        self.sent = 0
        self.received = 0

    def release(self) -> None:
        self._released.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
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
                if self._is_to_cut(carried):
                    _reset(client, server)
                    return
                self._hold_if_due(carried)
                server.sendall(chunk)
                with self._lock:
                    self.sent += len(chunk)
        _end(server)

    def _is_to_cut(self, carried: int) -> bool:
        with self._lock:
            if self._cut_after is None or carried <= self._cut_after or self.cut.is_set():
                return False
            self.cut.set()
            return True

    def _hold_if_due(self, carried: int) -> None:
        if self._hold_after is not None and carried > self._hold_after:
            self.held.set()
            self._released.wait()

    def _return(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while chunk := server.recv(_CHUNK):
                client.sendall(chunk)
                with self._lock:
                    self.received += len(chunk)
        _end(client)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


def _reset(*connections: socket.socket) -> None:
    for connection in connections:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
