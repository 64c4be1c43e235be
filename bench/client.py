"""A blocking registry client that costs next to nothing: fills the servers, and pushes the large blobs."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

from bench.content import MANIFEST_TYPE, MIB, Blob, Manifest

_TIMEOUT_SECONDS = 120.0

Body = bytes | Iterable[bytes | memoryview] | None


class UnexpectedAnswer(Exception):
    """The server did not do what was asked."""


class Client:
    """One kept connection to the server on a loopback port."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)

    def close(self) -> None:
        self._connection.close()

    def put_blob(self, repository: str, blob: Blob) -> None:
        """POST, then PUT with the whole body."""
        self.close_upload(self.begin_upload(repository), blob.digest, blob)

    def patch_blob(self, repository: str, blob: Blob) -> None:
        """POST, PATCH with a body of unknown length, PUT: as docker does it."""
        location = self.append(self.begin_upload(repository), blob.pieces())
        self.close_upload(location, blob.digest)

    def begin_upload(self, repository: str) -> str:
        return self._send("POST", f"/v2/{repository}/blobs/uploads/", HTTPStatus.ACCEPTED)

    def append(self, location: str, pieces: Iterable[bytes | memoryview]) -> str:
        """One chunked PATCH; answers where to go on."""
        headers = {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
        return self._send("PATCH", location, HTTPStatus.ACCEPTED, pieces, headers)

    def close_upload(self, location: str, digest: str, blob: Blob | None = None) -> None:
        separator = "&" if urlsplit(location).query else "?"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size if blob else 0)}
        body = blob.pieces() if blob else None
        self._send("PUT", f"{location}{separator}digest={digest}", HTTPStatus.CREATED, body, headers)

    def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> None:
        headers = {"Content-Type": MANIFEST_TYPE}
        target = f"/v2/{repository}/manifests/{reference}"
        self._send("PUT", target, HTTPStatus.CREATED, manifest.content, headers)

    def check(self, target: str, digest: str, **headers: str) -> None:
        """GET it and compare its digest, so that nobody is measured at sending something else.

        A redirect to another server is followed.
        """
        self._connection.request("GET", target, headers={"Accept": MANIFEST_TYPE, **headers})
        response = self._connection.getresponse()
        if response.status == HTTPStatus.TEMPORARY_REDIRECT:
            location = urlsplit(response.getheader("Location", ""))
            with connected(location.port or 80) as other:
                other.check(f"{location.path}?{location.query}", digest)
            response.read()
            return
        found = f"sha256:{_hash(response)}"
        if found != digest:
            raise UnexpectedAnswer(f"GET {target}: expected {digest}, got {response.status} with {found}")

    def _send(
        self, method: str, target: str, expected: int, body: Body = None, headers: Mapping[str, str] | None = None
    ) -> str:
        chunked = (headers or {}).get("Transfer-Encoding") == "chunked"
        self._connection.request(method, target, body, dict(headers or {}), encode_chunked=chunked)
        response = self._connection.getresponse()
        text = response.read()
        if response.status != expected:
            raise UnexpectedAnswer(f"{method} {target}: expected {expected}, got {response.status} {text!r}")
        return _path(response.getheader("Location", ""))


@contextmanager
def connected(port: int) -> Iterator[Client]:
    """A client that is closed at the end."""
    client = Client(port)
    try:
        yield client
    finally:
        client.close()


def _path(location: str) -> str:
    """A Location may be absolute or not; what follows the host is needed."""
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _hash(response: http.client.HTTPResponse) -> str:
    state = hashlib.sha256()
    while piece := response.read(MIB):
        state.update(piece)
    return state.hexdigest()
