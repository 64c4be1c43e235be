"""A client that opens a connection for every request, so that any of the server's workers may get it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from entrepot.digest import Digest
from entrepot.testing.images import Image, walk_blobs
from entrepot.testing.server import RegistryProcess

_SECONDS = 100


@dataclass(frozen=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The OCI code of the one error in it, whose detail must not be empty."""
        [error] = json.loads(self.body)["errors"]
        assert error["message"]
        assert error["detail"]
        return str(error["code"])

    @property
    def refusal(self) -> tuple[int, str]:
        """Status and OCI code."""
        return self.status, self.code

    @property
    def location(self) -> str:
        return self.headers["location"]

    @property
    def offset(self) -> int:
        """How many bytes of an upload are kept."""
        return int(self.headers["range"].partition("-")[2]) + 1 if self.headers["range"] != "0-0" else 0


@dataclass(frozen=True)
class Client:
    """Requests to one registry. Raises OSError or HTTPException when the server goes away meanwhile."""

    host: str

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, timeout=_SECONDS)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def begin(self, repository: str) -> str:
        """Begin an upload and return its address."""
        answer = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        assert answer.status == 202, answer
        return answer.location

    def append(self, location: str, content: bytes, *, start: int | None = None) -> Answer:
        span = {} if start is None else {"Content-Range": f"{start}-{start + len(content) - 1}"}
        return self.request("PATCH", location, content, {"Content-Type": "application/octet-stream", **span})

    def finish(self, location: str, digest: Digest, content: bytes = b"") -> Answer:
        return self.request("PUT", f"{location}?digest={digest}", content)

    def status(self, location: str) -> Answer:
        return self.request("GET", location)

    def get_blob(self, repository: str, digest: Digest) -> Answer:
        return self.request("GET", f"/v2/{repository}/blobs/{digest}")

    def head_blob(self, repository: str, digest: Digest) -> Answer:
        return self.request("HEAD", f"/v2/{repository}/blobs/{digest}")

    def delete_blob(self, repository: str, digest: Digest) -> Answer:
        return self.request("DELETE", f"/v2/{repository}/blobs/{digest}")

    def mount(self, repository: str, digest: Digest, source: str) -> Answer:
        return self.request("POST", f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}")

    def put_manifest(self, repository: str, reference: str, image: Image) -> Answer:
        headers = {"Content-Type": image.manifest.media_type}
        return self.request("PUT", f"/v2/{repository}/manifests/{reference}", image.manifest.data, headers)

    def get_manifest(self, repository: str, reference: str) -> Answer:
        return self.request("GET", f"/v2/{repository}/manifests/{reference}")

    def delete_manifest(self, repository: str, reference: str) -> Answer:
        return self.request("DELETE", f"/v2/{repository}/manifests/{reference}")


Flow = Callable[[Client, str, bytes], Answer]


def post_put(client: Client, repository: str, content: bytes) -> Answer:
    """A push in two requests; the answer is that of the last one that was sent."""
    return client.finish(client.begin(repository), Digest.of(content), content)


def post_patch_put(client: Client, repository: str, content: bytes) -> Answer:
    """A push in three requests."""
    location = client.begin(repository)
    answer = client.append(location, content)
    return client.finish(location, Digest.of(content)) if answer.status == 202 else answer


def single_post(client: Client, repository: str, content: bytes) -> Answer:
    """A push in one request."""
    return client.request("POST", f"/v2/{repository}/blobs/uploads/?digest={Digest.of(content)}", content)


FLOWS: list[Flow] = [post_put, post_patch_put, single_post]


def push_blob(client: Client, repository: str, content: bytes) -> Digest:
    """Push a blob that must be accepted."""
    answer = single_post(client, repository, content)
    assert answer.status == 201, answer
    return Digest.of(content)


def push_blobs(client: Client, repository: str, image: Image) -> None:
    """Push config and layers of an image, which must be accepted."""
    for blob in walk_blobs(image):
        push_blob(client, repository, blob.data)


def push_image(client: Client, repository: str, tag: str, image: Image) -> None:
    """Push a whole image, which must be accepted."""
    push_blobs(client, repository, image)
    answer = client.put_manifest(repository, tag, image)
    assert answer.status == 201, answer


def client_of(process: RegistryProcess) -> Client:
    return Client(process.host)
