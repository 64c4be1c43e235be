"""The docker CLI with an engine of its own (graphdriver ``vfs``, no network)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from entrepot.testing.images import Image, write_docker_archive

from .clients import CommandLine, private_environment
from .commands import Outcome, run
from .programs import Daemon, require_program, require_root


class Docker:
    title = "docker"

    def __init__(self, program: str, folder: Path) -> None:
        environment = private_environment(folder) | {"DOCKER_HOST": socket_url(folder)}
        self.cli = CommandLine([program], environment=environment)
        self.socket = socket_url(folder)
        self._folder = folder

    def load(self, image: Image, name: str) -> None:
        archive = write_docker_archive(self._folder / "load.tar", {name: image})
        self.cli.run("load", "-i", archive)
        archive.unlink()

    def file(self, name: str, content: bytes) -> Path:
        """A file for the client to read."""
        file = self._folder / name
        file.write_bytes(content)
        return file

    def push(self, name: str) -> Outcome:
        return self.cli.try_run("push", name)

    def begin_push(self, name: str) -> subprocess.Popen[bytes]:
        return self.cli.begin("push", name)

    def pull(self, name: str, *, platform: str | None = None) -> Outcome:
        return self.cli.try_run("pull", *(("--platform", platform) if platform else ()), name)

    def tag(self, name: str, new_name: str) -> None:
        self.cli.run("tag", name, new_name)

    def remove(self, name: str) -> None:
        self.cli.run("rmi", name)

    def image_id(self, name: str) -> str:
        return self.cli.run("image", "inspect", "--format", "{{.Id}}", name).strip()

    def digest(self, name: str) -> str:
        repository, at, _ = name.partition("@")
        repository = repository if at else name.rpartition(":")[0]
        names = json.loads(self.cli.run("image", "inspect", "--format", "{{json .RepoDigests}}", name))
        [digest] = [entry.partition("@")[2] for entry in names if entry.partition("@")[0] == repository]
        return str(digest)


def docker_program() -> str:
    """Debian's client of the engine's own version before any newer one on the path."""
    return require_program("docker", preferred="/usr/bin/docker")


def engine(folder: Path, *, mirror: str | None = None) -> Daemon:
    """A docker engine below ``folder``; ``mirror`` is asked before Docker Hub."""
    require_root("dockerd")
    program = require_program("dockerd")
    client = docker_program()
    config = folder / "daemon.json"
    config.write_text(json.dumps({"registry-mirrors": [mirror] if mirror else []}))
    command = [program, "--config-file", str(config), "--host", socket_url(folder)]
    command += ["--data-root", str(folder / "data-root"), "--exec-root", str(folder / "exec")]
    command += ["--pidfile", str(folder / "pid"), "--storage-driver", "vfs"]
    command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    probe = [client, "--host", socket_url(folder), "version"]
    return Daemon(command, log=folder / "log", is_ready=lambda: run(probe).status == 0)


def socket_url(folder: Path) -> str:
    return f"unix://{folder}/docker.sock"
