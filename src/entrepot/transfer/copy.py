"""``copy``: one reference with everything below it, from one repository to another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeGuard

from entrepot.digest import CANONICAL, Digest
from entrepot.errors import ManifestBlobUnknown, ManifestInvalid, NotFound, RegistryError, RegistryErrors, SizeInvalid
from entrepot.image import IMAGE_CONFIG_TYPES
from entrepot.layers.diff_id import Uncompressed
from entrepot.manifest import Descriptor
from entrepot.progress import Event, Kind, Listener, State, ignore
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.base import Blob, Chunk, Fetching, Pushing, Repository
from entrepot.transfer.fetch import BlobFetch
from entrepot.transfer.graph import MAX_MANIFESTS, Choice, Node, Reader, everything
from entrepot.transfer.meter import LayerMeter
from entrepot.transfer.tasks import Crew, Slots

PARALLEL = 4
SPLIT_ABOVE = 64 * 1024 * 1024
MAX_UNPACKED = 256 * 1024 * 1024 * 1024  # of what has no size that could bound it
_FREE_UNPACKED = 16 * 1024 * 1024 * 1024
_UNPACKED_PER_BYTE = 1100
_TRIES = 3

Found = Callable[[Digest, Uncompressed], Awaitable[None]]
MountCandidates = Callable[[Digest], Awaitable[Sequence[RepositoryName]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to copy. ``choice`` picks the entries of an index; ``referrers`` takes signatures and the like along.

    ``max_unpacked`` bounds what a layer may unpack to, in bytes; 0 means as many as ``unpacked_limit`` says.
    ``measure`` is told diff ID and size of each layer that was fetched, and makes the copy find them out; ``mounts``
    names repositories of the target's registry that may have a blob.
    """

    choice: Choice = everything
    skip_absent: bool = False
    referrers: bool = False
    parallel: int = PARALLEL
    split_above: int = SPLIT_ABOVE
    max_unpacked: int = 0
    listener: Listener = ignore
    measure: Found | None = None
    is_measured: Callable[[Digest], Awaitable[bool]] | None = None
    mounts: MountCandidates | None = None
    check: Callable[[Node], Awaitable[None]] | None = None  # when all blobs are there, before any manifest is


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied; ``moved`` says whether anything was not there before."""

    root: Node
    moved: bool

    @property
    def digest(self) -> Digest:
        return self.root.digest


async def copy(
    source: Repository,
    target: Repository,
    reference: Tag | Digest,
    *,
    tags: Sequence[Tag] = (),
    options: Options | None = None,
) -> Copied:
    """Copy what ``reference`` names, digests unchanged, and let ``tags`` of the target point to it.

    Blobs first, manifests after them, the outermost last: whoever reads the target meanwhile finds nothing broken.
    Raises what either side raises; what has been copied by then stays, and the next copy goes on from there.
    """
    options = options or Options()
    root = await Reader(source, options.choice, options.skip_absent).read(reference)
    return await copy_graph(source, target, root, tags=tags, options=options)


async def copy_graph(
    source: Repository, target: Repository, root: Node, *, tags: Sequence[Tag] = (), options: Options
) -> Copied:
    """As ``copy``, of a graph that was read from ``source`` already."""
    work = _Copy(source, target.past_mirrors() if isinstance(target, Pushing) else target, options)
    try:
        await work.run(root, tuple(tags))
        if options.referrers:
            await work.copy_referrers(root)
    finally:
        await asyncio.to_thread(work.executor.shutdown, wait=True, cancel_futures=True)
    return Copied(root, work.moved)


@dataclass(slots=True)
class _Copy:
    source: Repository
    target: Repository
    options: Options
    moved: bool = False
    executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, thread_name_prefix="layers"))
    _done: set[str] = field(default_factory=set)

    async def run(self, root: Node, tags: tuple[Tag, ...]) -> None:
        """Copy a graph; parts that another process removes from a store or layout meanwhile are brought again."""
        for _ in range(_TRIES if _keeps_partials(self.target) else 0):
            await self._copy_blobs(root)
            with suppress(NotFound, ManifestBlobUnknown, RegistryErrors):
                await self._put_manifests(root, tags)
                await self._require_manifests(root)
                return
        await self._copy_blobs(root)
        await self._put_manifests(root, tags)

    async def _require_manifests(self, root: Node) -> None:
        """Raises NotFound: an index may be stored without its images, so nobody has noticed yet that one has gone."""
        for node in root.walk():
            await self.target.head_manifest(node.digest)

    async def _put_manifests(self, root: Node, tags: tuple[Tag, ...]) -> None:
        if self.options.check is not None:
            await self.options.check(root)
        for node in root.walk():
            await self._put_manifest(node, tags if node.digest == root.digest else ())

    async def copy_referrers(self, root: Node) -> None:
        """What names a manifest of this graph as its subject, and what names that, and so on."""
        waiting = [node.digest for node in root.walk()]
        while waiting:
            for digest in await self._referrers_of(waiting.pop()):
                if digest not in self._done:
                    if len(self._done) > MAX_MANIFESTS:
                        raise _too_many(root.digest)
                    node = await Reader(self.source, skip_absent=True).read(digest)
                    await self.run(node, ())
                    waiting.append(digest)

    async def _referrers_of(self, subject: Digest) -> list[Digest]:
        found: list[Digest] = []
        last: str | None = ""
        while last is not None:
            page = await self.source.list_referrers(subject, None, last=last)
            found += [Digest.parse(str(item.get("digest"))) for item in page.items]
            last = page.last
            if len(found) > MAX_MANIFESTS:
                raise _too_many(subject)
        return found

    async def _put_manifest(self, node: Node, tags: tuple[Tag, ...]) -> None:
        self._done.add(node.digest)
        manifest = node.manifest
        # by its tag it would be stored under its sha256
        reference: Tag | Digest = tags[0] if tags and node.digest.algorithm == CANONICAL else node.digest
        if all([await self._is_there(name, node.digest) for name in (tags or (node.digest,))]):
            return
        self.moved = True
        await self.target.put_manifest(reference, manifest.content, manifest.media_type, tags=tags)

    async def _is_there(self, reference: Tag | Digest, digest: Digest) -> bool:
        try:
            return (await self.target.head_manifest(reference)).digest == digest
        except NotFound:
            return False

    async def _copy_blobs(self, root: Node) -> None:
        blobs = root.blobs()
        configs, measured = root.configs(), _layers_of_images(root)
        slots = Slots(self.options.parallel)
        for blob in blobs:
            self._tell(blob, State.PREPARING, configs)
        async with Crew() as crew:
            for blob in blobs:
                crew.start(self._copy_blob(blob, slots, configs, is_layer=blob.digest in measured))

    async def _copy_blob(self, descriptor: Descriptor, slots: Slots, configs: set[str], *, is_layer: bool) -> None:
        if slots.is_full:
            self._tell(descriptor, State.WAITING, configs)
        async with slots:
            one = _OneBlob(self, descriptor, slots, Kind.CONFIG if descriptor.digest in configs else Kind.LAYER)
            try:
                if _keeps_partials(self.target):
                    await one.fetch(self.target, is_layer=is_layer)
                else:
                    await one.push()
            except RegistryError as error:
                one.tell(State.FAILED, note=error.message)
                raise

    def _tell(self, blob: Descriptor, state: State, configs: set[str]) -> None:
        kind = Kind.CONFIG if blob.digest in configs else Kind.LAYER
        self.options.listener(Event(state, kind, blob.digest, total=blob.size))


@dataclass(slots=True)
class _OneBlob:
    copy: _Copy
    descriptor: Descriptor
    slots: Slots
    kind: Kind

    async def fetch(self, target: Fetching, *, is_layer: bool) -> None:
        """Into a repository that goes on where an earlier fetch has ended."""
        options = self.copy.options
        digest = Digest.parse(self.descriptor.digest)
        async with target.fetch_blob(digest, self.descriptor.size) as fetch:
            if fetch.blob is not None:
                _require_size(fetch.blob, self.descriptor)
                await self._measure_known(fetch.blob, is_layer=is_layer)
                self.tell(State.EXISTS)
                return
            self.tell(State.STARTING)
            wants = is_layer and options.measure is not None
            meter = (
                LayerMeter(self.copy.executor, options.max_unpacked or unpacked_limit(self.descriptor.size))
                if wants
                else None
            )
            fetching = BlobFetch(
                blob=await self._source_blob(),
                fetch=fetch,
                slots=self.slots,
                split_above=options.split_above,
                progress=lambda done: self.tell(State.MOVING, done),
                pieces=meter.offer if meter else _drop,
                restarted=meter.reset if meter else _nothing,
            )
            blob = await fetching.run()
        self.copy.moved = True
        self.tell(State.RECEIVED, self.descriptor.size)
        if meter is not None:
            await self._measured(meter, blob)
        self.tell(State.DONE, self.descriptor.size)

    async def push(self) -> None:
        """Into a repository that may have the blob, may take it over from another one, or has to be sent it."""
        target = self.copy.target
        digest = Digest.parse(self.descriptor.digest)
        if await self._is_at(target, digest):
            self.tell(State.EXISTS)
            return
        self.copy.moved = True
        if (mounted := await self._mount(target, digest)) is not None:
            self.tell(State.MOUNTED, note=mounted)
            return
        blob = await self._source_blob()
        self.tell(State.MOVING)
        if isinstance(target, Pushing):
            await target.push_blob(blob, sent=lambda done: self.tell(State.MOVING, done))
        else:
            async with blob.open() as pieces:
                await target.put_blob(digest, Chunk(pieces, length=blob.size))
        self.tell(State.DONE, self.descriptor.size)

    async def _is_at(self, target: Repository, digest: Digest) -> bool:
        try:
            _require_size(await target.find_blob(digest), self.descriptor)
        except NotFound:
            return False
        return True

    async def _mount(self, target: Repository, digest: Digest) -> str | None:
        if self.copy.options.mounts is None:
            return None
        for name in await self.copy.options.mounts(digest):
            if await target.mount_blob(digest, name) is not None:
                return name
        return None

    async def _source_blob(self) -> Blob:
        return await blob_of(self.copy.source, self.descriptor)

    async def _measure_known(self, blob: Blob, *, is_layer: bool) -> None:
        """A layer that came by another way, e.g. was pushed here, and was never unpacked."""
        options = self.copy.options
        if not is_layer or options.measure is None or options.is_measured is None:
            return
        if not await options.is_measured(blob.digest):
            await self._measured(
                LayerMeter(self.copy.executor, options.max_unpacked or unpacked_limit(self.descriptor.size)), blob
            )

    async def _measured(self, meter: LayerMeter, blob: Blob) -> None:
        self.tell(State.UNPACKING, self.descriptor.size)
        found = await meter.finish(blob)
        if self.copy.options.measure is not None:
            await self.copy.options.measure(blob.digest, found)

    def tell(self, state: State, done: int = 0, *, note: str = "") -> None:
        event = Event(state, self.kind, self.descriptor.digest, done=done, total=self.descriptor.size, note=note)
        self.copy.options.listener(event)


def _keeps_partials(target: Repository) -> TypeGuard[Fetching]:
    return isinstance(target, Fetching) and target.keeps_partials


async def blob_of(source: Repository, descriptor: Descriptor) -> Blob:
    """The source's blob; a registry need not be asked whether it has what its manifest names. Raises SizeInvalid."""
    digest = Digest.parse(descriptor.digest)
    known = getattr(source, "blob", None)
    blob: Blob = known(digest, descriptor.size) if known else await source.find_blob(digest)
    _require_size(blob, descriptor)
    return blob


def _require_size(blob: Blob, descriptor: Descriptor) -> None:
    if blob.size != descriptor.size:
        raise SizeInvalid(
            f"the manifest says {blob.digest} has {descriptor.size} bytes; it has {blob.size}",
            expected=descriptor.size,
            actual=blob.size,
        )


def unpacked_limit(size: int) -> int:
    """What a layer of ``size`` compressed bytes may unpack to when nobody says otherwise.

    gzip makes at most 1032 bytes of one; zstd can make far more, and of a layer that is mostly zeros it does.
    """
    return _FREE_UNPACKED + _UNPACKED_PER_BYTE * size


def _layers_of_images(root: Node) -> set[str]:
    """The layers whose uncompressed form means something: those of images, not of other artifacts."""
    return {
        blob.digest
        for node in root.walk()
        if node.manifest.config_media_type in IMAGE_CONFIG_TYPES
        for blob in node.manifest.blobs[1:]
    }


def _too_many(subject: Digest) -> ManifestInvalid:
    return ManifestInvalid(f"{subject} has more than {MAX_MANIFESTS} referrers, with those that these have")


def _drop(position: int, piece: bytes) -> None:
    """For blobs that nobody measures."""


def _nothing() -> None:
    """For blobs that nobody measures."""
