"""A real registry in processes of its own, for tests. Needs nothing but the standard library."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_POLL_SECONDS = 0.02
_START_SECONDS = 100.0  # on a very busy machine; it takes one or two
_ANSWER_SECONDS = 20
_TAIL_BYTES = 4000
_THREADS = 14  # their number in /proc/PID/stat, counted from behind the process group; proc(5)
# Below the ports that the system gives to outgoing connections, so that none of those sits on ours.
_PORTS = range(15000, 32000)


class RegistryProcess:
    """``entrepot serve`` on a free port of the loopback address::

        with RegistryProcess(tmp_path / "registry") as registry:
            http.client.HTTPConnection(registry.host).request("GET", "/v2/")

    A server that was stopped or killed can be started again: it keeps its port and its folder.
    """

    def __init__(
        self,
        root: Path,
        *,
        workers: int = 1,
        flags: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        """``flags`` go to ``serve``; ``environment`` is added to ours, which is passed on without ENTREPOT_*;
        ``command`` stands for ``-m entrepot serve`` after the interpreter's name."""
        self.root = root
        self.port = free_port()
        self.log_file = root.parent / f"{root.name}.log"
        self.scheme = "https" if "--tls-certificate" in flags else "http"
        self._arguments = [
            *(command or ("-m", "entrepot", "serve")),
            *("--root", str(root), "--listen", self.host, "--workers", str(workers)),
            *flags,
        ]
        self._environment = _clean_environment() | dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Address and port, as it begins the name of an image: ``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The address with its scheme, without a slash at the end."""
        return f"{self.scheme}://{self.host}"

    @property
    def pid(self) -> int:
        """The main process. Raises RuntimeError when it was not started."""
        return self._started().pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start, and return when it answers. Raises RuntimeError with the end of the log when it does not."""
        if self.is_running:
            raise RuntimeError("the registry is running already")
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,  # its process group is its own, so kill() hits the workers too
            )
        self._await_ready(time.monotonic() + _START_SECONDS)
        return self

    def stop(self, timeout: float = 100.0) -> int:
        """Ask it to stop (SIGTERM), wait, and return its exit code.

        Kills it and raises TimeoutError when it takes longer than ``timeout`` seconds.
        """
        process = self._started()
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"the registry did not stop within {timeout} s:\n{self._tail()}") from None

    def kill(self) -> None:
        """End the main process and all workers at once (SIGKILL), and return when they are gone."""
        process = self._started()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while _group(process.pid):
            time.sleep(_POLL_SECONDS)

    def worker_pids(self) -> list[int]:
        """The worker processes, oldest first. Linux only: read from /proc."""
        main = self._started().pid
        children = [pid for pid, parent in _group(main).items() if parent == main]
        return sorted(pid for pid in children if b"resource_tracker" not in _command_line(pid))

    def log_text(self) -> str:
        """Everything it has written so far, of all its starts."""
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_running:
            self.stop()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the registry was not started")
        return self._process

    def _await_ready(self, deadline: float) -> None:
        while not self._is_ready():
            if not self.is_running:
                raise RuntimeError(f"the registry ended with {self._started().returncode}:\n{self._tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the registry was not ready within {_START_SECONDS} s:\n{self._tail()}")
            time.sleep(_POLL_SECONDS)

    def _is_ready(self) -> bool:
        connection = self._connect()
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self.scheme == "http":
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_SECONDS)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # asked whether it runs, no more
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=_ANSWER_SECONDS, context=context)

    def _tail(self) -> str:
        return self.log_text()[-_TAIL_BYTES:]


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on.

    It is not given to anybody else for a long time, in no process of this user: what it is for has yet to begin to
    listen, or is stopped and wants it back when it is started again.
    """
    while True:
        port = _next_port()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _next_port() -> int:
    """All of them in turn, over all processes: the last one is in a file."""
    path = Path(tempfile.gettempdir()) / f"entrepot-ports-{os.getuid()}"
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        last = file.read()
        place = int(last) - _PORTS.start + 1 if last.isdecimal() else random.randrange(len(_PORTS))
        port = _PORTS[place % len(_PORTS)]
        file.seek(0)
        file.write(str(port))
    return port


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ENTREPOT_")}


def _group(leader: int) -> dict[int, int]:
    """The living processes of a process group, each with its parent. Zombies do not count: they hold nothing any more
    when the last of their threads has ended, and only their parent can make them go."""
    members = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, group, *rest = (folder / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):  # it ended while we looked
            continue
        if int(group) == leader and (state != "Z" or int(rest[_THREADS]) > 1):
            members[int(folder.name)] = int(parent)
    return members


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
