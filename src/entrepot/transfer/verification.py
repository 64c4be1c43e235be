"""Verification: recompute what an image says of itself, to the last byte, and list what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from entrepot import hashing
from entrepot.digest import Digest
from entrepot.errors import DigestInvalid, ManifestInvalid, NotFound, RegistryError
from entrepot.image import IMAGE_CONFIG_TYPES, image_config, image_layers, index_entries, parse_config
from entrepot.layers.diff_id import Uncompressed
from entrepot.manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    NON_DISTRIBUTABLE_TYPES,
    Descriptor,
    Manifest,
    StoredManifest,
    parse_manifest,
)
from entrepot.platforms import Platform
from entrepot.reference import Tag
from entrepot.repositories.base import Blob, Repository
from entrepot.store.threads import DiskThreads
from entrepot.transfer.contents import MAX_CONFIG, Events, read_layer, read_small, require_whole

_AT_ONCE = 2  # layers; each keeps a processor busy
_MAX_MANIFESTS = 10_000


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and with which manifest or blob."""

    digest: str
    message: str


@dataclass(slots=True)
class Report:
    """The outcome: problems in the order of the manifests, and how much was looked at. ``bytes`` as they are stored."""

    problems: list[Problem] = field(default_factory=list)
    manifests: int = 0
    blobs: int = 0
    bytes: int = 0

    @property
    def is_clean(self) -> bool:
        return not self.problems


async def verify_reference(source: Repository, reference: Tag | Digest, *, may_lack: bool) -> Report:
    """Read everything below a manifest, and report what is wrong there. Raises ManifestUnknown for an unknown tag.

    ``may_lack`` says that an index may be here without all of its images, as after the pull of one platform.
    """
    work = _Verification(source, may_lack)
    digest = reference if isinstance(reference, Digest) else (await source.head_manifest(reference)).digest
    await work.manifest(Descriptor("", digest, -1), None, is_needed=True)
    return work.report


@dataclass(slots=True)
class _Verification:
    source: Repository
    may_lack: bool
    report: Report = field(default_factory=Report)
    _seen: set[str] = field(default_factory=set)
    _unpacked: dict[str, Uncompressed] = field(default_factory=dict)
    _threads: DiskThreads = field(default_factory=lambda: DiskThreads(_AT_ONCE))
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def manifest(self, descriptor: Descriptor, platform: Platform | None, *, is_needed: bool) -> None:
        """A manifest that ``descriptor`` names, and all below it."""
        if descriptor.digest in self._seen or len(self._seen) > _MAX_MANIFESTS:
            return
        self._seen.add(descriptor.digest)
        try:
            stored = await self.source.get_manifest(Digest.parse(descriptor.digest))
        except NotFound:
            if is_needed:
                self._tell(descriptor.digest, "the manifest is not here")
            return
        except RegistryError as error:
            self._tell(descriptor.digest, error.message)
            return
        manifest = self._checked(stored, descriptor)
        if manifest is not None:
            self.report.manifests += 1
            await self._below(manifest, stored.digest, platform)

    def _checked(self, stored: StoredManifest, descriptor: Descriptor) -> Manifest | None:
        actual = Digest.of(stored.content, stored.digest.algorithm)
        if actual != descriptor.digest:
            self._tell(descriptor.digest, f"the manifest's {len(stored.content)} bytes hash to {actual}")
            return None
        if descriptor.size not in (-1, len(stored.content)):
            self._tell(descriptor.digest, f"an index says it has {descriptor.size} bytes; it has {len(stored.content)}")
        if descriptor.media_type not in ("", stored.media_type):
            self._tell(descriptor.digest, f"an index says it is {descriptor.media_type}; it is {stored.media_type}")
        try:
            return parse_manifest(stored.content, stored.media_type, allow_unknown_types=True)
        except ManifestInvalid as error:
            self._tell(descriptor.digest, error.message)
            return None

    async def _below(self, manifest: Manifest, digest: Digest, platform: Platform | None) -> None:
        if manifest.media_type in INDEX_TYPES:
            for entry in index_entries(manifest):
                if entry.descriptor.media_type in MANIFEST_TYPES:
                    # what buildx says of an image has a platform of its own: unknown/unknown
                    stated = None if entry.is_attestation else entry.platform
                    await self.manifest(entry.descriptor, stated, is_needed=not self.may_lack)
                else:
                    await self._blob(entry.descriptor, self._hash)
        elif manifest.config_media_type in IMAGE_CONFIG_TYPES:
            await self._image(manifest, digest, platform)
        else:
            for blob in manifest.blobs:
                await self._blob(blob, self._hash)

    async def _image(self, manifest: Manifest, digest: Digest, platform: Platform | None) -> None:
        layers = [layer.descriptor for layer in image_layers(manifest)]
        async with asyncio.TaskGroup() as group:
            for layer in layers:
                if layer.media_type not in NON_DISTRIBUTABLE_TYPES:
                    group.create_task(self._blob(layer, self._unpack))
        config = image_config(manifest)
        await self._blob(config, lambda blob: self._config(blob, digest, layers, platform))

    async def _config(self, blob: Blob, digest: Digest, layers: list[Descriptor], platform: Platform | None) -> None:
        config = parse_config(await read_small(blob, MAX_CONFIG))
        if platform is not None and config.platform != platform:
            self._tell(digest, f"an index says it is for {platform}; its config says {config.platform}")
        if len(config.diff_ids) != len(layers):
            self._tell(digest, f"its config names {len(config.diff_ids)} layers, the manifest {len(layers)}")
            return
        for layer, expected in zip(layers, config.diff_ids, strict=True):
            found = self._unpacked.get(layer.digest)
            if found is not None and expected.startswith("sha256:") and found.diff_id != expected:
                self._tell(
                    layer.digest, f"the config expects it to unpack to {expected}; it unpacks to {found.diff_id}"
                )

    async def _blob(self, descriptor: Descriptor, look: Callable[[Blob], Awaitable[None]]) -> None:
        if descriptor.digest in self._seen:
            return
        self._seen.add(descriptor.digest)
        async with self._slots:
            try:
                blob = await self.source.find_blob(Digest.parse(descriptor.digest))
                if blob.size != descriptor.size:
                    self._tell(
                        descriptor.digest, f"the manifest says it has {descriptor.size} bytes; it has {blob.size}"
                    )
                await look(blob)
            except NotFound:
                self._tell(descriptor.digest, "the blob is not here")
            except DigestInvalid as error:
                self._tell(descriptor.digest[:80], error.message)
            except RegistryError as error:
                self._tell(descriptor.digest, error.message)
            else:
                self.report.blobs += 1
                self.report.bytes += blob.size

    async def _unpack(self, blob: Blob) -> None:
        self._unpacked[blob.digest] = await read_layer(blob, _pass_over, self._threads)

    async def _hash(self, blob: Blob) -> None:
        hashed, size = hashing.begin(blob.digest.algorithm), 0
        async with blob.open() as pieces:
            async for piece in pieces:
                await self._threads.run(hashed.update, piece)
                size += len(piece)
        require_whole(blob, hashed.digest(), size)

    def _tell(self, digest: str, message: str) -> None:
        self.report.problems.append(Problem(digest, message))


def _pass_over(events: Events) -> None:
    for _ in events:
        pass


def lines(report: Report) -> Iterator[str]:
    """Each problem in a line."""
    for problem in report.problems:
        yield problem.message if problem.digest in problem.message else f"{problem.digest}: {problem.message}"
