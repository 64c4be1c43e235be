"""Load: images of an archive into the image store, under the names they have there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from entrepot.digest import Digest
from entrepot.errors import NotFound, PlatformUnknown
from entrepot.image import image_config, parse_config
from entrepot.image_store.catalogue import UNTAGGED
from entrepot.image_store.pulling import MAX_CONFIG, Configs, LayerFacts, read_blob
from entrepot.platforms import Platform, choose
from entrepot.reference import ImageReference, RepositoryName, Tag
from entrepot.repositories.archive import ArchiveImage, ArchiveRepository
from entrepot.repositories.base import Repository
from entrepot.repositories.local import LocalRegistry, LocalRepository
from entrepot.transfer.copy import Options, copy_graph
from entrepot.transfer.graph import Node, OnlyPlatforms, Reader, everything


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image that was loaded: its ID, and its names with the ID of the image that had each before, if another had."""

    id: str
    names: tuple[tuple[ImageReference, str | None], ...]


@dataclass(frozen=True, slots=True)
class Load:
    """Brings what is in an archive into the store; of an index ``platform`` only, or all that is there."""

    store: LocalRegistry
    archive: ArchiveRepository
    options: Options
    platform: Platform | None = None

    async def run(self, image: ArchiveImage) -> Loaded:
        """Load one image. Raises PlatformUnknown, LayerInvalid, NameInvalid; names move when all of it is there."""
        names = {str(name): name for name in map(_reference, image.names)}
        root = await self._read(image.digest)
        image_id = _id_of(root)
        if not names:
            await self._copy(root, self.store.repository(UNTAGGED), ())
        by_repository: dict[RepositoryName, list[ImageReference]] = {}
        for name in names.values():
            by_repository.setdefault(name.stored_name, []).append(name)
        moved: list[tuple[ImageReference, str | None]] = []
        for stored_name, references in by_repository.items():
            repository = self.store.repository(stored_name)
            before = [(name, await _id_at(repository, name)) for name in references]
            await self._copy(root, repository, [Tag(name.target) for name in references])
            moved += [(name, previous if previous != image_id else None) for name, previous in before]
        return Loaded(image_id, tuple(moved))

    async def _read(self, digest: Digest) -> Node:
        choice = OnlyPlatforms((self.platform,)) if self.platform else everything
        root = await Reader(self.archive, choice, skip_absent=True).read(digest)
        if self.platform is not None and not root.is_index:
            await self._require_platform(root, self.platform)
        return root

    async def _require_platform(self, root: Node, wanted: Platform) -> None:
        blob = await self.archive.find_blob(Digest.parse(image_config(root.manifest).digest))
        actual = parse_config(await read_blob(blob, limit=MAX_CONFIG)).platform
        if choose([actual], wanted) is None:
            raise PlatformUnknown(
                f"the archive's image is for {actual or 'no platform'}, not for {wanted}", platform=str(wanted)
            )

    async def _copy(self, root: Node, target: LocalRepository, tags: Sequence[Tag]) -> None:
        facts = LayerFacts(self.store)
        options = replace(
            self.options,
            measure=facts.record,
            is_measured=facts.is_known,
            check=Configs(target, self.store).require_layers,
        )
        await copy_graph(self.archive, target, root, tags=tags, options=options)


def _reference(name: str) -> ImageReference:
    return replace(ImageReference.parse(name).with_default_tag(), digest=None).with_default_tag()


async def _id_at(repository: Repository, name: ImageReference) -> str | None:
    """The ID of the image that a name points to."""
    try:
        return _id_of(await Reader(repository, skip_absent=True).read(name.target))
    except NotFound:
        return None


def _id_of(root: Node) -> str:
    """The digest of the config, of an index that of its first image that is there; of anything else its own."""
    for node in root.walk():
        if not node.is_index and node.manifest.blobs:
            return image_config(node.manifest).digest
    return root.digest
