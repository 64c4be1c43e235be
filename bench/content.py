"""What is stored and pushed: blobs that cannot be compressed, each unique, at nearly no cost to hash.

A blob repeats one random block of a mebibyte and ends in its own 64 bytes, so that the hash of all that
comes before the end is computed once per size and the load generator spends its time on sending.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

KIB, MIB, GIB = 1024, 1024**2, 1024**3

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

_BLOCK = random.Random("entrepot bench").randbytes(MIB)
_TAIL_SIZE = 64
_RUN = os.urandom(16).hex()  # two runs against one root must not push the same bytes
_serial = itertools.count()


@dataclass(frozen=True)
class Blob:
    """``size`` bytes with their ``digest``; ``tail`` is what sets them apart."""

    digest: str
    size: int
    tail: bytes

    def pieces(self) -> Iterator[bytes | memoryview]:
        """The content, in pieces of at most a mebibyte."""
        yield from _prefix(self.size)
        yield self.tail

    def content(self) -> bytes:
        return b"".join(self.pieces())


@dataclass(frozen=True)
class Manifest:
    """The exact bytes of a manifest and their digest."""

    digest: str
    content: bytes


def unique_blob(size: int) -> Blob:
    """A blob that was never stored before."""
    tail = f"{_RUN} {next(_serial)}".encode().ljust(_TAIL_SIZE, b".")
    state = _prefix_hash(size).copy()
    state.update(tail)
    return Blob(f"sha256:{state.hexdigest()}", size, tail)


def image_manifest(config: Blob, layers: list[Blob], **annotations: str) -> Manifest:
    """An image manifest; ``annotations`` make it unique."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(CONFIG_TYPE, config),
        "layers": [_descriptor(LAYER_TYPE, layer) for layer in layers],
        "annotations": annotations,
    }
    content = json.dumps(document, indent=3).encode()
    return Manifest(f"sha256:{hashlib.sha256(content).hexdigest()}", content)


def _descriptor(media_type: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _prefix(size: int) -> Iterator[memoryview]:
    whole, rest = divmod(size - _TAIL_SIZE, MIB)
    block = memoryview(_BLOCK)
    yield from itertools.repeat(block, whole)
    yield block[:rest]


@cache
def _prefix_hash(size: int) -> hashlib._Hash:
    state = hashlib.sha256()
    for piece in _prefix(size):
        state.update(piece)
    return state
