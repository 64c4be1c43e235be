"""umoci: makes, changes and unpacks images in an OCI layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .clients import CommandLine, private_environment
from .programs import require_program


class Umoci:
    def __init__(self, folder: Path) -> None:
        self.cli = CommandLine([require_program("umoci")], environment=private_environment(folder))
        self._folder = folder

    def create(self, layout: Path, tag: str, files: dict[str, bytes]) -> None:
        """A layout with one image that has ``files`` in its one layer."""
        self.cli.run("init", "--layout", layout)
        self.cli.run("new", "--image", f"{layout}:{tag}")
        self.cli.run("config", "--image", f"{layout}:{tag}", "--config.cmd", "/hello", "--author", "tests")
        self.add(layout, tag, files)

    def add(self, layout: Path, tag: str, files: dict[str, bytes]) -> None:
        """One more layer with ``files``."""
        bundle = self._folder / f"bundle-{'-'.join(files)}"
        root = self.unpack(layout, tag, bundle)
        for name, content in files.items():
            (root / name).write_bytes(content)
        self.cli.run("repack", "--image", f"{layout}:{tag}", bundle)

    def unpack(self, layout: Path, tag: str, bundle: Path) -> Path:
        """The root file system of an image."""
        self.cli.run("unpack", "--rootless", "--image", f"{layout}:{tag}", bundle)
        return bundle / "rootfs"

    def stat(self, layout: Path, tag: str) -> Any:
        return json.loads(self.cli.run("stat", "--json", "--image", f"{layout}:{tag}"))

    def digest(self, layout: Path) -> str:
        """The digest of the one image in a layout."""
        [manifest] = json.loads((layout / "index.json").read_bytes())["manifests"]
        return str(manifest["digest"])
