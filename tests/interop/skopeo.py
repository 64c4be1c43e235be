"""skopeo, whose image store is a folder for each name: an OCI layout when loaded, a ``dir:`` when pulled."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from entrepot.digest import Digest
from entrepot.testing.images import Image, Index, write_layout

from .clients import CommandLine, private_environment
from .commands import Outcome
from .programs import require_program

FROM_HTTP = "--src-tls-verify=false"
TO_HTTP = "--dest-tls-verify=false"
PLAIN_HTTP = "--tls-verify=false"


class Skopeo:
    title = "skopeo"

    def __init__(self, folder: Path) -> None:
        # The variable moves root's cache of known blobs from /var/lib/containers to XDG_DATA_HOME.
        environment = private_environment(folder) | {"_CONTAINERS_ROOTLESS_UID": "65534"}
        self.cli = CommandLine([require_program("skopeo")], environment=environment)
        self._images = folder / "images"

    def load(self, image: Image | Index, name: str) -> None:
        write_layout(self.folder(name), {"image": image})

    def push(self, name: str) -> Outcome:
        return self.cli.try_run("copy", "--all", TO_HTTP, self.local(name), f"docker://{name}")

    def begin_push(self, name: str) -> subprocess.Popen[bytes]:
        return self.cli.begin("copy", "--all", TO_HTTP, self.local(name), f"docker://{name}")

    def pull(self, name: str, *, platform: str | None = None) -> Outcome:
        """Replace what is there by what the registry has: the same bytes, in whatever format."""
        options = _overrides(platform) if platform else []
        return self._pull(name, *options, "copy")

    def pull_all(self, name: str) -> Outcome:
        """Pull every platform of an index."""
        return self._pull(name, "copy", "--all")

    def tag(self, name: str, new_name: str) -> None:
        shutil.copytree(self.folder(name), self.folder(new_name))

    def remove(self, name: str) -> None:
        shutil.rmtree(self.folder(name))

    def image_id(self, name: str) -> str:
        return str(json.loads(self._manifest(name))["config"]["digest"])

    def digest(self, name: str) -> str:
        return Digest.of(self._manifest(name))

    def folder(self, name: str) -> Path:
        return self._images / name.replace("/", "_").replace(":", "_").replace("@", "_")

    def local(self, name: str) -> str:
        """The name of a loaded or pulled image in skopeo's own terms."""
        folder = self.folder(name)
        return f"oci:{folder}:image" if (folder / "oci-layout").exists() else f"dir:{folder}"

    def _pull(self, name: str, *command: str) -> Outcome:
        shutil.rmtree(self.folder(name), ignore_errors=True)
        self.folder(name).parent.mkdir(parents=True, exist_ok=True)
        return self.cli.try_run(*command, FROM_HTTP, f"docker://{name}", self.local(name))

    def _manifest(self, name: str) -> bytes:
        folder = self.folder(name)
        if (folder / "oci-layout").exists():
            [descriptor] = json.loads((folder / "index.json").read_bytes())["manifests"]
            digest = Digest.parse(descriptor["digest"])
            return (folder / "blobs" / digest.algorithm / digest.encoded).read_bytes()
        return (folder / "manifest.json").read_bytes()


def _overrides(platform: str) -> list[str]:
    flags = ("--override-os", "--override-arch", "--override-variant")
    return [word for pair in zip(flags, platform.split("/"), strict=False) for word in pair]
