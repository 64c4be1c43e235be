"""podman and buildah, each with an image store of its own (driver ``vfs``)."""

from __future__ import annotations

import subprocess
from pathlib import Path

from entrepot.testing.images import Image, write_layout

from .clients import CommandLine, private_environment
from .commands import Outcome
from .programs import require_program, require_root

PLAIN_HTTP = "--tls-verify=false"


class ContainersClient:
    """What podman and buildah have in common."""

    title: str
    _inspect_id: tuple[str, ...]
    _inspect_digest: tuple[str, ...]

    def __init__(self, folder: Path, *options: str) -> None:
        require_root(self.title)
        store = ["--root", str(folder / "root"), "--runroot", str(folder / "runroot")]
        prefix = [require_program(self.title), *store, "--storage-driver", "vfs", *options]
        self.cli = CommandLine(prefix, environment=private_environment(folder), folder=folder)
        self._folder = folder

    def load(self, image: Image, name: str) -> None:
        layout = f"layouts/{image.digest.encoded}"  # relative: it becomes the image's first name
        write_layout(self._folder / layout, {"loaded": image})
        image_id = self.cli.run("pull", "--quiet", f"oci:{layout}:loaded").split()[-1]
        self.cli.run("tag", image_id, name)

    def push(self, name: str) -> Outcome:
        return self.cli.try_run("push", PLAIN_HTTP, name)

    def begin_push(self, name: str) -> subprocess.Popen[bytes]:
        return self.cli.begin("push", PLAIN_HTTP, name)

    def pull(self, name: str, *, platform: str | None = None) -> Outcome:
        chosen = ("--platform", platform) if platform else ()
        return self.cli.try_run("pull", PLAIN_HTTP, *chosen, name)

    def tag(self, name: str, new_name: str) -> None:
        self.cli.run("tag", name, new_name)

    def remove(self, name: str) -> None:
        self.cli.run("rmi", "--force", self.image_id(name).partition(":")[2])

    def image_id(self, name: str) -> str:
        return f"sha256:{self.cli.run(*self._inspect_id, name).strip()}"

    def digest(self, name: str) -> str:
        return self.cli.run(*self._inspect_digest, name).strip()


class Podman(ContainersClient):
    title = "podman"
    _inspect_id = ("image", "inspect", "--format", "{{.Id}}")
    _inspect_digest = ("image", "inspect", "--format", "{{.Digest}}")

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder, "--tmpdir", str(folder / "libpod"), "--cgroup-manager=cgroupfs", "--events-backend=none"
        )


class Buildah(ContainersClient):
    title = "buildah"
    _inspect_id = ("inspect", "--type", "image", "--format", "{{.FromImageID}}")
    _inspect_digest = ("inspect", "--type", "image", "--format", "{{.FromImageDigest}}")
