"""Pushes and pulls in as few words as possible, each request on a connection of its own."""

from __future__ import annotations

import json

from entrepot.digest import Digest
from entrepot.manifest import OCI_INDEX, OCI_MANIFEST
from entrepot.testing.images import EMPTY_CONFIG
from tests.hostile.raw import Reply, ask

INDEX = b'{"schemaVersion":2,"manifests":[]}'


def push_blob(port: int, name: str, content: bytes) -> Digest:
    digest = Digest.of(content)
    assert ask(port, "POST", f"/v2/{name}/blobs/uploads/?digest={digest}", body=content).status == 201
    return digest


def begin_upload(port: int, name: str) -> str:
    reply = ask(port, "POST", f"/v2/{name}/blobs/uploads/")
    assert reply.status == 202, reply
    return reply.headers["location"]


def put_manifest(port: int, name: str, reference: str, content: bytes, media_type: str = OCI_INDEX) -> Reply:
    return ask(port, "PUT", f"/v2/{name}/manifests/{reference}", {"Content-Type": media_type}, content)


def push_image(port: int, name: str, tag: str, layer: bytes) -> Digest:
    """A manifest of one layer, with its blobs; returns the digest of the layer."""
    push_blob(port, name, EMPTY_CONFIG.data)
    digest = push_blob(port, name, layer)
    assert put_manifest(port, name, tag, image_of(layer), OCI_MANIFEST).status == 201
    return digest


def image_of(layer: bytes) -> bytes:
    descriptor = {"mediaType": "application/octet-stream", "digest": Digest.of(layer), "size": len(layer)}
    document = {"schemaVersion": 2, "config": EMPTY_CONFIG.descriptor(), "layers": [descriptor]}
    return json.dumps(document).encode()
