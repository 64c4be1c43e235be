"""Waiting for what a server does in its own time."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator

_POLL_SECONDS = 0.02


def eventually(condition: Callable[[], object], *, seconds: float = 100.0) -> None:
    """Return as soon as ``condition`` holds; fail when it does not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(_POLL_SECONDS)


def dribble(connection: socket.socket, data: bytes, *, every_seconds: float) -> Iterator[int]:
    """Send one byte after the other, slowly, until the peer says something or hangs up; yields what was sent."""
    for count, byte in enumerate(data, 1):
        connection.sendall(bytes([byte]))
        yield count
        if select.select([connection], [], [], every_seconds)[0]:
            return


def sip(connection: socket.socket, size: int, *, every_seconds: float, for_seconds: float) -> int:
    """Read ``size`` bytes at a time, slowly; return how many came."""
    deadline, count = time.monotonic() + for_seconds, 0
    while time.monotonic() < deadline:
        count += len(connection.recv(size))
        time.sleep(every_seconds)
    return count
