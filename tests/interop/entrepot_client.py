"""Our own command, with an image store and a home of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from entrepot.testing.images import Image, write_docker_archive

from .clients import CommandLine, private_environment
from .commands import Outcome


class EntrepotClient:
    title = "entrepot"

    def __init__(self, folder: Path) -> None:
        self.root = folder / "images"
        environment = private_environment(folder) | {"ENTREPOT_ROOT": str(self.root)}
        self.cli = CommandLine([sys.executable, "-m", "entrepot"], environment=environment)
        self._folder = folder

    def load(self, image: Image, name: str) -> None:
        archive = write_docker_archive(self._folder / "load.tar", {name: image})
        self.cli.run("load", "-i", archive)
        archive.unlink()

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
        return self.cli.run("inspect", "--format", "{{.Id}}", name).strip()

    def digest(self, name: str) -> str:
        repository, at, digest = name.partition("@")
        if at:
            return digest
        repository = name.rpartition(":")[0]
        names = json.loads(self.cli.run("inspect", "--format", "{{json .RepoDigests}}", name))
        [digest] = [entry.partition("@")[2] for entry in names if entry.partition("@")[0] == repository]
        return str(digest)
