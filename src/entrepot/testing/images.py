"""Small images for tests: real tar and gzip, real configs, the same bytes for the same arguments.

::

    image = build_image(layers=3, seed=7)                   # one platform
    index = build_index(["linux/amd64", "linux/arm64"])     # several
    chart = build_artifact(b"...", artifact_type="application/vnd.example.chart")
    write_layout(folder, {"v1": image, "multi": index})     # an OCI image layout, e.g. for skopeo
    write_docker_archive(file, {"team/app:v1": image})      # what docker load reads

Everything is bytes in memory, so keep the sizes small. Blobs are pushed before the manifests that name them:
``walk_blobs`` and ``walk_manifests`` list both in an order that a registry accepts.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from entrepot.digest import Digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

DEFAULT_PLATFORM = "linux/amd64"
CREATED = "2023-01-02T03:04:05Z"

_GZIP = 16 + zlib.MAX_WBITS
_REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Content:
    """Immutable bytes and the media type they are announced with."""

    media_type: str
    data: bytes

    @cached_property
    def digest(self) -> Digest:
        return Digest.of(self.data)

    @property
    def size(self) -> int:
        return len(self.data)

    def descriptor(self, **more: Any) -> dict[str, Any]:
        """The descriptor that other content names this one by; ``more`` adds e.g. ``platform``."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **more}


@dataclass(frozen=True)
class Layer(Content):
    """A gzipped tar; ``diff_id`` is the digest of the tar before compression."""

    diff_id: Digest


@dataclass(frozen=True)
class Image:
    """One manifest with its config and layers; also an artifact, whose layers are any content."""

    manifest: Content
    config: Content
    layers: tuple[Content, ...]
    platform: str = DEFAULT_PLATFORM

    @property
    def digest(self) -> Digest:
        """What clients pull by."""
        return self.manifest.digest

    @property
    def id(self) -> Digest:
        """What docker and podman call the image ID."""
        return self.config.digest


@dataclass(frozen=True)
class Index:
    """A manifest that names other manifests, usually one for each platform."""

    manifest: Content
    children: tuple[Image, ...] = field(default=())

    @property
    def digest(self) -> Digest:
        return self.manifest.digest


EMPTY_CONFIG = Content(OCI_EMPTY, b"{}")


