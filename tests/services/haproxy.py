"""HAProxy with a configuration file as operators have it; what differs from place to place comes by environment."""

from __future__ import annotations

import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from .program import Program, find_program


class HAProxy:
    """``port`` is where it listens according to ``config``, which is read with ``environment``."""

    def __init__(self, folder: Path, config: Path, *, port: int, environment: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        command = [find_program("haproxy"), "-W", "-db", "-f", str(config)]
        # SIGUSR1 would wait for the connections there are
        self.program = Program(command, log=folder / "haproxy.log", environment=environment, stop_signal=signal.SIGTERM)
        self.port = port

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def start(self) -> None:
        """Return when it takes connections."""
        self.program.start(self._listens)

    def stop(self) -> None:
        self.program.stop()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True
