"""A registry as a few dictionaries: what the real one must agree with after any sequence of requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from entrepot.digest import Digest
from entrepot.manifest import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST


@dataclass
class Repository:
    """Blobs, manifests and tags by name, all with their bytes; uploads by their address."""

    name: str
    blobs: dict[Digest, bytes] = field(default_factory=dict)
    manifests: dict[Digest, bytes] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        """Open uploads alone make no repository."""
        return bool(self.blobs or self.manifests)

    def unknown(self, code: str) -> str:
        """The code of what is not there."""
        return code if self.exists else "NAME_UNKNOWN"

    def delete_manifest(self, digest: Digest) -> None:
        del self.manifests[digest]
        self.tags = {tag: target for tag, target in self.tags.items() if target != digest}

    def absent(self, manifest: bytes) -> set[str]:
        """The blobs that ``manifest`` names and that are not here."""
        return {digest for digest in children(manifest) if digest not in self.blobs}


def image(config: bytes, layers: list[bytes]) -> bytes:
    """A manifest of these blobs."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _descriptor(OCI_CONFIG, config),
            "layers": [_descriptor(OCI_LAYER_GZIP, layer) for layer in layers],
        }
    ).encode()


def children(manifest: bytes) -> Iterator[str]:
    document = json.loads(manifest)
    yield from (part["digest"] for part in (document["config"], *document["layers"]))


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": Digest.of(content), "size": len(content)}
