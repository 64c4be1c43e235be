"""The servers that are compared: how each is started, where it keeps a blob, what its 201 promises."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.client import connected
from bench.content import Blob, Manifest

WORKERS = 2
READY_SECONDS = 60.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.002
_ANY_LIMIT = 2**31 - 1

_DISTRIBUTION_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""

_NGINX_CONFIG = """\
daemon off;
{user}worker_processes {workers};
pid {root}/nginx.pid;
error_log {root}/error.log crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 600;
    keepalive_requests {any_limit};
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    server {{
        listen 127.0.0.1:{port} reuseport;
        root {root}/www;
        default_type application/octet-stream;
        location = /v2/ {{ default_type application/json; return 200 "{{}}"; }}
    }}
}}
"""


class ServerFailed(Exception):
    """A server did not start, or ended."""


@dataclass
class Server:
    """One server with its folder and its port; subclasses say how it is called."""

    name: str
    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    executable = ""
    durability = ""

    def command(self) -> list[str]:
        """Write what configuration it needs below ``root``, and say how to start it."""
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        """One line for the report."""
        raise NotImplementedError

    def blob_files(self, digest: str) -> list[Path]:
        """Where it keeps a blob, so that a sample can give the space back."""
        raise NotImplementedError

    @classmethod
    def installed(cls) -> bool:
        return shutil.which(cls.executable) is not None

    def store_blob(self, repository: str, blob: Blob) -> None:
        """Push it, unless the server has its own way to content."""
        with connected(self.port) as client:
            client.put_blob(repository, blob)

    def store_manifest(self, repository: str, tag: str, manifest: Manifest) -> None:
        """Push it under a tag."""
        with connected(self.port) as client:
            client.put_manifest(repository, tag, manifest)

    @property
    def pid(self) -> int:
        if self.process is None or self.process.poll() is not None:
            raise ServerFailed(f"{self.name} is not running: {self._last_words()}")
        return self.process.pid

    @property
    def ports(self) -> tuple[int, ...]:
        """One for each server there is, if there are several."""
        return (self.port,)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{self.target(path)}"

    def target(self, path: str) -> str:
        """Where it keeps what registries serve at the path."""
        return path

    def start(self) -> float:
        """Start and wait for a 200 from ``GET /v2/``; answers the seconds from one to the other."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        command = self.command()
        environment = {**_inherited(), "TMPDIR": str(self.root.parent), **self.environment}
        begun = time.perf_counter()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        self.wait_ready(self.port)
        return time.perf_counter() - begun

    def stop(self) -> None:
        """End it and everything it started."""
        if self.process is None:
            return
        self.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and not _has_ended(self.process):
            _signal_group(self.process.pid, signal.SIGTERM)  # workers just started may have missed the first
        _signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    @property
    def _log(self) -> Path:
        return self.root.with_suffix(".log")

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n") if self._log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def wait_ready(self, port: int) -> None:
        """Return when a GET of ``/v2/`` is answered with 200. Raises ServerFailed when that takes too long."""
        deadline = time.perf_counter() + READY_SECONDS
        while time.perf_counter() < deadline:
            if self.pid and _answers(port):
                return
            time.sleep(_POLL_SECONDS)
        self.stop()
        raise ServerFailed(f"{self.name} did not answer in {READY_SECONDS:.0f} s: {self._last_words()}")


@dataclass
class Entrepot(Server):
    """entrepot from the environment that runs the benchmark."""

    workers: int = WORKERS

    executable = sys.executable
    durability = "201 after file, folder and row are synced (SQLite synchronous=FULL)"

    def command(self) -> list[str]:
        return self.command_on(self.port)

    def command_on(self, port: int) -> list[str]:
        """The command with its arguments, to listen on a port of loopback."""
        listen = ["--listen", f"127.0.0.1:{port}", "--workers", str(self.workers), "--access-log", "off"]
        return [sys.executable, "-m", "entrepot", "serve", "--root", str(self.root), *listen]

    @classmethod
    def version(cls) -> str:
        return _first_line([sys.executable, "-m", "entrepot", "--version"])

    def blob_files(self, digest: str) -> list[Path]:
        algorithm, _, encoded = digest.partition(":")
        return list((self.root / "blobs" / algorithm / encoded[:2]).glob(f"{encoded}*"))


class Distribution(Server):
    """CNCF distribution as Debian packages it."""

    executable = "docker-registry"
    durability = "201 after files are synced; folders and renames are not"

    def command(self) -> list[str]:
        config = self.root.with_suffix(".yml")
        config.write_text(_DISTRIBUTION_CONFIG.format(root=self.root, port=self.port))
        return [self.executable, "serve", str(config)]

    @classmethod
    def version(cls) -> str:
        return _first_line([cls.executable, "--version"])

    def blob_files(self, digest: str) -> list[Path]:
        algorithm, _, encoded = digest.partition(":")
        return [self.root / "docker/registry/v2/blobs" / algorithm / encoded[:2] / encoded / "data"]


class Nginx(Server):
    """nginx with the same bytes as static files: no registry, a yardstick for reads."""

    executable = "nginx"
    durability = "not applicable: takes no pushes"

    def command(self) -> list[str]:
        config = self.root / "nginx.conf"
        user = "user root;\n" if os.geteuid() == 0 else ""  # its workers must read a folder of ours
        config.write_text(
            _NGINX_CONFIG.format(root=self.root, port=self.port, workers=WORKERS, any_limit=_ANY_LIMIT, user=user)
        )
        return [self.executable, "-c", str(config), "-p", str(self.root), "-e", str(self.root / "error.log")]

    @classmethod
    def version(cls) -> str:
        return _first_line([cls.executable, "-v"])

    def blob_files(self, digest: str) -> list[Path]:
        return list((self.root / "www").glob(f"v2/**/blobs/{digest}"))

    def store_blob(self, repository: str, blob: Blob) -> None:
        with self._file(repository, "blobs", blob.digest).open("wb") as file:
            file.writelines(blob.pieces())

    def store_manifest(self, repository: str, tag: str, manifest: Manifest) -> None:
        self._file(repository, "manifests", tag).write_bytes(manifest.content)

    def _file(self, repository: str, kind: str, name: str) -> Path:
        target = self.root / "www" / "v2" / repository / kind / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def _inherited() -> dict[str, str]:
    """Ours, without what the shell has set for other registries and other S3 servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ENTREPOT_"))}


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        return False
    return True


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().partition("\n")[0]


def version_of(program: str) -> str:
    """The first line of what it says about itself."""
    return _first_line([program, "--version"]) if shutil.which(program) else f"{program} is not installed"
