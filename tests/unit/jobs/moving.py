"""A registry with one of everything, and what it looks like to those who pull from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrepot.digest import Digest
from entrepot.jobs.move import Move
from entrepot.jobs.move_report import Listener, Moved, Place, ignore
from entrepot.metadata import layers, origins, tables
from entrepot.metadata.base import Metadata
from entrepot.metadata.migrate import upgrade_sqlite
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.local import LocalRegistry
from entrepot.store.base import BlobStore
from entrepot.testing.images import Image, Index, build_artifact, build_image, build_index, walk_blobs, walk_manifests
from entrepot.testing.repository_suite import push
from entrepot.testing.repository_upload_suite import chunk, read

APP, BASE, CACHE = (RepositoryName.parse(name) for name in ("team/app", "library/base", "localhost__5000/team/cache"))
V1, V2, LATEST = (Tag.parse(name) for name in ("v1", "v2", "latest"))

IMAGE = build_image(3, seed=1)
SHARING = build_image([*IMAGE.layers[:2], *build_image(1, seed=2).layers], seed=2)  # type: ignore[list-item]  # layers
INDEX = build_index(["linux/amd64", "linux/arm64/v8"], seed=3)
SIGNATURE = build_artifact(b"signed", artifact_type="application/vnd.example.signature", subject=INDEX)
BY_SHA512 = b"known by its longer name"
LONG_NAME = Digest.of(BY_SHA512, "sha512")
CONTENTS: list[tuple[RepositoryName, Image | Index, tuple[Tag, ...]]] = [
    (BASE, IMAGE, (V1, LATEST)),
    (APP, SHARING, (V1,)),
    (APP, INDEX, (V2, LATEST)),
    (APP, SIGNATURE, ()),
    (CACHE, IMAGE, ()),
]


async def fill(registry: LocalRegistry) -> None:
    """Push ``CONTENTS``, a blob with a sha512 name, what the image store knows, and leave two uploads open."""
    for name, image, tags in CONTENTS:
        await push(registry.repository(name), image, *tags)
    await registry.repository(CACHE).put_blob(LONG_NAME, chunk(BY_SHA512))
    write = registry.metadata.write
    await write(layers.record_layer(IMAGE.layers[0].digest, Digest.of(b"diff"), 2048))
    await write(layers.record_configs([layers.ConfigFacts.of(IMAGE.id, None, {"a": "b"})]))
    await write(origins.record_origin(BASE, IMAGE.digest, 1000))
    await write(origins.put_push("example.com/app", IMAGE.digest, "https://example.com/upload", 1000))
    for _ in range(2):
        upload = await registry.repository(APP).begin_upload()
        await registry.repository(APP).append(upload, chunk(b"half"))


async def picture(metadata: Metadata, store: BlobStore) -> dict[str, Any]:
    """Everything that can be seen: names, tags, manifests, referrers, the bytes of blobs, what is known besides."""
    registry = LocalRegistry(store, metadata)
    names = (await registry.list_repositories(limit=1000)).items
    seen: dict[str, Any] = {name: await _picture_of(registry, RepositoryName.parse(str(name))) for name in names}
    for table in (tables.LAYERS, tables.CONFIGS, tables.PUSHES):
        seen[table.name] = await metadata.read(tables.read_page(table, table.first, limit=100, most_bytes=1000))
    seen["holders"] = await metadata.read(origins.holders(IMAGE.layers[0].digest))
    return seen


async def _picture_of(registry: LocalRegistry, name: RepositoryName) -> dict[str, Any]:
    repository = registry.repository(name)
    tags = (await repository.list_tags(limit=1000)).items
    seen: dict[str, Any] = {f":{tag}": (await repository.get_manifest(Tag.parse(str(tag)))).digest for tag in tags}
    for _, image, _ in (each for each in CONTENTS if each[0] == name):
        for manifest in walk_manifests(image):
            found = await repository.get_manifest(manifest.digest)
            assert found.content == manifest.data
            seen[manifest.digest] = found.media_type
            seen[f"{manifest.digest} referrers"] = (await repository.list_referrers(manifest.digest, None)).items
        for blob in walk_blobs(image):
            assert await read(await repository.find_blob(blob.digest)) == blob.data
            seen[blob.digest] = blob.size
    if name == CACHE:
        assert await read(await repository.find_blob(LONG_NAME)) == BY_SHA512
    return seen


@dataclass(frozen=True, slots=True)
class Target:
    """A place to move to. Opening it once more gives other objects over the same place."""

    open: Callable[[], Any]
    keeps_store: bool = False

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        async with self.open() as place:
            yield place


@asynccontextmanager
async def sqlite_at(path: Path) -> AsyncIterator[SqliteMetadata]:
    """A database that is made if it is not there."""
    upgrade_sqlite(path)
    metadata = SqliteMetadata(path)
    try:
        yield metadata
    finally:
        await metadata.close()


async def move(source: Place, target: Place, *, keeps_store: bool = False, listener: Listener = ignore) -> Moved:
    return await Move(source, target, keeps_store, listener).run()
