"""A registry that holds one image and answers as no good one does: short bodies, no ranges, other ETags and bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from entrepot.testing.images import Image, walk_blobs

Ranges = Literal["sent", "ignored", "wrong"]


@dataclass
class OddRegistry:
    """What it does can be changed while it runs. ``ranges_asked`` are the Range and If-Range headers that came."""

    image: Image
    host: str = ""
    etag: str | None = '"first"'
    ranges: Ranges = "sent"
    breaks_after: int | None = None  # so many bytes of each blob
    spoilt: bool = False  # every layer is as long as it should be, and all zeros
    ranges_asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0  # bytes of blobs

    def blob(self, digest: str) -> bytes | None:
        blobs = {blob.digest: blob.data for blob in walk_blobs(self.image)}
        content = blobs.get(digest)  # type: ignore[call-overload]
        return bytes(len(content)) if content and self.spoilt and digest != self.image.config.digest else content


@contextmanager
def odd_registry(image: Image) -> Iterator[OddRegistry]:
    """Run it on a free port of the loopback address."""
    odd = OddRegistry(image)

    class Handler(_Handler):
        registry = odd

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    odd.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield odd
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    registry: OddRegistry

    def do_GET(self) -> None:
        kind, name = self.path.split("/")[-2:]
        manifest = self.registry.image.manifest
        content = self.registry.blob(name) if kind == "blobs" else manifest.data
        if content is None:
            self.send_error(404)
        elif kind == "blobs":
            self._send_blob(content)
        else:
            self._send(200, content, {"Content-Type": manifest.media_type})

    def _send_blob(self, content: bytes) -> None:
        headers = {"ETag": self.registry.etag} if self.registry.etag else {}
        asked, condition = self.headers.get("range"), self.headers.get("if-range")
        if asked is None:
            self._send(200, content, headers, is_blob=True)
            return
        self.registry.ranges_asked.append((asked, condition))
        if self.registry.ranges == "ignored" or condition not in (None, self.registry.etag):
            self._send(200, content, headers, is_blob=True)
            return
        start = 0 if self.registry.ranges == "wrong" else int(asked.removeprefix("bytes=").partition("-")[0])
        end = int(asked.rpartition("-")[2] or len(content) - 1)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        self._send(206, content[start : end + 1], headers, is_blob=True)

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, is_blob: bool = False) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        sent = content[: self.registry.breaks_after] if is_blob else content
        self.wfile.write(sent)
        if is_blob:
            self.registry.sent += len(sent)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
