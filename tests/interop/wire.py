"""What the registry itself answers, asked directly; and names taken apart."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from entrepot.testing.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

_ACCEPT = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST))


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def digest(self) -> str:
        return self.headers["docker-content-digest"]


def ask(method: str, host: str, path: str) -> Answer:
    connection = HTTPConnection(host, timeout=120)
    try:
        connection.request(method, path, headers={"Accept": _ACCEPT})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    finally:
        connection.close()


def split_name(name: str) -> tuple[str, str, str]:
    """``host:port/team/app:v1`` or ``…@sha256:…`` as host, repository and reference."""
    host, _, rest = name.partition("/")
    repository, at, digest = rest.partition("@")
    if at:
        return host, repository, digest
    repository, _, tag = rest.partition(":")
    return host, repository, tag or "latest"


def manifest_answer(name: str, method: str = "GET") -> Answer:
    host, repository, reference = split_name(name)
    return ask(method, host, f"/v2/{repository}/manifests/{reference}")


def manifest_digest(name: str) -> str:
    """The digest that the registry holds under ``name``."""
    answer = manifest_answer(name, "HEAD")
    assert answer.status == 200, f"{name}: {answer}"
    return answer.digest


def blob_answer(name: str, digest: str) -> Answer:
    host, repository, _ = split_name(name)
    return ask("HEAD", host, f"/v2/{repository}/blobs/{digest}")


def blob_hash(name: str, digest: str) -> str:
    """The sha256 of what a GET of the blob gives, as a digest."""
    host, repository, _ = split_name(name)
    connection, received = HTTPConnection(host, timeout=120), hashlib.sha256()
    try:
        connection.request("GET", f"/v2/{repository}/blobs/{digest}")
        response = connection.getresponse()
        while chunk := response.read(1024 * 1024):
            received.update(chunk)
        return f"sha256:{received.hexdigest()}"
    finally:
        connection.close()
