"""Ends connections on which nothing happens.

Granian's header timeout begins with the first bytes that tell HTTP/1 from HTTP/2. A peer that sends none, or
stalls within HTTP/2, would keep its place for ever, and each worker has a limited number of places.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_DESCRIPTORS = Path("/proc/self/fd")
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
_ESTABLISHED = 1
# Of struct tcp_info (linux/tcp.h): the state, milliseconds since data was sent and received, bytes acknowledged.
_INFO = struct.Struct("=B43xI4xI64xQ")
_MOST_SECONDS_BETWEEN_LOOKS = 5.0
_SECONDS_BETWEEN_LOOKS_AT_REQUESTS = 0.01

Peer = tuple[str, int | str]  # address and port; Granian has the port as text


class Connections:
    """The connections of one worker process to ``port``.

    One without a running request may be silent for ``header_seconds`` as long as nothing was ever answered on it,
    and for the longer of both limits after that. Linux only; elsewhere nothing is ended.
    """

    def __init__(self, port: int, *, header_seconds: float, idle_seconds: float) -> None:
        self._port = port
        self._header_seconds = header_seconds
        self._idle_seconds = max(header_seconds, idle_seconds)
        self._running: dict[Peer, int] = {}  # requests by peer; several over HTTP/2

    def begin(self, peer: Peer) -> None:
        """A request of ``peer`` has come."""
        self._running[peer] = self._running.get(peer, 0) + 1

    def end(self, peer: Peer) -> None:
        """A request of ``peer`` has been answered."""
        left = self._running[peer] - 1
        if left:
            self._running[peer] = left
        else:
            del self._running[peer]

    async def wait_for_requests(self, seconds: float) -> None:
        """Return when no request is running, not even one whose peer has gone, or after ``seconds``."""
        deadline = time.monotonic() + seconds
        while self._running and time.monotonic() < deadline:  # noqa: ASYNC110  (once in a worker's life)
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS_AT_REQUESTS)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while _TCP_INFO is not None:
            await asyncio.sleep(min(self._header_seconds / 4, _MOST_SECONDS_BETWEEN_LOOKS))
            await asyncio.to_thread(self.end_idle)

    def end_idle(self) -> int:
        """End every connection that has been silent for too long; return how many."""
        ended = 0
        for connection in _sockets():
            with connection:
                if self._is_idle(connection):
                    with suppress(OSError):  # it has just ended by itself
                        connection.shutdown(socket.SHUT_RDWR)
                    ended += 1
        return ended

    def acknowledged(self, peer: Peer | None) -> int:
        """How many bytes ``peer`` has taken so far, over the life of its connection; 0 when that cannot be told."""
        for connection in _sockets() if _TCP_INFO is not None else ():
            with connection, suppress(OSError):
                if _peer(connection) == peer and connection.getsockname()[1] == self._port:
                    return _info(connection)[3]
        return 0

    def _is_idle(self, connection: socket.socket) -> bool:
        try:
            if connection.getsockname()[1] != self._port or _peer(connection) in self._running:
                return False
            state, sent, received, acknowledged = _info(connection)
        except OSError:  # it listens, or has just ended
            return False
        limit = self._idle_seconds if acknowledged else self._header_seconds
        return state == _ESTABLISHED and min(sent, received) > limit * 1000


def _peer(connection: socket.socket) -> Peer:
    host, port = connection.getpeername()[:2]
    return host, str(port)


def _info(connection: socket.socket) -> tuple[int, int, int, int]:
    return _INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO or 0, _INFO.size))


def _sockets() -> Iterator[socket.socket]:
    """Copies of the TCP sockets of this process. A copy stays the same socket when its number is used anew."""
    for name in os.listdir(_DESCRIPTORS):
        try:
            if not stat.S_ISSOCK((_DESCRIPTORS / name).stat().st_mode):
                continue
            copy = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        if copy.family in (socket.AF_INET, socket.AF_INET6) and copy.type == socket.SOCK_STREAM:
            yield copy
        else:
            copy.close()
