"""Images for pages, and how they get into the registries that the pages speak of."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

from entrepot.client import Client
from entrepot.reference import RepositoryName, Tag
from entrepot.testing.images import DEFAULT_PLATFORM, Image, Index, Layer, build_image, build_layers
from entrepot.testing.repository_suite import push

_TAR = "application/vnd.oci.image.layer.v1.tar"


def plain_image(layers: int, *, seed: int, size: int, platform: str = DEFAULT_PLATFORM) -> Image:
    """An image whose layers are not compressed: zlib's output is not the same everywhere, and pages show digests."""
    packed = build_layers(layers, seed=seed, size=size)
    unpacked = [Layer(_TAR, gzip.decompress(layer.data), layer.diff_id) for layer in packed]
    return build_image(unpacked, seed=seed, platform=platform)


def publish(content: Image | Index, host: str, name: str, *tags: str) -> None:
    """Put an image into the registry at ``host``, under each tag."""

    async def upload() -> None:
        async with Client(Path("/nonexistent")) as client:
            repository = client.registry(host, remember=False).repository(RepositoryName(name))
            await push(repository, content, *(Tag(tag) for tag in tags))

    asyncio.run(upload())
