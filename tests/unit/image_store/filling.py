"""Puts images into an image store as a pull, a load or a build would."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from entrepot.image_store.catalogue import UNTAGGED
from entrepot.image_store.store import ImageStore
from entrepot.metadata import layers, origins
from entrepot.reference import ImageReference, RepositoryName, Tag
from entrepot.repositories.local import LocalRegistry
from entrepot.testing.images import Content, Image, Index, Layer, walk_blobs
from entrepot.testing.repository_upload_suite import chunk

UNCOMPRESSED = 10240  # of every layer that build_image makes: a tar's shortest length


@dataclass(frozen=True)
class Shop:
    """An image store and the way to fill it."""

    local: LocalRegistry
    images: ImageStore

    async def keep(
        self, image: Image | Index, name: str, *, pulled: bool = False, only: tuple[Image, ...] | None = None
    ) -> ImageReference:
        """Store an image under a name; ``only`` these children of an index; ``pulled`` if its registry has it too."""
        reference = ImageReference.parse(name).with_default_tag()
        await self._put(image, reference.stored_name, reference.tag, only)
        if pulled:
            await self.local.metadata.write(
                origins.record_origin(reference.stored_name, image.digest, self.local.now())
            )
        return reference

    async def keep_nameless(self, image: Image) -> None:
        """Store an image as an archive without names leaves it."""
        await self._put(image, UNTAGGED, None, None)

    async def _put(
        self, image: Image | Index, name: RepositoryName, tag: Tag | None, only: tuple[Image, ...] | None
    ) -> None:
        children = (image.children if only is None else only) if isinstance(image, Index) else ()
        for part in children or ((image,) if isinstance(image, Image) else ()):
            await self.put_blobs(name, part)
            await self.put_manifest(name, part.manifest, None)
        await self.put_manifest(name, image.manifest, tag)

    async def put_blobs(self, name: RepositoryName, image: Image) -> None:
        repository = self.local.repository(name)
        for blob in walk_blobs(image):
            await repository.put_blob(blob.digest, chunk(blob.data))
            if isinstance(blob, Layer):
                await self.local.metadata.write(layers.record_layer(blob.digest, blob.diff_id, UNCOMPRESSED))

    async def put_manifest(self, name: RepositoryName, manifest: Content, tag: Tag | None) -> None:
        repository = self.local.repository(name)
        await repository.put_manifest(tag or manifest.digest, manifest.data, manifest.media_type)


def dated(image: Image, created: str, history: list[dict[str, object]] | None = None, **config: object) -> Image:
    """The same image made at another time and in other steps, with these fields in its config's ``config``."""
    document = json.loads(image.config.data) | {"created": created}
    document["config"].update(config)
    document["history"] = document["history"] if history is None else history
    changed = Content(image.config.media_type, json.dumps(document).encode())
    manifest = json.loads(image.manifest.data) | {"config": changed.descriptor()}
    return replace(image, config=changed, manifest=Content(image.manifest.media_type, json.dumps(manifest).encode()))
