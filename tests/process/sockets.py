"""Which process has which connection, as the kernel tells it (proc(5)). Linux only."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from entrepot.testing.server import RegistryProcess

ESTABLISHED = "01"


def worker_of(process: RegistryProcess, connection: socket.socket) -> int | None:
    """The worker that has accepted ``connection``; None as long as none has."""
    inode = _inode(process.port, connection.getsockname()[1])
    for pid in process.worker_pids():
        if f"socket:[{inode}]" in _open_files(pid):
            return pid
    return None


def _inode(local_port: int, remote_port: int) -> str | None:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *rest = line.split()
        ports = int(local.partition(":")[2], 16), int(remote.partition(":")[2], 16)
        if ports == (local_port, remote_port) and state == ESTABLISHED:
            return rest[5]
    return None


def _open_files(pid: int) -> set[str]:
    names = set()
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                names.add(str(link.readlink()))
    return names
