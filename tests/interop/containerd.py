"""containerd with a root and a socket of its own, driven by ``ctr`` (snapshotter ``native``)."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from entrepot.testing.images import Image, Index, write_layout

from .clients import CommandLine, private_environment
from .commands import Outcome, run
from .programs import Daemon, require_program, require_root

PLAIN_HTTP = "--plain-http"
_CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
"""


class Containerd:
    title = "containerd"

    def __init__(self, folder: Path) -> None:
        prefix = [require_program("ctr"), "--address", f"{folder}/containerd.sock", "--namespace", "interop"]
        self.cli = CommandLine(prefix, environment=private_environment(folder))
        self._folder = folder

    def load(self, image: Image | Index, name: str) -> None:
        base, _, tag = name.rpartition(":")
        layout = write_layout(self._folder / "layouts" / image.digest.encoded, {tag: image})
        archive = self._folder / "load.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(layout, ".")
        self.cli.run("images", "import", "--no-unpack", "--all-platforms", "--base-name", base, archive)
        archive.unlink()

    def push(self, name: str) -> Outcome:
        return self.cli.try_run("images", "push", PLAIN_HTTP, name)

    def begin_push(self, name: str) -> subprocess.Popen[bytes]:
        return self.cli.begin("images", "push", PLAIN_HTTP, name)

    def pull(self, name: str, *, platform: str | None = None) -> Outcome:
        chosen = ("--platform", platform) if platform else ()
        return self.cli.try_run("images", "pull", PLAIN_HTTP, "--snapshotter", "native", *chosen, name)

    def tag(self, name: str, new_name: str) -> None:
        self.cli.run("images", "tag", name, new_name)

    def remove(self, name: str) -> None:
        self.cli.run("images", "rm", "--sync", name)

    def image_id(self, name: str) -> str:
        return str(self.content(self.digest(name))["config"]["digest"])

    def digest(self, name: str) -> str:
        rows = [line.split() for line in self.cli.run("images", "ls", f"name=={name}").splitlines()]
        [digest] = [row[2] for row in rows if row[0] == name]
        return digest

    def content(self, digest: str) -> Any:
        """A JSON document out of the content store."""
        return json.loads(self.cli.run("content", "get", digest))


def containerd(folder: Path) -> Daemon:
    require_root("containerd")
    program, probe = require_program("containerd"), require_program("ctr")
    config = folder / "config.toml"
    config.write_text(_CONFIG.format(folder=folder))
    version = [probe, "--address", f"{folder}/containerd.sock", "version"]
    return Daemon([program, "--config", str(config)], log=folder / "log", is_ready=lambda: run(version).status == 0)