def build_layer(files: Mapping[str, bytes], *, media_type: str = OCI_LAYER) -> Layer:
    """A layer with ``files`` (path to content); without any, the layer that changes nothing."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return Layer(media_type, _gzip(archive.getvalue()), Digest.of(archive.getvalue()))


def build_layers(count: int, *, seed: int = 0, size: int = 1024, media_type: str = OCI_LAYER) -> list[Layer]:
    """``count`` different layers, each with a file of ``size`` random bytes."""
    numbers = random.Random(seed)  # not for secrets: the same bytes for the same seed
    contents = [numbers.randbytes(size) for _ in range(count)]
    return [
        build_layer({f"data/{seed}-{number}.bin": content}, media_type=media_type)
        for number, content in enumerate(contents)
    ]


def build_image(
    layers: int | Sequence[Layer] = 2,
    *,
    seed: int = 0,
    size: int = 1024,
    platform: str = DEFAULT_PLATFORM,
    docker: bool = False,
) -> Image:
    """An image of the given layers, or of that many random ones of ``size`` bytes each.

    ``platform`` is ``os/architecture[/variant]``; ``docker`` uses Docker's media types instead of OCI's.
    """
    if isinstance(layers, int):
        layers = build_layers(layers, seed=seed, size=size, media_type=DOCKER_LAYER if docker else OCI_LAYER)
    config = Content(
        DOCKER_CONFIG if docker else OCI_CONFIG,
        _json(_config([layer.diff_id for layer in layers], seed=seed, platform=platform)),
    )
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    return Image(_manifest(media_type, config, layers), config, tuple(layers), platform)


def build_index(
    platforms: Sequence[str] = (DEFAULT_PLATFORM, "linux/arm64/v8"),
    *,
    layers: int = 2,
    seed: int = 0,
    size: int = 1024,
    docker: bool = False,
) -> Index:
    """An index (with ``docker``: a manifest list) of one different image for each platform."""
    children = [
        build_image(layers, seed=seed * 100 + number, size=size, platform=platform, docker=docker)
        for number, platform in enumerate(platforms)
    ]
    return index_of(children, docker=docker)


def index_of(children: Sequence[Image], *, docker: bool = False) -> Index:
    """An index that names ``children`` in their order, each with its platform."""
    media_type = DOCKER_LIST if docker else OCI_INDEX
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [child.manifest.descriptor(platform=_platform_object(child.platform)) for child in children],
    }
    return Index(Content(media_type, _json(document)), tuple(children))


def build_artifact(
    payload: bytes,
    *,
    artifact_type: str | None = None,
    payload_type: str = "application/octet-stream",
    config: Content = EMPTY_CONFIG,
    subject: Image | Index | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """Anything that is not an image: one blob, its type, and maybe the manifest it speaks about.

    The type stands in ``artifact_type`` (ORAS), or in the media type of a ``config`` of its own (Helm).
    """
    blob = Content(payload_type, payload)
    more: dict[str, Any] = {} if artifact_type is None else {"artifactType": artifact_type}
    if subject is not None:
        more["subject"] = subject.manifest.descriptor()
    if annotations is not None:
        more["annotations"] = dict(annotations)
    return Image(_manifest(OCI_MANIFEST, config, [blob], **more), config, (blob,))


def walk_blobs(content: Image | Index) -> Iterator[Content]:
    """Every config and layer below ``content``, each digest once."""
    children = content.children if isinstance(content, Index) else (content,)
    blobs = {blob.digest: blob for child in children for blob in (child.config, *child.layers)}
    yield from blobs.values()


def walk_manifests(content: Image | Index) -> Iterator[Content]:
    """The manifests of ``content``, children before the index that names them."""
    if isinstance(content, Index):
        yield from (child.manifest for child in content.children)
    yield content.manifest


def write_layout(folder: Path, tagged: Mapping[str, Image | Index]) -> Path:
    """Write an OCI image layout with each image under its tag; returns ``folder`` (made if absent)."""
    for content in tagged.values():
        for part in (*walk_blobs(content), *walk_manifests(content)):
            _write(folder / "blobs" / part.digest.algorithm / part.digest.encoded, part.data)
    manifests = [content.manifest.descriptor(annotations={_REF_NAME: tag}) for tag, content in tagged.items()]
    _write(folder / "index.json", _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}))
    _write(folder / "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    return folder


def write_docker_archive(file: Path, tagged: Mapping[str, Image]) -> Path:
    """Write the tar that ``docker load`` reads, with each image under its full name; returns ``file``."""
    contents: dict[str, bytes] = {}
    entries = []
    for name, image in tagged.items():
        config, layers = f"{image.id.encoded}.json", [f"{layer.digest.encoded}.tar.gz" for layer in image.layers]
        contents[config] = image.config.data
        contents.update(zip(layers, (layer.data for layer in image.layers), strict=True))
        entries.append({"Config": config, "RepoTags": [name], "Layers": layers})
    with tarfile.open(file, "w") as tar:
        for path, data in {**contents, "manifest.json": _json(entries)}.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return file


def _manifest(media_type: str, config: Content, layers: Sequence[Content], **more: Any) -> Content:
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
        **more,
    }
    return Content(media_type, _json(document))


def _config(diff_ids: Sequence[Digest], *, seed: int, platform: str) -> dict[str, Any]:
    return {
        "created": CREATED,
        **_platform_object(platform),
        "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/true"], "Labels": {"seed": str(seed)}},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [{"created": CREATED, "created_by": f"layer {n}"} for n in range(len(diff_ids))],
    }


def _platform_object(platform: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


def _gzip(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=_GZIP)  # unlike gzip.compress: no time in the header
    return compressor.compress(data) + compressor.flush()


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
