"""The clients that are compared: how each pulls, pushes and forgets an image."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import procstat
from bench.load import LoadFailed
from bench.servers import ServerFailed

_START_SECONDS = 60.0
_POLL_SECONDS = 0.05
NAME = "bench/app:v1"

_CONTAINERD_CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
"""


@dataclass(frozen=True)
class Spent:
    """What one command took; ``peak`` is the resident memory of its process, in bytes."""

    seconds: float
    cpu_seconds: float
    peak: int


@dataclass
class Program:
    """One client with a folder of its own; subclasses say how it is called."""

    folder: Path
    daemon: subprocess.Popen[bytes] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    executable = ""

    @classmethod
    def installed(cls) -> bool:
        return shutil.which(cls.executable) is not None

    def start(self) -> None:
        """Make the folder, and start the daemon if it takes one."""
        self.folder.mkdir(parents=True)

    def pull(self, host: str) -> Spent:
        raise NotImplementedError

    def push(self, host: str) -> Spent:
        raise NotImplementedError

    def name_for(self, host: str, source: str) -> None:
        """Let the image that was pulled from ``source`` be pushed to ``host``; nothing where names are not stored."""

    def forget(self) -> None:
        """Give up everything that was pulled."""

    def stop(self) -> None:
        if self.daemon is not None:
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait(30)

    def spend(self, *arguments: str) -> Spent:
        """Run a command; the processor time of the daemon counts as well."""
        before = self._daemon_seconds()
        begun = time.perf_counter()
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self._env()
        )
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        taken = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise LoadFailed(f"{' '.join(arguments[:3])}: {said.decode(errors='replace').strip()[-300:]}")
        cpu = usage.ru_utime + usage.ru_stime + self._daemon_seconds() - before
        return Spent(taken, cpu, usage.ru_maxrss * 1024)

    def start_daemon(self, command: Sequence[str], probe: Sequence[str]) -> None:
        with (self.folder / "log").open("wb") as log:
            self.daemon = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_SECONDS
        while subprocess.run(probe, capture_output=True, check=False).returncode:
            if time.monotonic() > deadline or self.daemon.poll() is not None:
                raise ServerFailed(f"{command[0]} does not start here")
            time.sleep(_POLL_SECONDS)

    def _daemon_seconds(self) -> float:
        return procstat.cpu_seconds(self.daemon.pid) if self.daemon else 0.0

    def _env(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.folder), **self.environment}


class Entrepot(Program):
    """Ours: into an image store, with the diff IDs verified."""

    executable = sys.executable

    def _call(self, *arguments: str) -> Spent:
        return self.spend(sys.executable, "-m", "entrepot", *arguments, "--root", str(self.folder / "images"))

    def pull(self, host: str) -> Spent:
        return self._call("pull", "-q", f"{host}/{NAME}")

    def name_for(self, host: str, source: str) -> None:
        self._call("tag", f"{source}/{NAME}", f"{host}/{NAME}")

    def push(self, host: str) -> Spent:
        return self._call("push", "-q", f"{host}/{NAME}")

    def forget(self) -> None:
        shutil.rmtree(self.folder / "images", ignore_errors=True)


class Skopeo(Program):
    """Into an OCI layout: digests verified, nothing unpacked."""

    executable = "skopeo"

    @property
    def _layout(self) -> str:
        return f"oci:{self.folder}/layout:v1"

    def pull(self, host: str) -> Spent:
        return self.spend("skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{host}/{NAME}", self._layout)

    def push(self, host: str) -> Spent:
        return self.spend("skopeo", "copy", "-q", "--dest-tls-verify=false", self._layout, f"docker://{host}/{NAME}")

    def forget(self) -> None:
        shutil.rmtree(self.folder / "layout", ignore_errors=True)


class Docker(Program):
    """Into an engine of its own, which unpacks (graphdriver vfs)."""

    executable = "dockerd"

    @property
    def _docker(self) -> list[str]:
        return ["docker", "--host", f"unix://{self.folder}/docker.sock"]

    def start(self) -> None:
        super().start()
        command = ["dockerd", "--host", f"unix://{self.folder}/docker.sock", "--data-root", f"{self.folder}/data"]
        command += ["--exec-root", f"{self.folder}/exec", "--pidfile", f"{self.folder}/pid", "--bridge=none"]
        command += ["--storage-driver", "vfs", "--iptables=false", "--ip6tables=false"]
        self.start_daemon(command, [*self._docker, "version"])

    def pull(self, host: str) -> Spent:
        return self.spend(*self._docker, "pull", "-q", f"{host}/{NAME}")

    def name_for(self, host: str, source: str) -> None:
        self.spend(*self._docker, "tag", f"{source}/{NAME}", f"{host}/{NAME}")

    def push(self, host: str) -> Spent:
        return self.spend(*self._docker, "push", "-q", f"{host}/{NAME}")

    def forget(self) -> None:
        self.spend(*self._docker, "image", "prune", "-af")


class Containerd(Program):
    """Into containerd's content store, and unpacked (snapshotter native)."""

    executable = "containerd"

    @property
    def _ctr(self) -> list[str]:
        return ["ctr", "--address", f"{self.folder}/containerd.sock", "--namespace", "bench", "images"]

    def start(self) -> None:
        super().start()
        config = self.folder / "config.toml"
        config.write_text(_CONTAINERD_CONFIG.format(folder=self.folder))
        self.start_daemon(["containerd", "--config", str(config)], [*self._ctr, "ls"])

    def pull(self, host: str) -> Spent:
        return self.spend(*self._ctr, "pull", "--plain-http", "--snapshotter", "native", f"{host}/{NAME}")

    def name_for(self, host: str, source: str) -> None:
        self.spend(*self._ctr, "tag", f"{source}/{NAME}", f"{host}/{NAME}")

    def push(self, host: str) -> Spent:
        return self.spend(*self._ctr, "push", "--plain-http", f"{host}/{NAME}")

    def forget(self) -> None:
        listed = subprocess.run([*self._ctr, "ls", "-q"], capture_output=True, text=True, check=True).stdout.split()
        if listed:
            self.spend(*self._ctr, "rm", "--sync", *listed)


PROGRAMS: dict[str, type[Program]] = {
    "entrepot client": Entrepot,
    "skopeo": Skopeo,
    "docker": Docker,
    "ctr": Containerd,
}
