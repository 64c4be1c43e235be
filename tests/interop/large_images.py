"""An image too large for memory, written straight into an OCI layout."""

from __future__ import annotations

import hashlib
import json
import random
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entrepot.digest import Digest
from entrepot.testing.images import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

_BLOCK = 4 * 1024 * 1024
_TAR_BLOCK = 512
_NO_COMPRESSION = 0  # still a gzip, but made and read at the speed of the disk
_GZIP = 16 + zlib.MAX_WBITS


def write_large_layout(folder: Path, tag: str, *, size: int) -> Digest:
    """Write an image with one layer, a file of ``size`` random bytes; returns its manifest's digest."""
    layer, diff_id = _write_layer(folder, size)
    rootfs = {"type": "layers", "diff_ids": [diff_id]}
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _write_json(folder, OCI_CONFIG, config),
        "layers": [layer],
    }
    named = _write_json(folder, OCI_MANIFEST, manifest)
    named["annotations"] = {"org.opencontainers.image.ref.name": tag}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [named]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return Digest(named["digest"])


def _write_layer(folder: Path, size: int) -> tuple[dict[str, Any], Digest]:
    """The layer's descriptor, and the digest of its tar."""
    plain, compressed = hashlib.sha256(), hashlib.sha256()
    compressor = zlib.compressobj(_NO_COMPRESSION, wbits=_GZIP)
    file = folder / "blobs" / "sha256" / "incoming"
    file.parent.mkdir(parents=True)
    with file.open("wb") as output:
        for chunk in _tar(size):
            plain.update(chunk)
            packed = compressor.compress(chunk)
            compressed.update(packed)
            output.write(packed)
        packed = compressor.flush()
        compressed.update(packed)
        output.write(packed)
    file.rename(file.with_name(compressed.hexdigest()))
    length = file.with_name(compressed.hexdigest()).stat().st_size
    descriptor = {"mediaType": OCI_LAYER, "digest": f"sha256:{compressed.hexdigest()}", "size": length}
    return descriptor, Digest(f"sha256:{plain.hexdigest()}")


def _tar(size: int) -> Iterator[bytes]:
    """A tar with one file. One random block again and again: gzip looks back 32 KiB only, so it cannot tell."""
    entry = tarfile.TarInfo("large.bin")
    entry.size = size
    yield entry.tobuf(tarfile.USTAR_FORMAT)
    block = random.Random(size).randbytes(_BLOCK)
    for _ in range(size // _BLOCK):
        yield block
    yield block[: size % _BLOCK]
    yield bytes(-size % _TAR_BLOCK + 2 * _TAR_BLOCK)


def _write_json(folder: Path, media_type: str, document: dict[str, Any]) -> dict[str, Any]:
    """Store a document as a blob; returns its descriptor."""
    data = json.dumps(document).encode()
    digest = Digest.of(data)
    (folder / "blobs" / "sha256" / digest.encoded).write_bytes(data)
    return {"mediaType": media_type, "digest": digest, "size": len(data)}
