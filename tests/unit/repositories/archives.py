"""Archives of every dialect, built in memory for tests."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from entrepot.layers.compression import decompressor
from entrepot.testing.images import Image, Index, walk_blobs, walk_manifests

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"

Link = tuple[str, str]  # "symlink" or "hard", and the target


def tar(members: Mapping[str, bytes | Link | None] | Sequence[tuple[str, bytes | Link | None]]) -> bytes:
    """A tar; None is a folder."""
    file = io.BytesIO()
    items = members.items() if isinstance(members, Mapping) else members
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in items:
            entry = tarfile.TarInfo(name)
            data = b""
            if content is None:
                entry.type = tarfile.DIRTYPE
            elif isinstance(content, tuple):
                entry.type = tarfile.SYMTYPE if content[0] == "symlink" else tarfile.LNKTYPE
                entry.linkname = content[1]
            else:
                data = content
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def unpack(content: bytes) -> bytes:
    """A layer without its compression."""
    unpacking = decompressor(content[:4])
    return b"".join(unpacking.feed(content))


def layout_members(tagged: Mapping[str, Image | Index], **annotations: str) -> dict[str, bytes]:
    """An OCI layout; the keys are reference names, empty for none."""
    members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    entries = []
    for name, image in tagged.items():
        for part in (*walk_blobs(image), *walk_manifests(image)):
            members[f"blobs/{part.digest.algorithm}/{part.digest.encoded}"] = part.data
        named = {REF_NAME: name} if name else {}
        entries.append(image.manifest.descriptor(annotations={**named, **annotations}))
    members["index.json"] = dumps({"schemaVersion": 2, "manifests": entries})
    return members


def old_docker_members(image: Image, *names: str, linked: bool = False) -> dict[str, bytes | Link | None]:
    """What docker save wrote from 1.10 to 24: layers unpacked, a folder for each; ``linked`` as skopeo writes it."""
    members: dict[str, bytes | Link | None] = {}
    layers = []
    for number, layer in enumerate(image.layers):
        folder = f"{number:064x}"
        members[folder] = None
        members[f"{folder}/VERSION"] = b"1.0"
        members[f"{folder}/json"] = b"{}"
        if linked:
            file = f"{layer.digest.encoded}.tar"
            members[file] = unpack(layer.data)
            members[f"{folder}/layer.tar"] = ("symlink", f"../{file}")
            layers.append(f"{folder}/layer.tar")
        else:
            members[f"{folder}/layer.tar"] = unpack(layer.data)
            layers.append(f"{folder}/layer.tar")
    config = f"{image.id.encoded}.json"
    members[config] = image.config.data
    entry: dict[str, Any] = {"Config": config, "RepoTags": list(names) or None, "Layers": layers}
    members["manifest.json"] = dumps([entry])
    return members


def new_docker_members(image: Image, name: str) -> dict[str, bytes]:
    """What docker save writes since 25: a layout, and a manifest.json over its blobs."""
    members = layout_members({"v1": image}, **{IMAGE_NAME: f"docker.io/library/{name}"})
    layers = [f"blobs/sha256/{layer.digest.encoded}" for layer in image.layers]
    entry = {"Config": f"blobs/sha256/{image.id.encoded}", "RepoTags": [name], "Layers": layers}
    return members | {"manifest.json": dumps([entry])}


def dumps(document: Any) -> bytes:
    return json.dumps(document).encode()


def write(folder: Path, content: bytes) -> Path:
    file = folder / "archive.tar"
    file.write_bytes(content)
    return file
